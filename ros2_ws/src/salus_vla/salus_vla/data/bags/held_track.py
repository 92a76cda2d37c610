"""Whether the cube was held in each frame of a bag: the rules of the task over what was recorded, as they ran live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from salus_vla.config.scene import load_scene
from salus_vla.contract import CONTACT, ENTITIES, JOINT_STATES, Topic, pose_topic
from salus_vla.contract.message_readers import joint_positions, to_contacts, to_pose
from salus_vla.data.bags.recorded_observations import HALF_FRAME_NS, read_message
from salus_vla.data.recording import HeldTrack
from salus_vla.episode.frame_assembly import FrameAssembler
from salus_vla.episode.outcome_monitor import TaskMonitor

_ENTITY = {pose_topic(entity).name: entity for entity in ENTITIES}


def held_track(messages: Sequence[tuple[int, Topic, Any]], start_ns: int, end_ns: int | None, where: str) -> HeldTrack:
    """Feeds the task's rules with the frames of an episode.

    Args:
        messages: stamp [ns], topic and message of joints, poses and contacts, by stamp.
        start_ns: of the first observation [ns].
        end_ns: of the terminal one [ns]; None for the last frame.
        where: names the bag in errors.

    Raises:
        RecordingError: a message breaks the contract.
    """
    frames = FrameAssembler()
    frames.forget_before(start_ns)
    monitor = TaskMonitor(load_scene(), max_decisions=10**9)  # no clock: only grasps are asked for
    monitor.start(start_ns)
    stamps: list[int] = []
    held: list[bool] = []

    def advance() -> None:
        for frame in frames.take():
            assert frame.joint_position is not None
            monitor.update(frame.stamp_ns, frame.joint_position, frame.poses, frame.contacts)
            stamps.append(frame.stamp_ns)
            held.append(monitor.holding)

    for stamp_ns, topic, message in messages:
        if stamp_ns < start_ns - HALF_FRAME_NS or (end_ns is not None and stamp_ns > end_ns + 3 * HALF_FRAME_NS):
            continue
        name = f"{where}: {topic.name}"
        if topic is JOINT_STATES:
            frames.add_joints(stamp_ns, read_message(joint_positions, message, name))
        elif topic is CONTACT:
            frames.add_contacts(stamp_ns, read_message(to_contacts, message, name))
        else:
            frames.add_pose(_ENTITY[topic.name], stamp_ns, read_message(to_pose, message, name))
        advance()
    return HeldTrack(np.array(stamps, dtype=np.int64), np.array(held, dtype=np.bool_))
