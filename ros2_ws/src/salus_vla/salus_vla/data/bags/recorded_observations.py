"""What the policy saw in a recorded episode: the observations of its bag one by one, without ROS.

Images and joints are matched by stamp as in the graph, so what is read equals what was decided on, bit for bit.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection

from salus_vla.contract import CAMERAS, EPISODE, FRAME_HZ, JOINT_STATES, SAFETY_SIGNALS, Topic, image_topic
from salus_vla.contract.errors import MessageError, RecordingError
from salus_vla.contract.message_readers import EventKind, check_image, image_view, joint_positions, stamp_of
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import ImageArray, Observation
from salus_vla.control.observation_matcher import ObservationMatcher

HALF_FRAME_NS = round(0.5e9 / FRAME_HZ)
_CAMERA_OF = {image_topic(camera).name: camera for camera in CAMERAS}


@dataclass(frozen=True)
class RecordedEpisode:
    """What a bag's messages on /salus/episode say.

    Attributes:
        seed: of the scene and of the policy's noise.
        task: instruction given to the policy.
        outcome: how the episode ended; RUNNING in a bag that does not hold its end (interrupted and recovered).
    """

    seed: int
    task: str
    outcome: Outcome


def read_episode(bag: Path, episode: int | None = None) -> RecordedEpisode:
    """Reads seed, task and outcome of an episode of a bag.

    Args:
        bag: folder of a finished bag.
        episode: its number; None where the bag holds one only.

    Raises:
        RecordingError: no readable bag, or not that episode; names the bag.
    """
    with opened_bag(bag) as reader:
        return episode_of(reader, bag, episode)


def read_observations(
    bag: Path, episode: int | None = None, task: str | None = None
) -> Iterator[tuple[int, Observation]]:
    """Reads the camera sets of a bag with the joints of their stamp, in order; holds a few sets in memory at a time.

    The number is that of the decision made on the set, from the bag's safety signals. Sets that were not decided on
    (overtaken by newer ones in realtime) are left out. In a bag without safety signals all sets are counted from 0.

    Args:
        bag: folder of a finished bag.
        episode: whose instruction the observations have; None where the bag holds one only.
        task: the instruction instead, of a bag that does not hold it.

    Yields:
        Number of the decision in the episode, and what was decided on. The images are copies, owned by the caller.

    Raises:
        RecordingError: no readable bag, a topic is missing, or a message is not of the contract; names the bag.
    """
    with opened_bag(bag) as reader:
        task = episode_of(reader, bag, episode).task if task is None else task
        numbers = _Numbers(reader)
        matcher = ObservationMatcher(HALF_FRAME_NS)
        connections = connections_of(reader, bag, (JOINT_STATES, *map(image_topic, CAMERAS)))
        for topic, message in messages_of(reader, connections):
            where = f"{bag}: {topic}"
            camera = _CAMERA_OF.get(topic)
            if camera is None:
                observation = matcher.add_joints(stamp_of(message), read_message(joint_positions, message, where), task)
            else:
                observation = matcher.add_image(
                    camera, stamp_of(message), read_message(image_copy, message, where), task
                )
            if observation is not None and (number := numbers.of(observation.stamp_ns)) is not None:
                yield number, observation


class _Numbers:
    """Numbers of the decisions of a bag by the stamp of their observation."""

    def __init__(self, reader: AnyReader) -> None:
        connections = [c for c in reader.connections if c.topic == SAFETY_SIGNALS.name and c.msgcount]
        self._counted = 0 if not connections else None
        decided = sorted((stamp_of(message), int(message.decision)) for _, message in messages_of(reader, connections))
        self._stamps = [stamp for stamp, _ in decided]
        self._numbers = [number for _, number in decided]

    def of(self, stamp_ns: int) -> int | None:
        """The number of the decision on the set at this stamp [ns]; None when there was no decision."""
        if self._counted is not None:
            self._counted += 1
            return self._counted - 1
        # A set has the stamp of its first image, and which one is first may differ between graph and bag.
        index = bisect_left(self._stamps, stamp_ns - HALF_FRAME_NS)
        found = index < len(self._stamps) and self._stamps[index] <= stamp_ns + HALF_FRAME_NS
        return self._numbers[index] if found else None


class BagReader(AnyReader):
    """A reader of one bag whose damage is a RecordingError, wherever it shows; a caller's own errors stay."""

    def __init__(self, bag: Path) -> None:
        """Takes the folder of a bag, or raises RecordingError."""
        self._bag = bag
        with self._damage():
            super().__init__([bag])

    def open(self) -> None:
        """Reads index and metadata."""
        with self._damage():
            super().open()
            for connection in self.connections:
                if not (isinstance(connection.topic, str) and isinstance(connection.msgtype, str)):
                    raise TypeError(f"topic {connection.topic!r} of type {connection.msgtype!r}")

    def messages(
        self, connections: Collection[Connection] = (), start: int | None = None, stop: int | None = None
    ) -> Generator[tuple[Connection, int, bytes], None, None]:
        """As AnyReader does it."""
        iterator = super().messages(connections, start, stop)
        while True:
            with self._damage():
                item = next(iterator, None)
            if item is None:
                return
            yield item

    def deserialize(self, rawdata: bytes, typ: str) -> Any:
        """As AnyReader does it."""
        with self._damage():
            return super().deserialize(rawdata, typ)

    @contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a damaged bag fails anywhere in rosbags, numpy or yaml
            raise RecordingError(
                f"{self._bag}: is not a finished bag, or is damaged ({type(error).__name__}: {error})"
            ) from error


@contextmanager
def opened_bag(bag: Path) -> Iterator[BagReader]:
    """A reader of a bag, closed at the end.

    Raises:
        RecordingError: the bag is not finished or is damaged, also when that shows only while it is read; names it.
    """
    with BagReader(bag) as reader:
        yield reader


def connections_of(reader: AnyReader, bag: Path, topics: Iterable[Topic]) -> list[Connection]:
    """The connections of topics that the bag must hold.

    Raises:
        RecordingError: a topic is missing or has another type; names the bag.
    """
    wanted = {topic.name: topic.type for topic in topics}
    found = [connection for connection in reader.connections if connection.topic in wanted and connection.msgcount]
    missing = sorted(wanted.keys() - {connection.topic for connection in found})
    if missing:
        raise RecordingError(f"{bag}: holds no messages on {', '.join(missing)}")
    for connection in found:
        expected = wanted[connection.topic]
        if connection.msgtype != expected:
            raise RecordingError(f"{bag}: {connection.topic} has type {connection.msgtype}, expected {expected}")
    return found


def messages_of(reader: AnyReader, connections: list[Connection]) -> Iterator[tuple[str, Any]]:
    """Topic and decoded message of every message of some connections, in order."""
    if connections:  # none means all to rosbags
        for connection, _, raw in reader.messages(connections):
            yield connection.topic, reader.deserialize(raw, connection.msgtype)


def said_of(reader: AnyReader, bag: Path, episode: int | None = None) -> list[Any]:
    """The messages on /salus/episode of one episode of an open bag, in order; otherwise as `read_episode`."""
    messages = [message for _, message in messages_of(reader, connections_of(reader, bag, (EPISODE,)))]
    known = list(dict.fromkeys((str(message.run_id), int(message.episode)) for message in messages))
    numbers = ", ".join(str(number) for _, number in known)
    if episode is None and len(known) != 1:
        raise RecordingError(
            f"{bag}: holds messages of {len(known)} episodes on {EPISODE.name}, expected one; --episode N takes one of "
            f"{numbers}"
        )
    chosen = [key for key in known if episode in (None, key[1])]
    if len(chosen) != 1:
        raise RecordingError(
            f"{bag}: {EPISODE.name}: --episode {episode} is there {len(chosen)} times; it has {numbers}"
        )
    return [message for message in messages if (str(message.run_id), int(message.episode)) == chosen[0]]


def episodes_in(bag: Path) -> tuple[int, ...]:
    """Numbers of the episodes that a bag tells of, in order; empty without /salus/episode.

    Raises:
        RecordingError: no readable bag; names it.
    """
    with opened_bag(bag) as reader:
        if not holds(reader, EPISODE):
            return ()
        said = messages_of(reader, connections_of(reader, bag, (EPISODE,)))
        return tuple(dict.fromkeys(int(message.episode) for _, message in said))


def holds(reader: AnyReader, topic: Topic) -> bool:
    """Whether an open bag has a message of a topic."""
    return any(item.topic == topic.name and item.msgcount for item in reader.connections)


def episode_of(reader: AnyReader, bag: Path, episode: int | None = None) -> RecordedEpisode:
    """As `read_episode`, of an open bag."""
    messages = said_of(reader, bag, episode)
    ended = [message for message in messages if message.kind == EventKind.ENDED]
    try:
        outcome = Outcome(ended[-1].outcome) if ended else Outcome.RUNNING
    except ValueError as error:
        raise RecordingError(f"{bag}: {EPISODE.name}: outcome is {ended[-1].outcome}, which none has") from error
    return RecordedEpisode(int(messages[0].seed), str(messages[0].task), outcome)


def window_of(reader: AnyReader, bag: Path, episode: int | None = None) -> tuple[int, int]:
    """From half a frame before STARTED to half a frame behind ENDED [ns], as far as the bag holds them.

    Others than the recorder of SALUS record longer.
    """
    said = said_of(reader, bag, episode)
    starts = [stamp_of(message) for message in said if message.kind == EventKind.STARTED]
    ends = [stamp_of(message) for message in said if message.kind == EventKind.ENDED]
    return (starts[0] - HALF_FRAME_NS if starts else 0), (ends[-1] + HALF_FRAME_NS if ends else 2**63 - 1)


def read_message[T](reader: Callable[[Any], T], message: Any, where: str) -> T:
    """What a reader of `contract.message_readers` makes of a recorded message.

    Raises:
        RecordingError: the message is not of the contract; `where` names bag and topic.
    """
    try:
        return reader(message)
    except MessageError as error:
        raise RecordingError(f"{where}: {error}") from error


def image_copy(message: Any) -> ImageArray:
    """Pixels of an image message, shape (height, width, 3).

    Raises:
        MessageError: see `check_image`.
    """
    check_image(message)
    # A copy: a view would keep the whole message, and torch wants memory that can be written.
    return image_view(message).copy()
