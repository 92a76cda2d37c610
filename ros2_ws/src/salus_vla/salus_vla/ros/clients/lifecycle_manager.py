"""The lifecycle nodes of a graph, brought up in order and taken down in reverse by one of its nodes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future

from salus_msgs.msg import Status
from salus_vla.contract.errors import SalusError
from salus_vla.ros.adapters.lifecycle import destroy

_UP = (
    (State.PRIMARY_STATE_UNCONFIGURED, Transition.TRANSITION_CONFIGURE, "configure"),
    (State.PRIMARY_STATE_INACTIVE, Transition.TRANSITION_ACTIVATE, "activate"),
)
_DOWN = (
    (State.PRIMARY_STATE_ACTIVE, Transition.TRANSITION_DEACTIVATE, "deactivate"),
    (State.PRIMARY_STATE_INACTIVE, Transition.TRANSITION_CLEANUP, "cleanup"),
)
_FROM = {transition: state for state, transition, _ in _DOWN}
_TO = {
    Transition.TRANSITION_CONFIGURE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_ACTIVATE: State.PRIMARY_STATE_ACTIVE,
    Transition.TRANSITION_DEACTIVATE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_CLEANUP: State.PRIMARY_STATE_UNCONFIGURED,
}
_ASK_AGAIN_S = 3.0  # wall time; rmw_fastrtps drops an answer whose reader it does not know yet
_REASON_S = 2.0  # what a node says about its failure may arrive after the answer, or after the node is gone


class GraphError(SalusError):
    """The graph cannot go on: something never came up, failed, was lost or stopped answering."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class Spin(Protocol):
    """Handles messages until `done`; False when `timeout_s` of wall time are up first."""

    def __call__(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """See above."""


class LifecycleManager:
    """Brings lifecycle nodes up, and takes down those that it brought up."""

    def __init__(self, node: Node, names: Sequence[str], spin: Spin, check: Callable[[], None]) -> None:
        """Connects.

        Args:
            node: gets the clients.
            names: of the lifecycle nodes, in the order in which they come up.
            spin: handles messages.
            check: raises GraphError when a node has said that it failed.
        """
        self._node, self._spin, self._check = node, spin, check
        self._state = {name: node.create_client(GetState, f"/{name}/get_state") for name in names}
        self._change = {name: node.create_client(ChangeState, f"/{name}/change_state") for name in names}
        self._ours: list[
            tuple[str, int]
        ] = []  # node and the transition that takes it down again, in order of coming up

    def close(self) -> None:
        """Disconnects."""
        destroy(self._node, [*self._state.values(), *self._change.values()])

    def bring_up(self, appear_s: float, load_s: float) -> None:
        """Configures all nodes in order, then activates them in order; what is up already stays as it is.

        Args:
            appear_s: wall time for all to appear [s].
            load_s: wall time for each transition [s].

        Raises:
            GraphError: a node did not appear, or a transition failed or took too long.
        """

        def absent() -> list[str]:
            self._check()
            clients = {name: (self._state[name], self._change[name]) for name in self._state}
            return [name for name, pair in clients.items() if not all(client.service_is_ready() for client in pair)]

        if not self._spin(lambda: not absent(), appear_s):
            raise GraphError(Status.REASON_NODE_LOST, f"no /{absent()[0]} appeared within {appear_s:g} s")
        downs = dict(zip((step[1] for step in _UP), reversed([step[1] for step in _DOWN]), strict=True))
        for state, transition, word in _UP:
            for name in self._state:
                try:
                    if self._get_state(name, load_s) != state:
                        continue
                    if not self._transition(name, transition, load_s):
                        raise GraphError(Status.REASON_NODE_LOST, f"/{name} refused to {word}")
                except GraphError:
                    self._spin(self._goes_on, _REASON_S)
                    raise
                self._ours.append((name, downs[transition]))

    def hold(self, timeout_s: float) -> list[str]:
        """Deactivates in reverse what `bring_up` activated; see `take_down`."""
        return self._down([Transition.TRANSITION_DEACTIVATE], timeout_s)

    def take_down(self, timeout_s: float) -> list[str]:
        """Takes down in reverse what `bring_up` brought up; returns what went wrong, never raises GraphError.

        Args:
            timeout_s: wall time for each transition [s]; a node that is gone is not waited for.
        """
        return self._down([transition for _, transition, _ in _DOWN], timeout_s)

    def forget(self, name: str) -> None:
        """A node is lost: nothing is asked of it any more."""
        self._ours = [(other, transition) for other, transition in self._ours if other != name]

    def _down(self, transitions: Sequence[int], timeout_s: float) -> list[str]:
        problems = []
        words = {transition: word for _, transition, word in _DOWN}
        while self._ours and self._ours[-1][1] in transitions:
            name, transition = self._ours.pop()
            word = words[transition]
            if not self._change[name].service_is_ready():
                problems.append(f"/{name} is gone")
                self.forget(name)
                continue
            try:
                if self._get_state(name, timeout_s) != _FROM[transition]:
                    continue  # somebody took it down, or further up, already
                refused = not self._transition(name, transition, timeout_s)
                if refused and self._get_state(name, timeout_s) != _TO[transition]:  # else somebody was faster
                    problems.append(f"/{name} refused to {word}")
                    self.forget(name)
            except GraphError as error:
                problems.append(error.detail)
                self.forget(name)
        return problems

    def _goes_on(self) -> bool:
        """Never true, but raises what a node said about its failure."""
        self._check()
        return False

    def _get_state(self, name: str, timeout_s: float) -> int:
        """State of a node; asked again where no answer comes, because one that is sent too early is lost for good."""
        client, until = self._state[name], time.monotonic() + timeout_s
        while (left := until - time.monotonic()) > 0.0:
            future = client.call_async(GetState.Request())
            if self._wait_for(future, client, name, min(left, _ASK_AGAIN_S)):
                return int(future.result().current_state.id)
            client.remove_pending_request(future)
        raise GraphError(Status.REASON_NODE_LOST, f"/{name} did not answer {client.srv_name} within {timeout_s:g} s")

    def _transition(self, name: str, transition: int, timeout_s: float) -> bool:
        """Whether a transition succeeded; where its answer was lost, the state that the node is in says so."""
        client, until = self._change[name], time.monotonic() + timeout_s
        future = client.call_async(_request(transition))
        while (left := until - time.monotonic()) > 0.0:
            if self._wait_for(future, client, name, min(left, _ASK_AGAIN_S)):
                return bool(future.result().success)
            # A node that is busy with the transition answers neither; then this waits as well.
            if self._get_state(name, max(left, _ASK_AGAIN_S)) == _TO[transition]:
                return True
        raise GraphError(Status.REASON_NODE_LOST, f"/{name} did not answer {client.srv_name} within {timeout_s:g} s")

    def _wait_for(self, future: Future, client: Client, name: str, timeout_s: float) -> bool:
        # Its service goes with it: a node that ends while it loads is not waited for.
        self._spin(lambda: future.done() or not client.service_is_ready(), timeout_s)
        if not future.done() and not client.service_is_ready():
            raise GraphError(Status.REASON_NODE_LOST, f"/{name} has ended")
        return bool(future.done())


def _request(transition: int) -> ChangeState.Request:
    return ChangeState.Request(transition=Transition(id=transition))
