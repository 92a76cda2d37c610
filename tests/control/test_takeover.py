"""Who acts: the learner until a condition holds, the teacher from that decision until the end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus_vla.contract.errors import ConfigError
from salus_vla.contract.types import Observation, PolicyOutput
from salus_vla.control.takeover import (
    CONDITIONS,
    RandomCondition,
    TakeoverPolicy,
    make_conditions,
    parse_conditions,
)

PERIOD = 100_000_000


class Saying:
    """A policy whose actions say its name."""

    needs_images, needs_poses, reference = False, False, None

    def __init__(self, source: str, value: float) -> None:
        self.source, self._value = source, value
        self.asked: list[int] = []

    def start_episode(self, seed: int) -> None:
        self.asked = []

    def predict(self, observation: Observation, decision: int) -> PolicyOutput:
        self.asked.append(decision)
        return PolicyOutput(np.full((1, 1, 4, 8), self._value))

    def provenance(self) -> dict[str, str]:
        return {"policy": self.source}


def observation(decision: int, width: float) -> Observation:
    joints = np.append(np.zeros(7), [width / 2, width / 2])
    return Observation(decision * PERIOD, {}, joints, "")


def run(policy: TakeoverPolicy, widths: list[float], seed: int = 0) -> list[float]:
    """Row 0 of each decision."""
    policy.start_episode(seed)
    return [float(policy.predict(observation(i, width), i).chunks[0, 0, 0, 0]) for i, width in enumerate(widths)]


def both(*names: str) -> tuple[TakeoverPolicy, Saying, Saying]:
    learner, teacher = Saying("ensemble", 1.0), Saying("expert", 2.0)
    return TakeoverPolicy(learner, teacher, make_conditions(names)), learner, teacher


def test_stuck_is_a_second_of_closed_on_nothing() -> None:
    policy, learner, teacher = both("stuck")
    acted = run(policy, [0.08] * 5 + [0.002] * 20)
    assert acted == [1.0] * 15 + [2.0] * 10
    assert policy.reason == "stuck"
    assert learner.asked == list(range(15))  # not asked any more
    assert teacher.asked == list(range(15, 25))


def test_the_learner_does_not_come_back_in_the_episode_and_acts_in_the_next() -> None:
    policy, _, _ = both("stuck")
    assert run(policy, [0.002] * 12 + [0.08] * 5)[-1] == 2.0
    assert run(policy, [0.08] * 5) == [1.0] * 5
    assert policy.reason == ""


def test_a_crooked_grasp_is_taken_over_and_a_straight_one_is_not() -> None:
    policy, _, _ = both("crooked")
    assert 2.0 not in run(policy, [0.08, 0.065, 0.05, 0.05, 0.05, 0.05])
    assert run(policy, [0.08, 0.064, 0.06, 0.059, 0.058, 0.057, 0.056])[-1] == 2.0


def test_the_first_condition_that_holds_is_said() -> None:
    policy, _, _ = both("crooked", "stuck", "random")
    run(policy, [0.08] * 70)
    assert policy.reason == "random"


@given(st.integers(-(2**40), 2**40))
def test_a_random_takeover_follows_from_the_seed_alone(seed: int) -> None:
    def first(condition: RandomCondition) -> int:
        condition.start_episode(seed)
        return next(i for i in range(100) if condition.holds(observation(i, 0.08), i))

    used = RandomCondition()
    first(used)
    assert first(RandomCondition()) == first(used)
    assert 5 <= first(used) < 60


def test_random_decisions_differ_between_seeds() -> None:
    condition, found = RandomCondition(), set()
    for seed in range(50):
        condition.start_episode(seed)
        found.add(next(i for i in range(100) if condition.holds(observation(i, 0.08), i)))
    assert len(found) > 20


def test_provenance_says_who_takes_over_when() -> None:
    policy, _, _ = both("stuck", "crooked")
    assert policy.source == "ensemble"
    assert policy.provenance() == {"policy": "ensemble", "takeover": "expert", "takeover_when": "stuck|crooked"}


@pytest.mark.parametrize("text", ["", "stuck|", "never", "stuck,crooked"])
def test_an_unknown_condition_is_refused_with_those_that_there_are(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--when .*expected some of stuck\|crooked\|random"):
        parse_conditions(text)


def test_conditions_are_named_once() -> None:
    assert parse_conditions("stuck|random|stuck") == ("stuck", "random")
    assert set(CONDITIONS) == {"stuck", "crooked", "random"}


def test_a_takeover_without_a_condition_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a condition"):
        both()
