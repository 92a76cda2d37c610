"""The screen names everything in words: the domain, silence, reasons, recording, and signals as sparklines."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from intervened import STUCK, told
from predicted import risk
from salus_vla.contract import JOINT_STATES
from salus_vla.contract.message_readers import EpisodeEvent, EventKind
from salus_vla.contract.outcomes import Outcome
from salus_vla.safety.intervention.candidates import HAND_OVER
from salus_vla.views.graph_monitor import GraphMonitor
from salus_vla.views.terminal import render, sparkline
from salus_vla.views.terminal_styles import OUTCOME_STYLES

STARTED = EpisodeEvent(EventKind.STARTED, 10**9, "run1", 4, 17, "lift", "ensemble", "RUNNING", "", None, 0, "")


def shown(monitor: GraphMonitor, wall_s: float = 1.0, width: int = 100) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"), force_terminal=False)  # noqa: SIM115
    console.print(render(monitor.snapshot(wall_s), "42", width))
    return console.export_text()


@pytest.fixture
def monitor() -> GraphMonitor:
    made = GraphMonitor(0.0)
    made.message(JOINT_STATES.name, 1.0)
    made.episode(STARTED)
    made.decision(7, 21.4, [float(n) for n in range(11)] + [math.nan])
    return made


def test_silence_names_the_domain_and_what_to_do() -> None:
    text = " ".join(shown(GraphMonitor(0.0), 4.0).split())
    assert "nothing heard on ROS_DOMAIN_ID=42 for 4 s" in text
    assert "--domain" in text


def test_a_graph_that_falls_silent_is_said_and_its_state_stays(monitor: GraphMonitor) -> None:
    text = shown(monitor, 9.0)
    assert "nothing heard on ROS_DOMAIN_ID=42 for 8 s" in text
    assert "episode: 4 of run run1, seed 17" in text


def test_the_running_episode(monitor: GraphMonitor) -> None:
    assert "episode: 4 of run run1, seed 17, running, decision 7, 21 ms" in shown(monitor)
    monitor.episode(dataclasses.replace(STARTED, kind=EventKind.ENDED, outcome="DROP", decisions=9, detail="it [fell]"))
    text = shown(monitor)
    assert "DROP after 9 decisions: it [fell]" in text  # not taken for markup
    assert "DROP 1" in text


@pytest.mark.parametrize(
    ("state", "words"),
    [(2, "a bag is being written"), (1, "waits for an episode"), (4, "FAILED  disk full"), (None, "no recorder")],
)
def test_the_recording_state(monitor: GraphMonitor, state: int | None, words: str) -> None:
    if state is not None:
        monitor.status("recorder", state, "recording_failed" if state == 4 else "", "disk full" if state == 4 else "")
    assert f"recording: {words}" in shown(monitor)


def test_a_hold_has_its_reason_and_detail(monitor: GraphMonitor) -> None:
    monitor.status("policy", 3, "stale_camera", "camera front: nothing new for 0.20 s")
    (row,) = [line for line in shown(monitor).splitlines() if "stale_camera" in line]
    assert row.split()[:3] == ["policy", "HOLDING", "stale_camera"]
    assert "camera front: nothing new for 0.20 s" in row


def test_every_signal_has_a_line_and_an_unset_one_no_value(monitor: GraphMonitor) -> None:
    lines = {line.split()[0]: line.split() for line in shown(monitor).splitlines() if line.strip()}
    assert lines["chunk_divergence"][1:] == ["rad", "3", "▁"]
    assert lines["activation_novelty"][1:] == ["1", "-", "·"]


def test_without_a_predictor_there_is_no_risk(monitor: GraphMonitor) -> None:
    assert "risk" not in shown(monitor)


def test_the_risk_stands_beside_what_would_be_an_alarm(monitor: GraphMonitor) -> None:
    monitor.prediction(risk(7, 0.25))
    text = shown(monitor)
    assert "risk: failure 25%, alarm above 50%, collision 1.0%, drop 1.0%, miss 1.0%  ▃" in text  # nothing is held
    assert "alarm:" not in text
    monitor.prediction(risk(8, 0.25, alpha=0.0))
    assert "risk: failure 25%, not calibrated" in shown(monitor)


def test_an_alarm_is_said_in_words_and_the_first_one_stays(monitor: GraphMonitor) -> None:
    monitor.prediction(risk(7, 0.75, "failure"))
    assert "alarm: failure: 75%, threshold 50%" in shown(monitor)
    monitor.prediction(risk(8, 0.25))
    lines = shown(monitor).splitlines()
    assert "first alarm: decision 7, failure: 75%, threshold 50%" in lines
    assert not [line for line in lines if line.startswith("alarm:")]
    monitor.episode(STARTED)
    assert "alarm" not in shown(monitor)


def test_the_motion_in_force_has_its_reason_and_its_risk_beside_the_plans(monitor: GraphMonitor) -> None:
    assert "motion" not in shown(monitor)
    monitor.intervention(told(6))
    assert "motion: plan (nothing held), failure 50%" in shown(monitor)
    monitor.intervention(told(7, "careful"))
    assert "motion: careful (best), failure 25%, with the plan 50%" in shown(monitor)
    assert "interventions:" not in shown(monitor)
    monitor.intervention(told(8))
    assert "interventions: careful from decision 7" in shown(monitor)  # it is over, and stays said
    monitor.intervention(told(9, "careful", acted=False))
    assert "motion: advised careful (best)" in shown(monitor)
    monitor.intervention(told(10, HAND_OVER))
    assert f"HANDED OVER: {STUCK}" in shown(monitor)
    monitor.episode(STARTED)
    assert "HANDED OVER" not in shown(monitor)


def test_every_outcome_has_a_style() -> None:
    assert OUTCOME_STYLES.keys() == Outcome.__members__.keys() - {"RUNNING"}


@pytest.mark.parametrize("width", [60, 80, 200])
def test_nothing_is_wider_than_the_terminal(monitor: GraphMonitor, width: int) -> None:
    for number in range(200):
        monitor.decision(number, 20.0, [float(number)] * 12)
        monitor.prediction(risk(number, 0.9, "failure"))
        monitor.intervention(told(number, "careful_0.35"))
    assert max(map(len, shown(monitor, width=width).splitlines())) <= width


def test_a_sparkline_goes_from_the_smallest_to_the_largest() -> None:
    assert sparkline([0.0, math.nan, 7.0, 3.0], 10) == "▁·█▄"
    assert sparkline([0.0, 1.0, 2.0], 2) == "▁█"
    assert sparkline([math.nan, math.inf], 5) == "··"
    assert sparkline([2.0, 2.0], 5) == "▁▁"
    assert sparkline([-1.0, 0.0, 0.5, 1.0, 2.0, math.nan], 9, (0.0, 1.0)) == "▁▁▅██·"


@given(st.lists(st.floats(width=32), max_size=80), st.integers(0, 60))
def test_a_sparkline_has_a_character_per_value(values: list[float], width: int) -> None:
    line = sparkline(values, width)
    assert len(line) == min(len(values), width)
    newest = values[len(values) - len(line) :]
    assert [character == "·" for character in line] == [not math.isfinite(value) for value in newest]
