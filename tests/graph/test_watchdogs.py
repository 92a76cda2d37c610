"""A camera, the joints or the clock fail in the middle of a motion: the arm brakes in time, holds, and says why."""

from collections.abc import Iterator

import numpy as np
import pytest

from salus_msgs.msg import Status
from salus_vla.contract.reasons import CLOCK_JUMPED_BACK, STALE_CAMERA, STALE_JOINTS
from salus_vla.contract.robot_limits import PANDA
from salus_vla.ros.adapters import messages

from .scripted_simulator import DT, FRAME_NS, ScriptedSimulator, assert_braked, scripted_simulator, speeds

pytestmark = [pytest.mark.graph, pytest.mark.safety, pytest.mark.timeout(120)]

TEN_FRAMES = 200_000_000


@pytest.fixture(scope="module")
def process() -> Iterator[ScriptedSimulator]:
    with scripted_simulator("pacing:=realtime") as simulator:
        yield simulator


@pytest.fixture
def simulator(process: ScriptedSimulator) -> Iterator[ScriptedSimulator]:
    """In an episode, from home, and so fast that braking takes more than a frame."""
    process.start_episode()
    process.commands.clear()
    process.frames(30)  # the last one has a camera set
    process.wait_for_status(Status.RUNNING)
    assert speeds(process)[-1] > PANDA.acceleration.max() * DT
    yield process
    process.end_episode()
    process.come_to_rest()


def assert_latched(simulator: ScriptedSimulator, reason: str, words: str) -> None:
    """A subscriber that joins late hears the reason; only the service clears it."""
    late = simulator.late_statuses()
    status = simulator.wait(lambda: next((s for s in late if s.role == "policy"), None), "latched status")
    assert (status.state, status.reason) == (Status.HOLDING, reason)
    assert status.detail.startswith(words)
    simulator.frames(12)
    assert simulator.statuses[-1].reason == reason
    assert reason in simulator.reset_hold()


@pytest.mark.parametrize(
    ("missing", "reason", "words"),
    [("side", STALE_CAMERA, "camera side: "), ("joints", STALE_JOINTS, "joint states: ")],
)
def test_an_input_that_stops_brakes_the_arm_and_the_reason_stays(
    simulator: ScriptedSimulator, missing: str, reason: str, words: str
) -> None:
    good_ns = simulator.now_ns
    simulator.frames(24, without=(missing,))
    status = simulator.wait_for_status(Status.HOLDING, reason)
    assert status.header.stamp.sec * 10**9 + status.header.stamp.nanosec == good_ns + TEN_FRAMES
    assert_braked(simulator, TEN_FRAMES, good_ns)
    assert_latched(simulator, reason, words)
    simulator.frames(10)
    simulator.wait_for_status(Status.RUNNING)
    simulator.frames(15)
    assert speeds(simulator)[-1] > 0.0


def test_a_clock_that_jumps_back_brakes_the_arm_at_once_and_only_a_reset_clears_it(
    simulator: ScriptedSimulator,
) -> None:
    before = simulator.commands[-2:]
    simulator.now_ns -= 500_000_000
    simulator.commands.clear()
    simulator.send(("joints",))
    simulator.wait(lambda: simulator.commands, "command of the new time")
    assert simulator.commands[0][0] == simulator.now_ns
    simulator.frames(15)
    simulator.wait_for_status(Status.HOLDING, CLOCK_JUMPED_BACK)
    first = simulator.commands[0][0]
    simulator.commands[:0] = [(first - (2 - i) * FRAME_NS, position) for i, (_, position) in enumerate(before)]
    assert_braked(simulator, 0, first)
    simulator.start_episode()
    simulator.frames(15)
    assert simulator.statuses[-1].reason == CLOCK_JUMPED_BACK  # a new episode is no reset
    assert not speeds(simulator)[-12:].any()  # before, the arm was put home
    assert CLOCK_JUMPED_BACK in simulator.reset_hold()
    for _ in range(50):  # a decision may take longer than ten frames on a busy machine
        simulator.frames(10)
        if simulator.statuses[-1].state == Status.RUNNING:
            break
    simulator.wait_for_status(Status.RUNNING)
    simulator.frames(10)
    assert speeds(simulator)[-1] > 0.0


def test_diagnostics_parse_and_a_starved_topic_is_a_warning(simulator: ScriptedSimulator) -> None:
    def level(part: str) -> int:
        """Of the newest array."""
        found = {status.name: status for status in simulator.diagnostics[-1].status}
        return int.from_bytes(found[f"salus/vla_ensemble: {part}"].level)

    simulator.frames(100)
    simulator.wait(lambda: simulator.diagnostics, "diagnostics")
    for array in simulator.diagnostics:
        assert messages.to_ns(array.header.stamp) > 0
        names = [status.name for status in array.status]
        assert len(names) == len(set(names))
        for status in array.status:
            assert status.name.startswith("salus/vla_ensemble: ")
            assert status.values
            assert all(np.isfinite(float(item.value)) for item in status.values)
    assert (level("camera front"), level("joints"), level("watchdog")) == (0, 0, 0)
    simulator.diagnostics.clear()
    simulator.frames(100, without=("front",))
    simulator.wait(lambda: level("camera front") == 1, "a warning for the camera")
    assert (level("joints"), level("camera side"), level("watchdog")) == (0, 0, 2)
    assert STALE_CAMERA in simulator.reset_hold()
