"""Realtime: a command that comes late ends no episode. The gate brakes, and the policy plans anew from there."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from salus_msgs.msg import Status
from salus_vla import contract
from salus_vla.bench.faults.running_graph import GATE, Collecting, Watch
from salus_vla.contract.reasons import DEADMAN, PLANNING_ANEW
from salus_vla.ros.adapters.qos_profiles import qos_profile

pytestmark = [pytest.mark.graph, pytest.mark.safety, pytest.mark.timeout(120)]

LIMIT_S = 60.0


@pytest.fixture
def watch() -> Iterator[Watch]:
    with Watch() as watch:
        yield watch


def test_the_policy_plans_anew_behind_a_stop_of_the_gate(watch: Watch, tmp_path: Path) -> None:
    heard: list[tuple[str, int, str, float]] = []  # role, state, reason, sim time
    topic = contract.STATUS_TOPIC

    def hear(message: Status) -> None:
        stamp = message.header.stamp
        heard.append((message.role, message.state, message.reason, stamp.sec + stamp.nanosec * 1e-9))

    watch.node.create_subscription(Status, topic.name, hear, qos_profile(topic.qos, depth=100))
    options = [
        "--episodes",
        "1000",
        "--policy",
        "expert",
        "--pacing",
        "realtime",
        "--run-id",
        "run",
        "--seed",
        "710000",
    ]
    collecting = Collecting(tmp_path / "runs", options)
    try:
        seen = watch.seen

        def wait(condition: object, what: str) -> None:
            assert watch.spin(LIMIT_S, lambda: condition() or collecting.ended), f"no {what}: {collecting.output}"  # type: ignore[operator]
            assert not collecting.ended, collecting.output

        wait(
            lambda: seen.episode is not None and not seen.end_ns and (seen.clock_ns or 0) > seen.start_ns + 10**9,
            "episode in motion",
        )
        episode = seen.episode
        gate = collecting.processes()[GATE]
        gate.send_signal(signal.SIGSTOP)  # every command comes too late for it
        watch.spin(0.4)
        gate.send_signal(signal.SIGCONT)
        wait(lambda: any(item[:3] == ("policy", Status.HOLDING, DEADMAN) for item in heard), "stop")
        wait(lambda: any(item[:3] == ("policy", Status.HOLDING, PLANNING_ANEW) for item in heard), "new plan")
        anew = next(item[3] for item in heard if item[:3] == ("policy", Status.HOLDING, PLANNING_ANEW))

        def running() -> list[float]:
            return [item[3] for item in heard if item[:2] == ("policy", Status.RUNNING) and item[3] >= anew]

        wait(running, "running policy")
        wait(lambda: [item for item in heard if item[:2] == ("gate", Status.RUNNING)][-1:], "running gate")
        stopped = next(item[3] for item in heard if item[:3] == ("policy", Status.HOLDING, DEADMAN))
        assert running()[0] - anew <= 1.0
        assert running()[0] - stopped <= 3.0
        assert watch.seen.episode == episode or watch.seen.finished  # it was not aborted
    finally:
        collecting.kill_all()
