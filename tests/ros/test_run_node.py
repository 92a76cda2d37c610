"""What a node's process does with an error: at its end it is no error, before it is one."""

from __future__ import annotations

import pytest
import rclpy

from salus_vla.ros.adapters.run_node import run_node

pytestmark = pytest.mark.usefixtures("private_ros_domain")


class Node:
    """Runs what the test says."""

    def __init__(self, error: Exception, *, shuts_down: bool) -> None:
        self._error, self._shuts_down = error, shuts_down
        self.closed = False

    def run(self) -> int | None:
        if self._shuts_down:
            rclpy.try_shutdown()
        raise self._error

    def close(self) -> None:
        self.closed = True


def test_an_error_of_the_bindings_after_rclpy_was_shut_down_is_the_end() -> None:
    node = Node(RuntimeError("Unable to convert call argument '0' to Python object"), shuts_down=True)
    assert run_node(lambda: node, []) == 0
    assert node.closed


def test_the_same_error_in_the_middle_of_a_run_is_shown() -> None:
    node = Node(RuntimeError("Unable to convert call argument '0' to Python object"), shuts_down=False)
    with pytest.raises(RuntimeError, match="Unable to convert"):
        run_node(lambda: node, [])
    assert node.closed
