"""Real recorder and episode nodes through their lifecycles: up in order, down in reverse, and what fails has a name."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_prefix
from lifecycle_msgs.msg import State, Transition

from salus_msgs.msg import Status
from salus_msgs.srv import StartRecording
from salus_vla import contract
from salus_vla.config.paths import config_dir
from salus_vla.data.bags.run_info import read_run

from .graph_client import GraphClient
from .lifecycle_client import Lifecycle

pytestmark = [pytest.mark.graph, pytest.mark.timeout(120)]

LIMIT_S = 40.0


class Asker(GraphClient):
    """Asks the nodes and hears what they say."""

    def __init__(self) -> None:
        super().__init__("asker", LIMIT_S)
        self.statuses: dict[str, list[Status]] = {}
        self.listen_to(contract.STATUS_TOPIC, self._on_status, depth=10)

    def _on_status(self, message: Status) -> None:
        self.statuses.setdefault(message.role, []).append(message)

    def wait_for(self, role: str, state: int, reason: str = "") -> Status:
        """The newest status of a role, once it is this one."""

        def said() -> Status | None:
            newest = self.statuses.get(role, [])[-1:]
            return newest[0] if newest and (newest[0].state, newest[0].reason) == (state, reason) else None

        status = self.wait(said, f"{role} {state} {reason!r}; heard {self.statuses}")
        assert isinstance(status, Status)
        return status

    def start_recording(self) -> StartRecording.Response:
        client = self.node.create_client(StartRecording, contract.RECORDER_START.name)
        self.wait(client.service_is_ready, client.srv_name)
        future = client.call_async(StartRecording.Request(wanted=1))
        self.wait(future.done, client.srv_name)
        self.node.destroy_client(client)
        return future.result()


@pytest.fixture
def asker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asker]:
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", str(config_dir() / "fastdds.xml"))
    made = Asker()
    yield made
    made.close()


@contextlib.contextmanager
def started(name: str, *parameters: str) -> Iterator[subprocess.Popen[bytes]]:
    executable = Path(get_package_prefix("salus_vla"), "lib", "salus_vla", name)
    words = [word for parameter in parameters for word in ("-p", parameter)]
    with subprocess.Popen(
        [str(executable), "--ros-args", "-r", f"__node:={name}", *words]
    ) as process:  # as a launch does
        try:
            yield process
        finally:
            process.kill()  # does nothing to a process that has ended


def ended(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGINT)
    return process.wait(LIMIT_S)


def activate_episode(asker: Asker) -> None:
    """Once it is heard: what a node says last is lost on those who have not met it."""
    asker.wait_for("episode", Status.STARTING)
    episode = Lifecycle(asker.node, "episode", asker.wait)
    assert episode.change(Transition.TRANSITION_CONFIGURE)
    assert episode.change(Transition.TRANSITION_ACTIVATE)


def test_the_episode_node_brings_the_recorder_up_and_takes_it_down_again(asker: Asker, tmp_path: Path) -> None:
    # The policy is left out: nothing but bringing up and taking down is looked at.
    given = ("autostart:=false", "managed_nodes:=[bag_recorder]")
    with (
        started("bag_recorder", "autostart:=false", f"out:={tmp_path}", "run_id:=run") as recording,
        started("episode", *given) as running,
    ):
        recorder = Lifecycle(asker.node, "bag_recorder", asker.wait)
        episode = Lifecycle(asker.node, "episode", asker.wait)
        assert recorder.state() == episode.state() == State.PRIMARY_STATE_UNCONFIGURED
        assert not (tmp_path / "run").exists()

        assert episode.change(Transition.TRANSITION_CONFIGURE)
        assert recorder.state() == State.PRIMARY_STATE_UNCONFIGURED
        assert episode.change(Transition.TRANSITION_ACTIVATE)
        asker.wait(lambda: recorder.state() == State.PRIMARY_STATE_ACTIVE, "active recorder")
        assert (tmp_path / "run" / "run.json").is_file()
        assert asker.start_recording().success

        assert episode.change(Transition.TRANSITION_DEACTIVATE)
        asker.wait_for("episode", Status.HOLDING, Status.REASON_INACTIVE)
        assert recorder.state() == State.PRIMARY_STATE_INACTIVE
        refused = asker.start_recording()
        assert not refused.success
        assert "not active" in refused.message

        assert episode.change(Transition.TRANSITION_ACTIVATE)  # the same run goes on
        asker.wait(lambda: recorder.state() == State.PRIMARY_STATE_ACTIVE, "active recorder again")
        assert episode.change(Transition.TRANSITION_DEACTIVATE)
        asker.wait_for("episode", Status.HOLDING, Status.REASON_INACTIVE)
        assert episode.change(Transition.TRANSITION_CLEANUP)
        assert recorder.state() == State.PRIMARY_STATE_UNCONFIGURED
        assert read_run(tmp_path / "run").record.episodes == ()  # nothing had begun: there is no empty bag
        assert (ended(running), ended(recording)) == (0, 0)


def test_a_folder_that_cannot_be_written_fails_the_configuration_and_ends_the_run_with_its_name(
    asker: Asker, tmp_path: Path
) -> None:
    (tmp_path / "runs").write_text("a file")
    with (
        started("bag_recorder", "autostart:=false", f"out:={tmp_path / 'runs'}") as recording,
        started("episode", "autostart:=false", "managed_nodes:=[bag_recorder]") as running,
    ):
        activate_episode(asker)
        status = asker.wait_for("episode", Status.FAILED, Status.REASON_RECORDING_FAILED)
        assert running.wait(LIMIT_S) == 1
        assert str(tmp_path / "runs") in status.detail
        assert Lifecycle(asker.node, "bag_recorder", asker.wait).state() == State.PRIMARY_STATE_UNCONFIGURED
        assert ended(recording) == 0


def test_a_node_that_cannot_start_says_so_in_the_name_of_its_role(
    asker: Asker, capfd: pytest.CaptureFixture[str]
) -> None:
    with started("command_gate", "deadman_s:=-1.0") as gate:
        status = asker.wait_for("gate", Status.FAILED, Status.REASON_NOT_STARTED)
        assert "'deadman_s' is -1.0" in status.detail
        assert gate.wait(LIMIT_S) == 1
    said = capfd.readouterr().err
    assert "'deadman_s' is -1.0" in said
    assert "already registered" not in said


def test_a_node_that_never_appears_ends_the_run_with_its_name(asker: Asker) -> None:
    given = ("autostart:=false", "managed_nodes:=[somebody]", "appear_timeout_s:=1.0")
    with started("episode", *given) as running:
        activate_episode(asker)
        status = asker.wait_for("episode", Status.FAILED, Status.REASON_NODE_LOST)
        assert "/somebody" in status.detail
        assert running.wait(LIMIT_S) == 1
