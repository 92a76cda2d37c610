"""Every backend writes a bag that rosbag2, rosbags and plain mcap readers take for one of real rosbag2."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import yaml
from mcap.reader import make_reader
from mcap.records import Message
from mcap_ros2.decoder import DecoderFactory
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability, QosHistory
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from salus_vla.contract import CLOCK, CONTACT, EPISODE, JOINT_STATES, SAFETY_SIGNALS, STATUS_TOPIC, TOPICS
from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.bag_writer import BagWriter, Compression, WriterOptions
from salus_vla.data.bags.message_types import MessageTypes
from salus_vla.data.bags.open_writer import Backend, open_writer
from salus_vla.data.bags.partial_mcap import read_records
from salus_vla.data.bags.rosbag2_writer import Rosbag2Writer
from samples import FRAME_NS, IMAGE, REPOSITORY, SAMPLED, clock, image, largest_file, message_types, one_of_each

BACKENDS: list[Backend] = ["mcap"]
if importlib.util.find_spec("rosbag2_py"):
    BACKENDS.append("rosbag2_py")

START = 3_000_000_000
PROVENANCE = {"git": "abc", "note": "1.0: yes\nsecond line"}
QOS_KEYS = ["history", "depth", "reliability", "durability", "deadline", "lifespan", "liveliness",
            "liveliness_lease_duration", "avoid_ros_namespace_conventions"]  # fmt: skip


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    chosen: Backend = request.param
    return chosen


def opened(folder: Path, backend: Backend = "mcap", compression: Compression = "none") -> BagWriter:
    options = WriterOptions(compression=compression)
    return open_writer(folder, backend, custom_data=PROVENANCE, types=message_types(), options=options)


@pytest.fixture
def bag(tmp_path: Path, backend: Backend) -> Path:
    writer = opened(tmp_path / "episode_000042", backend)
    for topic in SAMPLED:
        writer.add_topic(topic.name, topic.type, topic.qos)
    for index in range(5):
        for name, data in one_of_each(START + index * FRAME_NS).items():
            writer.write(name, data, START + index * FRAME_NS)
    writer.close()
    return writer.folder


def mcap_file(bag: Path) -> Path:
    return bag / f"{bag.name}_0.mcap"


def information(bag: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((bag / "metadata.yaml").read_text())
    inner: dict[str, Any] = document.pop("rosbag2_bagfile_information")
    assert not document
    return inner


def test_every_message_is_read_back_as_written(bag: Path) -> None:
    with Reader(bag) as reader:
        found = [(connection.topic, time, bytes(data)) for connection, time, data in reader.messages()]
    expected = [
        (name, START + index * FRAME_NS, data)
        for index in range(5)
        for name, data in one_of_each(START + index * FRAME_NS).items()
    ]
    assert sorted(found) == sorted(expected)


def test_rosbags_decodes_custom_types_from_the_definition_in_the_bag(bag: Path) -> None:
    with AnyReader([bag], default_typestore=get_typestore(Stores.EMPTY)) as reader:
        seen = {
            connection.topic: reader.deserialize(data, connection.msgtype) for connection, _, data in reader.messages()
        }
    signals: Any = seen[SAFETY_SIGNALS.name]
    assert math.isnan(signals.epistemic_uncertainty)
    assert (signals.members, signals.valid, signals.member_actions.shape) == (5, 4095, (35,))
    episode: Any = seen[EPISODE.name]
    assert (episode.seed, episode.task) == (-3, "pick up the red cube")


def test_mcap_ros2_support_alone_decodes_every_type(bag: Path) -> None:
    with mcap_file(bag).open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        seen = {channel.topic: message for _, channel, _, message in reader.iter_decoded_messages()}
    last = START + 4 * FRAME_NS
    assert seen.keys() == {topic.name for topic in SAMPLED}
    assert (seen[CLOCK.name].clock.sec, seen[CLOCK.name].clock.nanosec) == divmod(last, 1_000_000_000)
    assert (seen[IMAGE.name].encoding, seen[IMAGE.name].header.frame_id) == ("rgb8", IMAGE.frame_id)
    assert bytes(seen[IMAGE.name].data) == image(last)[-768:]
    assert list(seen[JOINT_STATES.name].position) == [index / 8 for index in range(9)]
    assert math.isnan(seen[SAFETY_SIGNALS.name].epistemic_uncertainty)
    assert list(seen[SAFETY_SIGNALS.name].member_actions)[:3] == [0.0, 1.0, 2.0]
    assert (seen[EPISODE.name].seed, seen[EPISODE.name].decisions) == (-3, 12)
    assert seen[CONTACT.name].status[0].values[0].value == "3.25"
    assert seen[STATUS_TOPIC.name].facts[0].key == "seed"


def test_metadata_is_that_of_rosbag2_jazzy(bag: Path) -> None:
    data = information(bag)
    assert list(data) == [
        "version", "storage_identifier", "duration", "starting_time", "message_count", "topics_with_message_count",
        "compression_format", "compression_mode", "relative_file_paths", "files", "custom_data", "ros_distro",
    ]  # fmt: skip
    assert (data["version"], data["storage_identifier"], data["ros_distro"]) == (9, "mcap", "jazzy")
    assert (data["compression_format"], data["compression_mode"]) == ("", "")
    assert data["starting_time"] == {"nanoseconds_since_epoch": START}
    assert data["duration"] == {"nanoseconds": 4 * FRAME_NS}
    assert data["message_count"] == 5 * len(SAMPLED)
    assert data["custom_data"] == PROVENANCE
    assert data["relative_file_paths"] == ["episode_000042_0.mcap"]
    assert data["files"] == [
        {
            "path": "episode_000042_0.mcap",
            "starting_time": {"nanoseconds_since_epoch": START},
            "duration": {"nanoseconds": 4 * FRAME_NS},
            "message_count": 5 * len(SAMPLED),
        }
    ]


def test_topics_carry_type_hash_and_offered_qos(bag: Path) -> None:
    topics = {item["topic_metadata"]["name"]: item for item in information(bag)["topics_with_message_count"]}
    assert topics.keys() == {topic.name for topic in SAMPLED}
    for topic in SAMPLED:
        assert topics[topic.name]["message_count"] == 5
        metadata = topics[topic.name]["topic_metadata"]
        assert list(metadata) == [
            "name", "type", "serialization_format", "offered_qos_profiles", "type_description_hash",
        ]  # fmt: skip
        assert (metadata["type"], metadata["serialization_format"]) == (topic.type, "cdr")
        assert metadata["type_description_hash"] == message_types().get(topic.type).type_hash
        (qos,) = metadata["offered_qos_profiles"]
        assert list(qos) == QOS_KEYS
        assert (qos["history"], qos["depth"], qos["reliability"]) == ("keep_last", topic.qos.depth, "reliable")
        assert qos["durability"] == ("transient_local" if topic.qos.latched else "volatile")
        assert qos["avoid_ros_namespace_conventions"] is False
    with Reader(bag) as reader:
        (latched,) = next(c for c in reader.connections if c.topic == STATUS_TOPIC.name).ext.offered_qos_profiles
    assert (latched.durability, latched.history) == (QosDurability.TRANSIENT_LOCAL, QosHistory.KEEP_LAST)


def test_the_mcap_file_says_the_same_as_the_metadata(bag: Path) -> None:
    topics = {item["topic_metadata"]["name"]: item for item in information(bag)["topics_with_message_count"]}
    with mcap_file(bag).open("rb") as file:
        reader = make_reader(file)
        summary = reader.get_summary()
        kept = [record for record in reader.iter_metadata() if record.name == "rosbag2"]
        assert reader.get_header().profile == "ros2"
    assert summary is not None
    for channel in summary.channels.values():
        metadata = topics[channel.topic]["topic_metadata"]
        schema = summary.schemas[channel.schema_id]
        assert (schema.name, schema.encoding, channel.message_encoding) == (metadata["type"], "ros2msg", "cdr")
        assert channel.metadata.keys() == {"offered_qos_profiles", "topic_type_hash"}
        assert channel.metadata["topic_type_hash"] == metadata["type_description_hash"]
        assert yaml.safe_load(channel.metadata["offered_qos_profiles"]) == metadata["offered_qos_profiles"]
    first, last = (yaml.safe_load(record.metadata["serialized_metadata"]) for record in (kept[0], kept[-1]))
    assert first["custom_data"] == PROVENANCE  # there from the start, for a bag that a crash cuts off
    assert last == information(bag)


def test_a_bag_without_a_message_is_complete(tmp_path: Path, backend: Backend) -> None:
    writer = opened(tmp_path / "bag", backend)
    writer.add_topic(CLOCK.name, CLOCK.type, CLOCK.qos)
    writer.close()
    data = information(writer.folder)
    assert (data["message_count"], data["duration"]) == (0, {"nanoseconds": 0})
    assert data["starting_time"] == {"nanoseconds_since_epoch": 2**63 - 1}


def test_log_times_may_be_out_of_order_between_topics(tmp_path: Path, backend: Backend) -> None:
    writer = opened(tmp_path / "bag", backend)
    for topic in (CLOCK, IMAGE):
        writer.add_topic(topic.name, topic.type, topic.qos)
    times = [START + shift * FRAME_NS for shift in (3, 0, 2, 1)]
    for index, time in enumerate(times):
        topic = (CLOCK, IMAGE)[index % 2]
        writer.write(topic.name, one_of_each(time)[topic.name], time, publish_time_ns=time - 1)
    writer.close()
    data = information(writer.folder)
    assert data["starting_time"] == {"nanoseconds_since_epoch": START}
    assert data["duration"] == {"nanoseconds": 3 * FRAME_NS}
    with Reader(writer.folder) as reader:
        assert [time for _, time, _ in reader.messages()] == sorted(times)
    with mcap_file(writer.folder).open("rb") as file:
        assert all(m.publish_time == m.log_time - 1 for _, _, m in make_reader(file).iter_messages())


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_chunks_are_small_and_compressed_on_request(tmp_path: Path, backend: Backend, compression: Compression) -> None:
    writer = opened(tmp_path / "bag", backend, compression)
    for topic in (CLOCK, IMAGE):
        writer.add_topic(topic.name, topic.type, topic.qos)
    for index in range(200):
        writer.write(IMAGE.name, image(START + index * FRAME_NS), START + index * FRAME_NS)
    writer.close()
    with mcap_file(writer.folder).open("rb") as file:
        summary = make_reader(file).get_summary()
        assert summary is not None
        assert {chunk.compression for chunk in summary.chunk_indexes} == {"" if compression == "none" else "zstd"}
        assert max(chunk.uncompressed_size for chunk in summary.chunk_indexes) < 80 * 1024
    with Reader(writer.folder) as reader:
        assert len(list(reader.messages())) == 200


def test_a_chunk_spans_no_more_than_a_decision(tmp_path: Path) -> None:
    writer = opened(tmp_path / "bag")
    writer.add_topic(CLOCK.name, CLOCK.type, CLOCK.qos)
    for index in range(100):
        writer.write(CLOCK.name, clock(START + index * FRAME_NS), START + index * FRAME_NS)
        if index == 50:  # nothing is closed, yet all but the last decision is on its way to the disk
            on_disk = [record for record in read_records(mcap_file(writer.folder)) if isinstance(record, Message)]
            assert len(on_disk) >= 46
    writer.close()


def test_a_bag_is_never_overwritten(bag: Path, backend: Backend) -> None:
    with pytest.raises(RecordingError, match="episode_000042"):
        opened(bag, backend)
    assert len(information(bag)["topics_with_message_count"]) == len(SAMPLED)


def test_mistakes_are_named(tmp_path: Path) -> None:
    writer = opened(tmp_path / "bag")
    writer.add_topic(CLOCK.name, CLOCK.type, CLOCK.qos)
    with pytest.raises(RecordingError, match="topic /clock was added twice"):
        writer.add_topic(CLOCK.name, CLOCK.type, CLOCK.qos)
    with pytest.raises(RecordingError, match="a message on /x, which was not added"):
        writer.write("/x", b"", START)
    with pytest.raises(RecordingError, match="message type acme_msgs/msg/Thing is not installed"):
        writer.add_topic("/thing", "acme_msgs/msg/Thing", CLOCK.qos)
    with pytest.raises(RecordingError, match="chunk_bytes is 10"):
        WriterOptions(chunk_bytes=10)
    with pytest.raises(RecordingError, match="backend is 'tape'"):
        open_writer(tmp_path / "tape", "tape", custom_data={}, types=message_types())  # type: ignore[arg-type]
    writer.abort()


def test_a_disk_that_refuses_is_an_error_with_the_path(tmp_path: Path) -> None:
    writer = opened(tmp_path / "bag")
    writer.add_topic(IMAGE.name, IMAGE.type, IMAGE.qos)
    data = image(START, 512)
    with largest_file(300_000), pytest.raises(RecordingError, match=r"bag/bag_0\.mcap: cannot be written"):
        writer.write(IMAGE.name, data, START)
    writer.abort()
    assert mcap_file(writer.folder).stat().st_size < 300_001


def installed_hashes(package: str, name: str) -> dict[str, str]:
    """Type hashes that the ROS build itself wrote, by type name."""
    shares = [Path(sys.prefix) / "share", REPOSITORY / "ros2_ws" / "install" / package / "share"]
    for share in shares:
        file = share / package / "msg" / f"{name}.json"
        if file.is_file():
            return {item["type_name"]: item["hash_string"] for item in json.loads(file.read_text())["type_hashes"]}
    pytest.skip(f"{package} is not installed")


@pytest.mark.parametrize("type_name", sorted({topic.type for topic in TOPICS}))
def test_type_hashes_are_those_of_the_ros_build(type_name: str) -> None:
    package, _, name = type_name.split("/")
    assert message_types().get(type_name).type_hash == installed_hashes(package, name)[type_name]


def test_definitions_keep_their_comments_and_name_every_type_once() -> None:
    text = message_types().get(SAFETY_SIGNALS.type).definition
    assert "[rad^2]" in text  # a bag documents its own units
    parts = text.split("=" * 80 + "\n")
    assert [part.splitlines()[0] for part in parts[1:]] == ["MSG: std_msgs/Header", "MSG: builtin_interfaces/Time"]


def test_a_type_of_jazzy_that_is_not_installed_is_known_by_rosbags(tmp_path: Path) -> None:
    types = MessageTypes([tmp_path])
    assert types.get("tf2_msgs/msg/TFMessage").type_hash.startswith("RIHS01_")
    assert "MSG: geometry_msgs/TransformStamped" in types.get("tf2_msgs/msg/TFMessage").definition


class FakeRosbag2(types.ModuleType):
    """The part of rosbag2_py 0.26 that is used, with the signatures of its stubs: it notes what it is given."""

    def __init__(self) -> None:
        super().__init__("rosbag2_py")
        self.calls: list[tuple[Any, ...]] = []
        fake = self

        class SequentialWriter:
            def open(self, arg0: Any, arg1: Any) -> None:
                fake.calls.append(("open", arg0, arg1, yaml.safe_load(Path(arg0.storage_config_uri).read_text())))

            def create_topic(self, arg0: Any) -> None:
                fake.calls.append(("create_topic", arg0))

            def write(self, arg0: str, arg1: bytes, arg2: int, arg3: int) -> None:
                if arg0 == "/full":
                    raise RuntimeError("No space left on device")
                fake.calls.append(("write", arg0, arg1, arg2, arg3))

            def close(self) -> None:
                fake.calls.append(("close",))

        class QoS:
            def __init__(self, history_depth: int) -> None:
                self.said = [str(history_depth)]

            def __getattr__(self, name: str) -> Any:
                if name not in ("reliable", "transient_local", "durability_volatile"):
                    raise AttributeError(name)
                return lambda: self.said.append(name) or self

        self.SequentialWriter = SequentialWriter
        self.StorageOptions = types.SimpleNamespace
        self.ConverterOptions = lambda *formats: formats
        self.TopicMetadata = types.SimpleNamespace
        self._storage = types.ModuleType("rosbag2_py._storage")
        self._storage.QoS = QoS  # type: ignore[attr-defined]


def test_real_rosbag2_is_given_qos_hashes_and_provenance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRosbag2()
    fake.__spec__ = importlib.util.spec_from_loader("rosbag2_py", loader=None)
    monkeypatch.setitem(sys.modules, "rosbag2_py", fake)
    monkeypatch.setitem(sys.modules, "rosbag2_py._storage", fake._storage)
    writer = Rosbag2Writer(tmp_path / "bag", PROVENANCE, message_types(), WriterOptions())
    for topic in (CLOCK, STATUS_TOPIC):
        writer.add_topic(topic.name, topic.type, topic.qos)
    writer.write(CLOCK.name, b"data", START)
    with pytest.raises(RecordingError, match=r"bag: cannot be written \(No space left"):
        writer.write("/full", b"data", START)
    writer.close()
    (_, storage, formats, config), (_, clock_topic), (_, status_topic), *rest = fake.calls
    assert (storage.uri, storage.storage_id, storage.custom_data) == (str(tmp_path / "bag"), "mcap", PROVENANCE)
    assert (storage.max_cache_size, formats) == (0, ("cdr", "cdr"))
    assert config == {"chunkSize": 65536, "compression": "None", "noChunkCRC": False}
    assert (clock_topic.name, clock_topic.type, clock_topic.serialization_format) == (CLOCK.name, CLOCK.type, "cdr")
    assert clock_topic.type_description_hash == message_types().get(CLOCK.type).type_hash
    assert [qos.said for qos in clock_topic.offered_qos_profiles] == [["10", "reliable", "durability_volatile"]]
    assert [qos.said for qos in status_topic.offered_qos_profiles] == [["1", "reliable", "transient_local"]]
    assert rest == [("write", CLOCK.name, b"data", START, START), ("close",)]
