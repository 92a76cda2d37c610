"""An alarm counts when it comes before the event, and episodes of which nothing is known count apart."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from predicted import episode_of
from salus_vla.contract.foreseen_risk import PREDICTED
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.recording import Predictions
from salus_vla.learning.evaluation.alarm_outcomes import ForeseenEpisode, alarm_outcomes, foreseen_episode

START_NS, PERIOD_NS = 3_000_000_000, 100_000_000


def foreseen(
    alarms: list[str], outcome: Outcome, *, event_ns: int | None = None, alpha: float = 0.05, taken_over: bool = False
) -> ForeseenEpisode:
    """Of an episode with a decision per alarm; the last one is on the terminal observation."""
    predictions = Predictions.of(episode_of(START_NS, PERIOD_NS, alarms, alpha=alpha))
    assert predictions is not None
    end_ns = START_NS + (len(alarms) - 1) * PERIOD_NS
    event = None if event_ns is None else START_NS + event_ns
    return foreseen_episode(
        predictions, outcome, start_ns=START_NS, end_ns=end_ns, event_ns=event, taken_over=taken_over
    )


def test_the_first_alarm_before_the_event_counts_with_its_lead() -> None:
    found = foreseen(["", "miss", "drop", "", ""], Outcome.DROP, event_ns=330_000_000)
    assert found.alarm is not None
    assert (found.alarm.decision, found.alarm.kind, found.alarm.time_s) == (1, "miss", pytest.approx(0.1))
    assert found.alarm.detail == "miss: 10%, threshold 50%"
    assert found.lead_s == pytest.approx(0.23)


@pytest.mark.parametrize("event_ns", [None, 250_000_000])
def test_an_alarm_on_the_terminal_observation_comes_too_late(event_ns: int | None) -> None:
    found = foreseen(["", "", "", "drop"], Outcome.DROP, event_ns=event_ns)
    assert (found.alarm, found.lead_s) == (None, None)


def test_without_an_event_the_lead_is_until_the_end() -> None:
    assert foreseen(["", "failure", "", ""], Outcome.TIMEOUT).lead_s == pytest.approx(0.2)


def test_alarms_against_outcomes() -> None:
    alarm, none = ["", "miss", "", "", ""], [""] * 5
    found = alarm_outcomes(
        [
            foreseen(alarm, Outcome.SUCCESS),
            foreseen(none, Outcome.SUCCESS),
            foreseen(none, Outcome.SUCCESS),
            foreseen(alarm, Outcome.MISS),
            foreseen(["", "", "drop", "", ""], Outcome.DROP),
            foreseen(none, Outcome.TIMEOUT),
            foreseen(alarm, Outcome.ABORTED),
            foreseen(none, Outcome.ABORTED),
            foreseen(alarm, Outcome.SUCCESS, taken_over=True),
            foreseen(none, Outcome.DROP, alpha=0.0),
        ],
        unforeseen=2,
    )
    assert (found.successes.count, found.successes.total) == (1, 3)
    assert (found.failures.count, found.failures.total) == (2, 3)
    assert found.leads_s == pytest.approx((0.2, 0.3))
    assert found.lead_s == pytest.approx(0.25)
    assert [(kind.kind, kind.successes, kind.failures) for kind in found.kinds] == [("miss", 1, 1), ("drop", 0, 1)]
    assert found.kinds[1].leads_s == pytest.approx((0.2,))
    assert found.apart == {"ABORTED": (1, 2), "SUCCESS taken over": (1, 1)}
    assert (found.unforeseen, found.uncalibrated, found.alphas) == (2, 1, (0.05,))


KINDS = st.sampled_from(["", "", *PREDICTED])
EPISODES = st.builds(
    foreseen,
    st.lists(KINDS, min_size=1, max_size=6),
    st.sampled_from([outcome for outcome in Outcome if outcome is not Outcome.RUNNING]),
    event_ns=st.none() | st.integers(0, 800_000_000),
    alpha=st.sampled_from([0.0, 0.05]),
    taken_over=st.booleans(),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(EPISODES, max_size=8))
def test_every_episode_is_counted_once_and_every_lead_is_positive(episodes: list[ForeseenEpisode]) -> None:
    found = alarm_outcomes(episodes)
    apart = sum(total for _, total in found.apart.values())
    assert found.successes.total + found.failures.total + found.uncalibrated + apart == len(episodes)
    assert sum(kind.successes for kind in found.kinds) == found.successes.count
    assert sum(kind.failures for kind in found.kinds) == found.failures.count == len(found.leads_s)
    assert sorted(lead for kind in found.kinds for lead in kind.leads_s) == list(found.leads_s)
    assert all(lead > 0.0 for lead in found.leads_s)


@given(st.permutations(range(4)))
def test_predictions_are_in_the_order_of_their_observations(order: list[int]) -> None:
    risks = episode_of(START_NS, PERIOD_NS, ["", "slip", "", "miss"])
    found = Predictions.of([risks[index] for index in order])
    assert found is not None
    assert (found.numbers.tolist(), found.alarms) == ([0, 1, 2, 3], ("", "slip", "", "miss"))


def test_a_prediction_that_is_not_known_is_no_largest_risk() -> None:
    risks = episode_of(START_NS, PERIOD_NS, ["", "", ""])
    unknown = [dataclasses.replace(item, values=item.values | {"failure": float("nan")}) for item in risks]
    for said, expected in ((risks, pytest.approx(0.1)), (unknown, pytest.approx(float("nan"), nan_ok=True))):
        predictions = Predictions.of(said)
        assert predictions is not None
        found = foreseen_episode(predictions, Outcome.SUCCESS, start_ns=START_NS, end_ns=START_NS + 2 * PERIOD_NS)
        assert found.largest == expected
