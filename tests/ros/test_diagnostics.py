"""Diagnostics once a second of sim time, as rqt_robot_monitor reads them; a log line only when something changes."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

from salus_vla.health.meters import DiagnosticPart, Level
from salus_vla.health.refusals import Refusals
from salus_vla.ros.adapters import subscribe
from salus_vla.ros.adapters.status import DiagnosticsPublisher

StartRos = Callable[..., None]
S = 1_000_000_000


class Recorded(DiagnosticsPublisher):
    """Keeps what it publishes and what it logs."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.arrays: list[DiagnosticArray] = []
        self.lines: list[str] = []
        self.readers = 1
        self._publisher: Any = self
        node.get_logger = lambda: self  # type: ignore[assignment,method-assign,return-value]

    def publish(self, array: DiagnosticArray) -> None:
        self.arrays.append(array)

    def get_subscription_count(self) -> int:
        return self.readers

    def warning(self, line: str) -> None:
        self.lines.append(line)

    info = warning


@pytest.fixture
def diagnostics(start_ros: StartRos) -> Iterator[Recorded]:
    start_ros()
    node = Node("sample")
    yield Recorded(node)
    node.destroy_node()


def part(level: Level, message: str = "ok") -> list[DiagnosticPart]:
    return [DiagnosticPart("camera front", {"rate_hz": 9.5}, level, message)]


def test_an_array_names_node_and_part_and_ends_with_the_memory(diagnostics: Recorded) -> None:
    diagnostics.diagnose(3 * S + 5, lambda: part(Level.ERROR, "black"))
    (array,) = diagnostics.arrays
    assert (array.header.stamp.sec, array.header.stamp.nanosec) == (3, 5)
    first, memory = array.status
    assert (first.name, first.hardware_id, first.message) == ("salus/sample: camera front", "/sample", "black")
    assert first.level == DiagnosticStatus.ERROR
    assert [(item.key, item.value) for item in first.values] == [("rate_hz", "9.5")]
    assert memory.name == "salus/sample: resources"
    assert float(memory.values[0].value) > 0.0


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (Level.OK, DiagnosticStatus.OK),
        (Level.WARN, DiagnosticStatus.WARN),
        (Level.ERROR, DiagnosticStatus.ERROR),
        (Level.STALE, DiagnosticStatus.STALE),
    ],
)
def test_levels_are_those_of_ros(diagnostics: Recorded, level: Level, expected: bytes) -> None:
    diagnostics.diagnose(S, lambda: part(level))
    assert diagnostics.arrays[0].status[0].level == expected


def test_there_is_one_array_per_second_also_after_the_clock_jumped_back(diagnostics: Recorded) -> None:
    for frame in range(150):
        diagnostics.diagnose(100 * S + frame * S // 50, lambda: part(Level.OK))
    assert len(diagnostics.arrays) == 3
    for frame in range(100):
        diagnostics.diagnose(frame * S // 50, lambda: part(Level.OK))
    assert [array.header.stamp.sec for array in diagnostics.arrays] == [100, 101, 102, 0, 1]
    assert diagnostics.arrays[3].header.stamp.nanosec > 0


def test_who_begins_to_listen_does_not_wait_for_the_next_second(diagnostics: Recorded) -> None:
    """A node is not ready for an episode before its diagnostics are heard: a start waited for up to a second."""

    def published(millisecond: int) -> int:
        diagnostics.diagnose(100 * S + millisecond * S // 1000, lambda: part(Level.OK))
        return len(diagnostics.arrays)

    assert [published(20), published(40)] == [1, 1]
    diagnostics.readers = 3
    assert [published(60), published(80)] == [2, 2]
    diagnostics.readers = 2  # one has left
    assert [published(100), published(999), published(1000)] == [2, 2, 3]
    diagnostics.readers = 3
    assert published(1020) == 4


def test_before_the_first_clock_there_are_none(diagnostics: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    walls = iter([10.0, 20.0, 30.0, 40.0])  # also when wall time passes
    monkeypatch.setattr(time, "monotonic", lambda: next(walls))
    for _ in range(3):
        diagnostics.diagnose(0, lambda: part(Level.OK))
    assert not diagnostics.arrays
    diagnostics.diagnose(1, lambda: part(Level.OK))
    assert len(diagnostics.arrays) == 1


def test_a_node_that_refuses_what_would_tell_the_time_says_so(diagnostics: Recorded) -> None:
    refusals = subscribe._REFUSALS.setdefault(diagnostics._node, Refusals())
    refusals.add("/joint_states", "/joint_states has 9 names and 0 velocities", time.monotonic())
    diagnostics.diagnose(0, lambda: part(Level.OK))
    (array,) = diagnostics.arrays
    assert any("0 velocities" in status.message for status in array.status)
    diagnostics.diagnose(0, lambda: part(Level.OK))
    assert len(diagnostics.arrays) == 1  # once a second


def test_a_part_that_gets_worse_or_recovers_is_logged_once(diagnostics: Recorded) -> None:
    wrong = [part(Level.WARN, f"{rate} Hz") for rate in (5, 4, 3)]
    for second, parts in enumerate([part(Level.STALE, "nothing yet"), part(Level.OK), *wrong, *[part(Level.OK)] * 3]):
        diagnostics.diagnose((second + 1) * S, lambda parts=parts: parts)  # type: ignore[misc]
    assert diagnostics.lines == ["camera front: 5 Hz", "camera front: ok again"]
