"""Checks an OmniGraph without Isaac Sim: against a table of node attributes, and against the topic contract.

`ogn_table.json` has, per major version, the attributes of the nodes that a graph of ours may use: their types, their
allowed tokens, and which inputs must be connected or set. They were read from the node definitions of
isaac-sim/IsaacSim, tags v5.1.0 and v6.0.1; `tests/simulation/isaac/test_graph_check.py` compares them with a list of
all of them where there is one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from salus_vla import contract
from salus_vla.contract import CAMERAS, Topic
from salus_vla.contract.errors import SimulatorError
from salus_vla.simulation.isaac.runtime.omnigraph_spec import GraphSpec

TABLE_FILE = "ogn_table.json"
_RANGES = {"uchar": (0, 2**8 - 1), "uint": (0, 2**32 - 1), "uint64": (0, 2**64 - 1)}
_RANGES |= {"int": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_TEXT = frozenset({"string", "token"})
_NUMBERS = frozenset({"float", "double"})
_PUBLISHED = (
    contract.CLOCK,
    contract.JOINT_STATES,
    contract.TF,
    contract.TF_STATIC,
    *map(contract.image_topic, CAMERAS),
    *map(contract.camera_info_topic, CAMERAS),
)
_STAMPS = ("resetOnStop", "resetSimulationTimeOnStop")  # their defaults differ between 5.x and 6.x
_HELPERS = frozenset({"ROS2CameraHelper", "ROS2CameraInfoHelper"})


def node_table() -> dict[str, Any]:
    """Major version -> node type -> `attributes`, `allowed` and `required`."""
    table: dict[str, Any] = json.loads((Path(__file__).parent / TABLE_FILE).read_text(encoding="utf-8"))
    return table


def check_graph(spec: GraphSpec, major: int, *, frame_hz: float, camera_hz: float) -> None:
    """Refuses a graph that Isaac Sim would not build, or that would break the topic contract.

    Raises:
        SimulatorError: names every problem that was found.
    """
    found = problems(spec, major, frame_hz=frame_hz, camera_hz=camera_hz)
    if found:
        raise SimulatorError("the graph is wrong:\n" + "\n".join(f"  {problem}" for problem in found))


def problems(spec: GraphSpec, major: int, *, frame_hz: float, camera_hz: float) -> list[str]:
    """Everything that is wrong with a graph.

    Args:
        spec: the graph.
        major: version of Isaac Sim it is for.
        frame_hz: frames per second of sim time.
        camera_hz: images per second of sim time that the contract wants.
    """
    return [*_structure(spec, node_table()[str(major)]), *_contract(spec, frame_hz, camera_hz)]


# -- against the table -------------------------------------------------------------------------------------------------


def _structure(spec: GraphSpec, table: Mapping[str, Any]) -> Iterator[str]:
    for name, kind in spec.nodes.items():
        if kind not in table:
            yield f"{name}: unknown node type {kind}"
    for attribute in [*spec.values, *(end for pair in spec.connections for end in pair)]:
        problem = _unknown(spec, table, attribute)
        if problem:
            yield problem
    for source, target in spec.connections:
        yield from _connection(spec, table, source, target)
    for attribute, value in spec.values.items():
        wanted = _type(spec, table, attribute)
        if wanted is None:
            continue
        if not attribute.partition(".")[2].startswith("inputs:"):
            yield f"{attribute}: only inputs can be set"
        elif not _fits(wanted, value):
            yield f"{attribute}: {value!r} is not a {wanted}"
        allowed = _entry(spec, table, attribute)["allowed"].get(attribute.partition(".")[2])
        if allowed is not None and value not in allowed:
            yield f"{attribute}: token {value!r} is not one of {', '.join(allowed)}"
    given = {*spec.values, *(target for _, target in spec.connections)}
    for name, kind in spec.nodes.items():
        for attribute in table.get(kind, {"required": []})["required"]:
            if f"{name}.{attribute}" not in given:
                yield f"{name}.{attribute}: is required and neither connected nor set"
    for target, count in Counter(target for _, target in spec.connections).items():
        if count > 1:
            yield f"{target}: has {count} connections"
        if target in spec.values:
            yield f"{target}: is connected and set"


def _connection(spec: GraphSpec, table: Mapping[str, Any], source: str, target: str) -> Iterator[str]:
    for end, prefix in ((source, "outputs:"), (target, "inputs:")):
        if not end.partition(".")[2].startswith(prefix):
            yield f"{source} -> {target}: {end} is none of the {prefix[:-1]}"
    types = _type(spec, table, source), _type(spec, table, target)
    if None not in types and types[0] != types[1]:
        yield f"{source} -> {target}: {types[0]} does not fit {types[1]}"


def _unknown(spec: GraphSpec, table: Mapping[str, Any], attribute: str) -> str | None:
    node, _, name = attribute.partition(".")
    if node not in spec.nodes:
        return f"{attribute}: there is no node {node}"
    if spec.nodes[node] in table and name not in table[spec.nodes[node]]["attributes"]:
        return f"{attribute}: {spec.nodes[node]} has no attribute {name}"
    return None


def _entry(spec: GraphSpec, table: Mapping[str, Any], attribute: str) -> Any:
    return table.get(spec.nodes.get(attribute.partition(".")[0], ""), {"attributes": {}, "allowed": {}})


def _type(spec: GraphSpec, table: Mapping[str, Any], attribute: str) -> str | None:
    kind: str | None = _entry(spec, table, attribute)["attributes"].get(attribute.partition(".")[2])
    return kind


def _fits(kind: str, value: Any) -> bool:
    if kind == "bool":
        return isinstance(value, bool)
    if kind in _RANGES:
        low, high = _RANGES[kind]
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    if kind in _TEXT:
        return isinstance(value, str)
    if kind in _NUMBERS:
        return isinstance(value, float)
    if kind == "target":
        return isinstance(value, list) and bool(value) and all(_is_prim(path) for path in value)
    return False


def _is_prim(path: Any) -> bool:
    return isinstance(path, str) and path.startswith("/") and not path.endswith("/")


# -- against the contract ----------------------------------------------------------------------------------------------


def _contract(spec: GraphSpec, frame_hz: float, camera_hz: float) -> Iterator[str]:
    by_topic: dict[str, list[str]] = {}
    for attribute, value in spec.values.items():
        if attribute.endswith(".inputs:topicName"):
            by_topic.setdefault(value, []).append(attribute.partition(".")[0])
    for topic in _PUBLISHED:
        nodes = by_topic.pop(topic.name, [])
        if len(nodes) != 1:
            yield f"{topic.name}: {len(nodes)} nodes publish it, expected one"
        for node in nodes:
            yield from _publisher(spec, node, topic)
    for name, nodes in by_topic.items():
        for node in nodes:
            if name != contract.JOINT_COMMAND.name or not spec.nodes.get(node, "").endswith(".ROS2SubscribeJointState"):
                yield f"{node}.inputs:topicName: {name} is not a topic of the graph"
    for node, kind in spec.nodes.items():
        yield from _traps(spec, node, kind.rpartition(".")[2], frame_hz, camera_hz)


def _publisher(spec: GraphSpec, node: str, topic: Topic) -> Iterator[str]:
    depth = spec.values.get(f"{node}.inputs:queueSize")
    if depth != topic.qos.depth:
        yield f"{node}.inputs:queueSize: is {depth}, expected {topic.qos.depth} of {topic.name}"
    frame = spec.values.get(f"{node}.inputs:frameId")
    if topic.frame_id and frame != topic.frame_id:
        yield f"{node}.inputs:frameId: is {frame!r}, expected {topic.frame_id!r} of {topic.name}"
    static = spec.values.get(f"{node}.inputs:staticPublisher", False)
    if static is not topic.qos.latched:
        yield f"{node}.inputs:staticPublisher: is {static}, expected {topic.qos.latched} of {topic.name}"


def _traps(spec: GraphSpec, node: str, kind: str, frame_hz: float, camera_hz: float) -> Iterator[str]:
    value = {key.partition(".inputs:")[2]: item for key, item in spec.values.items() if key.startswith(f"{node}.")}
    sensor_time = f"{node}.inputs:sensorTime"
    if "sensorTime" in value or any(target == sensor_time for _, target in spec.connections):
        yield f"{sensor_time}: must stay free, because above 0 it replaces timeStamp by another clock"
    for name, kinds in zip(_STAMPS, (frozenset({"IsaacReadSimulationTime"}), _HELPERS), strict=True):
        if kind in kinds and value.get(name) is not False:
            yield f"{node}.inputs:{name}: must be set to False, the default of 6.x lets the clock jump back"
    if kind == "ROS2SubscribeJointState" and value.get("queueSize") != contract.JOINT_COMMAND.qos.depth:
        yield f"{node}.inputs:queueSize: must be 1, because one command is taken per frame and older ones would wait"
    if kind in _HELPERS:
        if value.get("useSystemTime", False) is not False:
            yield f"{node}.inputs:useSystemTime: stamps are sim time"
        if kind == "ROS2CameraHelper" and value.get("type") != "rgb":
            yield f"{node}.inputs:type: is {value.get('type')!r}, expected 'rgb'"
        rate = (spec.tick_rate or frame_hz) / (value.get("frameSkipCount", 0) + 1)
        if abs(rate - camera_hz) > 1e-6:
            yield f"{node}.inputs:frameSkipCount: pictures at {rate:g} Hz, expected {camera_hz:g} Hz"
