"""Opens the runs that are evaluated, and guards the seeds that are reserved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from salus_vla.contract import RESERVED_FROM
from salus_vla.contract.errors import ConfigError, RecordingError
from salus_vla.data.bags.assumed import NOTHING_ASSUMED, Assumed
from salus_vla.data.bags.run_records import RUN_FILE
from salus_vla.data.episodes import ROLLOUT, Run, open_run
from salus_vla.data.rollouts.rollout_settings import RolloutSettings


def open_runs(paths: Sequence[Path], *, acceptance: bool, assumed: Assumed = NOTHING_ASSUMED) -> list[Run]:
    """Opens runs without reading their episodes.

    Args:
        paths: their folders.
        acceptance: whether runs with reserved seeds may be opened.
        assumed: what bags of other recorders do not say.

    Raises:
        ConfigError: a run is given twice, or has reserved seeds and `acceptance` is false.
        RecordingError: a folder is not a run, or a file of it is wrong or has no finished episode; names it.
    """
    runs: list[Run] = []
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise ConfigError(f"{path}: is given twice")
        seen.add(path.resolve())
        runs.append(open_run(path, assumed))
        if runs[-1].made_by == ROLLOUT:  # its command is shown, of all of its settings
            RolloutSettings.from_arguments(runs[-1].arguments, str(path / RUN_FILE))
        if not runs[-1].counted:
            raise RecordingError(f"{path}: holds no finished episode")
        runs[-1].facts  # noqa: B018  # one run must not mix policies
        reserved = [seed for seed in runs[-1].seeds if seed >= RESERVED_FROM]
        if reserved and not acceptance:
            raise ConfigError(
                f"{path}: has {len(reserved)} episodes with seeds from {RESERVED_FROM} on (the first: {reserved[0]}), "
                "which are reserved for acceptance: never train, tune, select or report on them. To run the "
                "acceptance itself, give --acceptance"
            )
    return runs
