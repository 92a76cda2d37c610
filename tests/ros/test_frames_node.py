"""What salus_frames refuses before it gives frames, and when it gives the robot."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import rclpy
from rclpy.node import Node
from std_msgs.msg import String

from salus_vla import contract
from salus_vla.contract.errors import ConfigError
from salus_vla.ros.adapters.qos_profiles import qos_profile
from salus_vla.ros.nodes.salus_frames_node import SalusFramesNode
from waiting import wait_until

StartRos = Callable[..., None]


def test_frames_need_tf2_msgs_and_say_so(start_ros: StartRos, monkeypatch: pytest.MonkeyPatch) -> None:
    start_ros()
    monkeypatch.setitem(sys.modules, "tf2_msgs.msg", None)  # as on a machine without it
    with pytest.raises(ConfigError, match=r"tf2_msgs is not installed.*apt install ros-jazzy-tf2-msgs"):
        SalusFramesNode()


def test_a_wrong_parameter_is_named(start_ros: StartRos) -> None:
    start_ros("-p", "patience_s:=-1.0")
    with pytest.raises(ConfigError, match=r"salus_frames: parameter 'patience_s' is -1.0, expected 0.0 to 60.0"):
        SalusFramesNode()


def test_the_robot_is_given_with_the_first_frame_and_not_before(
    start_ros: StartRos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tf2_msgs.msg", SimpleNamespace(TFMessage=String))  # no wheel has the real one
    start_ros()
    frames, talker = SalusFramesNode(), Node("talker")
    heard: list[str] = []
    robot, held_back = contract.ROBOT_DESCRIPTION, contract.VIEW_DESCRIPTION
    talker.create_subscription(String, robot.name, lambda message: heard.append(message.data), qos_profile(robot.qos))
    described = talker.create_publisher(String, held_back.name, qos_profile(held_back.qos))
    simulator = talker.create_publisher(String, contract.TF.name, qos_profile(contract.TF.qos))

    def after_a_turn(condition: Callable[[], bool]) -> Callable[[], bool]:
        def turned() -> bool:
            frames._executor.spin_once(timeout_sec=0.02)
            rclpy.spin_once(talker, timeout_sec=0.02)
            return condition()

        return turned

    wait_until(after_a_turn(lambda: described.get_subscription_count() == 1), "the description's way", 10.0)
    wait_until(after_a_turn(lambda: simulator.get_subscription_count() == 1), "the frames' way", 10.0)
    wait_until(after_a_turn(lambda: talker.count_publishers(robot.name) == 1), "the robot's way", 10.0)
    described.publish(String(data="<robot/>"))
    for _ in range(20):
        assert not after_a_turn(lambda: bool(heard))()
    simulator.publish(String())
    wait_until(after_a_turn(lambda: heard == ["<robot/>"]), "the robot", 10.0)
    wait_until(after_a_turn(lambda: simulator.get_subscription_count() == 0), "the end of the listening", 10.0)
    frames.close()
    talker.destroy_node()
