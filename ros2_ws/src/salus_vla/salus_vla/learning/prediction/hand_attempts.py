"""The times that a hand closed in an episode, and what became of each: ground truth, from 50 Hz frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import FRAME_HZ
from salus_vla.contract.types import FloatArray
from salus_vla.learning.prediction.samples import grasp_frames

_OPEN = 0.070  # m, a hand that is wider has let go of whatever it held
_REARMED = 0.060  # m, wider than this it may close again after it closed on nothing, as contract.yaml counts MISS
_EMPTY = 0.030  # m, narrower than this it holds nothing
_SETTLED_S = 0.3  # after the first touch, when the width of a grasp is read
_AROUND_LOSS = (10, 6)  # frames before and after the end of a grasp in which a command to open counts
_RELEASE = (10, 25)  # likewise, in which a release is told in full
_RELEASED = 0.002  # m: fingers told to stand this close to where they are, or wider, no longer squeeze
_ALONG_PADS = (0, 2)  # axes of the tool's frame along which a cube slips; the fingers open along the other one


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of an episode at 50 Hz, oldest first.

    Attributes:
        time_s: (T,).
        width: of the hand, measured, (T,) [m].
        told: width that the command in force asks for, (T,) [m]; NaN where there is none.
        held: 1 where both fingers hold the cube, (T,).
        cube: position of the cube in the tool's frame, (T, 3) [m].
    """

    time_s: FloatArray
    width: FloatArray
    told: FloatArray
    held: NDArray[np.floating]
    cube: FloatArray


@dataclass(frozen=True)
class Grasp:
    """Both fingers hold the cube.

    Attributes:
        begin_s, end_s: first and last frame.
        width: .3 s after the first touch, or at the end of a shorter grasp [m].
        off_centre: of the cube along the pads at the first touch: across the approach, and along it [m].
        slid: farthest that the cube moved along the pads since the first touch [m].
        told_to_open: whether the hand was told to stop squeezing around its end.
        widest_told: width that it was told at most from shortly before its end until half a second after it [m]; NaN
            where no command is known.
    """

    begin_s: float
    end_s: float
    width: float
    off_centre: tuple[float, float]
    slid: float
    told_to_open: bool
    widest_told: float


@dataclass(frozen=True)
class Attempt:
    """The hand closed.

    Attributes:
        begin_s: when it began to.
        beside: distance of the cube from the middle between the fingers then, across the approach [m].
        above: height of the tool over the cube's middle then, along the approach [m].
        empty: whether it closed on nothing, with or without a grasp before.
        grasp: the last one in it; None where the fingers never held the cube.
    """

    begin_s: float
    beside: float
    above: float
    empty: bool
    grasp: Grasp | None


def attempts(frames: Frames) -> list[Attempt]:
    """The times that the hand closed, in order; a hand that never did has none."""
    grasps = grasp_frames(frames.held)
    return [_attempt(frames, begin, end, grasps) for begin, end in _closings(frames.width)]


def _closings(width: FloatArray) -> list[tuple[int, int]]:
    """Stretches [begin, end) of frames in which the hand is not open, parted where it opens after an empty closing."""
    found: list[tuple[int, int]] = []
    begin, empty = -1, False
    for frame, now in enumerate(width.tolist()):
        opened = now > _OPEN or (empty and now > _REARMED)
        if begin >= 0 and opened:
            found.append((begin, frame))
            begin, empty = -1, False
        elif begin < 0 and now <= _REARMED:
            begin = frame
        if begin >= 0:
            empty = empty or now < _EMPTY
    if begin >= 0:
        found.append((begin, len(width)))
    return found


def _attempt(frames: Frames, begin: int, end: int, grasps: list[tuple[int, int]]) -> Attempt:
    inside = [grasp for grasp in grasps if grasp[0] < end and grasp[1] > begin]
    x, y, z = frames.cube[begin].tolist()
    return Attempt(
        begin_s=float(frames.time_s[begin]),
        beside=float(np.hypot(x, y)),
        above=z,
        empty=bool((frames.width[begin:end] < _EMPTY).any()),
        grasp=_grasp(frames, *inside[-1]) if inside else None,
    )


def _grasp(frames: Frames, begin: int, end: int) -> Grasp:
    settled = min(begin + round(_SETTLED_S * FRAME_HZ), end - 1)
    moved = np.linalg.norm((frames.cube[begin:end] - frames.cube[begin])[:, _ALONG_PADS], axis=1)
    around, release = (slice(max(begin, end - before), end + after) for before, after in (_AROUND_LOSS, _RELEASE))
    told = frames.told[release][np.isfinite(frames.told[release])]
    return Grasp(
        begin_s=float(frames.time_s[begin]),
        end_s=float(frames.time_s[end - 1]),
        width=float(frames.width[settled]),
        off_centre=(float(frames.cube[begin, 0]), float(frames.cube[begin, 2])),
        slid=float(moved.max()),
        told_to_open=bool((frames.told[around] > frames.width[around] - _RELEASED).any()),
        widest_told=float(told.max()) if len(told) else float("nan"),
    )
