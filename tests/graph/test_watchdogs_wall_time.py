"""A missing clock, a camera that lockstep waits for, a stopped simulator: judged on wall time, as no other goes on."""

import time

import pytest

from salus_msgs.msg import Status
from salus_vla.contract.reasons import MISSING_CLOCK, SIMULATOR_STOPPED, STALE_CAMERA, STALE_JOINTS

from .scripted_simulator import FRAME_NS, assert_braked, scripted_simulator

pytestmark = [pytest.mark.graph, pytest.mark.safety, pytest.mark.timeout(120)]


def seconds_in(detail: str) -> float:
    """The number of a detail `... for NUMBER s ...`; how far behind its limit it is noticed depends on the machine."""
    return float(detail.partition(" for ")[2].split()[0])


def test_what_sim_time_cannot_show_is_judged_on_wall_time() -> None:
    """No clock at all; a camera that the simulator waits for in lockstep; a simulator that stops."""
    with scripted_simulator("pacing:=lockstep", "watch.clock_s:=1.0", "watch.stopped_s:=2.0") as simulator:
        simulator.wait_for_status(Status.FAILED, MISSING_CLOCK)
        assert "no /clock came" in simulator.reset_hold()
        simulator.start_episode()
        simulator.commands.clear()
        simulator.frames(34)
        simulator.wait_for_status(Status.RUNNING)
        simulator.frame(without=("top",))  # answered, although its camera set never becomes complete
        status = simulator.wait_for_status(Status.HOLDING, STALE_CAMERA)
        assert status.detail.startswith("camera top: nothing new for ")
        assert " s of wall time" in status.detail
        assert seconds_in(status.detail) >= 2.0
        simulator.frames(14)
        assert_braked(simulator, 0, simulator.now_ns - 14 * FRAME_NS)
        assert "camera top" in simulator.reset_hold()
        simulator.frames(11)
        simulator.wait_for_status(Status.RUNNING)
        simulator.wait_for_status(Status.HOLDING, SIMULATOR_STOPPED)
        diagnosed = len(simulator.diagnostics)
        simulator.wait(lambda: len(simulator.diagnostics) > diagnosed, "diagnostics while sim time stands still")


def test_on_a_real_arm_time_is_the_systems_and_a_new_episode_clears_nothing() -> None:
    limits = [f"watch.{name}_age_s:=2.0" for name in ("camera", "chunk")]
    with scripted_simulator("pacing:=realtime", "use_sim_time:=false", "watch.joints_age_s:=1.5", *limits) as arm:
        arm.now_ns = time.time_ns()
        arm.start_episode()
        status = arm.wait_for_status(Status.HOLDING, STALE_JOINTS)  # nothing comes any more, not even a clock
        assert status.detail.startswith("joint states: nothing new for ")
        assert seconds_in(status.detail) >= 1.5
        arm.end_episode()
        arm.now_ns = time.time_ns()
        arm.start_episode()
        assert arm.statuses[-1].reason == STALE_JOINTS
        assert STALE_JOINTS in arm.reset_hold()
