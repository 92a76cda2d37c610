"""Makes a failure table of runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import RESERVED_FROM
from salus_vla.contract.errors import DatasetError
from salus_vla.contract.outcomes import Outcome, ended_as
from salus_vla.data.bags.assumed import NOTHING_ASSUMED, Assumed
from salus_vla.data.episodes import Run, open_run
from salus_vla.data.failures.extract import extract, state_rows
from salus_vla.data.failures.failure_table import TableWriter, read_tables
from salus_vla.data.failures.split import Part, part_of
from salus_vla.data.recording import Episode
from salus_vla.data.recording import Part as RecordedPart
from salus_vla.safety.prediction.ensemble_identity import EnsembleIdentity
from salus_vla.safety.prediction.state_basis import StateBasis

_MOST_STATES = 20_000  # that a basis is found in
_STATES_OF_EPISODE = 12


@dataclass(frozen=True)
class MadeTable:
    """What was made: the files, episodes and decisions in them, and episodes that are not, by reason."""

    files: tuple[Path, ...]
    episodes: int
    decisions: int
    left_out: Counter[str]


def make_failure_table(
    runs: Sequence[Path],
    out: Path,
    *,
    basis: Path | StateBasis | None = None,
    assumed: Assumed = NOTHING_ASSUMED,
    on_episode: Callable[[int, int], None] | None = None,
) -> MadeTable:
    """Extracts the episodes of runs of one ensemble.

    Args:
        runs: folders of `salus collect` or `salus rollout`, in any mixture.
        out: file to make, or the beginning of the names of several.
        basis: of the hidden states, or a failure table that has it; None finds one on the training part of these runs.
        assumed: what bags of other recorders do not say.
        on_episode: called after each episode with the number of those done and of all.

    Raises:
        DatasetError: the runs are not of one ensemble, have reserved seeds, or nothing to extract; names the run.
        RecordingError: a run or an episode cannot be read.
    """
    opened = _open(runs, assumed)
    source = _source(opened)
    left_out: Counter[str] = Counter()
    chosen: list[tuple[Run, Episode]] = []
    for run in opened:
        for episode in run.counted:
            summary = episode.summary
            if summary.outcome in (Outcome.RUNNING, Outcome.ABORTED, Outcome.HANDED_OVER) or summary.taken_over:
                left_out[ended_as(summary.outcome, taken_over=summary.taken_over)] += 1
            elif summary.surplus:
                left_out["with more messages than one graph publishes"] += 1
            else:
                chosen.append((run, episode))
    if not chosen:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "none at all"
        raise DatasetError(f"no finished episode in {', '.join(map(str, runs))}: {reasons}")
    found = read_tables([basis]) if isinstance(basis, Path) else None
    if found is not None and found.source != source:
        raise DatasetError(
            f"--basis {basis}: is of the ensemble {','.join(found.source.members)}, the runs of "
            f"{','.join(source.members)}"
        )
    if isinstance(basis, StateBasis):
        used = basis
    else:
        used = found.basis if found is not None else _fit_basis([episode for _, episode in chosen], out)
    writer = TableWriter(out, source, used)
    decisions = 0
    for done, (run, episode) in enumerate(chosen, 1):
        recording = episode.open()
        recording.require(RecordedPart.SIGNALS)
        extracted = extract(recording)
        writer.add(run.run_id, extracted)
        decisions += len(extracted.times_s)
        if on_episode is not None:
            on_episode(done, len(chosen))
    return MadeTable(tuple(writer.write()), len(chosen), decisions, left_out)


def _open(paths: Sequence[Path], assumed: Assumed) -> list[Run]:
    opened: list[Run] = []
    seen: dict[tuple[str, int], Path] = {}
    for path in paths:
        run = open_run(path, assumed)
        for seed in run.seeds:
            if seed >= RESERVED_FROM:
                raise DatasetError(
                    f"{path}: has seed {seed}; seeds from {RESERVED_FROM} on are reserved for acceptance, nothing may "
                    "learn from them"
                )
            other = seen.setdefault((run.profile, seed), path)
            if other is not path:
                raise DatasetError(
                    f"{path}: has seed {seed} of profile {run.profile}, as {other} has; an episode counts once"
                )
        opened.append(run)
    return opened


def _source(runs: Sequence[Run]) -> EnsembleIdentity:
    sources = {run.path: EnsembleIdentity(run.members, _vlms(run)) for run in runs}
    first, of_first = next(iter(sources.items()))
    if not of_first.members:
        raise DatasetError(
            f"{first}: is of policy {runs[0].policy!r}, which is no ensemble: it has no signals to learn from"
        )
    for path, source in sources.items():
        if source != of_first:
            raise DatasetError(
                f"{path}: is of the ensemble {','.join(source.members)}, {first} of {','.join(of_first.members)}; "
                "a predictor is of one ensemble"
            )
    return of_first


def _vlms(run: Run) -> tuple[str, ...]:
    found: list[str] = []
    while (digest := run.facts.get(f"policy.vlm_{len(found)}_hash")) is not None:
        found.append(digest)
    return tuple(found)


def _fit_basis(episodes: Sequence[Episode], out: Path) -> StateBasis:
    """On some decisions of each episode of the training part."""
    training = [episode for episode in episodes if part_of(episode.seed) is Part.TRAIN]
    most = max(1, _MOST_STATES // _STATES_OF_EPISODE)
    experts: list[NDArray[np.float32]] = []
    prefixes: list[NDArray[np.float32]] = []
    for episode in training[:: max(1, len(training) // most)]:
        states = state_rows(episode.open().decisions())
        if states is not None:
            rows = np.linspace(0, len(states[0]) - 1, _STATES_OF_EPISODE).round().astype(int)
            experts.append(states[0][rows])
            prefixes.append(states[1][rows])
    if not experts:
        raise DatasetError(
            f"{out}: no episode of the training part (seeds that end in 0 to 4) has the policy's hidden states; they "
            "are recorded since SafetySignals version 2"
        )
    shapes = {(expert.shape[1], *prefix.shape[1:]) for expert, prefix in zip(experts, prefixes, strict=True)}
    if len(shapes) > 1:
        raise DatasetError(f"{out}: the episodes' hidden states have different shapes: {sorted(shapes)}")
    return StateBasis.fit(np.concatenate(experts), np.concatenate(prefixes))
