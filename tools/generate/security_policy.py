"""The SROS 2 policy of the graph: what each node may publish, subscribe to, serve and call, from the contract.

`python tools/generate/security_policy.py` prints it; `config/security/policy.xml` is what it prints.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree

from salus_vla import contract
from salus_vla.contract import CAMERAS, ENTITIES, TOPICS, Service, Source, Topic

ENCLAVES = "/salus"  # each node has the enclave /salus/NAME
TOOLS = "tools"
SERVICES = tuple(value for value in vars(contract.topics).values() if isinstance(value, Service))
# What rclpy gives each node.
_OWN_TOPICS = ("/parameter_events", "/rosout")
_OWN_SERVICES = (
    *("describe_parameters", "get_parameter_types", "get_parameters", "list_parameters", "set_parameters"),
    *("set_parameters_atomically", "get_type_description"),
    *("change_state", "get_state", "get_available_states", "get_available_transitions", "get_transition_graph"),
)
_LIFECYCLE = ("bag_recorder", "vla_ensemble", "failure_predictor", "episode")
_BROUGHT_UP = ("bag_recorder", "vla_ensemble", "failure_predictor")  # by the episode node


@dataclass(frozen=True)
class NodeAccess:
    """What one node may do: absolute names of topics and services."""

    name: str
    publishes: frozenset[str]
    subscribes: frozenset[str]
    serves: frozenset[str]
    calls: frozenset[str]


def node_access() -> tuple[NodeAccess, ...]:
    """The nodes of the graph, and `tools` for people who look at topics and call services."""
    every_topic = frozenset(topic.name for topic in TOPICS)
    poses = [contract.pose_topic(entity) for entity in ENTITIES]
    subscribes = {
        "mujoco_sim": _names([contract.JOINT_COMMAND]),
        "vla_ensemble": _names([contract.JOINT_STATES, contract.EPISODE, *map(contract.image_topic, CAMERAS), *poses]),
        "command_gate": _names([contract.JOINT_STATES, contract.JOINT_TARGET]),
        "episode": _names(
            [contract.JOINT_STATES, contract.CONTACT, contract.STATUS_TOPIC, contract.DIAGNOSTICS, *poses]
        ),
        "bag_recorder": every_topic,
        "failure_predictor": _names(
            [contract.JOINT_STATES, contract.JOINT_COMMAND, contract.SAFETY_SIGNALS, contract.STATUS_TOPIC]
        ),
    }
    names = tuple(service.name for service in SERVICES)
    nodes = [
        NodeAccess(
            name=node,
            publishes=frozenset(t.name for t in TOPICS if _publishes(node, t)) | _transitions(node),
            subscribes=topics | {contract.CLOCK.name},
            serves=frozenset(name for name in names if _server(name) == node),
            calls=_episode_calls(names) if node == "episode" else frozenset(),
        )
        for node, topics in subscribes.items()
    ]
    return *nodes, NodeAccess(TOOLS, frozenset(), every_topic, frozenset(), frozenset(names))


def policy_xml() -> str:
    """The policy file, in the format of `ros2 security create_permission`."""
    root = ElementTree.Element("policy", version="0.2.0")
    enclaves = ElementTree.SubElement(root, "enclaves")
    for node in node_access():
        enclave = ElementTree.SubElement(enclaves, "enclave", path=f"{ENCLAVES}/{node.name}")
        profiles = ElementTree.SubElement(enclave, "profiles")
        profile = ElementTree.SubElement(profiles, "profile", ns="/", node=node.name)
        own = [f"~/{service}" for service in _OWN_SERVICES]
        _rule(profile, "topic", "publish", {*node.publishes, *_OWN_TOPICS})
        _rule(profile, "topic", "subscribe", {*node.subscribes, "/parameter_events"})
        _rule(profile, "service", "reply", {*node.serves, *own})
        _rule(profile, "service", "request", node.calls)
    ElementTree.indent(root)
    note = "<!-- Made by `python tools/generate/security_policy.py`; see docs/security.md. -->"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{note}\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _rule(profile: ElementTree.Element, kind: str, permission: str, names: Iterable[str]) -> None:
    names = sorted(names)
    if names:
        rule = ElementTree.SubElement(profile, f"{kind}s", {permission: "ALLOW"})
        for name in names:
            ElementTree.SubElement(rule, kind).text = name


def _names(topics: Iterable[Topic]) -> frozenset[str]:
    return frozenset(topic.name for topic in topics)


def _transitions(node: str) -> frozenset[str]:
    return frozenset({f"/{node}/transition_event"} if node in _LIFECYCLE else ())


def _episode_calls(names: Iterable[str]) -> frozenset[str]:
    lifecycle = {f"/{node}/{service}" for node in _BROUGHT_UP for service in ("get_state", "change_state")}
    return frozenset(name for name in names if _server(name) != "vla_ensemble") | lifecycle


def _publishes(node: str, topic: Topic) -> bool:
    if topic.source is Source.NODES:  # the simulator has a status only when it cannot start
        return True
    return node == ("mujoco_sim" if topic.source is Source.SIMULATOR else topic.source.value)


def _server(service: str) -> str:
    if service.startswith("/sim/"):
        return "mujoco_sim"
    return "bag_recorder" if service.startswith("/salus/recorder/") else "vla_ensemble"


if __name__ == "__main__":
    print(policy_xml(), end="")
