"""What `salus check-sim` saw of a simulator, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from salus_vla.contract import JOINTS
from salus_vla.contract.types import Contact, FloatArray, ImageArray


@dataclass(frozen=True)
class Endpoint:
    """A publisher or subscriber of a topic; `gid` tells it from every other one."""

    type: str
    reliable: bool
    latched: bool
    gid: str


@dataclass(frozen=True)
class Joints:
    """One message on /joint_states; the arrays have the lengths that came."""

    stamp_ns: int
    frame_id: str
    names: tuple[str, ...]
    position: FloatArray
    velocity: FloatArray
    effort: FloatArray

    def ordered(self, values: FloatArray) -> FloatArray:
        """Values of these names in contract order, shape (9,); as they came where a joint is missing or twice."""
        places = {name: place for place, name in enumerate(self.names)}
        if not len(values) == len(self.names) == len(places) or not set(JOINTS) <= places.keys():
            return values
        return np.array([values[places[joint]] for joint in JOINTS])


@dataclass(frozen=True)
class ObservedImage:
    """One message of a camera, without its pixels."""

    stamp_ns: int
    frame_id: str
    encoding: str
    width: int
    height: int
    step: int
    big_endian: bool
    size: int


@dataclass(frozen=True)
class ObservedCameraInfo:
    """One message on a camera_info topic; `d`, `k`, `r`, `p` flat, as they came."""

    stamp_ns: int
    frame_id: str
    width: int
    height: int
    model: str
    d: FloatArray
    k: FloatArray
    r: FloatArray
    p: FloatArray


@dataclass(frozen=True)
class ObservedPose:
    """One ground-truth pose: position [m], shape (3,), quaternion x, y, z, w, shape (4,), both as they came."""

    stamp_ns: int
    frame_id: str
    position: FloatArray
    quaternion: FloatArray


@dataclass(frozen=True)
class ContactReport:
    """One message on /ground_truth/contact; None for contacts that cannot be read."""

    stamp_ns: int
    frame_id: str
    contacts: tuple[Contact, ...] | None


@dataclass(frozen=True)
class ResetSeen:
    """One call of /sim/reset, and what came of it.

    Attributes:
        seed: that was set before.
        cube: position that was asked for, shape (3,) [m]; None where the seed was to draw it.
        accepted: what the services answered: seed and pose were taken, and the reset succeeded.
        answer: message of the answer.
        before_ns: newest stamp on /clock when it was asked.
        first_ns: `stamp_ns` of the answer; None without.
        joints: of the frame with that stamp; None when it did not come.
        later: joints some frames later, in which nothing was commanded.
        poses: of the entities in the frame with that stamp.
        contacts: of the frame with that stamp; None when nothing came.
    """

    seed: int
    cube: tuple[float, ...] | None
    accepted: bool
    answer: str
    before_ns: int
    first_ns: int | None
    joints: Joints | None
    later: Joints | None
    poses: Mapping[str, ObservedPose]
    contacts: ContactReport | None


@dataclass(frozen=True)
class Move:
    """Positions in contract order before a command and after it had time to act, shape (9,); None when none came."""

    before: FloatArray | None
    after: FloatArray | None


@dataclass(frozen=True)
class Observed:
    """Everything that was seen of one simulator.

    Attributes:
        publishers: topic -> its publishers, at the beginning.
        publishers_later: the same after the resets.
        command_readers: subscribers of /joint_command.
        services: name -> types.
        installed: names of the contract's topics whose type could be received here.
        stamps: topic -> stamps of the first listening, in which nothing was commanded or reset, in order of arrival
            [ns].
        all_stamps: the same from the first to the last message, resets included [ns].
        joints, images, camera_infos, poses: messages of the first listening, the latter by camera and entity.
        resets: in order.
        moves: name of an experiment -> what the arm did.
        home: images of the scene with the arm at home, by camera, shape (height, width, 3).
        moved: the same after the arm has moved.
        cube: where ground truth has the cube in `home`, shape (3,) [m]; None without.
    """

    publishers: Mapping[str, tuple[Endpoint, ...]]
    publishers_later: Mapping[str, tuple[Endpoint, ...]]
    command_readers: tuple[Endpoint, ...]
    services: Mapping[str, tuple[str, ...]]
    installed: frozenset[str]
    stamps: Mapping[str, Sequence[int]]
    all_stamps: Mapping[str, Sequence[int]]
    joints: Sequence[Joints]
    images: Mapping[str, Sequence[ObservedImage]]
    camera_infos: Mapping[str, Sequence[ObservedCameraInfo]]
    poses: Mapping[str, Sequence[ObservedPose]]
    resets: Sequence[ResetSeen]
    moves: Mapping[str, Move]
    home: Mapping[str, ImageArray]
    moved: Mapping[str, ImageArray]
    cube: FloatArray | None
