"""A real `vla_ensemble` through its lifecycle: configuring loads, only an active node commands, deactivating brakes."""

from pathlib import Path

import pytest
from lifecycle_msgs.msg import State, Transition
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue, SetParametersResult
from rcl_interfaces.srv import SetParameters

from salus_msgs.msg import Status
from salus_vla import contract

from .lifecycle_client import Lifecycle
from .scripted_simulator import FRAME_NS, assert_braked, scripted_simulator, speeds

pytestmark = [pytest.mark.graph, pytest.mark.safety, pytest.mark.timeout(120)]


def test_only_an_active_node_commands_and_deactivating_brakes_it() -> None:
    with scripted_simulator("pacing:=realtime") as simulator:
        lifecycle = Lifecycle(simulator.node, "vla_ensemble", simulator.wait)
        assert lifecycle.state() == State.PRIMARY_STATE_ACTIVE  # autostart
        simulator.start_episode()
        simulator.commands.clear()
        simulator.frames(30)
        assert speeds(simulator)[-1] > 0.05
        last_ns = simulator.now_ns

        assert lifecycle.change(Transition.TRANSITION_DEACTIVATE)
        assert lifecycle.state() == State.PRIMARY_STATE_INACTIVE
        while speeds(simulator)[-1] > 0.0:
            simulator.frame(without=contract.CAMERAS)
        assert_braked(simulator, FRAME_NS, last_ns)
        simulator.wait_for_status(Status.HOLDING, Status.REASON_INACTIVE)

        def unanswered_frames(count: int) -> None:
            for _ in range(count):
                simulator.now_ns += FRAME_NS
                simulator.send()

        unanswered_frames(5)  # until it has seen that the arm rests where its command is
        assert lifecycle.state() == State.PRIMARY_STATE_INACTIVE
        at_rest = len(simulator.commands)
        unanswered_frames(10)  # a second node could command now: this one is silent
        assert lifecycle.state() == State.PRIMARY_STATE_INACTIVE
        assert len(simulator.commands) == at_rest

        assert lifecycle.change(Transition.TRANSITION_ACTIVATE)
        simulator.frame()  # the silent frames may still have been on their way
        simulator.commands.clear()
        simulator.frames(30)
        assert speeds(simulator)[-1] > 0.0
        simulator.wait_for_status(Status.RUNNING)

        assert lifecycle.change(Transition.TRANSITION_DEACTIVATE)
        assert lifecycle.change(Transition.TRANSITION_CLEANUP)
        simulator.wait(lambda: not simulator.node.count_publishers(contract.JOINT_TARGET.name), "freed publisher")
        assert lifecycle.change(Transition.TRANSITION_CONFIGURE)
        simulator.wait(lambda: simulator.node.count_publishers(contract.JOINT_TARGET.name), "new publisher")
        assert not lifecycle.change(Transition.TRANSITION_CONFIGURE)  # which it has done: refused, and the node lives
        assert lifecycle.state() == State.PRIMARY_STATE_INACTIVE


def test_configuring_without_a_model_fails_with_its_path_and_may_be_tried_again(tmp_path: Path) -> None:
    missing = tmp_path / "no_such_model"
    given = (f"model.members:=[{missing}]", "policy:=ensemble", "autostart:=false")
    with scripted_simulator(*given, configured=False) as simulator:
        lifecycle = Lifecycle(simulator.node, "vla_ensemble", simulator.wait)
        assert lifecycle.state() == State.PRIMARY_STATE_UNCONFIGURED
        for _ in range(2):
            assert not lifecycle.change(Transition.TRANSITION_CONFIGURE)
            status = simulator.wait_for_status(Status.FAILED, Status.REASON_NO_VALID_POLICY)
            assert f"{missing} is not a folder" in status.detail
            assert lifecycle.state() == State.PRIMARY_STATE_UNCONFIGURED
        assert not simulator.node.count_publishers(contract.JOINT_TARGET.name)


def test_a_node_is_configured_anew_with_other_parameters_which_cannot_be_set_before(tmp_path: Path) -> None:
    with scripted_simulator("autostart:=false", configured=False) as simulator:
        lifecycle = Lifecycle(simulator.node, "vla_ensemble", simulator.wait)
        client = simulator.node.create_client(SetParameters, "/vla_ensemble/set_parameters")
        simulator.wait(client.service_is_ready, client.srv_name)

        def set_parameter(name: str, value: ParameterValue) -> SetParametersResult:
            future = client.call_async(SetParameters.Request(parameters=[Parameter(name=name, value=value)]))
            simulator.wait(future.done, client.srv_name)
            return future.result().results[0]

        def facts() -> dict[str, str]:
            return {item.key: item.value for item in simulator.statuses[-1].facts}

        def text(value: str) -> ParameterValue:
            return ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)

        assert lifecycle.change(Transition.TRANSITION_CONFIGURE)
        simulator.wait_for_status(Status.HOLDING, Status.REASON_INACTIVE)
        assert facts()["param.policy"] == '"expert"'
        expert = facts()
        refused = set_parameter("policy", text("hold"))
        assert not refused.successful
        assert "unconfigured only" in refused.reason
        assert lifecycle.change(Transition.TRANSITION_CLEANUP)
        wrong = set_parameter("policy", text("frobnicate"))
        assert not wrong.successful
        assert "expected one of" in wrong.reason
        assert set_parameter("policy", text("hold")).successful
        simulator.statuses.clear()
        assert lifecycle.change(Transition.TRANSITION_CONFIGURE)
        simulator.wait_for_status(Status.HOLDING, Status.REASON_INACTIVE)
        assert facts()["param.policy"] == '"hold"'
        assert set(facts()) <= set(expert) | {"param_format"}
        assert lifecycle.change(Transition.TRANSITION_ACTIVATE)
