"""Hears a simulator for `salus check-sim`: what comes on its topics becomes plain data, `conformance.observed`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rclpy.subscription import Subscription

from salus_vla import contract
from salus_vla.contract import CAMERAS, ENTITIES, SIMULATOR_TOPICS, Topic
from salus_vla.contract.errors import MessageError
from salus_vla.contract.types import ImageArray
from salus_vla.ros.adapters.image_messages import to_array
from salus_vla.ros.adapters.messages import to_contacts, to_ns
from salus_vla.ros.adapters.qos_profiles import interface_class, qos_profile
from salus_vla.ros.clients.connection import Connection
from salus_vla.simulation.conformance.observed import (
    ContactReport,
    Endpoint,
    Joints,
    ObservedCameraInfo,
    ObservedImage,
    ObservedPose,
)

_DEPTH = 200  # the simulator's queue decides what is lost, not ours


class SimListener(Connection):
    """Receives every topic of a simulator.

    Attributes:
        stamps: topic -> stamps since the last `forget` [ns].
        all_stamps: the same since the beginning.
        counts: topic -> messages since the last `forget`.
        joints, images, camera_infos, poses, contacts: messages since the last `forget`.
        pixels: camera -> stamp and pixels of the newest image that could be read.
        on_joints: called with each message on /joint_states.
        on_clock: called with each time on /clock [ns].
    """

    def __init__(self, name: str) -> None:
        """Subscribes to every topic whose type is installed."""
        super().__init__(name)
        self.on_joints: Callable[[Joints], None] = lambda _: None
        self.on_clock: Callable[[int], None] = lambda _: None
        self._subscriptions: dict[str, Subscription] = {}
        self.all_stamps: dict[str, list[int]] = {}
        self.pixels: dict[str, tuple[int, ImageArray]] = {}
        self.newest: dict[str, int] = {}
        self.forget()
        self.installed = frozenset(topic.name for topic in SIMULATOR_TOPICS if self._subscribe(topic))

    def forget(self) -> None:
        """Drops what was received; the newest stamps and pixels stay."""
        self.stamps: dict[str, list[int]] = {name: [] for name in self.all_stamps}
        self.counts: dict[str, int] = {}
        self.joints: list[Joints] = []
        self.images: dict[str, list[ObservedImage]] = {camera: [] for camera in CAMERAS}
        self.camera_infos: dict[str, list[ObservedCameraInfo]] = {camera: [] for camera in CAMERAS}
        self.poses: dict[str, list[ObservedPose]] = {entity: [] for entity in ENTITIES}
        self.contacts: list[ContactReport] = []

    # -- graph ---------------------------------------------------------------------------------------------------------

    def publishers(self) -> dict[str, tuple[Endpoint, ...]]:
        """Publishers of every topic of a simulator."""
        found = self.node.get_publishers_info_by_topic
        return {topic.name: tuple(map(_endpoint, found(topic.name))) for topic in SIMULATOR_TOPICS}

    def command_readers(self) -> tuple[Endpoint, ...]:
        """Subscribers of /joint_command."""
        return tuple(map(_endpoint, self.node.get_subscriptions_info_by_topic(contract.JOINT_COMMAND.name)))

    def services(self) -> Mapping[str, tuple[str, ...]]:
        """Every service of the graph and its types."""
        return {name: tuple(types) for name, types in self.node.get_service_names_and_types()}

    # -- topics --------------------------------------------------------------------------------------------------------

    def _subscribe(self, topic: Topic) -> bool:
        try:
            kind = interface_class(topic)
        except ImportError:
            if topic.optional:
                return False
            raise
        qos = qos_profile(topic.qos, depth=_DEPTH)
        self._subscriptions[topic.name] = self.node.create_subscription(kind, topic.name, self._reader(topic), qos)
        return True

    def hear_best_effort(self) -> None:
        """Hears what is published best effort as well: the rule of its QoS says so, and no other rule breaks by it."""
        for topic in SIMULATOR_TOPICS:
            offered = self.publishers()[topic.name]
            if topic.name in self._subscriptions and offered and not any(item.reliable for item in offered):
                self.node.destroy_subscription(self._subscriptions.pop(topic.name))
                qos = qos_profile(topic.qos, depth=_DEPTH)
                qos.reliability = ReliabilityPolicy.BEST_EFFORT
                self.node.create_subscription(interface_class(topic), topic.name, self._reader(topic), qos)

    def _reader(self, topic: Topic) -> Callable[[Any], None]:
        takes: dict[str, Callable[[Any], None]] = {
            contract.JOINT_STATES.name: self._take_joints,
            contract.CONTACT.name: lambda message: self.contacts.append(_contact_report(message)),
        }
        for entity in ENTITIES:
            takes[contract.pose_topic(entity).name] = partial(self._take_pose, entity)
        for camera in CAMERAS:
            takes[contract.image_topic(camera).name] = partial(self._take_image, camera)
            takes[contract.camera_info_topic(camera).name] = partial(self._take_camera_info, camera)
        take = takes.get(topic.name)

        def read(message: Any) -> None:
            self.counts[topic.name] = self.counts.get(topic.name, 0) + 1
            stamp = (
                message.clock if hasattr(message, "clock") else getattr(getattr(message, "header", None), "stamp", None)
            )
            if stamp is not None:
                self.newest[topic.name] = to_ns(stamp)
                for stamps in (self.stamps, self.all_stamps):
                    stamps.setdefault(topic.name, []).append(to_ns(stamp))
            if take is not None:
                take(message)
            if topic is contract.CLOCK:
                self.on_clock(to_ns(message.clock))

        return read

    def _take_joints(self, message: Any) -> None:
        joints = Joints(
            to_ns(message.header.stamp),
            message.header.frame_id,
            tuple(message.name),
            np.array(message.position),
            np.array(message.velocity),
            np.array(message.effort),
        )
        self.joints.append(joints)
        self.on_joints(joints)

    def _take_pose(self, entity: str, message: Any) -> None:
        self.poses[entity].append(_placed(message))

    def _take_camera_info(self, camera: str, message: Any) -> None:
        self.camera_infos[camera].append(_lens(message))

    def _take_image(self, camera: str, message: Any) -> None:
        stamp_ns = to_ns(message.header.stamp)
        self.images[camera].append(
            ObservedImage(
                stamp_ns,
                message.header.frame_id,
                message.encoding,
                message.width,
                message.height,
                message.step,
                bool(message.is_bigendian),
                len(message.data),
            )
        )
        with contextlib.suppress(MessageError):  # the rule of its form says so
            self.pixels[camera] = (stamp_ns, to_array(message))


def _endpoint(info: Any) -> Endpoint:
    qos = info.qos_profile
    return Endpoint(
        info.topic_type,
        qos.reliability == ReliabilityPolicy.RELIABLE,
        qos.durability == DurabilityPolicy.TRANSIENT_LOCAL,
        bytes(info.endpoint_gid).hex(),
    )


def _lens(message: Any) -> ObservedCameraInfo:
    arrays = (np.array(getattr(message, name)) for name in ("d", "k", "r", "p"))
    stamp_ns, frame = to_ns(message.header.stamp), message.header.frame_id
    return ObservedCameraInfo(stamp_ns, frame, message.width, message.height, message.distortion_model, *arrays)


def _placed(message: Any) -> ObservedPose:
    point, turn = message.pose.position, message.pose.orientation
    return ObservedPose(
        to_ns(message.header.stamp),
        message.header.frame_id,
        np.array([point.x, point.y, point.z]),
        np.array([turn.x, turn.y, turn.z, turn.w]),
    )


def _contact_report(message: Any) -> ContactReport:
    try:
        contacts = to_contacts(message)
    except MessageError:
        contacts = None
    return ContactReport(to_ns(message.header.stamp), message.header.frame_id, contacts)
