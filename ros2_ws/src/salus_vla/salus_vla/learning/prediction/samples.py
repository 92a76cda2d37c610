"""From a failure table to what a predictor learns from: features and labels of every decision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import ARM_DOF, FRAME_HZ, JOINTS
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import FloatArray
from salus_vla.data.failures.failure_table import FailureTable
from salus_vla.data.failures.split import Part, part_of
from salus_vla.safety.prediction.decision_inputs import FRAMES, DecisionInputs
from salus_vla.safety.prediction.episode_features import FEATURES, EpisodeFeatures
from salus_vla.safety.prediction.hand_phase import EMPTY_WIDTH
from salus_vla.safety.prediction.predictor_network import HORIZONS_S, FailureKind

SLIPPED = 0.005  # m that the cube has moved along the finger pads
_ALONG_PADS = (0, 2)  # axes of the tool's frame; along the other one the fingers open, and carry the cube with them
_GAP = 2  # frames without contact that do not end a grasp
_SHORTEST = 5  # frames of a grasp that counts
_CLOSED = 0.045  # m, a hand told to be narrower has not let go on purpose
_DT = 1.0 / FRAME_HZ
_UNSEEN, _NONE = -2, -1  # labels of an interval: after the event or the end of a TIMEOUT; no event in it
_KINDS = {
    Outcome.COLLISION.name: FailureKind.COLLISION,
    Outcome.DROP.name: FailureKind.DROP,
    Outcome.MISS.name: FailureKind.MISS,
}


@dataclass(frozen=True, eq=False)
class Samples:
    """N decisions of E episodes.

    Attributes:
        features: (N, F).
        commands: positions of the arm that were commanded in the five frames, (N, 5, 7) [rad]; NaN where not known.
        episode: number of each decision's episode, (N,), ascending.
        time_s: of the decision, (N,).
        hazards: what happens in each interval between horizons, (N, 3): a `FailureKind`, -1 nothing, -2 not seen.
        slips: 1 where the cube has moved along the finger pads by more than `SLIPPED` since it was grasped, 0 if not,
            NaN where nothing is held or that is not known, (N,).
        motions: what an intervention chose at each decision, (N,); None where nobody could intervene.
        since_grasp_s: time since the grasp in force began (ground truth), (N,); NaN while nothing is held.
        loss_s: when the grasp in force is lost without having been let go (ground truth), (N,); NaN if it is not.
        seed, profile, outcome, part: of the episodes, (E,).
        success: whether they succeeded, (E,).
        event_s, end_s: of the episodes, (E,); NaN without.
        empty_closing_s: when the hand had first closed on nothing, (E,); NaN where it did not. Sooner than the table's,
            which wants it to stay so: a policy that opens again at once has missed as well.
    """

    features: FloatArray
    commands: FloatArray
    episode: NDArray[np.int64]
    time_s: FloatArray
    hazards: NDArray[np.int64]
    slips: FloatArray
    since_grasp_s: FloatArray
    loss_s: FloatArray
    seed: NDArray[np.int64]
    profile: NDArray[np.str_]
    outcome: NDArray[np.str_]
    part: NDArray[np.str_]
    event_s: FloatArray
    empty_closing_s: FloatArray
    end_s: FloatArray
    motions: NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.episode)

    @property
    def success(self) -> NDArray[np.bool_]:
        """Whether each episode succeeded, (E,)."""
        found: NDArray[np.bool_] = self.outcome == Outcome.SUCCESS.name
        return found

    @property
    def fails(self) -> NDArray[np.bool_]:
        """Of each decision whether its episode fails, (N,)."""
        found: NDArray[np.bool_] = ~self.success[self.episode]
        return found

    @property
    def decision(self) -> NDArray[np.int64]:
        """Number of each decision in its episode, (N,)."""
        starts = np.flatnonzero(np.append(True, self.episode[1:] != self.episode[:-1]))
        found: NDArray[np.int64] = np.arange(len(self)) - starts[self.episode]
        return found

    def rows(self, episodes: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Decisions of episodes that are marked in (E,)."""
        found: NDArray[np.bool_] = episodes[self.episode]
        return found

    def of(self, *parts: Part) -> NDArray[np.bool_]:
        """Episodes of parts of the split, (E,)."""
        return np.isin(self.part, parts)


def make_samples(table: FailureTable) -> Samples:
    """Features and labels of a table's decisions."""
    episode, time = table.numbers["episode"], table.times["time_s"]
    starts = np.flatnonzero(np.append(True, episode[1:] != episode[:-1]))
    ends = np.append(starts[1:], len(episode))
    shaped = {
        name: table.lists[name].astype(np.float64).reshape(-1, FRAMES, len(JOINTS))
        for name in ("position", "velocity", "effort", "error")
    }
    flat = {name: table.lists[name].astype(np.float64) for name in ("signals", "expert", "prefix")}
    features = np.empty((len(episode), len(FEATURES)))
    slips, since, loss = (np.full(len(episode), np.nan) for _ in range(3))
    empty = np.full(len(starts), np.nan)
    hazards = np.empty((len(episode), len(HORIZONS_S)), dtype=np.int64)
    for index, (begin, end) in enumerate(zip(starts, ends, strict=True)):
        state, inside = EpisodeFeatures(), slice(begin, end)
        for row in range(begin, end):
            inputs = DecisionInputs(**{name: values[row] for name, values in (flat | shaped).items()})
            features[row] = state.update(inputs, float(time[row]))
        width = shaped["position"][inside][..., ARM_DOF:].sum(axis=-1)
        told = width + shaped["error"][inside][..., ARM_DOF:].sum(axis=-1)
        cube = table.lists["cube_in_tool"][inside].astype(np.float64).reshape(-1, 3)
        held = table.lists["held"][inside].reshape(-1)
        slips[inside], since[inside], loss[inside] = _grasps(held, cube, told.ravel(), time[inside])
        empty[index] = first_empty_closing_s(width.ravel(), time[inside])
        event_s = float(table.times["event_s"][begin])
        hazards[inside] = _hazards(time[inside], table.texts["outcome"][begin], event_s, float(empty[index]))
    seeds = table.numbers["seed"][starts]
    return Samples(
        features=features,
        commands=(shaped["position"] + shaped["error"])[..., :ARM_DOF],
        episode=episode,
        time_s=time,
        hazards=hazards,
        slips=slips,
        since_grasp_s=since,
        loss_s=loss,
        seed=seeds,
        profile=table.texts["profile"][starts],
        outcome=table.texts["outcome"][starts],
        part=np.array([part_of(int(seed)) for seed in seeds]),
        event_s=table.times["event_s"][starts],
        empty_closing_s=empty,
        end_s=time[ends - 1],
        motions=table.motions,
    )


def first_empty_closing_s(widths: FloatArray, time: FloatArray) -> float:
    """When widths (D * 5,) of an episode first fall below what can be held [s]; NaN if never."""
    narrow = np.flatnonzero(widths < EMPTY_WIDTH)
    return float(times_of_frames(time)[narrow[0]]) if len(narrow) else float("nan")


def times_of_frames(time: FloatArray) -> FloatArray:
    """Of the frames (D * 5,) of decisions at times (D,) [s]."""
    found: FloatArray = time.repeat(FRAMES) + np.tile(np.arange(1 - FRAMES, 1) * _DT, len(time))
    return found


def _hazards(time: FloatArray, outcome: str, event_s: float, empty_s: float) -> NDArray[np.int64]:
    """The next event of each decision, by interval."""
    events = [(empty_s, FailureKind.MISS)] if np.isfinite(empty_s) else []
    if outcome in _KINDS and np.isfinite(event_s):
        events.append((event_s, _KINDS[outcome]))
    found = np.full((len(time), len(HORIZONS_S)), _NONE, dtype=np.int64)
    edges = np.array(HORIZONS_S)
    if outcome == Outcome.TIMEOUT.name:
        found[(time[:, None] + edges) > time[-1] + 1e-6] = _UNSEEN
    for row, now in enumerate(time):
        later = [(at - now, kind) for at, kind in events if at > now]
        if later:
            away, kind = min(later)
            if away <= edges[-1]:
                interval = int(np.searchsorted(edges, away))
                found[row, interval] = kind
                found[row, :interval] = _NONE
                found[row, interval + 1 :] = _UNSEEN
    return found


def _grasps(
    held: NDArray[np.floating], cube: FloatArray, told: FloatArray, time: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Slip, time since the grasp and time of its loss for each decision, from frames (D * 5,)."""
    decisions = len(time)
    slips, since, loss = (np.full(decisions, np.nan) for _ in range(3))
    of_frame = times_of_frames(time)
    for begin, end in grasp_frames(held):
        lost = end < len(held) and told[end - 1 : end + 1].max() < _CLOSED
        moved = np.linalg.norm((cube[begin:end] - cube[begin])[:, _ALONG_PADS], axis=1)
        for frame in range(begin, end):
            if frame % FRAMES == FRAMES - 1:
                row = frame // FRAMES
                since[row] = of_frame[frame] - of_frame[begin]
                slips[row] = float(moved[frame - begin] > SLIPPED) if np.isfinite(moved[frame - begin]) else np.nan
                loss[row] = of_frame[end - 1] if lost else np.nan
    return slips, since, loss


def grasp_frames(held: NDArray[np.floating]) -> list[tuple[int, int]]:
    """Stretches [begin, end) of frames in which something is held, gaps of two frames bridged."""
    found: list[tuple[int, int]] = []
    for frame in np.flatnonzero(held == 1.0).tolist():
        if found and frame - found[-1][1] <= _GAP:
            found[-1] = (found[-1][0], frame + 1)
        else:
            found.append((frame, frame + 1))
    return [(begin, end) for begin, end in found if end - begin >= _SHORTEST]
