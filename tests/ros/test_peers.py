"""Lifecycle nodes are brought up although the middleware loses an answer, and what is down already is left alone."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState

from salus_vla.ros.clients.lifecycle_manager import GraphError, LifecycleManager

MODEL = {
    (Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_UNCONFIGURED): State.PRIMARY_STATE_INACTIVE,
    (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_INACTIVE): State.PRIMARY_STATE_ACTIVE,
    (Transition.TRANSITION_DEACTIVATE, State.PRIMARY_STATE_ACTIVE): State.PRIMARY_STATE_INACTIVE,
    (Transition.TRANSITION_CLEANUP, State.PRIMARY_STATE_INACTIVE): State.PRIMARY_STATE_UNCONFIGURED,
}


class Answer:
    """A future that is done at once, or never."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def done(self) -> bool:
        return self._result is not None

    def result(self) -> Any:
        return self._result


class Other:
    """A lifecycle node that loses some of its answers."""

    def __init__(self, lost: int) -> None:
        self.state = State.PRIMARY_STATE_UNCONFIGURED
        self.lost = lost
        self.asked: list[int] = []
        self.gone = self.dies = False  # it dies of the first question, unanswered
        self.others: dict[int, int] = {}  # transition: the state that somebody else brings it to just before

    def call(self, request: Any) -> Any:
        self.gone = self.dies
        self.lost += self.dies
        if isinstance(request, GetState.Request):
            answer: Any = GetState.Response()
            answer.current_state.id = self.state
        else:
            transition = request.transition.id
            self.asked.append(transition)
            self.state = self.others.get(transition, self.state)
            state = MODEL.get((transition, self.state))
            answer = ChangeState.Response(success=state is not None)
            self.state = self.state if state is None else state
        self.lost -= 1
        return Answer(None if self.lost >= 0 else answer)


class Client:
    def __init__(self, other: Other, name: str) -> None:
        self._other, self.srv_name = other, name

    def service_is_ready(self) -> bool:
        return not self._other.gone

    def call_async(self, request: Any) -> Answer:
        return self._other.call(request)

    def remove_pending_request(self, future: Answer) -> None:
        pass


def peers(other: Other, check: Callable[[], None] = lambda: None) -> LifecycleManager:
    def spin(done: Callable[[], bool], timeout_s: float) -> bool:
        return done()  # time passes at once

    node = SimpleNamespace(create_client=lambda kind, name: Client(other, name))
    return LifecycleManager(node, ["other"], spin, check)  # type: ignore[arg-type]


@pytest.mark.parametrize("lost", range(5))
def test_a_lost_answer_is_asked_for_again_and_no_transition_is_made_twice(lost: int) -> None:
    other = Other(lost)
    peers(other).bring_up(1.0, 60.0)
    assert other.state == State.PRIMARY_STATE_ACTIVE
    assert other.asked == [Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE]


def test_what_a_person_took_down_is_not_asked_again() -> None:
    other = Other(0)
    managed = peers(other)
    managed.bring_up(1.0, 60.0)
    other.state = State.PRIMARY_STATE_INACTIVE  # by `ros2 lifecycle set`
    assert managed.hold(5.0) == []
    assert managed.take_down(5.0) == []
    assert Transition.TRANSITION_DEACTIVATE not in other.asked
    assert other.state == State.PRIMARY_STATE_UNCONFIGURED


def test_a_node_that_never_answers_is_named() -> None:
    with pytest.raises(GraphError, match="/other did not answer"):
        peers(Other(10**9)).bring_up(1.0, 0.2)


def test_a_node_that_ends_may_still_say_why() -> None:
    """Its last words arrive after its services are gone: they are the reason, not that it has ended."""
    other, words = Other(0), GraphError("not_started", "policy: parameter 'disturb' is 'perhaps' (str), expected bool")
    other.dies = True

    def check() -> None:
        if other.gone:
            raise words

    with pytest.raises(GraphError) as raised:
        peers(other, check).bring_up(1.0, 60.0)
    assert raised.value is words


def test_somebody_who_is_faster_in_taking_it_down_is_no_problem() -> None:
    other = Other(0)
    managed = peers(other)
    managed.bring_up(1.0, 60.0)
    other.others[Transition.TRANSITION_DEACTIVATE] = State.PRIMARY_STATE_INACTIVE
    assert managed.hold(5.0) == []
    other.others[Transition.TRANSITION_CLEANUP] = State.PRIMARY_STATE_ACTIVE
    assert managed.take_down(5.0) == ["/other refused to cleanup"]
