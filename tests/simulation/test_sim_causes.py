"""One fault in everything that a simulator sends breaks its own rule; what follows from it is not judged."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from right_simulator import (
    RIGHT,
    SCENE,
    Change,
    endpoint,
    image,
    stamps_of,
    view,
    with_each,
    with_item,
)
from salus_vla import contract
from salus_vla.contract import CAMERAS, JOINTS
from salus_vla.contract.bodies import BIN, CUBE
from salus_vla.contract.types import ImageArray
from salus_vla.simulation.conformance.observed import (
    Joints,
    Move,
    Observed,
)
from salus_vla.simulation.conformance.rules import verdicts

FRONT = contract.image_topic("front").name


def after_one_another(*changes: Change) -> Change:
    def change(seen: Observed) -> Observed:
        for item in changes:
            seen = item(seen)
        return seen

    return change


def stamped(topic: str, function: Callable[[list[int]], list[int]]) -> Change:
    """Other stamps whenever they are looked at."""
    return after_one_another(*(stamps_of(topic, function, field) for field in ("stamps", "all_stamps")))


def all_joints(change: Callable[[Joints], Joints], moves: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Other joints whenever they are looked at."""

    def changed(seen: Observed) -> Observed:
        resets = [
            replace(r, joints=change(r.joints), later=change(r.later))
            for r in seen.resets
            if r.joints is not None and r.later is not None
        ]
        went = {
            name: Move(moves(move.before), moves(move.after))
            for name, move in seen.moves.items()
            if move.before is not None and move.after is not None
        }
        return replace(seen, joints=[change(item) for item in seen.joints], resets=resets, moves=went)

    return changed


def picked(places: list[int]) -> Change:
    """Joints of these places only, or in this order, with their names."""

    def change(state: Joints) -> Joints:
        names = tuple(state.names[i] for i in places)
        return replace(
            state,
            names=names,
            position=state.position[places],
            velocity=state.velocity[places],
            effort=state.effort[places],
        )

    whole = sorted(places) == list(range(len(JOINTS)))
    # What the checker looks at after a command is in contract order where each joint is named.
    return all_joints(change, lambda position: position if whole else position[places])


def with_one_more(state: Joints) -> Joints:
    def longer(values: np.ndarray) -> np.ndarray:
        return np.append(values, 0.0)

    return replace(
        state,
        names=(*state.names, "panda_hand_joint"),
        position=longer(state.position),
        velocity=longer(state.velocity),
        effort=longer(state.effort),
    )


def silent(topic: str) -> Change:
    return stamped(topic, lambda _: [])


def without_pictures(seen: Observed) -> Observed:
    return replace(seen, home={}, moved={})


def unseen_cube(seen: Observed) -> Observed:
    resets = [replace(r, poses={BIN: r.poses[BIN]}) for r in seen.resets]
    return replace(with_item("poses", CUBE, [])(seen), cube=None, resets=resets)


def exchanged(pixels: ImageArray) -> ImageArray:
    return pixels[:, :, ::-1]


IMAGES = [contract.image_topic(camera).name for camera in CAMERAS]
INFOS = [contract.camera_info_topic(camera).name for camera in CAMERAS]
UNREADABLE = {"encoding": "rgba8", "step": 1024, "size": 262_144}
ONE_FAULT: dict[str, tuple[Change, set[str]]] = {
    "images without stamps": (
        after_one_another(*(stamped(name, lambda s: [0] * len(s)) for name in IMAGES)),
        {f"rate {name}" for name in IMAGES},
    ),
    "joints without stamps": (
        stamped("/joint_states", lambda s: [0] * len(s)), {"rate /joint_states"}),
    "no camera_info": (
        after_one_another(*map(silent, INFOS), *(with_item("camera_infos", camera, []) for camera in CAMERAS)),
        {f"rate {name}" for name in INFOS},
    ),
    "no pose of the cube": (
        after_one_another(silent(contract.pose_topic(CUBE).name), unseen_cube),
        {f"rate {contract.pose_topic(CUBE).name}"},
    ),
    "pictures that nobody can read": (
        after_one_another(*(with_each("images", c, **UNREADABLE) for c in CAMERAS), without_pictures),
        {f"image {camera}" for camera in CAMERAS},
    ),
    "half the size": (
        after_one_another(
            *(with_each("images", c, width=128, height=128, step=384, size=49_152) for c in CAMERAS),
            *(view(c, lambda pixels: pixels[::2, ::2]) for c in CAMERAS),
        ),
        {f"image {camera}" for camera in CAMERAS},
    ),
    "black pictures": (
        after_one_another(*(view(camera, np.zeros_like) for camera in CAMERAS)),
        {f"{camera} sees cube" for camera in CAMERAS},
    ),
    "one picture again and again": (
        lambda seen: replace(seen, home={c: image(c, arm=False)[::-1] for c in CAMERAS},
                             moved={c: image(c, arm=False)[::-1] for c in CAMERAS}),
        {f"{camera} sees robot" for camera in CAMERAS},
    ),
    "blue called red": (
        after_one_another(*(view(camera, exchanged) for camera in CAMERAS)), {f"{camera} pose" for camera in CAMERAS}),
    "seven joints": (picked(list(range(7))), {"joints names"}),
    "joints backwards": (picked(list(range(8, -1, -1))), {"joints names"}),
    "one joint more": (all_joints(with_one_more, lambda position: position), {"joints names"}),
    "degrees": (
        all_joints(lambda state: replace(state, position=np.degrees(state.position)), np.degrees), {"joints range"}),
    "a position that is never a number": (
        all_joints(lambda state: replace(state, position=np.full(9, math.nan)), lambda p: p * math.nan),
        {"joints finite"},
    ),
    "no velocities": (
        all_joints(lambda state: replace(state, velocity=np.zeros(0)), lambda position: position), {"joints lengths"}),
    "two publishers of the joints": (
        after_one_another(
            lambda seen: with_item("publishers", "/joint_states", seen.publishers["/joint_states"] * 2)(seen),
            stamped("/joint_states", lambda s: sorted(s * 2)),
            lambda seen: replace(seen, publishers_later=seen.publishers),
        ),
        {"topic /joint_states"},
    ),
    "best effort that lost some": (
        after_one_another(
            endpoint(FRONT, reliable=False), stamped(FRONT, lambda s: [*s[:7], *s[8:]]),
            lambda seen: replace(seen, publishers_later=seen.publishers),
        ),
        {f"topic {FRONT}"},
    ),
    "no reset": (
        after_one_another(
            with_item("services", "/sim/reset", None),
            lambda seen: replace(seen, resets=[
                replace(r, accepted=False, first_ns=None, joints=None, poses={}) for r in seen.resets]),
        ),
        {"service /sim/reset"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ONE_FAULT)
def test_one_fault_breaks_its_own_rules_and_no_other(what: str) -> None:
    change, rules = ONE_FAULT[what]
    found = verdicts(change(RIGHT), SCENE)
    assert {verdict.rule for verdict in found if verdict.passed is False} == rules
    # What follows from it is not judged, and says from which.
    causes = {verdict.rule for verdict in found if verdict.passed is not True}
    for verdict in found:
        if verdict.passed is None:
            assert verdict.seen.rpartition("; see ")[2].strip("'") in causes, verdict


def test_a_picture_says_how_it_is_turned() -> None:
    ways: dict[str, Callable[[ImageArray], ImageArray]] = {
        "with red and blue exchanged": exchanged,
        "upside down": lambda pixels: pixels[::-1],
        "mirrored": lambda pixels: pixels[:, ::-1],
        "turned by half": lambda pixels: pixels[::-1, ::-1],
    }
    for words, way in ways.items():
        seen = {v.rule: v.seen for v in verdicts(view("front", way)(RIGHT), SCENE)}["front pose"]
        assert seen.endswith(f"{words} it is there")
