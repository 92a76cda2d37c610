"""The picture in docs/architecture.md is what the launch file and the contract give, and nothing in it overlaps."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from architecture_picture import _SAID_BELOW, main, nodes_of, picture, wires
from salus_vla.contract import TOPICS
from salus_vla.contract.errors import ConfigError
from security_policy import SERVICES

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch" / "salus.launch.xml"
PICTURE = ROOT / "docs" / "images" / "architecture.svg"
SVG = "{http://www.w3.org/2000/svg}"


def test_the_picture_is_up_to_date() -> None:
    remedy = "run: python tools/generate/architecture_picture.py docs/images/architecture.svg"
    assert PICTURE.read_text(encoding="utf-8") == picture(LAUNCH), remedy


def test_every_node_of_the_launch_file_is_a_column_and_simulators_share_one() -> None:
    columns = {node.name: node.instead for node in nodes_of(LAUNCH)}
    assert columns == {
        "mujoco_sim": ("isaac_sim",),
        "command_gate": (),
        "vla_ensemble": (),
        "failure_predictor": (),
        "episode": (),
        "bag_recorder": (),
    }
    assert list(columns)[-1] == "bag_recorder"


def names(label: str) -> list[str]:
    """`/a_{b,c}/d` as its two names."""
    head, brace, rest = label.partition("{")
    parts, _, tail = rest.partition("}")
    return [head + part + tail for part in parts.split(",")] if brace else [label]


def test_every_topic_and_service_is_there_once() -> None:
    told = [name for wire in wires() for name in names(wire.label)]
    everything = [topic.name for topic in TOPICS if topic not in _SAID_BELOW]
    assert told == everything + [service.name for service in SERVICES if service.name in told]
    text = PICTURE.read_text(encoding="utf-8")
    assert all(name in text for name in [*(topic.name for topic in _SAID_BELOW), *(s.name for s in SERVICES[-1:])])


def test_rows_and_texts_do_not_overlap_and_end_inside_the_page() -> None:
    root = ElementTree.parse(PICTURE).getroot()
    width, height = int(root.attrib["width"]), int(root.attrib["height"])
    texts = list(root.iter(f"{SVG}text"))
    left = sorted(int(text.attrib["y"]) for text in texts if text.attrib["x"] == "16")
    assert all(below - above >= 12 for above, below in pairwise(left))
    assert left[-1] < height - 8
    lines = [line for line in root.iter(f"{SVG}line") if "life" in line.attrib["class"]]
    first = min(int(line.attrib["x1"]) for line in lines)
    for text in texts:
        wide = len(text.text or "") * (7.9 if "name" in text.attrib["class"] else 5.7)  # px of a letter, about
        room = width if "note" in text.attrib["class"] else first - 66
        if text.attrib["x"] == "16":
            assert 16 + wide < room, text.text


def test_a_node_that_the_contract_does_not_know_is_named(tmp_path: Path) -> None:
    file = tmp_path / "other.launch.xml"
    file.write_text('<launch><node pkg="salus_vla" exec="stranger"/></launch>')
    with pytest.raises(ConfigError, match="stranger"):
        nodes_of(file)


def test_the_command_says_what_it_wants_and_what_went_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main([]) == 2
    assert main([str(tmp_path)]) == 1
    assert f"error: {tmp_path}: cannot be written" in capsys.readouterr().err
    assert main([str(tmp_path / "a.svg")]) == 0
    assert (tmp_path / "a.svg").read_bytes() == PICTURE.read_bytes()
