"""The line of an episode of `salus collect` says what was done about a foreseen failure."""

from __future__ import annotations

import io

import pytest
from diagnostic_msgs.msg import KeyValue
from rich.console import Console

from salus_msgs.msg import Episode, FailurePrediction, Intervention, Status
from salus_vla import contract
from salus_vla.contract.outcomes import Outcome
from salus_vla.control.realtime_pace import TOO_SLOW
from salus_vla.ros.clients.collect_progress import RunProgress
from salus_vla.safety.intervention.candidates import HAND_OVER, PLAN


def told(decision: int, chosen: str, reason: str = "best") -> Intervention:
    return Intervention(
        decision=decision, chosen=chosen, reason=reason, acted=True, candidates=[PLAN, "careful"], failure=[0.5, 0.25]
    )


def lines_of(chosen: list[str], outcome: Outcome, reason: str = "best") -> list[str]:
    output = io.StringIO()
    progress = RunProgress(Console(file=output, width=60), 2, {}, None)
    for number in range(2):  # the second without interventions
        progress.take(contract.EPISODE, Episode(kind=Episode.STARTED, episode=number))
        progress.take(contract.FAILURE_PREDICTION, FailurePrediction(alarm=False))
        for decision, name in enumerate(chosen if number == 0 else [PLAN]):
            progress.take(contract.INTERVENTION, told(decision, name, reason))
        ended = int(outcome if number == 0 else Outcome.SUCCESS)
        progress.take(contract.EPISODE, Episode(kind=Episode.ENDED, episode=number, outcome=ended, decisions=9))
    return output.getvalue().splitlines()


def test_an_intervention_is_in_the_one_line_of_its_episode() -> None:
    first, second = lines_of([PLAN, "careful", "careful", PLAN, "slow_0.5"], Outcome.DROP)
    assert first.startswith("episode 0: DROP after 9 decisions")
    assert first.endswith("; 1 of 2 done; careful from decision 1, 1 more")
    assert second.endswith("; 2 of 2 done")


def test_handing_over_is_said_once_with_its_reason() -> None:
    first, _ = lines_of([PLAN, HAND_OVER, HAND_OVER], Outcome.HANDED_OVER, "stuck: 3 closings on nothing")
    assert first.startswith("episode 0: HANDED_OVER after 9 decisions")
    assert first.endswith("; handed over at decision 1: stuck: 3 closings on nothing")


def test_on_a_terminal_it_stands_below_the_bar() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, record=True)
    progress = RunProgress(console, 1, {}, None)
    progress.take(contract.EPISODE, Episode(kind=Episode.STARTED))
    progress.take(contract.INTERVENTION, told(3, "careful"))
    console.print(progress)
    text = console.export_text()
    assert "seed 0  careful" in text
    assert "  careful from decision 3\n" in text


def test_a_policy_that_is_too_slow_for_realtime_is_said_once() -> None:
    output = io.StringIO()
    progress = RunProgress(Console(file=output, width=60), 1, {}, None)
    for words in ("", "a decision takes 340 ms", "a decision takes 340 ms"):
        facts = [KeyValue(key=TOO_SLOW, value=words)]
        progress.take(contract.STATUS_TOPIC, Status(role="policy", state=Status.HOLDING, facts=facts))
    assert output.getvalue().splitlines() == ["a decision takes 340 ms"]


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.RUNNING])
def test_every_outcome_can_be_shown(outcome: Outcome) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, record=True)
    progress = RunProgress(console, 1, {}, None)
    progress.take(contract.EPISODE, Episode(kind=Episode.ENDED, outcome=int(outcome)))
    console.print(progress)
    assert f"{outcome.name} 1" in console.export_text()
