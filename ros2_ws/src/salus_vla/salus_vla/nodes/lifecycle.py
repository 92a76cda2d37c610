"""Lifecycle nodes: rclpy's state machine says when, a managed object does it.

    unconfigured -- configure --> inactive -- activate --> active -- deactivate --> inactive -- cleanup --> unconfigured

A step that fails leaves the node in the state before it, and the node says FAILED with the reason on /salus/status.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from lifecycle_msgs.srv import ChangeState
from rclpy.client import Client
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.service import Service
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from salus_vla.errors import SalusError
from salus_vla.nodes.subscribe import ClockGuardedNode


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
        self._service_change_state.callback = self._on_change

    def is_unconfigured(self) -> bool:
        """Whether nothing is loaded, so that parameters may be set."""
        return str(self._state_machine.current_state[1]) == "unconfigured"

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

    def _on_change(self, request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        try:
            return self._change(request, response)
        except rclpy_implementation.RCLError:
            state = self._state_machine.current_state[1]
            asked = request.transition.label or request.transition.id
            self.get_logger().warning(f"transition {asked} was asked for, which state '{state}' does not have")
            response.success = False
            return response

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
