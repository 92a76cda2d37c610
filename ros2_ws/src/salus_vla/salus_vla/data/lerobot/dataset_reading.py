"""Reads an episode of a bag or of a rollout: observations one by one, commands, and what the policy wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import ARM_DOF, CAMERAS, JOINT_COMMAND, JOINTS, SAFETY_SIGNALS, pose_topic
from salus_vla.contract.errors import RecordingError
from salus_vla.contract.messages import joint_positions, stamp_of
from salus_vla.contract.types import FloatArray, Observation
from salus_vla.data.bags import recorded_observations as bags
from salus_vla.data.lerobot.sources import Source
from salus_vla.data.rollouts import rollout_store

_CUBE = pose_topic("red_cube")


@dataclass(frozen=True)
class Recording:
    """An opened episode.

    Attributes:
        observations: number of the decision and what was decided on, in order; read while it is iterated. The terminal
            observation may be among them.
        command_stamps_ns: of the frames that were answered, ascending, (F,) [ns].
        commands: the answers, (F, 9) [rad, m].
        cube_stamps_ns: of the cube's poses, ascending, (P,) [ns]; empty when they were not asked for.
        cube_poses: x y z [m] and quaternion x y z w, (P, 7).
        planned: what the policy wanted by number of the decision, (8,), or (7,) where the gripper was not recorded;
            empty when it was not asked for.
    """

    observations: Iterator[tuple[int, Observation]]
    command_stamps_ns: NDArray[np.int64]
    commands: FloatArray
    planned: dict[int, FloatArray]
    cube_stamps_ns: NDArray[np.int64]
    cube_poses: FloatArray


def open_source(source: Source, *, planned: bool, ground_truth: bool = False) -> Recording:
    """Opens a recorded episode.

    Args:
        source: the episode.
        planned: whether to read what the policy wanted; a bag must then hold the safety signals.
        ground_truth: whether to read where the cube was; a bag must then hold that topic.

    Raises:
        RecordingError: it cannot be read, lacks a topic or its images, or is not the episode that its run lists; names
            the bag or file. While the observations are read, too.
    """
    return _open_rollout(source) if source.rollout else _open_bag(source, planned, ground_truth)


def _open_rollout(source: Source) -> Recording:
    stored = rollout_store.read_episode(source.path)
    if not stored.images:
        raise RecordingError(f"{source.path}: has no images; `salus rollout` was run without them")
    if sorted(stored.images) != sorted(CAMERAS):
        raise RecordingError(f"{source.path}: has images of {sorted(stored.images)}, expected {sorted(CAMERAS)}")

    def observations() -> Iterator[tuple[int, Observation]]:
        for number, stamp_ns in enumerate(stored.stamps_ns.tolist()):
            images = {camera: stored.images[camera][number] for camera in CAMERAS}
            yield number, Observation(stamp_ns, images, stored.joint_position[number], stored.task)

    return Recording(
        observations(),
        stored.command_stamps_ns,
        stored.commands,
        dict(enumerate(stored.planned)),
        stored.frame_stamps_ns,
        stored.cube_pose,
    )


def _open_bag(source: Source, with_plans: bool, ground_truth: bool) -> Recording:
    path = source.path
    with bags.opened_bag(path) as reader:
        _check_listed(bags.episode_of(reader, path), source)
        where = f"{path}: {JOINT_COMMAND.name}"
        connections = bags.connections_of(reader, path, (JOINT_COMMAND,))
        answers = [
            (stamp_of(message), bags.read_message(joint_positions, message, where))
            for _, message in bags.messages_of(reader, connections)
        ]
        connections = bags.connections_of(reader, path, (SAFETY_SIGNALS,)) if with_plans else []
        planned = {
            int(message.decision): _planned_arm(message.member_actions, int(message.members), source)
            for _, message in bags.messages_of(reader, connections)
        }
        connections = bags.connections_of(reader, path, (_CUBE,)) if ground_truth else []
        poses = [(stamp_of(message), _pose(message)) for _, message in bags.messages_of(reader, connections)]
    poses.sort(key=lambda pose: pose[0])
    answers.sort(key=lambda answer: answer[0])
    return Recording(
        bags.read_observations(path),
        np.array([stamp for stamp, _ in answers], dtype=np.int64),
        np.array([position for _, position in answers], dtype=np.float64).reshape(-1, len(JOINTS)),
        planned,
        np.array([stamp for stamp, _ in poses], dtype=np.int64),
        np.array([pose for _, pose in poses], dtype=np.float64).reshape(-1, 7),
    )


def _pose(message: Any) -> list[float]:
    at, turn = message.pose.position, message.pose.orientation
    return [at.x, at.y, at.z, turn.x, turn.y, turn.z, turn.w]


def _check_listed(found: bags.RecordedEpisode, source: Source) -> None:
    for what, here, listed in (
        ("seed", found.seed, source.seed),
        ("outcome", found.outcome.name, source.outcome.name),
        ("task", found.task, source.task),
    ):
        if here != listed:
            raise RecordingError(f"{source.path}: has {what} {here!r}, run.json of {source.run} says {listed!r}")


def _planned_arm(member_actions: NDArray[np.float32], members: int, source: Source) -> FloatArray:
    """Mean over the members of the first row of their chunks, (7,) [rad]."""
    if members < 1 or len(member_actions) != members * ARM_DOF:
        raise RecordingError(
            f"{source.path}: {SAFETY_SIGNALS.name}: has {len(member_actions)} member_actions of {members} members, "
            f"expected {ARM_DOF} each"
        )
    actions = np.asarray(member_actions, dtype=np.float64).reshape(members, ARM_DOF)
    mean: FloatArray = actions.mean(axis=0)
    return mean
