"""What a right simulator shows to `salus check-sim`, and ways to make it wrong."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

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

SCENE = load_scene()
HOME = SCENE.robot.home_position
FRAME_NS, DECISION_NS = 20_000_000, 100_000_000
CUBE_PLACE = np.array([0.5, 0.2, 0.025])
STAMPED = [topic.name for topic in SIMULATOR_TOPICS if topic.rate_hz and not topic.optional]
Change = Callable[[Observed], Observed]


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


# -- changes -----------------------------------------------------------------------------------------------------------


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
