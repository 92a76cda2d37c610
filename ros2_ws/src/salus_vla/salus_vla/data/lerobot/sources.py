"""Which recorded episodes a data set is made of: those of the runs that ended as wanted, in a fixed order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from salus_vla.contract.errors import DatasetError
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.assumed import NOTHING_ASSUMED, Assumed
from salus_vla.data.copies import check_no_copies
from salus_vla.data.episodes import open_run
from salus_vla.data.recording import Episode

SURPLUS = "more messages than one graph publishes (--surplus takes them)"


@dataclass(frozen=True)
class Sources:
    """Episodes in the order of the runs, then of number (bags) or seed (rollouts), and how many were left out why.

    Attributes:
        episodes: chosen ones.
        weights: of each of them, that of its run.
        left_out: number of the others, by reason.
    """

    episodes: tuple[Episode, ...]
    weights: tuple[float, ...]
    left_out: Counter[str]


def find_sources(
    runs: Sequence[Path],
    outcomes: Collection[Outcome],
    weights: Sequence[float] = (),
    *,
    surplus: bool = False,
    assumed: Assumed = NOTHING_ASSUMED,
) -> Sources:
    """Lists the finished episodes of runs that ended with one of `outcomes`.

    Args:
        runs: folders of `salus collect` or `salus rollout`, in any mixture.
        outcomes: wanted ones.
        weights: of the frames of each run; 1 for all when empty.
        surplus: take episodes with more messages than one graph publishes, too.
        assumed: what bags of other recorders do not say.

    Raises:
        DatasetError: RUNNING or ABORTED is wanted, a run is given twice or with a copy, the weights do not fit, or the
            instruction of an episode is not known.
        RecordingError: a folder is not a run, or a file of it cannot be read.
    """
    refused = [outcome.name for outcome in (Outcome.RUNNING, Outcome.ABORTED) if outcome in outcomes]
    if refused:
        raise DatasetError(f"--outcomes {','.join(refused)}: such episodes are not complete and never exported")
    weights = tuple(weights) or (1.0,) * len(runs)
    shown = ",".join(f"{weight:g}" for weight in weights)
    if len(weights) != len(runs):
        raise DatasetError(f"--weights {shown}: {len(weights)} for {len(runs)} runs, expected one for each")
    if not all(np.isfinite(weights)) or min(weights) < 0.0 or sum(weights) <= 0.0:
        raise DatasetError(f"--weights {shown}: expected numbers of 0 or more, and one above 0")
    chosen: list[Episode] = []
    weighted: list[float] = []
    left_out: Counter[str] = Counter()
    seen: set[Path] = set()
    for run, weight in zip(runs, weights, strict=True):
        if run.resolve() in seen:
            raise DatasetError(f"{run}: is given twice")
        seen.add(run.resolve())
        for episode in open_run(run, assumed).episodes:
            outcome = episode.summary.outcome
            if outcome in outcomes and episode.summary.surplus and not surplus:
                left_out[SURPLUS] += 1
            elif outcome in outcomes:
                if not episode.summary.task:
                    raise DatasetError(f"{episode.path}: its instruction is not recorded; --assume-task says it")
                chosen.append(episode)
                weighted.append(weight)
            else:
                left_out[f"outcome {outcome.name}"] += 1
    check_no_copies(chosen)
    return Sources(tuple(chosen), tuple(weighted), left_out)
