"""What a replay publishes and when: the messages of a bag on the time of their recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rosbags.interfaces import Connection, ConnectionExtRosbag2, QosDurability, QosReliability

from salus_vla.contract import CLOCK, JOINT_COMMAND, JOINT_STATES, JOINT_TARGET
from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.recorded_observations import BagReader, connections_of, opened_bag, window_of
from salus_vla.data.bags.stamps import stamp_layout

COMMANDS = (JOINT_COMMAND.name, JOINT_TARGET.name)  # what moves an arm
_DEPTH = 10  # of the publisher of a topic that was recorded without its QoS


@dataclass(frozen=True)
class PlayedTopic:
    """A topic to publish with the QoS of its recorded publisher.

    Attributes:
        name, type: as in the bag.
        depth: of the queue.
        reliable, latched: reliability and durability.
    """

    name: str
    type: str
    depth: int
    reliable: bool
    latched: bool


@dataclass(frozen=True)
class PlayedMessage:
    """A message to publish, `due_s` after the begin of the replay, wall time [s]."""

    topic: str
    raw: bytes
    due_s: float


class Schedule:
    """The messages of a bag in order, from an offset on.

    Attributes:
        topics: what will be published.
        left_out: command topics of the bag that will not, because nobody asked for them.
        duration_s: how long one pass takes, wall time [s].
    """

    def __init__(
        self,
        bag: Path,
        *,
        rate: float = 1.0,
        start_offset_s: float = 0.0,
        topics: Sequence[str] | None = None,
        commands: bool = False,
        episode: int | None = None,
    ) -> None:
        """Chooses what is played.

        Args:
            bag: folder of a finished bag.
            rate: recorded seconds per second of wall time.
            start_offset_s: recorded time that is left out at the beginning [s].
            topics: names to play, all by default; /clock is always played where it was recorded.
            commands: play `COMMANDS` too, which move an arm that listens.
            episode: play this one only, of a bag that holds several; the offset counts from its start.

        Raises:
            RecordingError: the bag cannot be read, is shorter than the offset, does not hold one of `topics`, or one of
                them commands an arm and `commands` was not given.
        """
        moving = [name for name in topics or () if name in COMMANDS]
        if moving and not commands:
            raise RecordingError(f"--topics {moving[0]}: it commands an arm that listens; --commands says that it may")
        self._bag, self._rate = bag, rate
        with opened_bag(bag) as reader:
            recorded = {item.topic: item for item in reader.connections if item.msgcount}
            if not recorded:
                raise RecordingError(f"{bag}: holds no messages")
            unknown = sorted(set(topics or ()) - recorded.keys())
            if unknown:
                raise RecordingError(f"{bag}: has no topic {', '.join(unknown)}; it has {', '.join(sorted(recorded))}")
            begin_ns, self._last_ns = reader.start_time, reader.end_time
            if episode is not None:
                begin_ns, self._last_ns = _recorded_range(reader, bag, episode)
            self._first_ns = begin_ns + round(start_offset_s * 1e9)
            left_ns, duration_s = self._last_ns - self._first_ns, (self._last_ns - begin_ns) * 1e-9
        if left_ns <= 0:
            raise RecordingError(
                f"{bag}: is {duration_s:.2f} s long; a start offset of {start_offset_s:g} s leaves nothing of it"
            )
        wanted = set(recorded) if topics is None else {*topics, CLOCK.name} & recorded.keys()
        self.left_out = () if commands else tuple(sorted(wanted & set(COMMANDS)))
        wanted -= set(self.left_out)
        self.topics = tuple(_topic(recorded[name]) for name in sorted(wanted))
        self.duration_s = left_ns * 1e-9 / rate

    def messages(self, names: Sequence[str] | None = None) -> Iterator[PlayedMessage]:
        """One pass over the bag; holds one message in memory at a time.

        What was latched before the offset comes first: in the graph it was still there at that time.

        Args:
            names: of `topics`, to leave others out.

        Raises:
            RecordingError: the bag is damaged.
        """
        played = {topic.name for topic in self.topics} if names is None else set(names)
        with opened_bag(self._bag) as reader:
            connections = [item for item in reader.connections if item.topic in played]
            if not connections:  # none means all to rosbags
                return
            latched = {topic.name for topic in self.topics if topic.latched} & played
            held = [item for item in connections if item.topic in latched]
            if held and self._first_ns > reader.start_time:
                for connection, _, raw in reader.messages(held, stop=self._first_ns):
                    yield PlayedMessage(connection.topic, bytes(raw), 0.0)
            for connection, time_ns, raw in reader.messages(connections, start=self._first_ns, stop=self._last_ns + 1):
                due_s = (time_ns - self._first_ns) * 1e-9 / self._rate
                yield PlayedMessage(connection.topic, bytes(raw), due_s)


def _recorded_range(reader: BagReader, bag: Path, episode: int) -> tuple[int, int]:
    """When the first and the last joints of an episode were recorded [ns], on the clock of the recording."""
    low_ns, high_ns = window_of(reader, bag, episode)
    connections = connections_of(reader, bag, (JOINT_STATES,))
    layouts = {item.msgtype: stamp_layout(reader.typestore.fielddefs, item.msgtype) for item in connections}
    first_ns: int | None = None
    last_ns = 0
    for connection, time_ns, raw in reader.messages(connections):
        layout = layouts[connection.msgtype]
        stamp_ns = layout.read(connection.topic, bytes(raw)) if layout is not None else None
        if stamp_ns is not None and low_ns <= stamp_ns <= high_ns:
            first_ns, last_ns = time_ns if first_ns is None else first_ns, time_ns
    if first_ns is None:
        raise RecordingError(f"{bag}: {JOINT_STATES.name} has nothing of episode {episode}")
    return first_ns, last_ns


def _topic(connection: Connection) -> PlayedTopic:
    extra = connection.ext
    profiles = list(extra.offered_qos_profiles) if isinstance(extra, ConnectionExtRosbag2) else []
    latched = bool(profiles) and all(item.durability is QosDurability.TRANSIENT_LOCAL for item in profiles)
    depth = max((item.depth for item in profiles), default=0) or _DEPTH
    return PlayedTopic(
        name=connection.topic,
        type=connection.msgtype,
        # Several publishers of one topic: what the weakest of them offered, with the longest queue.
        # One player stands for several publishers, /salus/status has five, each of which kept its own newest ones.
        depth=max(depth, _DEPTH) if latched else depth,
        reliable=all(item.reliability is not QosReliability.BEST_EFFORT for item in profiles),
        latched=latched,
    )
