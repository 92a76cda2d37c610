"""Somebody else in the episode: a reset or a publisher that the run did not ask for ends it, by name."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from salus_vla import contract
from salus_vla.bench.faults.running_graph import Collecting, Watch
from salus_vla.data.bags.run_info import read_run
from salus_vla.data.bags.run_records import EpisodeEntry

pytestmark = [pytest.mark.graph, pytest.mark.safety, pytest.mark.timeout(120)]

LIMIT_S = 60.0


@pytest.fixture
def watch() -> Iterator[Watch]:
    with Watch() as watch:
        yield watch


class Run:
    """A run whose arm moves."""

    def __init__(self, watch: Watch, folder: Path) -> None:
        self.watch, self._out = watch, folder / "runs"
        options = ["--episodes", "1000", "--policy", "expert", "--run-id", "run", "--seed", "710000"]
        self.collecting = Collecting(self._out, options)

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        assert self.watch.spin(LIMIT_S, lambda: bool(condition())), f"no {what}: {self.collecting.output}"

    def until_it_moves(self) -> None:
        seen = self.watch.seen
        self.wait(
            lambda: seen.episode is not None and (seen.clock_ns or 0) > seen.start_ns + 2 * 10**9 and not seen.end_ns,
            "episode in motion",
        )

    def end(self) -> tuple[str, EpisodeEntry]:
        """The reason that the command gives, and the episode that was going on."""
        self.wait(lambda: self.collecting.ended, "end of the run")
        assert self.collecting.wait() == 1
        lines = [line for line in self.collecting.output.splitlines() if line.startswith("salus: error: ")]
        entries = read_run(self._out / "run").record.episodes
        assert read_run(self._out / "run").interrupted == ()
        return lines[-1].removeprefix("salus: error: "), entries[-1]


@pytest.fixture
def run(watch: Watch, tmp_path: Path) -> Iterator[Run]:
    made = Run(watch, tmp_path)
    try:
        made.until_it_moves()
        yield made
    finally:
        made.collecting.kill_all()


def test_a_reset_that_the_run_did_not_ask_for_ends_the_episode(run: Run) -> None:
    """In lockstep the policy says lockstep_lost first, which follows from it."""
    client = run.watch.node.create_client(Trigger, contract.SIM_RESET.name)
    run.wait(client.service_is_ready, client.srv_name)
    client.call_async(Trigger.Request())
    reason, episode = run.end()
    assert reason.startswith("scene_reset: the scene was reset at ")
    assert episode.outcome == "ABORTED"
    assert episode.detail.startswith("scene_reset: the scene was reset at ")


def test_a_second_publisher_ends_the_episode_with_its_name(run: Run) -> None:
    """One that sends, 10 rad/s past the gate: what it does to the arm is not the reason that is given."""
    topic = contract.JOINT_COMMAND
    publisher = run.watch.node.create_publisher(JointState, topic.name, 10)
    sent = 0

    def ended() -> bool:
        nonlocal sent
        sent += 1
        position = [1.0 - 0.2 * (sent % 10), 0.0, 0.0, -1.5, 0.0, 1.5, 0.7]
        publisher.publish(JointState(name=list(contract.ARM_JOINTS), position=position))
        run.watch.spin(0.01)
        return run.collecting.ended

    try:
        run.wait(ended, "end of the run")
        reason, episode = run.end()
    finally:
        run.watch.node.destroy_publisher(publisher)
    assert reason.startswith("second_publisher: ")
    assert topic.name in reason
    assert "/salus_faults" in reason
    assert episode.outcome == "ABORTED"
    assert "/salus_faults" in episode.detail


def test_a_run_does_not_begin_beside_another_publisher(watch: Watch, tmp_path: Path) -> None:
    publisher = watch.node.create_publisher(JointState, contract.JOINT_COMMAND.name, 10)
    parameters = tmp_path / "soon.yaml"  # a killed process's publisher is forgotten by then, says this one
    parameters.write_text("episode:\n  ros__parameters:\n    publisher_timeout_s: 1.0\n")
    options = ["--episodes", "1", "--policy", "hold", "--max-decisions", "5", "--run-id", "run"]
    collecting = Collecting(tmp_path / "runs", [*options, "--params-file", str(parameters)])
    try:
        watch.spin(LIMIT_S, lambda: collecting.ended)
        assert collecting.wait() == 1
        assert "second_publisher: " in collecting.output
        assert "/salus_faults" in collecting.output
        assert read_run(tmp_path / "runs" / "run").record.episodes == ()
    finally:
        collecting.kill_all()
        watch.node.destroy_publisher(publisher)
