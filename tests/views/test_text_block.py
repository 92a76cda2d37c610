"""The status is a small block of letters that rviz has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from intervened import told
from predicted import risk
from salus_vla.safety.intervention.candidates import HAND_OVER
from salus_vla.views.graph_monitor import GraphMonitor
from salus_vla.views.text_block import LINES, WIDTH, anchored, block_size, text_block, wants_a_person


@given(st.text(max_size=1500))
def test_any_text_is_a_block_of_ascii(text: str) -> None:
    block = text_block(text)
    lines = block.split("\n")
    assert len(lines) <= LINES
    assert all(len(line) <= WIDTH for line in lines)
    assert all(letter == "\n" or " " <= letter <= "~" for letter in block)


def test_short_lines_stay_and_a_long_one_goes_on_indented() -> None:
    long = "ALARM: the hand closes on nothing: 83 %, threshold 50 %"
    assert text_block(f"episode 4\n{long}\nend").splitlines() == [
        "episode 4",
        "ALARM: the hand closes on nothing: 83 %,",
        "  threshold 50 %",
        "end",
    ]


def test_what_does_not_fit_ends_with_dots() -> None:
    lines = text_block("\n".join(f"line {number}" for number in range(30))).splitlines()
    assert (len(lines), lines[0], lines[-1]) == (LINES, "line 0", f"line {LINES - 1}...")


@given(st.text(max_size=1500))
def test_a_block_is_always_of_one_size_so_that_its_first_letter_stands_still(text: str) -> None:
    block = text_block(text)
    filled = anchored(block)
    assert filled.startswith(block)
    assert not filled[len(block) :].strip()
    assert block_size(filled) == block_size(anchored("n" * WIDTH))


def test_a_person_is_wanted_for_an_alarm_a_failed_node_and_an_arm_that_was_handed_over() -> None:
    monitor = GraphMonitor(0.0)
    monitor.status("policy", 3, "no_episode", "waits")
    monitor.prediction(risk(0, 0.1))
    assert not wants_a_person(monitor.snapshot(0.0))
    monitor.prediction(risk(1, 0.9, "drop"))
    assert wants_a_person(monitor.snapshot(0.0))
    monitor.prediction(risk(2, 0.1))
    assert not wants_a_person(monitor.snapshot(0.0))
    monitor.status("policy", 4, "no_valid_policy", "no file")
    assert wants_a_person(monitor.snapshot(0.0))
    monitor.status("policy", 2, "", "")
    monitor.intervention(told(5, HAND_OVER))
    assert wants_a_person(monitor.snapshot(0.0))
