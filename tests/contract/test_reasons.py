"""States and reasons of the pure code are those of the message, and each constant stands in both."""

from salus_msgs.msg import Status
from salus_vla.contract import reasons
from salus_vla.contract.reasons import NodeState


def test_states_are_those_of_the_message() -> None:
    assert {state.name: state.value for state in NodeState} == {
        name: getattr(Status, name) for name in ("STARTING", "READY", "RUNNING", "HOLDING", "FAILED")
    }


def test_reasons_are_those_of_the_message() -> None:
    ours = {name: value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    constants = vars(type(Status))["_Metaclass_Status__constants"]
    theirs = {name.removeprefix("REASON_"): value for name, value in constants.items() if name.startswith("REASON_")}
    assert ours == theirs
