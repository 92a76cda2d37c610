"""The whole evaluation: from folders of runs to numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from salus_vla.config.profiles import DEFAULT_PROFILE
from salus_vla.contract import RESERVED_FROM
from salus_vla.contract.errors import ConfigError
from salus_vla.data.bags.assumed import NOTHING_ASSUMED, Assumed
from salus_vla.data.episodes import Run
from salus_vla.learning.evaluation.evaluated_episodes import EvaluatedEpisode, evaluated
from salus_vla.learning.evaluation.evaluated_runs import open_runs
from salus_vla.learning.evaluation.outcome_rates import MemberRates, Outcomes, member_rates, outcomes_of
from salus_vla.learning.evaluation.run_commands import command_of
from salus_vla.learning.evaluation.shift import Disagreement, ShiftDetection, detect, disagreement
from salus_vla.learning.evaluation.signal_prediction import FailurePrediction, predict
from salus_vla.learning.evaluation.subjects import PolicyUnderTest, group

FIRST_DECISIONS = 10


@dataclass(frozen=True)
class Options:
    """What to evaluate and how.

    Attributes:
        reference: profile that shifts are distinguished from.
        first: decisions at the begin of an episode that one of the windows has.
        acceptance: whether runs with reserved seeds may be evaluated.
        assumed: what bags of other recorders do not say.
    """

    reference: str = DEFAULT_PROFILE
    first: int = FIRST_DECISIONS
    acceptance: bool = False
    assumed: Assumed = NOTHING_ASSUMED


@dataclass(frozen=True)
class RunFacts:
    """A run that was evaluated.

    Attributes:
        path: its folder, as given.
        run_id, created: as in its run.json.
        subject, profile: where it was put.
        episodes: finished ones, with those that were aborted.
        members: hashes of the ensemble's members.
        scene_hash: of the scene and its profiles; empty where it is not recorded.
        command: that makes it again.
    """

    path: str
    run_id: str
    created: str
    subject: str
    profile: str
    episodes: int
    members: tuple[str, ...]
    scene_hash: str
    command: str


@dataclass(frozen=True)
class Evaluation:
    """Everything that `salus evaluate` reports.

    Attributes:
        options: what it was made with.
        reserved_seeds: whether seeds that are reserved for acceptance are among the episodes.
        runs: in the order given.
        outcomes: of every subject and profile, the shifted ones together at the end of each subject.
        members: where single members of an ensemble were run as well.
        shift, disagreement: of subjects with a run of the reference profile, and of ensembles.
        failure_prediction: of every subject and profile.
        notes: what a reader must know to judge the numbers.
    """

    options: Options
    reserved_seeds: bool
    runs: tuple[RunFacts, ...]
    outcomes: tuple[Outcomes, ...]
    members: tuple[MemberRates, ...]
    shift: tuple[ShiftDetection, ...]
    disagreement: tuple[Disagreement, ...]
    failure_prediction: tuple[FailurePrediction, ...]
    notes: tuple[str, ...]


def evaluate(
    paths: Sequence[Path],
    options: Options,
    *,
    started: Callable[[int], None] = lambda _: None,
    advanced: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Evaluates runs.

    Args:
        paths: folders of `salus rollout` or `salus collect`.
        options: see there.
        started: called once with the number of episodes that will be read.
        advanced: called after each of them.

    Raises:
        ConfigError: an option is wrong, the runs do not go together, or have reserved seeds (see `open_runs`).
        RecordingError: a run or an episode cannot be read or is damaged; names the file.
    """
    if options.first < 1:
        raise ConfigError(f"first is {options.first}, expected at least 1 decision")
    runs = open_runs(paths, acceptance=options.acceptance, assumed=options.assumed)
    profiles = sorted({run.profile for run in runs})
    if options.reference != DEFAULT_PROFILE and options.reference not in profiles:
        raise ConfigError(f"reference profile {options.reference!r}: no run has it, the runs have {profiles}")
    started(sum(len(run.seeds) for run in runs))
    read: list[tuple[Run, list[EvaluatedEpisode]]] = []
    for run in runs:
        episodes = []
        for episode in map(evaluated, run.counted):
            episodes.append(episode)
            advanced()
        read.append((run, episodes))
    subjects = group(read, options.reference)
    label_of = {run.path: subject.label for subject in subjects for item in subject.conditions for run in item.runs}
    return Evaluation(
        options=options,
        reserved_seeds=any(seed >= RESERVED_FROM for run in runs for seed in run.seeds),
        runs=tuple(_facts(run, label_of[run.path]) for run in runs),
        outcomes=tuple(item for subject in subjects for item in outcomes_of(subject)),
        members=tuple(member_rates(subjects)),
        shift=tuple(item for subject in subjects for item in detect(subject, options.first)),
        disagreement=tuple(item for subject in subjects for item in disagreement(subject, options.first)),
        failure_prediction=tuple(item for subject in subjects for item in predict(subject)),
        notes=tuple(note for subject in subjects for note in _notes(subject)),
    )


def _facts(run: Run, subject: str) -> RunFacts:
    return RunFacts(
        path=str(run.path),
        run_id=run.run_id,
        created=run.created,
        subject=subject,
        profile=run.profile,
        episodes=len(run.seeds),
        members=run.members,
        scene_hash=run.facts.get("scene_hash", ""),
        command=command_of(run),
    )


def _notes(subject: PolicyUnderTest) -> list[str]:
    notes = []
    if subject.in_distribution is None and len(subject.conditions) > 1:
        notes.append(f"{subject.label}: has no run of profile {subject.reference}, so shift detection has no reference")
    runs = [run for item in subject.conditions for run in item.runs]
    scenes = {scene for run in runs if (scene := run.facts.get("scene_hash"))}
    if len(scenes) > 1:
        notes.append(f"{subject.label}: its runs were made with {len(scenes)} different versions of the scene")
    return notes
