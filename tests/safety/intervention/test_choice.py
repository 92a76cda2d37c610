"""The choice among motions: cost, inertia, determinism; when a try is hopeless; random draws."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus_vla.contract.errors import ConfigError, ModelError
from salus_vla.contract.types import FloatArray
from salus_vla.safety.intervention.candidates import CHOICES, MOTIONS, PLAN
from salus_vla.safety.intervention.choice import ChoiceSettings, Chooser
from salus_vla.safety.intervention.effects import PARTS, SITUATION, EffectModel
from salus_vla.safety.intervention.modes import MODES, checked_mode, given_shares
from salus_vla.safety.intervention.random_choice import SHARES, RandomChoice, shares_of_mode
from salus_vla.safety.intervention.stuck_watch import TRIES, is_stuck

NAMES = (PLAN, "careful", "careful_0.35")


def risks(*values: float) -> FloatArray:
    return np.array(values)


def test_what_avoids_failures_is_worth_its_time() -> None:
    chooser = Chooser()
    assert chooser.update(NAMES, risks(0.9, 0.8, 0.2), 0.0, grasps=True).candidate == "careful_0.35"


def test_time_is_not_spent_where_it_avoids_nothing() -> None:
    assert Chooser().update(NAMES, risks(0.05, 0.05, 0.04), 0.0, grasps=True).candidate == PLAN


def test_a_dearer_failure_makes_it_slower() -> None:
    found = risks(0.30, 0.30, 0.10)
    cheap, dear = (Chooser(ChoiceSettings(failure_cost_s=cost)) for cost in (5.0, 100.0))
    assert cheap.update(NAMES, found, 0.0, grasps=True).candidate == PLAN
    assert dear.update(NAMES, found, 0.0, grasps=True).candidate == "careful_0.35"


def test_a_motion_is_kept_for_a_while_and_against_small_gains() -> None:
    chooser = Chooser(ChoiceSettings(shortest=3))
    chooser.update(NAMES, risks(0.9, 0.9, 0.1), 0.5, grasps=True)
    kept = [chooser.update(NAMES, risks(0.0, 0.9, 0.9), 0.5, grasps=True) for _ in range(3)]
    assert [item.candidate for item in kept] == ["careful_0.35", "careful_0.35", PLAN]
    assert kept[0].reason == "kept"
    assert chooser.update(NAMES, risks(0.10, 0.09, 0.9), 0.5, grasps=True).candidate == PLAN


def test_an_open_hand_goes_back_to_the_plan_at_once() -> None:
    chooser = Chooser()
    chooser.update(NAMES, risks(0.9, 0.9, 0.1), 0.5, grasps=True)
    assert chooser.update(NAMES, risks(0.9, 0.9, 0.1), 0.0, grasps=False).candidate == PLAN


@given(st.lists(st.tuples(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.booleans()), max_size=30))
def test_it_is_deterministic_and_chooses_what_was_offered(course: list[tuple[list[float], bool]]) -> None:
    def run() -> list[str]:
        chooser = Chooser()
        return [chooser.update(NAMES, np.array(found), 0.3, grasps=grasps).candidate for found, grasps in course]

    first = run()
    assert first == run()
    assert set(first) <= set(NAMES)


@pytest.mark.parametrize("wrong", [{"failure_cost_s": 0.0}, {"inertia": 1.0}, {"shortest": 0}, {"retreats": -1}])
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="failure_cost_s"):
        ChoiceSettings(**wrong)  # type: ignore[arg-type]


def test_effects_are_probabilities_and_say_what_does_not_fit() -> None:
    size = len(SITUATION)
    weights = np.zeros((2, PARTS, size + 1))
    weights[:, 1, -1], weights[:, 2, 0] = 2.0, -3.0  # care adds 2, slowness takes 3 for each deviation of the first
    effects = EffectModel(NAMES, weights, np.ones(size), np.full(size, 0.5), "abc", "def")
    slow = np.log(0.35) / np.log(0.25)
    likely = 1 / (1 + np.exp(-np.array([0.0, 2.0, 2.0 - 3.0 * slow])))
    assert np.allclose(effects.failure(np.full(size, 1.5)), likely)
    assert np.allclose(effects.failure(np.full(size, np.nan)), 1 / (1 + np.exp(-np.array([0.0, 2.0, 2.0]))))
    effects.require("abc")
    with pytest.raises(ModelError, match=r"abc.*xyz"):
        effects.require("xyz")
    with pytest.raises(ModelError, match="shape"):
        EffectModel(NAMES, weights[..., :-1], np.ones(size), np.ones(size), "abc", "def")
    with pytest.raises(ModelError, match="finite"):
        EffectModel(NAMES, weights * np.nan, np.ones(size), np.ones(size), "abc", "def")
    with pytest.raises(ModelError, match="scales above 0"):
        EffectModel(NAMES, weights, np.ones(size), np.zeros(size), "abc", "def")


def test_a_try_is_hopeless_only_after_closings_on_nothing_with_an_empty_hand() -> None:
    assert is_stuck(TRIES, 3.0, 2.0, holds=False)
    assert not is_stuck(TRIES - 1, 3.0, 2.0, holds=False)
    assert not is_stuck(TRIES, 3.0, 2.0, holds=True)
    assert not is_stuck(TRIES, 1.0, 2.0, holds=False)
    assert not is_stuck(TRIES, float("nan"), 2.0, holds=False)


def test_a_drawn_motion_is_kept_until_the_hand_is_open_and_follows_from_the_seed() -> None:
    def course(seed: int) -> list[tuple[str, float]]:
        random = RandomChoice()
        random.start_episode(seed)
        return [random.update(grasps=grasps) for grasps in (False, True, True, True, False, True, True)]

    first = course(3)
    assert first == course(3)
    assert first[0] == (PLAN, 1.0)
    assert first[4] == (PLAN, 1.0)
    assert first[1] == first[2] == first[3]
    assert first[5] == first[6]
    assert first[1][1] == SHARES[first[1][0]]
    drawn = [course(seed)[1][0] for seed in range(400)]
    for name, share in SHARES.items():
        assert abs(drawn.count(name) / 400 - share) < 0.08


def test_shares_are_a_distribution_over_motions() -> None:
    assert sum(SHARES.values()) == pytest.approx(1.0)
    assert set(SHARES) <= set(MOTIONS) < set(CHOICES)


def test_modes_are_checked_by_name() -> None:
    for text in (*MODES, "always:careful_0.5", "throughout:slow_0.5"):
        assert checked_mode(text, tuple(MOTIONS)) == text
    for text in ("on", "always:", "always:fly", "throughout:careful_0.5", "throughout:plan", "throughout:", ""):
        with pytest.raises(ConfigError, match=r"expected off, advise, act"):
            checked_mode(text, tuple(MOTIONS))


def test_probabilities_of_random_motions_are_drawn_as_given_and_the_plan_has_the_rest() -> None:
    mode = "random:careful=0.5,careful_0.35=0.2"
    assert checked_mode(mode, ()) == mode
    shares = shares_of_mode(mode)
    assert shares == pytest.approx({PLAN: 0.3, "careful": 0.5, "careful_0.35": 0.2})
    assert given_shares("random:careful=1") == {"careful": 1.0}
    random = RandomChoice(shares)
    drawn = []
    for seed in range(400):
        random.start_episode(seed)
        drawn.append(random.update(grasps=True))
    for name, share in shares.items():
        assert abs(sum(found == (name, share) for found in drawn) / 400 - share) < 0.08


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("random:", "'', expected NAME=P"),
        ("random:fly=0.5", "'fly=0.5', expected NAME=P, once each, of slow_0.5"),
        ("random:plan=0.5", "'plan=0.5'"),
        ("random:careful", "'careful'"),
        ("random:careful=nan", "'careful=nan'"),
        ("random:careful=-0.1", "P above 0 and at most 1"),
        ("random:careful=0.2,careful=0.2", "once each"),
        ("random:careful=0.7,slow_0.5=0.4", "add up to 1.1, expected at most 1"),
    ],
)
def test_probabilities_that_cannot_be_are_refused_by_name(text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(expected)):
        checked_mode(text, ())
