"""The graph as data: right for both majors, and every deliberate mistake is found."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from salus_vla import contract
from salus_vla.config.scene import load_scene
from salus_vla.contract import CAMERAS
from salus_vla.contract.errors import SimulatorError
from salus_vla.simulation.isaac.runtime.omnigraph_check import check_graph, node_table, problems
from salus_vla.simulation.isaac.runtime.omnigraph_spec import GraphSpec, graph_spec

MAJORS = (5, 6)
ALL_ATTRIBUTES = Path(__file__).parents[4] / "shared" / "design" / "isaac_ogn_attributes.json"
SUBSCRIBER = "isaacsim.ros2.bridge.ROS2SubscribeJointState"


def spec_of(major: int) -> GraphSpec:
    scene = load_scene()
    return graph_spec(
        major,
        frame_dt=scene.rates.frame_dt,
        frames_per_decision=scene.rates.frames_per_decision,
        width=scene.cameras.width,
        height=scene.cameras.height,
    )


def found(spec: GraphSpec, major: int) -> list[str]:
    return problems(spec, major, frame_hz=contract.FRAME_HZ, camera_hz=contract.DECISION_HZ)


@pytest.mark.parametrize("major", MAJORS)
def test_the_graph_is_right(major: int) -> None:
    assert found(spec_of(major), major) == []
    check_graph(spec_of(major), major, frame_hz=50.0, camera_hz=10.0)


@pytest.mark.parametrize("major", MAJORS)
def test_a_graph_for_the_other_major_is_not(major: int) -> None:
    with pytest.raises(SimulatorError, match="the graph is wrong:\n  "):
        check_graph(spec_of(11 - major), major, frame_hz=50.0, camera_hz=10.0)


@pytest.mark.parametrize("major", MAJORS)
def test_every_topic_has_one_publisher_with_the_contracts_frame(major: int) -> None:
    values = spec_of(major).values
    topics = sorted(value for key, value in values.items() if key.endswith(".inputs:topicName"))
    ground_truth = {
        contract.CONTACT,
        *map(contract.pose_topic, contract.ENTITIES),
    }
    assert topics == sorted(topic.name for topic in contract.SIMULATOR_TOPICS if topic not in ground_truth)
    frames = [value for key, value in values.items() if key.endswith(".inputs:frameId")]
    assert sorted(frames) == sorted(2 * [contract.camera_frame(camera) for camera in CAMERAS])


@pytest.mark.parametrize("major", MAJORS)
def test_stamps_come_from_the_one_clock_that_never_jumps_back(major: int) -> None:
    spec = spec_of(major)
    stamped = {target for source, target in spec.connections if source == "SimTime.outputs:simulationTime"}
    assert {
        f"{name}.inputs:timeStamp" for name in ("Clock", "JointStates", "Transforms", "StaticTransforms")
    } == stamped
    assert not any(target.endswith(":sensorTime") for _, target in spec.connections)
    assert spec.values["SimTime.inputs:resetOnStop"] is False


@pytest.mark.parametrize(("major", "skip", "rate"), [(5, 4, 0.0), (6, 0, 10.0)])
def test_pictures_come_at_ten_hertz(major: int, skip: int, rate: float) -> None:
    spec = spec_of(major)
    skips = {value for key, value in spec.values.items() if key.endswith(".inputs:frameSkipCount")}
    assert (skips, spec.tick_rate) == ({skip}, rate)


# -- deliberate mistakes -----------------------------------------------------------------------------------------------


def with_value(key: str, value: Any) -> Callable[[GraphSpec], GraphSpec]:
    return lambda spec: replace(spec, values={**spec.values, key: value})


def without_value(key: str) -> Callable[[GraphSpec], GraphSpec]:
    return lambda spec: replace(spec, values={name: value for name, value in spec.values.items() if name != key})


def with_node(name: str, kind: str, **values: Any) -> Callable[[GraphSpec], GraphSpec]:
    inputs = {f"{name}.inputs:{key}": value for key, value in values.items()}
    return lambda spec: replace(spec, nodes={**spec.nodes, name: kind}, values={**spec.values, **inputs})


def connected(*pairs: tuple[str, str]) -> Callable[[GraphSpec], GraphSpec]:
    return lambda spec: replace(spec, connections=(*spec.connections, *pairs))


def disconnected(target: str) -> Callable[[GraphSpec], GraphSpec]:
    return lambda spec: replace(spec, connections=tuple(pair for pair in spec.connections if pair[1] != target))


def subscriber(depth: int) -> Callable[[GraphSpec], GraphSpec]:
    add = with_node("Command", SUBSCRIBER, topicName="/joint_command", queueSize=depth)
    wire = connected(
        ("Tick.outputs:tick", "Command.inputs:execIn"), ("Context.outputs:context", "Command.inputs:context")
    )
    return lambda spec: wire(add(spec))


Mistake = tuple[Callable[[GraphSpec], GraphSpec], str]
MISTAKES: dict[str, Mistake] = {
    "unknown node type": (with_node("X", "isaacsim.ros2.bridge.ROS2PublishNothing"), "X: unknown node type"),
    "unknown attribute": (with_value("Clock.inputs:topic", "/clock"), "has no attribute inputs:topic"),
    "unknown node in a value": (with_value("Nobody.inputs:topicName", "/clock"), "there is no node Nobody"),
    "unknown output": (
        connected(("SimTime.outputs:time", "Clock.inputs:timeStamp")),
        "IsaacReadSimulationTime has no attribute outputs:time",
    ),
    "wrong type of a value": (with_value("Render_top.inputs:width", 256.0), "256.0 is not a uint"),
    "negative unsigned value": (with_value("Render_top.inputs:width", -1), "-1 is not a uint"),
    "bool for a number": (with_value("Clock.inputs:queueSize", True), "True is not a uint64"),
    "number for a text": (with_value("Clock.inputs:topicName", 7), "7 is not a string"),
    "whole number for a double": (with_value("JointStates.inputs:timeStamp", 1), "1 is not a double"),
    "a path for prims": (with_value("Render_top.inputs:cameraPrim", "/World"), "'/World' is not a target"),
    "a relative prim": (with_value("Render_top.inputs:cameraPrim", ["World"]), "is not a target"),
    "no prim at all": (with_value("Render_top.inputs:cameraPrim", []), "[] is not a target"),
    "wrong token": (with_value("Image_top.inputs:type", "rgb8"), "token 'rgb8' is not one of"),
    "another picture": (with_value("Image_top.inputs:type", "depth"), "is 'depth', expected 'rgb'"),
    "types of a connection": (
        connected(("SimTime.outputs:simulationTime", "Clock.inputs:queueSize")),
        "double does not fit uint64",
    ),
    "a connection from an input": (
        connected(("Clock.inputs:topicName", "JointStates.inputs:topicName")),
        "Clock.inputs:topicName is none of the outputs",
    ),
    "a connection to an output": (
        connected(("Tick.outputs:tick", "Render_top.outputs:execOut")),
        "Render_top.outputs:execOut is none of the inputs",
    ),
    "an output set": (with_value("Context.outputs:context", 1), "only inputs can be set"),
    "a required input free": (disconnected("Clock.inputs:timeStamp"), "Clock.inputs:timeStamp: is required"),
    "a node never run": (disconnected("JointStates.inputs:execIn"), "JointStates.inputs:execIn: is required"),
    "a camera of nothing": (without_value("Render_top.inputs:cameraPrim"), "Render_top.inputs:cameraPrim: is required"),
    "another ROS context": (disconnected("Clock.inputs:context"), "Clock.inputs:context: is required"),
    "connected twice": (
        connected(("Tick.outputs:tick", "Clock.inputs:execIn")),
        "Clock.inputs:execIn: has 2 connections",
    ),
    "connected and set": (with_value("Clock.inputs:timeStamp", 1.0), "Clock.inputs:timeStamp: is connected and set"),
    "a topic missing": (without_value("Clock.inputs:topicName"), "/clock: 0 nodes publish it"),
    "a topic twice": (with_value("Clock.inputs:topicName", "/tf"), "/tf: 2 nodes publish it"),
    "a topic of nobody": (with_value("Clock.inputs:topicName", "/time"), "/time is not a topic of the graph"),
    "another frame": (with_value("Image_top.inputs:frameId", "sim_camera"), "is 'sim_camera', expected"),
    "no frame": (without_value("Info_side.inputs:frameId"), "Info_side.inputs:frameId: is None"),
    "another queue": (with_value("JointStates.inputs:queueSize", 1), "JointStates.inputs:queueSize: is 1, expected 10"),
    "moving frames not moving": (
        with_value("Transforms.inputs:staticPublisher", True),
        "is True, expected False of /tf",
    ),
    "fixed frames not latched": (
        with_value("StaticTransforms.inputs:staticPublisher", False),
        "is False, expected True",
    ),
    "the clock restarts": (with_value("SimTime.inputs:resetOnStop", True), "SimTime.inputs:resetOnStop: must be set"),
    "resetOnStop left out": (without_value("SimTime.inputs:resetOnStop"), "SimTime.inputs:resetOnStop: must be set"),
    "stamps of pictures restart": (
        without_value("Image_top.inputs:resetSimulationTimeOnStop"),
        "Image_top.inputs:resetSimulationTimeOnStop: must be set to False",
    ),
    "wall time in stamps": (with_value("Info_top.inputs:useSystemTime", True), "stamps are sim time"),
    "pictures too often": (with_value("Image_top.inputs:frameSkipCount", 1), "expected 10 Hz"),
    "infos at another rate": (
        with_value("Info_top.inputs:frameSkipCount", 2),
        "Info_top.inputs:frameSkipCount: pictures",
    ),
    "another tick rate": (lambda spec: replace(spec, tick_rate=30.0), "expected 10 Hz"),
    "a long queue of commands": (subscriber(10), "Command.inputs:queueSize: must be 1"),
    "a publisher of commands": (with_value("Clock.inputs:topicName", "/joint_command"), "is not a topic of the graph"),
}


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_found(what: str, major: int) -> None:
    change, message = MISTAKES[what]
    assert [problem for problem in found(change(spec_of(major)), major) if message in problem] != []


def test_sensor_time_is_a_trap_of_6() -> None:
    change = connected(("ReadJoints.outputs:sensorTime", "JointStates.inputs:sensorTime"))
    (problem,) = found(change(spec_of(6)), 6)
    assert problem.startswith("JointStates.inputs:sensorTime: must stay free")
    (problem,) = found(with_value("JointStates.inputs:sensorTime", 0.5)(spec_of(6)), 6)
    assert problem.startswith("JointStates.inputs:sensorTime: must stay free")


@pytest.mark.parametrize("major", MAJORS)
def test_a_subscriber_with_a_queue_of_one_is_fine(major: int) -> None:
    assert found(subscriber(1)(spec_of(major)), major) == []


# -- the table ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not ALL_ATTRIBUTES.is_file(), reason="the list of all attributes is not part of the repository")
@pytest.mark.parametrize(("major", "tags"), [("5", ("v5.1.0",)), ("6", ("v6.0.0", "v6.0.1"))])
def test_the_table_says_what_the_sources_say(major: str, tags: tuple[str, ...]) -> None:
    everything = json.loads(ALL_ATTRIBUTES.read_text(encoding="utf-8"))
    for kind, entry in node_table()[major].items():
        for tag in tags if not kind.startswith("omni.") else ():  # Kit's own nodes are in no public source
            known = everything[tag][kind]
            assert entry["attributes"].items() <= known["attributes"].items(), (kind, tag)
            assert entry["allowed"] == known["allowed"], (kind, tag)


@pytest.mark.parametrize("major", MAJORS)
def test_what_is_required_exists(major: int) -> None:
    for kind, entry in node_table()[str(major)].items():
        assert set(entry["required"]) <= entry["attributes"].keys(), kind
