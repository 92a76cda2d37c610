"""The SROS 2 policy file agrees with the topic contract; with a live graph it is compared in test_running_graph.py."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from salus_vla.contract import JOINT_COMMAND, TOPICS, Source
from security_policy import SERVICES, TOOLS, node_access, policy_xml

FILE = Path(__file__).parents[2] / "config" / "security" / "policy.xml"


def test_the_file_is_what_the_contract_gives() -> None:
    remedy = "run: python tools/generate/security_policy.py > config/security/policy.xml"
    assert FILE.read_text(encoding="utf-8") == policy_xml(), remedy


def test_each_topic_has_the_publisher_of_the_contract_and_the_recorder_reads_it() -> None:
    access = {node.name: node for node in node_access()}
    for topic in TOPICS:
        publishers = {name for name, node in access.items() if topic.name in node.publishes}
        if topic.source is not Source.NODES:
            source = "mujoco_sim" if topic.source is Source.SIMULATOR else topic.source.value
            assert publishers == {source}, topic.name
        assert publishers, topic.name
        assert TOOLS not in publishers
        assert topic.name in access["bag_recorder"].subscribes
    assert JOINT_COMMAND.name in access["mujoco_sim"].subscribes


def test_each_service_has_one_server() -> None:
    assert SERVICES
    for service in SERVICES:
        assert sum(service.name in node.serves for node in node_access()) == 1, service.name


def test_everything_is_allowed_by_name_and_nothing_by_a_pattern() -> None:
    root = ElementTree.fromstring(FILE.read_bytes())
    names = [item.text or "" for kind in ("topic", "service") for item in root.iter(kind)]
    assert len(names) > 100
    assert all(name.startswith(("/", "~/")) and not set(name) & set("*?[]") for name in names)
    rules = [value for kind in ("topics", "services") for item in root.iter(kind) for value in item.attrib.values()]
    assert set(rules) == {"ALLOW"}
    enclaves = [item.get("path") for item in root.iter("enclave")]
    assert enclaves == [f"/salus/{node.name}" for node in node_access()]
