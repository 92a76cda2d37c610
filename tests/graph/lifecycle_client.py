"""The lifecycle services of a node that a test asks."""

from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node


class Lifecycle:
    """Changes the state of one node."""

    def __init__(self, node: Node, name: str, wait: Callable[[Callable[[], Any], str], Any]) -> None:
        """Waits until the node called `name` is there; `node` asks, `wait` handles its messages meanwhile."""
        self._wait = wait
        self._change = node.create_client(ChangeState, f"/{name}/change_state")
        self._state = node.create_client(GetState, f"/{name}/get_state")
        for client in (self._change, self._state):
            wait(client.service_is_ready, client.srv_name)

    def change(self, transition: int) -> bool:
        """Asks for a transition; whether it succeeded."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self._call(self._change, request).success)

    def state(self) -> int:
        """One of the states of lifecycle_msgs/msg/State."""
        return int(self._call(self._state, GetState.Request()).current_state.id)

    def _call(self, client: Any, request: Any) -> Any:
        future = client.call_async(request)
        self._wait(future.done, client.srv_name)
        return future.result()
