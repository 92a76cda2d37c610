"""The README's topic table says what the contract module says."""

import re
from pathlib import Path

from salus_vla import contract
from salus_vla.contract import Source, Topic

README = Path(__file__).parents[2] / "README.md"


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
