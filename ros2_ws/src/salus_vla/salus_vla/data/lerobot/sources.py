"""Which recorded episodes a data set is made of: those of the runs that ended as wanted, in a fixed order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from salus_vla.config.profiles import DEFAULT_PROFILE
from salus_vla.contract.errors import DatasetError, RecordingError
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags import run_info
from salus_vla.data.rollouts import rollout_store


@dataclass(frozen=True)
class Source:
    """A recorded episode before it is read.

    Attributes:
        path: folder of the bag, or file of the rollout.
        rollout: whether `salus rollout` made it; else it is a bag.
        run: id of its run.
        name: its name in the run.
        seed, profile, policy, task, outcome: as recorded.
        decisions: made in it; the one on the terminal observation is not counted.
    """

    path: Path
    rollout: bool
    run: str
    name: str
    seed: int
    profile: str
    policy: str
    task: str
    outcome: Outcome
    decisions: int


@dataclass(frozen=True)
class Sources:
    """Episodes in the order of the runs, then of number (bags) or seed (rollouts), and how many were left out why."""

    episodes: tuple[Source, ...]
    left_out: Counter[str]


def find_sources(runs: Sequence[Path], outcomes: Collection[Outcome]) -> Sources:
    """Lists the finished episodes of runs that ended with one of `outcomes`.

    Args:
        runs: folders of `salus collect` or `salus rollout`, in any mixture.
        outcomes: wanted ones.

    Raises:
        DatasetError: RUNNING or ABORTED is wanted, a run is given twice, or a folder is no run.
        RecordingError: a file of a run cannot be read.
    """
    refused = [outcome.name for outcome in (Outcome.RUNNING, Outcome.ABORTED) if outcome in outcomes]
    if refused:
        raise DatasetError(f"--outcomes {','.join(refused)}: such episodes are not complete and never exported")
    chosen: list[Source] = []
    left_out: Counter[str] = Counter()
    seen: set[Path] = set()
    for run in runs:
        if run.resolve() in seen:
            raise DatasetError(f"{run}: is given twice")
        seen.add(run.resolve())
        for source in _episodes(run):
            if source.outcome in outcomes:
                chosen.append(source)
            else:
                left_out[f"outcome {source.outcome.name}"] += 1
    return Sources(tuple(chosen), left_out)


def _episodes(run: Path) -> list[Source]:
    if rollout_store.is_rollout_run(run):
        return _rollouts(run)
    if run_info.is_run(run):
        return _bags(run)
    raise DatasetError(f"{run}: is no run: `salus collect` and `salus rollout` write run.json into its folder")


def _rollouts(run: Path) -> list[Source]:
    stored = rollout_store.read_run(run)
    sources = []
    for path in stored.episodes:
        found = rollout_store.read_summary(path)
        sources.append(
            Source(
                path=path,
                rollout=True,
                run=stored.record.run_id,
                name=path.stem,
                seed=found.seed,
                profile=found.profile,
                policy=found.policy,
                task=found.task,
                outcome=found.outcome,
                decisions=found.decisions,
            )
        )
    return sources


def _bags(run: Path) -> list[Source]:
    record = run_info.read_run(run).record
    # Runs of before there were profiles do not name one.
    profile = record.arguments.get("profile", DEFAULT_PROFILE)
    sources = []
    for entry in record.episodes:
        if entry.outcome not in Outcome.__members__:
            raise RecordingError(f"{run}: run.json: {entry.path} has outcome {entry.outcome!r}, not one of SALUS")
        sources.append(
            Source(
                path=run / entry.path,
                rollout=False,
                run=record.run_id,
                name=entry.path,
                seed=entry.seed,
                profile=profile,
                policy=entry.policy_source,
                task=entry.task,
                outcome=Outcome[entry.outcome],
                decisions=entry.decisions,
            )
        )
    return sources
