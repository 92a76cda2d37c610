"""rviz's and rqt's layouts and view.launch.xml agree with the contract: every topic, type, QoS, frame and field."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from ament_index_python.packages import get_package_share_directory

from rqt_perspective import PLUGINS
from salus_vla import contract
from salus_vla.contract import CAMERAS, TOPICS, VIEW_TOPICS, WORLD_FRAME, Topic, image_topic
from salus_vla.contract.errors import LaunchError
from salus_vla.ros.launch.launch_graph import ProcessSpec, build_graph
from salus_vla.ros.nodes.salus_markers_node import GRIPPER, TEXT, TRAIL, MarkerParameters
from security_policy import node_access

ROOT = Path(__file__).parents[2]
RVIZ = ROOT / "config" / "rviz" / "salus.rviz"
RQT = ROOT / "config" / "rqt" / "salus.perspective"
TREE = ROOT / "config" / "rqt" / "diagnostics.yaml"
PACKAGE = ROOT / "ros2_ws" / "src" / "salus_vla"
LIVE = ROOT / "docs" / "live.md"
GENERATE = ROOT / "tools" / "generate"
LAUNCH = ROOT / "launch" / "view.launch.xml"
ALL = {topic.name: topic for topic in (*TOPICS, *VIEW_TOPICS)}
# What a display or plugin takes; TF has its topics built in.
DISPLAYED = {
    "RobotModel": "std_msgs/msg/String",
    "Image": "sensor_msgs/msg/Image",
    "MarkerArray": "visualization_msgs/msg/MarkerArray",
}
# Packages of ROS that the launch file starts something from, with the executable.
STARTED = {
    "robot_state_publisher": "robot_state_publisher",
    "tf2_ros": "static_transform_publisher",
    "diagnostic_aggregator": "aggregator_node",
    "rviz2": "rviz2",
    "rqt_gui": "rqt_gui",
}
DESCRIPTION = "moveit_resources_panda_description"


def manager() -> dict[str, Any]:
    return dict(yaml.safe_load(RVIZ.read_text(encoding="utf-8"))["Visualization Manager"])


def displays() -> Iterator[tuple[str, dict[str, Any]]]:
    for display in manager()["Displays"]:
        yield display["Class"].removeprefix("rviz_default_plugins/"), display


def rqt_manager() -> dict[str, Any]:
    return dict(json.loads(RQT.read_text(encoding="utf-8"))["groups"]["pluginmanager"])


def test_rviz_shows_topics_of_the_contract_with_its_types_and_qos() -> None:
    shown: dict[str, Topic] = {}
    for kind, display in displays():
        given = display.get("Topic") or display.get("Description Topic")
        if given is None:
            assert kind in ("Grid", "TF")
            continue
        topic = shown[given["Value"]] = ALL[given["Value"]]
        assert topic.type == DISPLAYED[kind]
        assert given["Reliability Policy"] == "Reliable"
        assert given["Durability Policy"] == ("Transient Local" if topic.qos.latched else "Volatile")
        assert (given["History Policy"], given["Depth"]) == ("Keep Last", topic.qos.depth)
        assert display["Enabled"]
        assert display["Value"]
    wanted = {image_topic(camera).name for camera in CAMERAS} | {contract.MARKERS.name, contract.ROBOT_DESCRIPTION.name}
    assert set(shown) == wanted
    assert {kind for kind, _ in displays()} == {*DISPLAYED, "Grid", "TF"}


def test_rviz_looks_from_the_world_frame_and_knows_the_markers_namespaces() -> None:
    assert manager()["Global Options"]["Fixed Frame"] == WORLD_FRAME
    (markers,) = (display for kind, display in displays() if kind == "MarkerArray")
    assert markers["Namespaces"] == {TRAIL: True, GRIPPER: True, TEXT: True}


def test_rqt_starts_our_plugin_and_the_bag_browser_and_nothing_that_is_not_installed() -> None:
    """Where one plugin of a perspective is missing, rqt restores none of the others' settings.

    rqt_plot subtracts wall time from sim time, and rqt_robot_monitor takes the turns of the node that plugins share.
    """
    plugins = rqt_manager()
    running = ast.literal_eval(plugins["keys"]["running-plugins"]["repr"])
    assert running == {"salus_vla/SALUS": [1], "rqt_bag/Bag": [1]}
    assert {f"plugin__{name.replace('/', '__')}__1" for name in running} == set(plugins["groups"])
    (line,) = [line for line in LIVE.read_text(encoding="utf-8").splitlines() if line.startswith("sudo apt install")]
    installed = {word.removeprefix("ros-jazzy-").replace("-", "_") for word in line.split()}
    assert {"rqt_bag_plugins", "python3_pyqtgraph"} <= installed  # the first of them brings rqt_bag


def test_the_plugin_is_what_rqt_looks_for() -> None:
    export = ElementTree.parse(PACKAGE / "package.xml").find("export/rqt_gui")
    assert export is not None
    assert export.get("plugin") == "${prefix}/plugin.xml"
    assert (Path(get_package_share_directory("salus_vla")) / "plugin.xml").is_file()
    declared = ElementTree.parse(PACKAGE / "plugin.xml").find("class")
    assert declared is not None
    assert (declared.get("name"), declared.get("base_class_type")) == ("SALUS", "rqt_gui_py::Plugin")
    module, name = str(declared.get("type")).rsplit(".", 1)
    plugin = getattr(importlib.import_module(module), name)
    assert callable(plugin.shutdown_plugin)
    assert declared.findtext("qtgui/label") == "SALUS"


def test_the_saved_layout_fits_the_screen_and_leaves_the_window_room() -> None:
    """Qt itself reads what is saved: our plugin has the whole width and what the window needs, the bags are below."""
    program = "import rqt_perspective_check as check; print(check.geometry_and_docks())"
    environment = {
        **os.environ,
        "QT_QPA_PLATFORM": "offscreen",
        "PYTHONPATH": f"{ROOT / 'tests' / 'support'}:{GENERATE}",
    }
    result = subprocess.run(
        [sys.executable, "-c", program, str(RQT)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    (left, top, width, height), docks = ast.literal_eval(result.stdout.splitlines()[-1])
    assert left >= 0
    assert top >= 0
    assert left + width <= 1920
    assert top + height <= 1080
    salus, bag = docks["salus_vla__SALUS__1__SalusWindow"], docks["rqt_bag__Bag__1__BagWidget"]
    assert salus[2] >= 1900
    assert salus[3] >= 660
    assert bag[1] > salus[1]
    assert bag[3] >= 150


def test_the_layout_is_the_generators() -> None:
    """All but the bytes of Qt, in which the size of a font counts."""
    shape = json.loads(RQT.read_text(encoding="utf-8"))
    assert {name for name, *_ in PLUGINS} == set(
        ast.literal_eval(shape["groups"]["pluginmanager"]["keys"]["running-plugins"]["repr"])
    )


def test_the_tree_of_diagnostics_has_a_branch_for_each_node() -> None:
    parameters = yaml.safe_load(TREE.read_text(encoding="utf-8"))["/**"]["ros__parameters"]
    branches = {name: value for name, value in parameters.items() if isinstance(value, dict)}
    nodes = {node.name for node in node_access() if contract.DIAGNOSTICS.name in node.publishes}
    assert set(branches) == nodes | {"isaac_sim"}  # in the place of mujoco_sim
    assert all(value["startswith"] == [f"salus/{name}"] for name, value in branches.items())
    assert parameters["pub_rate"] == contract.DIAGNOSTICS_TREE.rate_hz


@pytest.fixture
def ros_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for what apt installs: the packages' markers and executables, and the URDF."""
    for package, executable in STARTED.items():
        program = tmp_path / "lib" / package / executable
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    for package in (*STARTED, DESCRIPTION):
        (tmp_path / "share" / package).mkdir(parents=True)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{os.environ['AMENT_PREFIX_PATH']}:{tmp_path}")
    return tmp_path


def started(tmp_path: Path, **arguments: str) -> dict[str, ProcessSpec]:
    folder = tmp_path / "parameters"
    folder.mkdir()
    return {spec.label.rsplit("-", 1)[0]: spec for spec in build_graph(LAUNCH, arguments, folder)}


def test_the_launch_file_starts_everything_with_files_that_are_there(ros_machine: Path) -> None:
    graph = started(ros_machine)
    assert set(graph) == {"robot_state_publisher", "salus_markers", "aggregator_node", "rviz2", "rqt_gui"}
    assert graph["robot_state_publisher"].command[1] == str(ros_machine / "share" / DESCRIPTION / "urdf" / "panda.urdf")
    assert "/tf:=/salus/view/unused_tf" in graph["robot_state_publisher"].command
    for process, option, file in (("rviz2", "-d", RVIZ), ("rqt_gui", "--perspective-file", RQT)):
        given = graph[process].command
        assert Path(given[given.index(option) + 1]).resolve() == file
    files = [word for word in graph["aggregator_node"].command if word.endswith("diagnostics.yaml")]
    assert [Path(file).resolve() for file in files] == [TREE]


def test_without_tf_of_the_simulator_the_description_gives_the_frames(ros_machine: Path) -> None:
    graph = started(ros_machine, tf="description", rqt="false", markers="false")
    assert set(graph) == {"robot_state_publisher", "static_transform_publisher", "rviz2"}
    assert not any("unused" in word for word in graph["robot_state_publisher"].command)
    words = graph["static_transform_publisher"].command
    assert words[words.index("--frame-id") + 1] == WORLD_FRAME


def test_the_markers_alone_need_no_ros_installation(tmp_path: Path) -> None:
    assert set(started(tmp_path, rviz="false", rqt="false")) == {"salus_markers"}


def test_a_missing_package_is_named_with_what_installs_it(tmp_path: Path) -> None:
    remedy = r"package 'diagnostic_aggregator' not found; .*apt install ros-jazzy-diagnostic-aggregator"
    with pytest.raises(LaunchError, match=remedy):
        started(tmp_path, rviz="false")


def test_the_launch_files_defaults_are_the_nodes() -> None:
    declared = {arg.get("name"): arg.get("default") for arg in ElementTree.fromstring(LAUNCH.read_bytes()).iter("arg")}
    defaults = MarkerParameters()
    assert (declared["signal"], float(declared["low"] or 0), float(declared["high"] or 0)) == (
        defaults.signal,
        defaults.low,
        defaults.high,
    )
