"""What the evaluation needs of one recorded episode, from a file of `salus rollout` or a bag of `salus collect`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from salus_vla.contract import SAFETY_SIGNALS
from salus_vla.contract.errors import RecordingError
from salus_vla.contract.messages import stamp_of
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import FloatArray
from salus_vla.data.bags import recorded_observations as bags
from salus_vla.data.bags.run_records import EpisodeEntry
from salus_vla.data.rollouts import rollout_store
from salus_vla.signals.safety_signals import NAMES

_NS = 1e-9
# Nothing is known of how these would have ended.
APART = (Outcome.ABORTED, Outcome.RUNNING)


@dataclass(frozen=True, eq=False)
class Episode:
    """A recorded episode; times count from its first observation.

    Attributes:
        seed: of the scene and the policy's noise.
        outcome: how it ended.
        decisions: periods of 100 ms that passed.
        event_s: when the event that ended it was detected, None without one [s].
        wall_s: wall time that it took, None where that is not recorded [s].
        times_s: of the observations that were decided on, ascending, (D,) [s]. The terminal one is left out: nothing
            that follows from it belongs to the episode.
        signals: of these decisions, as `signals.NAMES`, (D, 12); NaN where a signal is not valid.
    """

    seed: int
    outcome: Outcome
    decisions: int
    event_s: float | None
    wall_s: float | None
    times_s: FloatArray
    signals: FloatArray

    @property
    def complete(self) -> bool:
        """False for an episode that was aborted, or whose end is not recorded."""
        return self.outcome not in APART


def read_rollout(path: Path, seed: int) -> Episode:
    """Reads a file of `salus rollout`.

    Args:
        path: the file.
        seed: that its name says.

    Raises:
        RecordingError: it cannot be read, is damaged, or is the episode of another seed; names it.
    """
    stored = rollout_store.read_episode(path)
    if stored.seed != seed:
        raise RecordingError(f"{path}: is the episode of seed {stored.seed}, its name says {seed}")
    event_ns = stored.event_stamp_ns
    return Episode(
        seed=stored.seed,
        outcome=stored.outcome,
        decisions=stored.decisions,
        event_s=None if event_ns is None else event_ns * _NS,
        wall_s=None,  # the same episode gives the same file, so it does not say how long it took
        times_s=stored.stamps_ns[:-1].astype(np.float64) * _NS,
        signals=known_values(stored.signals, stored.valid)[:-1],
    )


def read_bag(run: Path, entry: EpisodeEntry) -> Episode:
    """Reads the safety signals of a bag of `salus collect`.

    Args:
        run: folder of the run.
        entry: the episode in its run.json.

    Raises:
        RecordingError: the bag cannot be read, has no safety signals though the episode is complete, or is not the
            episode that run.json lists; names the bag.
    """
    path = run / entry.path
    try:
        outcome = Outcome[entry.outcome]
    except KeyError:
        raise RecordingError(f"{run}: run.json: {entry.path} has outcome {entry.outcome!r}, not one of SALUS") from None
    stamps: list[int] = []
    rows: list[list[float]] = []
    masks: list[int] = []
    if outcome not in APART:
        with bags.opened_bag(path) as reader:
            _check_listed(bags.episode_of(reader, path), entry, path)
            connections = bags.connections_of(reader, path, (SAFETY_SIGNALS,))
            for _, message in bags.messages_of(reader, connections):
                stamps.append(stamp_of(message))
                rows.append([float(getattr(message, name)) for name in NAMES])
                masks.append(int(message.valid))
    stamps_ns = np.array(stamps, dtype=np.int64)
    order = np.argsort(stamps_ns, kind="stable")
    # By half a frame, as everywhere where stamps are compared.
    order = order[stamps_ns[order] < entry.end_ns - bags.HALF_FRAME_NS]
    signals = known_values(np.array(rows).reshape(-1, len(NAMES)), np.array(masks, dtype=np.int64))
    event_ns = entry.event_stamp_ns
    return Episode(
        seed=entry.seed,
        outcome=outcome,
        decisions=entry.decisions,
        event_s=None if event_ns is None else (event_ns - entry.start_ns) * _NS,
        wall_s=entry.wall_s,
        times_s=(stamps_ns[order] - entry.start_ns).astype(np.float64) * _NS,
        signals=signals[order],
    )


def known_values(values: np.ndarray, valid: np.ndarray) -> FloatArray:
    """Signals (D, 12) as float64, with NaN where the bit of `valid` (D,) is 0 or the value is not finite."""
    bits = (valid.astype(np.int64)[:, None] >> np.arange(len(NAMES))) & 1
    wide = values.astype(np.float64)
    return np.where((bits == 1) & np.isfinite(wide), wide, np.nan)


def _check_listed(found: bags.RecordedEpisode, entry: EpisodeEntry, path: Path) -> None:
    for what, here, listed in (
        ("seed", found.seed, entry.seed),
        ("outcome", found.outcome.name, entry.outcome),
        ("task", found.task, entry.task),
    ):
        if here != listed:
            raise RecordingError(f"{path}: has {what} {here!r}, run.json of its run says {listed!r}")
