"""metadata.yaml of a bag, in the form of rosbag2 0.26 (Jazzy), metadata version 9."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from salus_vla.contract import Qos

METADATA_FILE = "metadata.yaml"
VERSION = 9
MOST_VALUES = 100_000
ROS_DISTRO = "jazzy"
_INT64_MAX = 2**63 - 1  # rosbag2's starting time while there is no message
_INFINITE = {"sec": 9223372036, "nsec": 854775807}  # RMW_DURATION_INFINITE, what a publisher without limits offers


def offered_qos(qos: Qos) -> list[dict[str, Any]]:
    """The offered QoS of a topic of the contract, as rosbag2 lists it: `ros2 bag play` publishes with it."""
    return [
        {
            "history": "keep_last",
            "depth": qos.depth,
            "reliability": "reliable",
            "durability": "transient_local" if qos.latched else "volatile",
            "deadline": dict(_INFINITE),
            "lifespan": dict(_INFINITE),
            "liveliness": "automatic",
            "liveliness_lease_duration": dict(_INFINITE),
            "avoid_ros_namespace_conventions": False,
        }
    ]


def from_yaml(text: str) -> Any:
    """The data of a YAML text that anybody may have written.

    Raises:
        yaml.YAMLError: it is not YAML, or is larger than any bag's once its aliases are followed.
    """
    try:
        data = yaml.safe_load(text)
    except (ValueError, RecursionError) as error:  # a date like 2001-99-99; brackets nested a thousand deep
        raise yaml.YAMLError(str(error)) from error
    waiting, seen = [data], 0
    while waiting:
        item = waiting.pop()
        seen += 1
        if seen > MOST_VALUES:  # a few lines of nested aliases stand for millions of values, or for endless ones
            raise yaml.YAMLError(f"more than {MOST_VALUES} values")
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list | set):
            waiting.extend(item)
    return data


def to_yaml(data: object) -> str:
    """YAML text in the order of the data, without the anchors that yaml uses for repeated objects."""
    dumper = type("Dumper", (yaml.SafeDumper,), {"ignore_aliases": lambda self, data: True})
    return yaml.dump(data, Dumper=dumper, sort_keys=False, allow_unicode=True, width=2**16)


@dataclass
class TopicCount:
    """One topic of a bag and how many messages it has."""

    name: str
    type: str
    qos: list[dict[str, Any]]
    type_hash: str
    count: int = 0


@dataclass
class BagMetadata:
    """What metadata.yaml says about a bag of one mcap file; times in sim time [ns]."""

    file_name: str
    custom_data: Mapping[str, str]
    topics: dict[str, TopicCount] = field(default_factory=dict)
    start_ns: int = _INT64_MAX
    end_ns: int = 0

    def count(self, topic: str, log_time_ns: int) -> None:
        """Counts one message."""
        self.topics[topic].count += 1
        self.start_ns = min(self.start_ns, log_time_ns)
        self.end_ns = max(self.end_ns, log_time_ns)

    def information(self) -> dict[str, Any]:
        """The fields of `rosbag2_bagfile_information`, in rosbag2's order."""
        messages = sum(topic.count for topic in self.topics.values())
        duration = {"nanoseconds": max(0, self.end_ns - self.start_ns)}
        starting_time = {"nanoseconds_since_epoch": self.start_ns}
        return {
            "version": VERSION,
            "storage_identifier": "mcap",
            "duration": duration,
            "starting_time": starting_time,
            "message_count": messages,
            "topics_with_message_count": [
                {
                    "topic_metadata": {
                        "name": topic.name,
                        "type": topic.type,
                        "serialization_format": "cdr",
                        "offered_qos_profiles": topic.qos,
                        "type_description_hash": topic.type_hash,
                    },
                    "message_count": topic.count,
                }
                for topic in self.topics.values()
            ],
            "compression_format": "",  # rosbag2's own compression; that of mcap chunks is the file's business
            "compression_mode": "",
            "relative_file_paths": [self.file_name],
            "files": [
                {
                    "path": self.file_name,
                    "starting_time": starting_time,
                    "duration": duration,
                    "message_count": messages,
                }
            ],
            "custom_data": dict(self.custom_data) or None,
            "ros_distro": ROS_DISTRO,
        }

    def text(self) -> str:
        """Text of metadata.yaml."""
        return to_yaml({"rosbag2_bagfile_information": self.information()})
