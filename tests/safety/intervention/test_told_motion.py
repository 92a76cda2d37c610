"""What was chosen is said in words, and an episode of it as stretches of one motion each."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from intervened import STUCK, episode_of, told
from salus_vla.safety.intervention.candidates import CHOICES, HAND_OVER, MEAN, PLAN
from salus_vla.safety.intervention.told_motion import EpisodeMotions, ToldMotion, stretches

TOLD = st.builds(told, st.integers(0, 300), st.sampled_from(CHOICES), acted=st.booleans())


@given(st.lists(TOLD, max_size=30))
def test_stretches_are_the_whole_episode_and_neighbours_differ(found: list[ToldMotion]) -> None:
    parts = stretches(found)
    assert [row for part in parts for row in range(part.begin, part.end)] == list(range(len(found)))
    kinds = [{(item.chosen, item.acted) for item in found[part.begin : part.end]} for part in parts]
    assert all(len(kind) == 1 for kind in kinds)
    assert all(before != after for before, after in pairwise(kinds))


@given(st.lists(TOLD, max_size=30))
def test_words_are_there_exactly_where_something_else_than_the_plan_was_told(found: list[ToldMotion]) -> None:
    motions = EpisodeMotions()
    for item in found:
        motions.take(item)
    assert bool(motions.in_words) == any(item.chosen not in (PLAN, MEAN) for item in found)  # the mean is the plan
    assert "\n" not in motions.in_words
    assert (motions.handed_over is not None) == any(item.chosen == HAND_OVER and item.acted for item in found)


def test_an_episode_in_words() -> None:
    motions = EpisodeMotions()
    said = []
    for item in episode_of([PLAN, "careful", "careful", PLAN, "slow_0.5", HAND_OVER, HAND_OVER]):
        motions.take(item)
        said.append(motions.in_words)
    assert said[:4] == ["", *["careful from decision 1"] * 3]
    assert said[4] == "careful from decision 1, 1 more"
    assert said[-1] == f"careful from decision 1, 1 more, handed over at decision 5: {STUCK}"
    motions.reset()
    assert (motions.in_words, motions.newest, motions.handed_over) == ("", None, None)
    motions.take(told(3, HAND_OVER, acted=False))
    assert motions.in_words == "advised hand over from decision 3"


def test_a_motion_has_its_risk_beside_that_of_the_plan() -> None:
    assert told(0, "careful").why_in_words == "best, failure 25%, with the plan 50%"
    assert told(0).why_in_words == "nothing held, failure 50%"
    assert told(0, "slow_0.5").why_in_words == "best, with the plan 50%"  # not among the candidates
    assert told(0, "careful", failure={}, reason="").why_in_words == ""
