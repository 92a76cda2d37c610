"""Interventions are among the events of a bag and of a rollout, and an episode is handed over once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from episodes import START_NS, messages, observations, write_bag
from intervened import STUCK, episode_of, intervention, told
from salus_vla.contract import INTERVENTION
from salus_vla.contract.errors import RecordingError
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.bag_predictions import interventions_of
from salus_vla.data.bags.recorded_bag import events_since_start
from salus_vla.data.intervention_events import intervention_events
from salus_vla.data.recording import Interventions
from salus_vla.data.rollouts.recorded_rollout import RolloutRecording
from salus_vla.safety.intervention.candidates import CHOICES, HAND_OVER, MOTIONS, PLAN
from synthetic import PERIOD_NS, stored

CHOSEN = (PLAN, "careful", "careful_0.35", HAND_OVER)


def kinds(found: Interventions | None, *, start_ns: int = 0, ended_by: Outcome = Outcome.SUCCESS) -> list[str]:
    return [event.kind for event in intervention_events(found, start_ns=start_ns, ended_by=ended_by)]


def test_each_change_to_another_motion_is_one_event() -> None:
    found = Interventions.of(episode_of([PLAN, *["careful"] * 2, PLAN, "careful", "slow_0.5", *[HAND_OVER] * 2]))
    assert kinds(found) == [*["INTERVENTION"] * 3, "HANDED_OVER"]
    assert kinds(found, ended_by=Outcome.HANDED_OVER) == ["INTERVENTION"] * 3  # the episode says it
    assert kinds(found, start_ns=5 * 10**8) == ["INTERVENTION", "HANDED_OVER"]
    assert kinds(None) == kinds(Interventions.of(episode_of([PLAN] * 3))) == []


def test_what_is_only_advised_hands_nothing_over() -> None:
    found = Interventions.of([told(0, HAND_OVER, acted=False)])
    (event,) = intervention_events(found, start_ns=0, ended_by=Outcome.SUCCESS)
    assert (event.kind, event.text) == ("INTERVENTION", f"advised hand over: {STUCK}, with the plan 50%")


def test_a_bag_tells_its_interventions_in_the_order_of_their_observations(tmp_path: Path) -> None:
    said = episode_of(CHOSEN, START_NS)
    content = [(INTERVENTION, intervention(said[number])) for number in (2, 0, 3, 1)]
    bag = write_bag(tmp_path / "bag", [*messages(observations(4)), *content])
    found = interventions_of(bag)
    assert found is not None
    assert found.told == tuple(said)
    assert found.failure["careful"].tolist() == [0.25] * 4
    events = [event for event in events_since_start(bag) if event.kind in ("INTERVENTION", "HANDED_OVER")]
    assert [(event.stamp_ns, event.text) for event in events] == [
        (10**8, "careful: best, failure 25%, with the plan 50%"),
        (2 * 10**8, "careful_0.35: best, failure 12%, with the plan 50%"),
        (3 * 10**8, STUCK),
    ]


def test_a_message_without_a_risk_for_each_candidate_is_named(tmp_path: Path) -> None:
    content = [(INTERVENTION, intervention(told(0, stamp_ns=START_NS), failure=np.float32([0.5])))]
    bag = write_bag(tmp_path / "bag", [*messages(observations(2)), *content])
    with pytest.raises(RecordingError, match=f"{bag}: /salus/intervention: has 1 values in failure, expected 3"):
        interventions_of(bag)


def test_a_rollout_tells_them_too() -> None:
    numbers = np.array([CHOICES.index(name) for name in CHOSEN] + [255] * 17, dtype=np.uint8)
    failure = np.full((21, len(MOTIONS)), np.nan, dtype=np.float32)
    failure[1, [CHOICES.index(PLAN), CHOICES.index("careful")]] = 0.5, 0.25
    drawn = np.ones(21, dtype=np.float32)
    made = stored(0, chosen=numbers, chosen_probability=drawn, motion_failure=failure)
    found = [event for event in RolloutRecording(Path("x"), made).events() if event.kind != "SUCCESS"]
    assert [(event.kind, event.stamp_ns, event.text) for event in found] == [
        ("INTERVENTION", PERIOD_NS, "careful: failure 25%, with the plan 50%"),
        ("INTERVENTION", 2 * PERIOD_NS, "careful_0.35"),
        ("HANDED_OVER", 3 * PERIOD_NS, ""),
    ]
    handed = dataclasses.replace(made, outcome=Outcome.HANDED_OVER)
    assert [event.kind for event in RolloutRecording(Path("x"), handed).events()].count("HANDED_OVER") == 1
