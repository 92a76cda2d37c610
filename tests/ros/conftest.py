"""rclpy for one test at a time, with the command line that the test wants."""

from collections.abc import Callable, Iterator

import pytest
import rclpy

StartRos = Callable[..., None]


@pytest.fixture
def start_ros(private_ros_domain: int) -> Iterator[StartRos]:
    """Starts rclpy with ROS arguments, such as `"-p", "name:=value"`; ends it after the test."""

    def start(*words: str) -> None:
        rclpy.init(args=["test", "--ros-args", *words])

    yield start
    rclpy.try_shutdown()
