"""What the evaluation needs of one recorded episode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import FloatArray
from salus_vla.data.bags.recorded_observations import HALF_FRAME_NS
from salus_vla.data.recording import Decisions, Episode, Part, Summary
from salus_vla.signals.safety_signals import NAMES

_NS = 1e-9
# Nothing is known of how these would have ended.
APART = (Outcome.ABORTED, Outcome.RUNNING, Outcome.HANDED_OVER)


def has_an_end(summary: Summary) -> bool:
    """Whether it is known how the episode ended; handing over is an end, another policy's is none."""
    return (summary.outcome not in APART or summary.outcome is Outcome.HANDED_OVER) and not summary.taken_over


@dataclass(frozen=True, eq=False)
class EvaluatedEpisode:
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
        taken_over: another policy acted from some decision on.
    """

    seed: int
    outcome: Outcome
    decisions: int
    event_s: float | None
    wall_s: float | None
    times_s: FloatArray
    signals: FloatArray
    taken_over: bool = False

    @property
    def complete(self) -> bool:
        """False for an episode that was aborted, whose end is not recorded, or that another policy ended."""
        return self.outcome not in APART and not self.taken_over


def evaluated(episode: Episode) -> EvaluatedEpisode:
    """Reads the signals of an episode.

    Raises:
        RecordingError: it cannot be read, is not the one that its run lists, or has no signals though it is complete;
            names bag or file.
    """
    if episode.summary.outcome in APART:
        return evaluated_of(episode.summary, None)
    recording = episode.open()
    recording.require(Part.SIGNALS)
    return evaluated_of(recording.summary, recording.decisions())


def evaluated_of(summary: Summary, decisions: Decisions | None) -> EvaluatedEpisode:
    """From what was read of an episode; without decisions it has none."""
    event_ns = summary.event_stamp_ns
    times_s: FloatArray = np.zeros(0)
    signals: FloatArray = np.zeros((0, len(NAMES)))
    if decisions is not None:
        # By half a frame, as everywhere where stamps are compared.
        end_ns = summary.end_ns if summary.end_ns is not None else np.iinfo(np.int64).max
        inside = decisions.stamps_ns < end_ns - HALF_FRAME_NS
        times_s = (decisions.stamps_ns[inside] - summary.start_ns).astype(np.float64) * _NS
        signals = decisions.signals[inside]
    return EvaluatedEpisode(
        seed=summary.seed,
        outcome=summary.outcome,
        decisions=summary.decisions,
        event_s=None if event_ns is None else (event_ns - summary.start_ns) * _NS,
        wall_s=summary.wall_s,
        times_s=times_s,
        signals=signals,
        taken_over=summary.taken_over,
    )
