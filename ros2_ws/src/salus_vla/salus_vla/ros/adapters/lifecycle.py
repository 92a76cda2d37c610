"""Lifecycle nodes: rclpy's state machine says when, a managed object does it.

    unconfigured -- configure --> inactive -- activate --> active -- deactivate --> inactive -- cleanup --> unconfigured

A step that fails leaves the node in the state before it, and the node says FAILED with the reason on /salus/status.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.client import Client
from rclpy.executors import Executor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.service import Service
from rclpy.subscription import Subscription
from rclpy.task import Future
from rclpy.timer import Timer

from salus_vla.contract.errors import SalusError
from salus_vla.ros.adapters.subscribe import ClockGuardedNode

_OUT_OF_ACTIVE = (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVE_SHUTDOWN)
ANSWERS_S = 0.5  # wall time in which the answer to a shutdown leaves, before the process ends


def destroy(node: Node, made: Iterable[Any]) -> None:
    """Takes publishers, subscriptions, services, clients and timers from their node.

    Raises:
        TypeError: something else is among them.
    """
    for item in made:
        match item:
            case Publisher():
                node.destroy_publisher(item)
            case Subscription():
                node.destroy_subscription(item)
            case Service():
                node.destroy_service(item)
            case Client():
                node.destroy_client(item)
            case Timer():
                node.destroy_timer(item)
            case _:
                raise TypeError(f"{type(item).__name__} cannot be destroyed here")


class Managed(Protocol):
    """What a lifecycle node does in its transitions."""

    def configure(self) -> None:
        """Loads and checks everything, connects; raises SalusError when something is wrong."""

    def activate(self) -> None:
        """Starts commanding, recording or running episodes."""

    def leave_active(self) -> Future | None:
        """Begins to stop what goes on beside the callbacks; done when it is over, None where nothing does.

        A transition out of the active state waits for it, and meanwhile the node goes on.
        """

    def deactivate(self) -> None:
        """Stops it: an arm is brought to a hold, a bag is closed."""

    def cleanup(self) -> None:
        """Frees what `configure` made, also of one that failed half way."""

    def failed(self, error: Exception) -> None:
        """Tells the graph that a transition failed."""


class ManagedNode(ClockGuardedNode, LifecycleNode):
    """A lifecycle node that holds everything given on its command line and in its parameter files."""

    def __init__(self, name: str, managed: Managed) -> None:
        """Unconfigured; `managed` may still be under construction."""
        super().__init__(name, automatically_declare_parameters_from_overrides=True)
        self._managed = managed
        # In rclpy 7.1 a request for a transition that the state does not have is an exception that ends the node.
        self._change = self._service_change_state.callback
        self._service_change_state.callback = self._on_change  # type: ignore[assignment]  # rclpy awaits coroutines
        # A group of its own: while a transition waits, everything else goes on, and another transition waits for it.
        group = MutuallyExclusiveCallbackGroup()
        group.add_entity(self._service_change_state)
        self._service_change_state.callback_group = group

    def is_unconfigured(self) -> bool:
        """Whether nothing is loaded, so that parameters may be set."""
        return str(self._state_machine.current_state[1]) == "unconfigured"

    def is_finalized(self) -> bool:
        """Whether it was shut down: its process ends then."""
        return str(self._state_machine.current_state[1]) == "finalized"

    def spin(self, executor: Executor, on_turn: Callable[[], None] = lambda: None) -> None:
        """Handles messages until rclpy or a transition shuts the node down; `on_turn` at least each 0.1 s."""
        until: float | None = None
        while self.context.ok() and (until is None or time.monotonic() < until):
            executor.spin_once(timeout_sec=0.1)
            on_turn()
            if until is None and self.is_finalized():
                until = time.monotonic() + ANSWERS_S

    def start(self) -> bool:
        """Configures and activates the node itself (`autostart`); whether both succeeded."""
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configures; what a failed attempt made is freed."""
        answer = self._try(self._managed.configure)
        if answer != TransitionCallbackReturn.SUCCESS:
            self._managed.cleanup()
        return answer

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activates."""
        return self._try(self._managed.activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivates."""
        return self._try(self._managed.deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Cleans up."""
        return self._try(self._managed.cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivates where needed, and cleans up."""
        if state.label == "active":
            self._try(self._managed.deactivate)
        return self._try(self._managed.cleanup)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an exception that nobody expected: everything is freed and the node is unconfigured again."""
        return self._try(self._managed.cleanup)

    async def _on_change(self, request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        if self._leaves_active(request.transition):
            over = self._managed.leave_active()
            if over is not None:
                await over
        try:
            return self._change(request, response)
        except rclpy_implementation.RCLError:
            state = self._state_machine.current_state[1]
            asked = request.transition.label or request.transition.id
            self.get_logger().warning(f"transition {asked} was asked for, which state '{state}' does not have")
            response.success = False
            return response

    def _leaves_active(self, transition: Transition) -> bool:
        wanted = transition.id in _OUT_OF_ACTIVE or transition.label in ("deactivate", "shutdown", "active_shutdown")
        return wanted and str(self._state_machine.current_state[1]) == "active"

    def _try(self, step: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            step()
        except SalusError as error:
            self._managed.failed(error)
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # rclpy would swallow it
            self.get_logger().error(traceback.format_exc())
            self._managed.failed(error)
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS
