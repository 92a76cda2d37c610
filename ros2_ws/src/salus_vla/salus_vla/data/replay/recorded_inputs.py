"""The recorded inputs of the policy, frame by frame, as the bytes that were recorded."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader

from salus_vla.contract import (
    CAMERAS,
    CLOCK,
    ENTITIES,
    EPISODE,
    FRAME_HZ,
    JOINT_STATES,
    SAFETY_SIGNALS,
    Topic,
    image_topic,
    pose_topic,
)
from salus_vla.contract.errors import RecordingError
from salus_vla.contract.message_readers import EventKind, stamp_of
from salus_vla.data.bags.recorded_observations import HALF_FRAME_NS, connections_of, messages_of, opened_bag
from salus_vla.data.bags.stamps import stamp_layout
from salus_vla.data.replay.comparison import RecordedDecision

FACTS = "policy."  # prefix of what the policy's node says of itself in the provenance of a bag
_IMAGES = tuple(image_topic(camera) for camera in CAMERAS)
_POSES = tuple(pose_topic(entity) for entity in ENTITIES)
# In the order in which the simulator publishes them.
INPUTS: tuple[Topic, ...] = (JOINT_STATES, CLOCK, *_POSES, *_IMAGES)
_ORDER = {topic.name: index for index, topic in enumerate(INPUTS)}
# A message may come this long after its frame: a bag of `ros2 bag record` is in the order of arrival.
_LATE_NS = round(5e9 / FRAME_HZ)


@dataclass(frozen=True)
class InputFrame:
    """What the simulator sent in one frame.

    Attributes:
        stamp_ns: stamp of its joint states, sim time [ns].
        messages: topic and serialized message.
        decided: whether it has a camera set, on which the policy decides.
    """

    stamp_ns: int
    messages: tuple[tuple[str, bytes], ...]
    decided: bool


@dataclass(frozen=True)
class EpisodeStory:
    """What is recorded beside the frames of an episode.

    Attributes:
        start_ns: stamp of the first observation, sim time [ns].
        end_ns: stamp of the terminal one; None where the bag does not hold the end.
        started: the serialized message that starts the episode.
        decisions: what the recorded messages on /salus/safety_signals say, in order.
    """

    start_ns: int
    end_ns: int | None
    started: bytes
    decisions: tuple[RecordedDecision, ...]


def read_story(bag: Path) -> EpisodeStory:
    """Reads the start and the decisions of the episode of a bag.

    Raises:
        RecordingError: no readable bag, no start of an episode in it, or no safety signals; names the bag.
    """
    with opened_bag(bag) as reader:
        connections = connections_of(reader, bag, (EPISODE,))
        said: list[tuple[Any, bytes]] = [
            (reader.deserialize(raw, item.msgtype), raw) for item, _, raw in reader.messages(connections)
        ]
        started = [(message, raw) for message, raw in said if message.kind == EventKind.STARTED]
        if len(started) != 1:
            raise RecordingError(f"{bag}: {EPISODE.name} starts {len(started)} episodes, expected one")
        signals = connections_of(reader, bag, (SAFETY_SIGNALS,))
        decisions = tuple(RecordedDecision.of(message) for _, message in messages_of(reader, signals))
        message, raw = started[0]
        start_ns = stamp_of(message)
        ends = [stamp_of(item) for item, _ in said if item.kind == EventKind.ENDED and item.episode == message.episode]
        end_ns = ends[-1] if ends else None
        inside = tuple(item for item in decisions if is_inside(item.stamp_ns, start_ns, end_ns))
        return EpisodeStory(start_ns, end_ns, bytes(raw), inside)


def is_inside(stamp_ns: int, start_ns: int, end_ns: int | None) -> bool:
    """Whether a stamp is of the first observation, the terminal one or between them; to half a frame, all in [ns]."""
    return start_ns - HALF_FRAME_NS <= stamp_ns and (end_ns is None or stamp_ns <= end_ns + HALF_FRAME_NS)


def read_frames(bag: Path, start_ns: int = 0, end_ns: int | None = None) -> Iterator[InputFrame]:
    """Reads the frames of a bag in order; holds a few of them in memory at a time.

    Args:
        bag: folder of a finished bag.
        start_ns: stamp of the first frame that counts, that of the episode [ns]; others recorded longer.
        end_ns: likewise of the last one.

    Raises:
        RecordingError: no readable bag, an input is missing, or a camera set is not complete; names bag and topic.
    """
    with opened_bag(bag) as reader:
        wanted = [topic for topic in INPUTS if topic not in _POSES or _holds(reader, topic)]
        connections = connections_of(reader, bag, wanted)
        layouts = {item.msgtype: stamp_layout(reader.typestore.fielddefs, item.msgtype) for item in connections}
        joints: list[int] = []  # a heap
        waiting: list[tuple[int, int, str, bytes]] = []
        for connection, _, raw in reader.messages(connections):
            layout = layouts[connection.msgtype]
            stamp_ns = layout.read(connection.topic, bytes(raw)) if layout is not None else None
            if stamp_ns is None:
                raise RecordingError(f"{bag}: {connection.topic}: messages of {connection.msgtype} have no stamp")
            if not is_inside(stamp_ns, start_ns, end_ns):
                continue
            waiting.append((_ORDER[connection.topic], stamp_ns, connection.topic, bytes(raw)))
            if connection.topic == JOINT_STATES.name:
                heapq.heappush(joints, stamp_ns)
            while joints and stamp_ns > joints[0] + _LATE_NS:
                frame, waiting = _frame(bag, heapq.heappop(joints), waiting)
                yield frame
        while joints:
            frame, waiting = _frame(bag, heapq.heappop(joints), waiting)
            yield frame


def _holds(reader: AnyReader, topic: Topic) -> bool:
    return any(item.topic == topic.name and item.msgcount for item in reader.connections)


def _frame(
    bag: Path, stamp_ns: int, waiting: list[tuple[int, int, str, bytes]]
) -> tuple[InputFrame, list[tuple[int, int, str, bytes]]]:
    """The frame of these joints, and what waits for later ones."""
    own = sorted(item for item in waiting if item[1] <= stamp_ns + HALF_FRAME_NS)
    later = [item for item in waiting if item[1] > stamp_ns + HALF_FRAME_NS]
    present = {topic for _, _, topic, _ in own}
    missing = [topic.name for topic in _IMAGES if topic.name not in present]
    if missing and len(missing) < len(_IMAGES):
        raise RecordingError(
            f"{bag}: the camera set of stamp {stamp_ns * 1e-9:.2f} s lacks {', '.join(missing)}; "
            "the decision on it cannot be repeated"
        )
    return InputFrame(stamp_ns, tuple((topic, raw) for _, _, topic, raw in own), not missing), later
