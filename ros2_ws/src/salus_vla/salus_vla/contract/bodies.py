"""Names of the bodies in poses, transforms and contacts, and which of the robot's bodies are neighbours."""

from __future__ import annotations

from typing import Final

CUBE: Final = "red_cube"
BIN: Final = "blue_bin"
TABLE: Final = "table"

ARM_BODIES: Final = tuple(f"panda_link{i}" for i in range(9))
HAND_BODY: Final = "panda_hand"
FINGER_BODIES: Final = ("panda_leftfinger", "panda_rightfinger")
ROBOT_BODIES: Final = (*ARM_BODIES, HAND_BODY, *FINGER_BODIES)
# Place along the chain; flange, hand and fingers are one rigid or near-rigid end.
_CHAIN: Final = {name: min(i, 7) for i, name in enumerate(ROBOT_BODIES)}


def distractor_name(index: int) -> str:
    """Body of the distractor with this index in its profile; no rule of the task knows such bodies."""
    return f"distractor_{index}"


def adjacent(body_a: str, body_b: str) -> bool:
    """True for two robot bodies that touch or overlap by construction (neighbours in the chain, parts of the hand).

    Also true two links apart (wrist: the hulls of link 5 and 7): the joint limits keep such links from colliding, but
    their convex hulls overlap.
    """
    return body_a in _CHAIN and body_b in _CHAIN and abs(_CHAIN[body_a] - _CHAIN[body_b]) <= 2
