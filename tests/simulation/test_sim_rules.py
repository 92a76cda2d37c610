"""Each rule of `salus check-sim` holds for a right simulator and fails for one that is wrong in one thing."""

import math
from dataclasses import replace

import numpy as np
import pytest

from right_simulator import (
    FRAME_NS,
    HOME,
    RIGHT,
    SCENE,
    STAMPED,
    Change,
    endpoint,
    joints,
    lens,
    moved,
    placed,
    reset,
    stamps_of,
    view,
    with_each,
    with_item,
    with_reset,
    without_color,
)
from salus_vla import contract
from salus_vla.contract import CAMERAS, ENTITIES, JOINTS, SIMULATOR_TOPICS
from salus_vla.contract.bodies import CUBE, TABLE
from salus_vla.contract.types import Contact
from salus_vla.simulation.conformance.observed import (
    ContactReport,
    Move,
)
from salus_vla.simulation.conformance.rules import verdicts


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
