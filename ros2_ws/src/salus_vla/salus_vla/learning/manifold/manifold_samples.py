"""From a failure table to chunks as they were executed, each where it began."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import ARM_DOF, JOINTS
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import FloatArray
from salus_vla.data.failures.failure_table import FailureTable
from salus_vla.data.failures.split import Part, part_of
from salus_vla.learning.prediction.samples import times_of_frames
from salus_vla.safety.manifold.manifold_inputs import ROWS, inputs_of
from salus_vla.safety.prediction.decision_inputs import FRAMES
from salus_vla.safety.prediction.hand_phase import EMPTY_WIDTH

_PHYSICAL = (Outcome.COLLISION.name, Outcome.DROP.name)
_LED_THERE = 1.0  # s
_TOLD_TO_CLOSE = 0.06  # m
_NAN = float("nan")


@dataclass(frozen=True, eq=False)
class ManifoldSamples:
    """N decisions of E episodes.

    Attributes:
        inputs: what the manifold looks at, (N, 80); the chunk is what was commanded at the next five decisions, NaN
            where there are fewer.
        episode: number of each decision's episode, (N,), ascending.
        time_s: of the decision, (N,).
        seed, part, profile, outcome: of the episodes, (E,).
        event_s: when the first of DROP, COLLISION and closing on nothing came, (E,); NaN without.
        miss: whether that was a closing on nothing, (E,).
        closing_s: when the gripper was last told to close before the event, or before the end, (E,); NaN without.
        spoiled: decisions in the last second before any closing on nothing, (N,): successes have some, and try again.
    """

    inputs: FloatArray
    episode: NDArray[np.int64]
    time_s: FloatArray
    seed: NDArray[np.int64]
    part: NDArray[np.str_]
    profile: NDArray[np.str_]
    outcome: NDArray[np.str_]
    event_s: FloatArray
    miss: NDArray[np.bool_]
    closing_s: FloatArray
    spoiled: NDArray[np.bool_]

    @property
    def clean(self) -> NDArray[np.bool_]:
        """Episodes that succeeded and never closed on nothing, (E,)."""
        found: NDArray[np.bool_] = np.equal(self.outcome, Outcome.SUCCESS.name) & ~np.isfinite(self.event_s)
        return found

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Decisions of which everything is known, (N,)."""
        used = np.isfinite(self.inputs).any(axis=0)  # a basis may have fewer directions
        found: NDArray[np.bool_] = np.asarray(np.isfinite(self.inputs[:, used]).all(axis=1))
        return found

    def rows(self, *parts: Part) -> NDArray[np.bool_]:
        """Whole decisions of successes of parts of the split, but for those that led to a closing on nothing, (N,)."""
        success = self.outcome == Outcome.SUCCESS.name
        found: NDArray[np.bool_] = (np.isin(self.part, parts) & success)[self.episode] & self.whole & ~self.spoiled
        return found


def make_manifold_samples(table: FailureTable) -> ManifoldSamples:
    """Samples of a table's decisions."""
    episode, time = table.numbers["episode"], table.times["time_s"]
    starts = np.flatnonzero(np.append(True, episode[1:] != episode[:-1]))
    ends = np.append(starts[1:], len(episode))
    shape = (-1, FRAMES, len(JOINTS))
    positions = _with_width(table.lists["position"].astype(np.float64).reshape(shape))
    told = positions + _with_width(table.lists["error"].astype(np.float64).reshape(shape))
    chunks = np.full((len(episode), ROWS, positions.shape[-1]), _NAN)
    spoiled = np.zeros(len(episode), dtype=np.bool_)
    first_event, miss, closings = (np.full(len(starts), _NAN) for _ in range(3))
    for index, (begin, end) in enumerate(zip(starts, ends, strict=True)):
        for row in range(ROWS):
            chunks[begin : max(begin, end - row - 1), row] = told[begin + row + 1 : end, -1]
        inside = slice(begin, end)
        frames = times_of_frames(time[inside])
        narrow = positions[inside, :, ARM_DOF].ravel() < EMPTY_WIDTH
        empty = frames[_begins(narrow)]
        for at in empty:
            spoiled[inside] |= (time[inside] <= at) & (time[inside] > at - _LED_THERE)
        physical = float(table.times["event_s"][begin]) if table.texts["outcome"][begin] in _PHYSICAL else _NAN
        event = float(np.fmin(physical, empty[0] if len(empty) else _NAN))
        first_event[index], miss[index] = event, event != physical
        closing = frames[_begins(told[inside, :, ARM_DOF].ravel() < _TOLD_TO_CLOSE)]
        closing = closing[~(closing > event)]
        closings[index] = closing[-1] if len(closing) else _NAN
    seeds = table.numbers["seed"][starts]
    return ManifoldSamples(
        inputs=inputs_of(table.lists["expert"].astype(np.float64), positions[:, -1], chunks),
        episode=np.repeat(np.arange(len(starts)), ends - starts),
        time_s=time,
        seed=seeds,
        part=np.array([part_of(int(seed)) for seed in seeds]),
        profile=table.texts["profile"][starts],
        outcome=table.texts["outcome"][starts],
        event_s=first_event,
        miss=np.isfinite(first_event) & (miss == 1.0),
        closing_s=closings,
        spoiled=spoiled,
    )


def _begins(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where flags become true."""
    return np.flatnonzero(flags[1:] & ~flags[:-1]) + 1


def _with_width(joints: FloatArray) -> FloatArray:
    """Arm joints and width of the gripper, (..., 8), from joints and both fingers, (..., 9)."""
    return np.concatenate((joints[..., :ARM_DOF], joints[..., ARM_DOF:].sum(axis=-1, keepdims=True)), axis=-1)
