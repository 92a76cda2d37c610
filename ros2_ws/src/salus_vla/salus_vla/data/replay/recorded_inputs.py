"""The recorded inputs of the policy, frame by frame, as the bytes that were recorded."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from salus_vla.contract import (
    CAMERAS,
    CLOCK,
    DECISION_HZ,
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
from salus_vla.data.bags.recorded_observations import (
    HALF_FRAME_NS,
    connections_of,
    holds,
    messages_of,
    opened_bag,
    said_of,
)
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
_FRAME_NS, _SET_NS = round(1e9 / FRAME_HZ), round(1e9 / DECISION_HZ)
_JITTER_NS = _FRAME_NS // 4  # that the stamps of a driver may have
_Waiting = tuple[int, int, str, bytes, int]  # order in a frame, stamp [ns], topic, message, when it was recorded [ns]


@dataclass(frozen=True)
class InputFrame:
    """What the simulator sent in one frame.

    Attributes:
        stamp_ns: stamp of its joint states, sim time [ns].
        messages: topic and serialized message.
        decided: whether it has a camera set, on which the policy decides.
        log_ns: when the last of them was recorded, on the clock of the recording [ns]; says nothing of what was sent.
    """

    stamp_ns: int
    messages: tuple[tuple[str, bytes], ...]
    decided: bool
    log_ns: int = field(compare=False)


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


def read_story(bag: Path, episode: int | None = None, *, decided: bool = True) -> EpisodeStory:
    """Reads the start and the decisions of an episode of a bag.

    Args:
        bag: folder of a finished bag.
        episode: its number; None where the bag holds one only.
        decided: whether it must hold decisions.

    Raises:
        RecordingError: no readable bag, no start of an episode in it, or no safety signals; names the bag.
    """
    with opened_bag(bag) as reader:
        connections = connections_of(reader, bag, (EPISODE,))
        said: list[tuple[Any, bytes]] = [
            (reader.deserialize(raw, item.msgtype), raw) for item, _, raw in reader.messages(connections)
        ]
        if episode is not None:
            ours = said_of(reader, bag, episode)[0]
            said = [item for item in said if (item[0].run_id, item[0].episode) == (ours.run_id, ours.episode)]
        started = [(message, raw) for message, raw in said if message.kind == EventKind.STARTED]
        if len(started) != 1:
            hint = "; --episode N takes one of them" if started else ""
            raise RecordingError(f"{bag}: {EPISODE.name} starts {len(started)} episodes, expected one{hint}")
        signals = connections_of(reader, bag, (SAFETY_SIGNALS,)) if decided else []
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

    The joints of a robot may come more often than 50 Hz and its camera sets more often than 10 Hz: those in between are
    left out. Ground truth and `/clock` may be missing, as in the bag of a real robot.

    Args:
        bag: folder of a finished bag.
        start_ns: stamp of the first frame that counts, that of the episode [ns]; others recorded longer.
        end_ns: likewise of the last one.

    Raises:
        RecordingError: no readable bag, an input is missing, or a camera set is not complete; names bag and topic.
    """
    with opened_bag(bag) as reader:
        wanted = [topic for topic in INPUTS if topic not in (*_POSES, CLOCK) or holds(reader, topic)]
        connections = connections_of(reader, bag, wanted)
        layouts = {item.msgtype: stamp_layout(reader.typestore.fielddefs, item.msgtype) for item in connections}
        joints: list[int] = []  # a heap
        waiting: list[_Waiting] = []
        thinned = _Thinned(bag)
        for connection, log_ns, raw in reader.messages(connections):
            layout = layouts[connection.msgtype]
            stamp_ns = layout.read(connection.topic, bytes(raw)) if layout is not None else None
            if stamp_ns is None:
                raise RecordingError(f"{bag}: {connection.topic}: messages of {connection.msgtype} have no stamp")
            if not is_inside(stamp_ns, start_ns, end_ns):
                continue
            waiting.append((_ORDER[connection.topic], stamp_ns, connection.topic, bytes(raw), log_ns))
            if connection.topic == JOINT_STATES.name:
                heapq.heappush(joints, stamp_ns)
            while joints and stamp_ns > joints[0] + _LATE_NS:
                frame, waiting = thinned.frame(heapq.heappop(joints), waiting)
                if frame is not None:
                    yield frame
        while joints:
            frame, waiting = thinned.frame(heapq.heappop(joints), waiting)
            if frame is not None:
                yield frame


class _Thinned:
    """Makes frames of what waits, no more often than 50 Hz, and with camera sets no more often than 10 Hz."""

    def __init__(self, bag: Path) -> None:
        self._bag = bag
        self._frame_ns = self._set_ns = -_LATE_NS

    def frame(self, stamp_ns: int, waiting: list[_Waiting]) -> tuple[InputFrame | None, list[_Waiting]]:
        """The frame of these joints, and what waits for later ones; None for joints in between."""
        if stamp_ns < self._frame_ns + _FRAME_NS - _JITTER_NS:
            return None, [
                item for item in waiting if item[:3] != (_ORDER[JOINT_STATES.name], stamp_ns, JOINT_STATES.name)
            ]
        own = sorted(item for item in waiting if item[1] <= stamp_ns + HALF_FRAME_NS)
        later = [item for item in waiting if item[1] > stamp_ns + HALF_FRAME_NS]
        own = [item for item in own if item[2] != JOINT_STATES.name or item[1] == stamp_ns]
        pictures = [topic.name for topic in _IMAGES]
        if stamp_ns < self._set_ns + _SET_NS - _JITTER_NS:
            own = [item for item in own if item[2] not in pictures]
        newest = {item[2]: item for item in own}  # of each topic the last in the order of its stamps
        own = [item for item in own if item is newest[item[2]]]
        missing = [topic for topic in pictures if topic not in newest]
        soon = {item[2] for item in later if item[1] <= stamp_ns + HALF_FRAME_NS + _FRAME_NS}
        if missing and len(missing) < len(pictures) and soon.issuperset(missing):
            # The cameras of a robot are not of one moment: the others are of the next frame, and so is the set.
            later += [item for item in own if item[2] in pictures]
            own = [item for item in own if item[2] not in pictures]
            missing = pictures
        if missing and len(missing) < len(pictures):
            raise RecordingError(
                f"{self._bag}: the camera set of stamp {stamp_ns * 1e-9:.2f} s lacks {', '.join(missing)}; "
                "the decision on it cannot be made"
            )
        self._frame_ns = stamp_ns
        if not missing:
            self._set_ns = stamp_ns
        messages = tuple((topic, raw) for _, _, topic, raw, _ in own)
        return InputFrame(stamp_ns, messages, not missing, max(item[4] for item in own)), later
