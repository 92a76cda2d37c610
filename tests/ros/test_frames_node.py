"""What salus_frames refuses before it gives frames."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from salus_vla.contract.errors import ConfigError
from salus_vla.ros.nodes.salus_frames_node import SalusFramesNode

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
