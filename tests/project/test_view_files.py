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
from salus_vla.ros.nodes.salus_markers_node import NAMESPACES, MarkerParameters

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
    "rqt_robot_monitor": "rqt_robot_monitor",
}
DESCRIPTION = "moveit_resources_panda_description"
URDF = '<?xml version="1.0"?>\n<!-- $(of nobody): "quoted" -->\n<robot name="panda"/>\n'


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
        assert display["Enabled"] is display["Value"] is True
    wanted = {image_topic(camera).name for camera in CAMERAS} | {contract.MARKERS.name, contract.ROBOT_DESCRIPTION.name}
    assert set(shown) == wanted
    assert {kind for kind, _ in displays()} == {*DISPLAYED, "Grid", "TF"}


def test_rviz_looks_from_the_world_frame_and_knows_the_markers_namespaces() -> None:
    assert manager()["Global Options"]["Fixed Frame"] == WORLD_FRAME
    (markers,) = (display for kind, display in displays() if kind == "MarkerArray")
    assert markers["Namespaces"] == dict.fromkeys(NAMESPACES, True)


def test_rqt_starts_our_plugin_and_the_bag_browser_and_nothing_that_is_not_installed() -> None:
    """Where one plugin of a perspective is missing, rqt restores none of the others' settings.

    rqt_plot subtracts wall time from sim time, and rqt_robot_monitor takes the turns of the node that plugins share.
    """
    plugins = rqt_manager()
    running = ast.literal_eval(plugins["keys"]["running-plugins"]["repr"])
    assert running == {"salus_vla/SALUS": [1], "rqt_bag/Bag": [1]}
    assert {f"plugin__{name.replace('/', '__')}__1" for name in running} == set(plugins["groups"])
    lines = [line for line in LIVE.read_text(encoding="utf-8").splitlines() if line.startswith("sudo apt install")]
    installed = {word.removeprefix("ros-jazzy-").replace("-", "_") for word in " ".join(lines).split()}
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
    urdf = tmp_path / "share" / DESCRIPTION / "urdf" / "panda.urdf"
    urdf.parent.mkdir()
    urdf.write_text(URDF)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{os.environ['AMENT_PREFIX_PATH']}:{tmp_path}")
    return tmp_path


def started(tmp_path: Path, **arguments: str) -> dict[str, ProcessSpec]:
    folder = tmp_path / "parameters"
    folder.mkdir()
    return {spec.label.rsplit("-", 1)[0]: spec for spec in build_graph(LAUNCH, arguments, folder)}


def parameters(spec: ProcessSpec) -> dict[str, Any]:
    """Of the parameter files that a process gets."""
    files = [Path(spec.command[i + 1]) for i, word in enumerate(spec.command) if word == "--params-file"]
    return {k: v for file in files for k, v in yaml.safe_load(file.read_text())["/**"]["ros__parameters"].items()}


def test_the_launch_file_starts_everything_with_files_that_are_there(ros_machine: Path) -> None:
    graph = started(ros_machine, monitor="true")
    assert set(graph) == {
        *("robot_state_publisher", "salus_frames", "salus_markers", "rviz2", "rqt_gui"),
        *("aggregator_node", "rqt_robot_monitor"),
    }
    description = graph["robot_state_publisher"].command
    assert parameters(graph["robot_state_publisher"]) == {"robot_description": URDF}
    assert description[1] == "--ros-args"  # the URDF's path as an argument is deprecated
    remaps = {word for word in description if ":=/" in word}
    assert remaps == {
        f"/tf:={contract.VIEW_TF.name}",
        f"/tf_static:={contract.VIEW_TF_STATIC.name}",
        f"/robot_description:={contract.VIEW_DESCRIPTION.name}",
    }
    for process, option, file in (("rviz2", "-d", RVIZ), ("rqt_gui", "--perspective-file", RQT)):
        given = graph[process].command
        assert Path(given[given.index(option) + 1]).resolve() == file
    files = [word for word in graph["aggregator_node"].command if word.endswith("diagnostics.yaml")]
    assert [Path(file).resolve() for file in files] == [TREE]


def test_by_default_there_is_no_robot_monitor_and_nothing_of_its_packages_is_needed(ros_machine: Path) -> None:
    for package in ("diagnostic_aggregator", "rqt_robot_monitor"):
        (ros_machine / "share" / package).rmdir()
    assert set(started(ros_machine)) == {"robot_state_publisher", "salus_frames", "salus_markers", "rviz2", "rqt_gui"}


@pytest.mark.parametrize(
    ("tf", "wanted"),
    [
        ("auto", {"salus_frames"}),
        ("simulator", set()),
        ("description", {"static_transform_publisher"}),
    ],
)
def test_the_frames_come_from_whom_tf_says(ros_machine: Path, tf: str, wanted: set[str]) -> None:
    graph = started(ros_machine, tf=tf, rqt="false", markers="false")
    assert set(graph) == {"robot_state_publisher", "rviz2", *wanted}
    own = [word for word in graph["robot_state_publisher"].command if "/tf" in word]
    assert bool(own) is (tf != "description")
    held_back = f"/robot_description:={contract.VIEW_DESCRIPTION.name}"  # by salus_frames, until there are frames
    assert (held_back in graph["robot_state_publisher"].command) is (tf == "auto")
    if tf == "description":
        words = graph["static_transform_publisher"].command
        assert words[words.index("--frame-id") + 1] == WORLD_FRAME
        assert words[words.index("--child-frame-id") + 1] == contract.BASE_FRAME


def test_the_markers_alone_need_no_ros_installation(tmp_path: Path) -> None:
    assert set(started(tmp_path, rviz="false", rqt="false")) == {"salus_markers"}


@pytest.mark.parametrize("missing", sorted(set(STARTED) - {"tf2_ros"}))
def test_a_missing_package_is_named_with_what_installs_it(ros_machine: Path, missing: str) -> None:
    (ros_machine / "share" / missing).rmdir()
    remedy = rf"package '{missing}' not found; .*apt install ros-jazzy-{missing.replace('_', '-')}"
    with pytest.raises(LaunchError, match=remedy):
        started(ros_machine, monitor="true")


def test_launch_looks_for_every_program_before_it_starts_one() -> None:
    """`ros2 launch` leaves behind what it has started when it does not find the next one."""
    elements = list(ElementTree.fromstring(LAUNCH.read_bytes()).iter())
    first = next(number for number, element in enumerate(elements) if element.tag == "node")
    looked_for = " ".join(element.get("value", "") for element in elements[:first] if element.tag == "let")
    for element in elements:
        if element.tag == "node" and element.get("pkg") != "salus_vla":
            assert f"$(exec-in-pkg {element.get('exec')} {element.get('pkg')})" in looked_for
    described = next(number for number, element in enumerate(elements) if element.get("name") == "urdf")
    assert described < first


def test_the_launch_files_defaults_are_the_nodes() -> None:
    declared = {arg.get("name"): arg.get("default") for arg in ElementTree.fromstring(LAUNCH.read_bytes()).iter("arg")}
    defaults = MarkerParameters()
    assert (declared["signal"], float(declared["low"] or 0), float(declared["high"] or 0)) == (
        defaults.signal,
        defaults.low,
        defaults.high,
    )
