"""What is in a bag or in a run, from metadata.yaml, audit.json and run.json; reads bags of real rosbag2 too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.bag_metadata import METADATA_FILE, from_yaml
from salus_vla.data.bags.run_folder import interrupted_bags
from salus_vla.data.bags.run_records import AUDIT_FILE, RUN_FILE, EpisodeRecord, RunRecord, read_record


@dataclass(frozen=True)
class TopicInfo:
    """One topic of a bag.

    Attributes:
        count: messages.
        rate_hz: measured, or count over the bag's duration when there is no audit [1/s of sim time].
        expected_hz: of the contract; None on event and without an audit.
        gaps, missing, surplus: gaps, messages missing in them, and messages that are too many; None without an audit.
    """

    name: str
    type: str
    count: int
    rate_hz: float | None
    expected_hz: float | None
    gaps: int | None
    missing: int | None
    surplus: int | None = None


@dataclass(frozen=True)
class BagInfo:
    """A finished bag; `record` is its audit.json, None for a bag that SALUS did not record."""

    path: Path
    storage: str
    size: int
    duration_s: float
    messages: int
    topics: tuple[TopicInfo, ...]
    custom_data: dict[str, str]
    record: EpisodeRecord | None


@dataclass(frozen=True)
class RunInfo:
    """A run: its run.json, and the bags that were never finished."""

    path: Path
    record: RunRecord
    interrupted: tuple[Path, ...]


def is_run(path: Path) -> bool:
    """Whether `path` is the folder of a run."""
    return (path / RUN_FILE).is_file()


def read_run(path: Path) -> RunInfo:
    """Reads a run.

    Raises:
        RecordingError: run.json is missing or wrong; names file and key.
    """
    return RunInfo(path, read_record(path / RUN_FILE, RunRecord), interrupted_bags(path))


def bags_of(path: Path) -> tuple[Path, ...]:
    """The bags of the finished episodes of a run, in their order; of anything else `path` itself.

    Raises:
        RecordingError: run.json is wrong, or lists no episode.
    """
    if not is_run(path):
        return (path,)
    bags = tuple(path / entry.path for entry in read_run(path).record.episodes)
    if not bags:
        raise RecordingError(f"{path}: this run has no finished episode")
    return bags


def read_bag(path: Path) -> BagInfo:
    """Reads a finished bag.

    Raises:
        RecordingError: `path` is not a finished bag, or a file in it is wrong; names the file.
    """
    file = path / METADATA_FILE
    if not file.is_file():
        hint = ""
        if any(path.glob(f"*/{METADATA_FILE}")):
            hint = "; it holds bags: give one of them, or make a report of the folder (`salus report`)"
        elif any(path.rglob("*.mcap")):
            hint = "; it was interrupted, see `salus bag recover`"
        raise RecordingError(f"{path}: is neither a run nor a finished bag: no {RUN_FILE} and no {METADATA_FILE}{hint}")
    record = read_record(path / AUDIT_FILE, EpisodeRecord) if (path / AUDIT_FILE).is_file() else None
    try:
        information = from_yaml(file.read_text(encoding="utf-8"))["rosbag2_bagfile_information"]
        duration_s = information["duration"]["nanoseconds"] / 1e9
        return BagInfo(
            path=path,
            storage=str(information["storage_identifier"]),
            size=sum(item.stat().st_size for item in path.iterdir()),
            duration_s=duration_s,
            messages=int(information["message_count"]),
            topics=tuple(_topic(item, duration_s, record) for item in information["topics_with_message_count"]),
            custom_data={str(key): str(value) for key, value in (information.get("custom_data") or {}).items()},
            record=record,
        )
    except (OSError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordingError(f"{file}: is not the metadata of a rosbag2 bag ({error!r:.200})") from error


def _topic(item: dict[str, Any], duration_s: float, record: EpisodeRecord | None) -> TopicInfo:
    name, count = str(item["topic_metadata"]["name"]), int(item["message_count"])
    audits = record.audit.topics if record else ()
    audit = next((topic for topic in audits if topic.name == name), None)
    mean_hz = (count - 1) / duration_s if count > 1 and duration_s > 0 else None
    return TopicInfo(
        name=name,
        type=str(item["topic_metadata"]["type"]),
        count=count,
        rate_hz=audit.rate_hz if audit else mean_hz,
        expected_hz=audit.expected_hz if audit else None,
        gaps=len(audit.gaps) if audit else None,
        missing=audit.missing if audit else None,
        surplus=audit.surplus if audit else None,
    )
