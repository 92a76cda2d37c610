"""The README's tables say what the contract module says, and which rooms the package has."""

import re
from pathlib import Path

from salus_vla import contract
from salus_vla.contract import Source, Topic

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def row(topic: Topic) -> str:
    rate = "on event" if topic.rate_hz is None else f"{topic.rate_hz:g} Hz"
    qos = f"keep last {topic.qos.depth}" + (", latched" if topic.qos.latched else "")
    notes = {
        Source.SIMULATOR: " (where tf2_msgs is installed)",
        Source.PREDICTOR: " (with a predictor)",
        Source.POLICY: " (where it may intervene)",
    }
    note = notes[topic.source] if topic.optional else ""
    if topic == contract.MEMBER_CHUNKS:
        note = " (for displays)"
    return f"| `{topic.name}`{note} | {topic.type} | {qos} | {rate} | {topic.source.value} |"


def test_the_topic_table_is_the_contract() -> None:
    table = re.search(r"<!-- topics -->\n(.*)<!-- /topics -->", README.read_text(), re.DOTALL)
    assert table is not None
    header = ["| topic | type | QoS | rate | published by |", "|---|---|---|---|---|"]
    assert table[1].splitlines() == header + [row(topic) for topic in contract.TOPICS]


def test_each_room_of_the_package_is_told() -> None:
    package = ROOT / "ros2_ws/src/salus_vla/salus_vla"
    rooms = {item.parent.name for item in package.glob("*/__init__.py")}
    told = README.read_text().partition("## Where things are")[2]
    assert {room for room in rooms if f"`{room}/`" not in told} == set()
