"""What a run in realtime says of itself, read from its bags."""

from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.serialization import serialize_message

from episodes import write_bag
from salus_msgs.msg import Status
from salus_vla import contract
from salus_vla.bench.realtime import said_by_the_policy
from salus_vla.contract import Topic
from salus_vla.contract.reasons import NO_DECISION_YET, STALE_CAMERA, STALE_CHUNK
from salus_vla.ros.adapters.messages import header


def status(stamp_ns: int, reason: str, role: str = "policy") -> tuple[Topic, bytes]:
    message = Status(header=header(stamp_ns), role=role, state=Status.HOLDING, reason=reason)
    return contract.STATUS_TOPIC, serialize_message(message)


def diagnostics(stamp_ns: int, part: str, **values: float) -> tuple[Topic, bytes]:
    said = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    parts = [DiagnosticStatus(name=f"salus/vla_ensemble: {part}", values=said)]
    return contract.DIAGNOSTICS, serialize_message(DiagnosticArray(header=header(stamp_ns), status=parts))


def test_a_trip_counts_once_and_also_where_no_diagnostics_came(tmp_path: Path) -> None:
    said = [
        status(10, ""),
        status(20, STALE_CHUNK),
        status(30, STALE_CHUNK),  # said again for a late reader
        status(40, NO_DECISION_YET),  # reset
        status(50, STALE_CAMERA, role="gate"),
        status(60, STALE_CHUNK),
    ]
    assert said_by_the_policy(write_bag(tmp_path / "bag", said)) == ({}, [STALE_CHUNK, STALE_CHUNK])


def test_the_newest_diagnostics_count(tmp_path: Path) -> None:
    said = [
        diagnostics(10, "decisions", react_ms_p50=40.0),
        diagnostics(20, "decisions", react_ms_p50=30.0),
        diagnostics(30, "joints", rate=50.0),
    ]
    assert said_by_the_policy(write_bag(tmp_path / "bag", said)) == ({"react_ms_p50": 30.0}, [])
