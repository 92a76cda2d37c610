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
from salus_vla.learning.prediction.samples import first_empty_closing_s, grasp_frames
from salus_vla.safety.manifold.manifold_inputs import ROWS, inputs_of
from salus_vla.safety.prediction.decision_inputs import FRAMES

_PHYSICAL = (Outcome.COLLISION.name, Outcome.DROP.name)
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
        last_grasp_s: when the last grasp before the event or the end began (ground truth), (E,); NaN without.
        first_grasp_s: the first one, (E,).
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
    last_grasp_s: FloatArray
    first_grasp_s: FloatArray

    @property
    def clean(self) -> NDArray[np.bool_]:
        """Episodes that succeeded and never closed on nothing, (E,)."""
        found: NDArray[np.bool_] = (self.outcome == Outcome.SUCCESS.name) & ~np.isfinite(self.event_s)
        return found

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Decisions of which everything is known, (N,)."""
        used = np.isfinite(self.inputs).any(axis=0)  # a basis may have fewer directions
        found: NDArray[np.bool_] = np.isfinite(self.inputs[:, used]).all(axis=1)
        return found

    def rows(self, *parts: Part) -> NDArray[np.bool_]:
        """Whole decisions of clean episodes of parts of the split, (N,)."""
        found: NDArray[np.bool_] = (np.isin(self.part, parts) & self.clean)[self.episode] & self.whole
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
    facts: dict[str, list[float]] = {name: [] for name in ("event", "miss", "last", "first")}
    for begin, end in zip(starts, ends, strict=True):
        for row in range(ROWS):
            chunks[begin : max(begin, end - row - 1), row] = told[begin + row + 1 : end, -1]
        inside = slice(begin, end)
        empty = first_empty_closing_s(positions[inside, :, ARM_DOF].ravel(), time[inside])
        outcome, event = table.texts["outcome"][begin], float(table.times["event_s"][begin])
        event = event if outcome in _PHYSICAL else _NAN
        first = np.fmin(event, empty)
        grasps = [
            float(time[inside][at // FRAMES] + (at % FRAMES + 1 - FRAMES) * 0.02)
            for at, _ in grasp_frames(table.lists["held"][inside].ravel())
        ]
        before = [at for at in grasps if not first < at]
        facts["event"].append(float(first))
        facts["miss"].append(float(empty == first))
        facts["last"].append(before[-1] if before else _NAN)
        facts["first"].append(grasps[0] if grasps else _NAN)
    seeds = table.numbers["seed"][starts]
    return ManifoldSamples(
        inputs=inputs_of(table.lists["expert"].astype(np.float64), positions[:, -1], chunks),
        episode=np.repeat(np.arange(len(starts)), ends - starts),
        time_s=time,
        seed=seeds,
        part=np.array([part_of(int(seed)) for seed in seeds]),
        profile=table.texts["profile"][starts],
        outcome=table.texts["outcome"][starts],
        event_s=np.array(facts["event"]),
        miss=np.array(facts["miss"]) == 1.0,
        last_grasp_s=np.array(facts["last"]),
        first_grasp_s=np.array(facts["first"]),
    )


def _with_width(joints: FloatArray) -> FloatArray:
    """Arm joints and width of the gripper, (..., 8), from joints and both fingers, (..., 9)."""
    return np.concatenate((joints[..., :ARM_DOF], joints[..., ARM_DOF:].sum(axis=-1, keepdims=True)), axis=-1)
