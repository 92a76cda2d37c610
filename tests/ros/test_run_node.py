"""What a node's process does with an error: at its end it is no error, before it is one."""

from __future__ import annotations

import threading

import pytest
import rclpy

from salus_vla.ros.adapters.run_node import run_node

pytestmark = pytest.mark.usefixtures("private_ros_domain")


class Node:
    """Runs what the test says."""

    def __init__(self, error: Exception, *, ends_after_s: float | None) -> None:
        self._error, self._ends_after_s = error, ends_after_s
        self.closed = False

    def run(self) -> int | None:
        if self._ends_after_s is not None:
            threading.Timer(self._ends_after_s, rclpy.try_shutdown).start()
        raise self._error

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("ends_after_s", [0.0, 0.1])
def test_an_error_of_the_bindings_while_rclpy_ends_is_the_end(ends_after_s: float) -> None:
    node = Node(RuntimeError("Unable to convert call argument '0' to Python object"), ends_after_s=ends_after_s)
    assert run_node(lambda: node, []) == 0
    assert node.closed


def test_the_same_error_in_the_middle_of_a_run_is_shown() -> None:
    node = Node(RuntimeError("Unable to convert call argument '0' to Python object"), ends_after_s=None)
    with pytest.raises(RuntimeError, match="Unable to convert"):
        run_node(lambda: node, [])
    assert node.closed
