"""Each rule of `salus check-sim` holds for a right simulator and fails for one that is wrong in one thing."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from salus_vla import contract
from salus_vla.config.scene import load_scene
from salus_vla.contract import CAMERAS, ENTITIES, JOINTS, SIMULATOR_TOPICS
from salus_vla.contract.bodies import BIN, CUBE, TABLE
from salus_vla.contract.types import Contact, ImageArray
from salus_vla.simulation.conformance.experiments import RESETS
from salus_vla.simulation.conformance.observed import (
    ContactReport,
    Endpoint,
    Joints,
    Move,
    Observed,
    ObservedCameraInfo,
    ObservedImage,
    ObservedPose,
    ResetSeen,
)
from salus_vla.simulation.conformance.rules import verdicts

SCENE = load_scene()
HOME = SCENE.robot.home_position
FRAME_NS, DECISION_NS = 20_000_000, 100_000_000
CUBE_PLACE = np.array([0.5, 0.2, 0.025])
STAMPED = [topic.name for topic in SIMULATOR_TOPICS if topic.rate_hz and not topic.optional]
Change = Callable[[Observed], Observed]


# -- a right simulator -------------------------------------------------------------------------------------------------


def joints(stamp_ns: int = FRAME_NS) -> Joints:
    return Joints(stamp_ns, "", JOINTS, np.round(HOME, 4), np.zeros(9), np.zeros(9))


def lens(camera: str) -> ObservedCameraInfo:
    k = np.array([309.019, 0, 128, 0, 309.019, 128, 0, 0, 1])
    p = np.array([309.019, 0, 128, 0, 0, 309.019, 128, 0, 0, 0, 1, 0])
    frame = f"camera_{camera}_optical_frame"
    return ObservedCameraInfo(DECISION_NS, frame, 256, 256, "plumb_bob", np.zeros(5), k, np.eye(3).ravel(), p)


def picture(camera: str) -> ObservedImage:
    return ObservedImage(DECISION_NS, f"camera_{camera}_optical_frame", "rgb8", 256, 256, 768, False, 196_608)


# Column and row of the cube in the embedded simulator's images.
CENTERS = {"front": (184, 168), "side": (104, 170), "top": (85, 117)}


def image(camera: str, *, arm: bool) -> ImageArray:
    """A red square where the cube is, a blue one, and a light one where the arm has gone."""
    pixels = np.full((256, 256, 3), 120, np.uint8)
    column, row = CENTERS[camera]
    pixels[row - 5 : row + 5, column - 5 : column + 5] = (200, 30, 30)
    pixels[10:40, 10:40] = (30, 60, 200)
    if arm:
        pixels[200:240, 200:240] = 230
    return pixels


def placed(position: np.ndarray, stamp_ns: int = FRAME_NS) -> ObservedPose:
    return ObservedPose(stamp_ns, "world", position, np.array([0.0, 0.0, 0.0, 1.0]))


def reset(number: int) -> ResetSeen:
    seed, cube = RESETS[number]
    place = np.array([0.4 + 0.05 * seed, 0.1, 0.025]) if cube is None else np.array(cube)
    stamp_ns = number * 1_000_000_000
    return ResetSeen(
        seed=seed,
        cube=cube,
        accepted=True,
        answer="{}",
        before_ns=stamp_ns - FRAME_NS,
        first_ns=stamp_ns,
        joints=joints(stamp_ns),
        later=joints(stamp_ns + 300_000_000),
        poses={CUBE: placed(place), BIN: placed(np.array([0.45, -0.3, 0.0]))},
        contacts=ContactReport(stamp_ns, "world", (Contact(CUBE, TABLE, 0.49),)),
    )


def moved(**targets: float) -> Move:
    place = HOME.copy()
    for joint, value in targets.items():
        place[JOINTS.index(joint)] = value
    return Move(HOME, place)


def right() -> Observed:
    publishers = {
        topic.name: (Endpoint(topic.type, True, topic.qos.latched, topic.name),) for topic in SIMULATOR_TOPICS
    }
    stamps = {
        topic.name: list(range(0, 2_000_000_001, round(1e9 / topic.rate_hz)))
        for topic in SIMULATOR_TOPICS
        if topic.rate_hz and topic.name in STAMPED
    }
    before = {"panda_joint1": 0.3, "panda_joint4": -2.1}
    kept = before | {"panda_joint4": -2.2}
    newest = Move(moved(**kept).after, moved(**kept | {"panda_joint2": -0.9}).after)
    moves = {"subset": moved(**before), "held": moved(**before), "nan": moved(**kept), "unknown": moved(**kept)}
    return Observed(
        publishers=publishers,
        publishers_later=publishers,
        command_readers=(Endpoint("sensor_msgs/msg/JointState", True, False, "reader"),),
        services={
            "/sim/reset": ("std_srvs/srv/Trigger",),
            "/sim/set_parameters": ("rcl_interfaces/srv/SetParameters",),
        },
        installed=frozenset(publishers),
        stamps=stamps,
        all_stamps={**stamps, contract.CONTACT.name: [0, DECISION_NS]},
        joints=[joints(), joints(2 * FRAME_NS)],
        images={camera: [picture(camera)] for camera in CAMERAS},
        camera_infos={camera: [lens(camera)] for camera in CAMERAS},
        poses={entity: [placed(CUBE_PLACE)] for entity in ENTITIES},
        resets=[reset(number) for number in range(len(RESETS))],
        moves=moves | {"newest": newest},
        home={camera: image(camera, arm=False) for camera in CAMERAS},
        moved={camera: image(camera, arm=True) for camera in CAMERAS},
        cube=CUBE_PLACE,
    )


RIGHT = right()


def test_a_robot_that_measures_no_efforts_keeps_every_rule() -> None:
    numb = with_each("joints", effort=np.zeros(0))(RIGHT)
    assert [verdict for verdict in verdicts(numb, SCENE) if verdict.passed is not True] == []


def test_a_right_simulator_keeps_every_rule() -> None:
    assert [verdict for verdict in verdicts(RIGHT, SCENE) if verdict.passed is not True] == []


def test_rules_have_names_of_their_own() -> None:
    rules = [verdict.rule for verdict in verdicts(RIGHT, SCENE)]
    assert len(set(rules)) == len(rules)


def test_transforms_are_not_asked_for_where_nobody_publishes_them() -> None:
    found = {v.rule: v.passed for v in verdicts(with_item("publishers", "/tf", ())(RIGHT), SCENE)}
    assert found["topic /tf"] is None


# -- one thing wrong ---------------------------------------------------------------------------------------------------


def with_item(field: str, key: str, value: Any) -> Change:
    """Another value in one of the mappings; the key is left out for None."""

    def change(seen: Observed) -> Observed:
        items: dict[str, Any] = {**getattr(seen, field), key: value}
        return replace(seen, **{field: {name: item for name, item in items.items() if item is not None}})  # type: ignore[arg-type]

    return change


def with_each(field: str, key: str | None = None, **changed: Any) -> Change:
    """Other fields in each message."""

    def change(seen: Observed) -> Observed:
        if key is None:
            return replace(seen, **{field: [replace(item, **changed) for item in getattr(seen, field)]})
        return with_item(field, key, [replace(item, **changed) for item in getattr(seen, field)[key]])(seen)

    return change


def with_reset(number: int, **changed: Any) -> Change:
    return lambda seen: replace(
        seen, resets=[replace(r, **changed) if i == number else r for i, r in enumerate(seen.resets)]
    )


def endpoint(topic: str, **changed: Any) -> Change:
    return lambda seen: with_item("publishers", topic, (replace(seen.publishers[topic][0], **changed),))(seen)


def stamps_of(topic: str, function: Callable[[list[int]], list[int]], field: str = "stamps") -> Change:
    return lambda seen: with_item(field, topic, function(list(getattr(seen, field)[topic])))(seen)


def view(camera: str, function: Callable[[ImageArray], ImageArray]) -> Change:
    def change(seen: Observed) -> Observed:
        images: Mapping[str, ImageArray] = {**seen.home, camera: function(seen.home[camera].copy())}
        return replace(seen, home=images, moved={**seen.moved, camera: function(seen.moved[camera].copy())})

    return change


def without_color(low: int) -> Callable[[ImageArray], ImageArray]:
    def grey(pixels: ImageArray) -> ImageArray:
        pixels[pixels[:, :, low] >= 200] = 120
        return pixels

    return grey


FRONT, SIDE = contract.image_topic("front").name, contract.image_topic("side").name
FRONT_INFO = contract.camera_info_topic("front").name
OTHER_PLACE = {CUBE: placed(np.array([0.6, 0.3, 0.025]))}
WRONG: dict[str, tuple[Change, str]] = {
    **{f"no {topic.name}": (with_item("publishers", topic.name, ()), f"topic {topic.name}")
       for topic in SIMULATOR_TOPICS if not topic.optional},
    **{f"{topic.name} of another type": (endpoint(topic.name, type="std_msgs/msg/Empty"), f"topic {topic.name}")
       for topic in SIMULATOR_TOPICS},
    **{f"{topic.name} best effort": (endpoint(topic.name, reliable=False), f"topic {topic.name}")
       for topic in SIMULATOR_TOPICS},
    **{f"{topic.name} of another durability": (
        endpoint(topic.name, latched=not topic.qos.latched), f"topic {topic.name}") for topic in SIMULATOR_TOPICS},
    "two clocks": (lambda seen: with_item("publishers", "/clock", seen.publishers["/clock"] * 2)(seen), "topic /clock"),
    "nobody reads commands": (lambda seen: replace(seen, command_readers=()), "reads /joint_command"),
    "no reset": (with_item("services", "/sim/reset", None), "service /sim/reset"),
    "a reset of another type": (with_item("services", "/sim/reset", ("std_srvs/srv/Empty",)), "service /sim/reset"),
    "no parameters": (with_item("services", "/sim/set_parameters", None), "service /sim/set_parameters"),
    **{f"half the rate of {name}": (stamps_of(name, lambda s: s[::2]), f"rate {name}") for name in STAMPED},
    **{f"a hole in {name}": (stamps_of(name, lambda s: [*s[:7], *s[8:]]), f"rate {name}") for name in STAMPED},
    **{f"silence of {name}": (stamps_of(name, lambda _: []), f"rate {name}") for name in STAMPED},
    **{f"{name} jumps back": (stamps_of(name, lambda s: [*s, 0], "all_stamps"), f"monotonic {name}")
       for name in [*STAMPED, contract.CONTACT.name]},
    "a repeated clock": (stamps_of("/clock", lambda s: [*s, s[-1]], "all_stamps"), "monotonic /clock"),
    **{f"{camera}_info of another stamp": (
        stamps_of(contract.camera_info_topic(camera).name, lambda s: [t + 1 for t in s]),
        f"image and camera_info {camera}") for camera in CAMERAS},
    "images between joints": (stamps_of(SIDE, lambda s: [t + FRAME_NS // 2 for t in s]), "joints of each image"),
    "joints of another clock": (
        stamps_of("/joint_states", lambda s: [t + 10**15 for t in s]), "stamps are sim time"),
    "another order of joints": (with_each("joints", names=JOINTS[::-1]), "joints names"),
    "eight joints": (with_each("joints", position=HOME[:8]), "joints lengths"),
    "eight efforts": (with_each("joints", effort=np.zeros(8)), "joints lengths"),
    "an effort that is not a number": (with_each("joints", effort=np.full(9, np.inf)), "joints effort"),
    "a position that is not a number": (with_each("joints", position=np.full(9, np.nan)), "joints finite"),
    "a velocity that is not a number": (with_each("joints", velocity=np.full(9, np.nan)), "joints velocity"),
    "joints in degrees": (with_each("joints", position=np.degrees(HOME)), "joints range"),
    "joints in a frame": (with_each("joints", frame_id="base"), "joints frame_id"),
    **{f"{name} of {camera}": (with_each("images", camera, **{name: value}), f"image {camera}")
       for camera in CAMERAS
       for name, value in {"encoding": "bgr8", "width": 128, "height": 128, "step": 800, "big_endian": True,
                           "size": 100, "frame_id": "sim_camera"}.items()},
    **{f"{name} of the lens {camera}": (with_each("camera_infos", camera, **{name: value}), f"camera_info {camera}")
       for camera in CAMERAS
       for name, value in {"k": lens(camera).k * 1.1, "p": np.zeros(12), "r": np.zeros(9), "d": np.full(5, 0.1),
                           "model": "equidistant", "width": 128, "frame_id": ""}.items()},
    "no lens": (with_item("camera_infos", "top", []), "camera_info top"),
    **{f"{entity} in another frame": (with_each("poses", entity, frame_id="map"), f"pose {entity}")
       for entity in ENTITIES},
    "a quaternion of no length": (with_each("poses", CUBE, quaternion=np.zeros(4)), f"pose {CUBE}"),
    "a place that is not a number": (with_each("poses", CUBE, position=np.full(3, np.nan)), f"pose {CUBE}"),
    "a refused reset": (with_reset(1, accepted=False), "reset accepted"),
    "an answer without a stamp": (with_reset(1, first_ns=None), "reset answer"),
    "a clock that starts anew": (with_reset(3, first_ns=0), "reset clock goes on"),
    "a clock that leaps": (with_reset(3, first_ns=10**12), "reset clock goes on"),
    "publishers made anew": (
        lambda seen: replace(seen, publishers_later={**seen.publishers, "/clock": ()}), "reset publishers live on"),
    "an arm left where it was": (
        with_reset(2, joints=replace(joints(), position=HOME + 0.2)), "reset arm at home"),
    "an arm that goes on": (with_reset(2, joints=replace(joints(), velocity=np.full(9, 0.3))), "reset arm at home"),
    "no joints after a reset": (with_reset(2, joints=None), "reset arm at home"),
    "targets left": (with_reset(2, later=replace(joints(), position=HOME + 0.2)), "reset targets at home"),
    "a pose not taken": (with_reset(0, poses=OTHER_PLACE), "reset with a pose"),
    "another draw of a seed": (with_reset(3, poses=OTHER_PLACE), "reset with a seed again"),
    "the same draw of every seed": (with_reset(2, poses=reset(1).poses), "reset with another seed"),
    "no contacts": (with_reset(1, contacts=None), "contact after a reset"),
    "contacts that cannot be read": (with_reset(1, contacts=ContactReport(0, "world", None)), "contact after a reset"),
    "contacts in another frame": (
        with_reset(1, contacts=replace(reset(1).contacts, frame_id="map")), "contact after a reset"),  # type: ignore[type-var]
    "a heavy cube": (
        with_reset(1, contacts=ContactReport(0, "world", (Contact(CUBE, TABLE, 5.0),))), "contact after a reset"),
    "commands by place": (with_item("moves", "subset", moved(panda_joint1=-2.1, panda_joint2=0.3)), "command subset"),
    "commands not heard": (with_item("moves", "subset", Move(None, None)), "command subset"),
    "targets not held": (with_item("moves", "held", moved()), "command held"),
    "nan is zero": (with_item("moves", "nan", moved(panda_joint1=0.0, panda_joint4=-2.2)), "command nan"),
    "nan everywhere": (with_item("moves", "nan", Move(HOME, np.full(9, math.nan))), "command nan"),
    "the known names obeyed": (
        with_item("moves", "unknown", moved(panda_joint1=0.0, panda_joint4=-2.2)), "command unknown"),
    "an older command first": (
        with_item("moves", "newest", Move(moved().after, moved(panda_joint2=-0.6).after)),
        "command newest"),
    "no command at all": (with_item("moves", "newest", None), "command newest"),
    **{f"{camera} black": (view(camera, np.zeros_like), f"{camera} sees cube") for camera in CAMERAS},
    **{f"{camera} without the cube": (view(camera, without_color(0)), f"{camera} sees cube") for camera in CAMERAS},
    **{f"{camera} without the bin": (view(camera, without_color(2)), f"{camera} sees bin") for camera in CAMERAS},
    **{f"{camera} stands still": (lambda seen, camera=camera: with_item("moved", camera, seen.home[camera])(seen),
                                 f"{camera} sees robot") for camera in CAMERAS},
    **{f"{camera} mirrored": (view(camera, lambda pixels: pixels[:, ::-1]), f"{camera} pose") for camera in CAMERAS},
    **{f"{camera} upside down": (view(camera, lambda pixels: pixels[::-1]), f"{camera} pose") for camera in CAMERAS},
    "no picture": (with_item("home", "top", None), "top sees cube"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_simulator_breaks_its_rule(what: str) -> None:
    change, rule = WRONG[what]
    broken = {verdict.rule: verdict.seen for verdict in verdicts(change(RIGHT), SCENE) if verdict.passed is False}
    assert rule in broken
    assert len(broken) <= 4, "one thing wrong breaks its rule and what it means, not the table"


def test_every_rule_is_broken_by_something() -> None:
    assert {verdict.rule for verdict in verdicts(RIGHT, SCENE)} <= {rule for _, rule in WRONG.values()}


# -- one fault in everything that a simulator sends --------------------------------------------------------------------


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
