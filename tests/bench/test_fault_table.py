"""The table of `make faults`."""

from __future__ import annotations

from pathlib import Path

import pytest

from salus_vla.bench.faults.fault_results import Injection, table, write_table
from salus_vla.contract.errors import ConfigError

RESULTS = [
    Injection("kill", "recovered", 0.3),
    Injection("kill", "nothing was open", None),
    Injection("kill", "recovered", 0.42),
    Injection("full disk", "ended cleanly", None),
]


def test_one_row_per_fault_with_the_worst_loss() -> None:
    assert table(RESULTS).splitlines()[2:] == [
        "| kill | 3 | 2 recovered, 1 nothing was open | 0.42 | passed |",
        "| full disk | 1 | 1 ended cleanly | - | passed |",
    ]


@pytest.mark.parametrize(
    "bad", [Injection("kill", "recovered", 0.51), Injection("kill", "recovered", 0.1, ("a bag has changed",))]
)
def test_a_fault_that_did_harm_is_in_the_verdict(bad: Injection) -> None:
    assert not bad.passed
    assert table([*RESULTS, bad]).splitlines()[2].endswith("| **1 failed** |")


def test_only_what_is_between_the_markers_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("before\n<!-- faults -->\nold\n<!-- /faults -->\nafter\n")
    write_table(file, RESULTS, "the command")
    write_table(file, RESULTS, "the command")
    lines = file.read_text().splitlines()
    assert lines[:3] == ["before", "<!-- faults -->", "the command"]
    assert lines[-2:] == ["<!-- /faults -->", "after"]
    assert table(RESULTS) in file.read_text()
    assert "old" not in lines


@pytest.mark.parametrize("text", ["no markers", "<!-- faults -->", "<!-- /faults -->"])
def test_a_page_without_markers_is_named_and_not_changed(tmp_path: Path, text: str) -> None:
    file = tmp_path / "page.md"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"page\.md: expected the lines <!-- faults -->"):
        write_table(file, RESULTS, "")
    assert file.read_text() == text
    with pytest.raises(ConfigError, match=r"missing\.md: cannot be read"):
        write_table(tmp_path / "missing.md", RESULTS, "")
