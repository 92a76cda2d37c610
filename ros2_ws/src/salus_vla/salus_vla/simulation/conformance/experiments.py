"""What `salus check-sim` does to a simulator: resets and commands, and the names that rules know them by."""

from __future__ import annotations

import math
from dataclasses import dataclass

from salus_vla.contract import ARM_JOINTS

SETTLE_FRAMES = 60  # in which the arm reaches a target that is 0.3 rad away, also where we hear it late
# A simulator that takes one command per frame has gone this far the wrong way before it comes to the newest; one that
# has read the first alone, because it came a frame earlier, has not [rad].
NEWEST_GOES = 0.1
HELD_JOINT = ARM_JOINTS[6]  # what commands name that only answer a frame: the joint's place at home


@dataclass(frozen=True)
class Experiment:
    """Commands that are sent at once, and the frames that pass before the arm is looked at.

    Attributes:
        name: of the move in `Observed.moves`.
        commands: of pairs of a joint and its target [rad], in the order of the message.
        frames: that pass afterwards.
        goes: look at the first frame in which a joint has gone this far instead [rad]; 0 for the last frame.
    """

    name: str
    commands: tuple[tuple[tuple[str, float], ...], ...]
    frames: int
    goes: float = 0.0


_FIRST, _SECOND, _FOURTH = ARM_JOINTS[0], ARM_JOINTS[1], ARM_JOINTS[3]
UNKNOWN_JOINT = "elbow"
SUBSET = Experiment("subset", (((_FOURTH, -2.1), (_FIRST, 0.3)),), SETTLE_FRAMES)
HELD = Experiment("held", (), SETTLE_FRAMES // 2)
KEPT = Experiment("nan", (((_FIRST, math.nan), (_FOURTH, -2.2)),), SETTLE_FRAMES)
UNKNOWN = Experiment("unknown", (((_FIRST, 0.0), (UNKNOWN_JOINT, 0.0)),), SETTLE_FRAMES // 2)
NEWEST = Experiment("newest", (*(((_SECOND, -0.5),),) * 9, ((_SECOND, -0.95),)), SETTLE_FRAMES, NEWEST_GOES)
# A simulator may read the first of the burst before the others are there, but not every time.
NEWEST_TRIES = 5
EXPERIMENTS = (SUBSET, HELD, KEPT, UNKNOWN, NEWEST)  # one after the other, from home

# The cube is put where all cameras see it, beside the arm at home; then a seed draws its place, twice the same.
SEEN_CUBE = (0.50, 0.20, 0.025)
RESETS: tuple[tuple[int, tuple[float, ...] | None], ...] = ((1, SEEN_CUBE), (2, None), (3, None), (2, None))
