"""Which recorded episodes a data set is made of: those of the runs that ended as wanted, in a fixed order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from salus_vla.contract.errors import DatasetError
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.episodes import open_run
from salus_vla.data.recording import Episode


@dataclass(frozen=True)
class Sources:
    """Episodes in the order of the runs, then of number (bags) or seed (rollouts), and how many were left out why."""

    episodes: tuple[Episode, ...]
    left_out: Counter[str]


def find_sources(runs: Sequence[Path], outcomes: Collection[Outcome]) -> Sources:
    """Lists the finished episodes of runs that ended with one of `outcomes`.

    Args:
        runs: folders of `salus collect` or `salus rollout`, in any mixture.
        outcomes: wanted ones.

    Raises:
        DatasetError: RUNNING or ABORTED is wanted, or a run is given twice.
        RecordingError: a folder is not a run, or a file of it cannot be read.
    """
    refused = [outcome.name for outcome in (Outcome.RUNNING, Outcome.ABORTED) if outcome in outcomes]
    if refused:
        raise DatasetError(f"--outcomes {','.join(refused)}: such episodes are not complete and never exported")
    chosen: list[Episode] = []
    left_out: Counter[str] = Counter()
    seen: set[Path] = set()
    for run in runs:
        if run.resolve() in seen:
            raise DatasetError(f"{run}: is given twice")
        seen.add(run.resolve())
        for episode in open_run(run).episodes:
            outcome = episode.summary.outcome
            if outcome in outcomes:
                chosen.append(episode)
            else:
                left_out[f"outcome {outcome.name}"] += 1
    return Sources(tuple(chosen), left_out)
