"""Ways to come near: whose chunk is followed, when an approach begins, and going back to where the risk was low."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus_vla.contract.robot_limits import PANDA
from salus_vla.contract.types import FloatArray
from salus_vla.safety.intervention.approaches import LOW_RISK, ApproachFollower
from salus_vla.safety.intervention.candidates import APPROACHES, MEAN, MEMBER, NEAREST, PROJECTED, RETREAT, SAMPLE
from salus_vla.safety.intervention.modes import RANDOM_RETREAT
from salus_vla.safety.intervention.random_choice import AGAIN_SHARES, FIRST_SHARES, RandomApproach
from salus_vla.safety.intervention.stuck_watch import AGAIN, FIRST, TryWatch

ROWS, MEMBERS, SAMPLES = 10, 5, 2
CHUNKS = np.random.default_rng(0).normal(size=(MEMBERS, SAMPLES, ROWS, 8))
PLANNED = CHUNKS.mean(axis=(0, 1))
OPEN, CLOSED = PANDA.gripper_max, 0.0


def follow(follower: ApproachFollower, name: str, far: FloatArray | float = 1.0) -> FloatArray:
    """One decision; `far` of each candidate, or of all."""
    distances = iter(np.broadcast_to(far, MEMBERS * SAMPLES).tolist())
    return follower.update(name, PLANNED, CHUNKS, lambda _: next(distances), lambda chunk: chunk + 1.0)


def told(place: float, width: float) -> FloatArray:
    return np.append(np.full(7, place), width)


def travelled(risks: list[float], closed: int = 3, seed: int = 1) -> ApproachFollower:
    """An arm that went through places 0, 1, 2, ... with these risks; the hand is closed at the last of them."""
    follower = ApproachFollower()
    follower.start_episode(seed)
    for place, risk in enumerate(risks):
        follower.passed(told(place, CLOSED if place >= len(risks) - closed else OPEN), risk)
    return follower


def way_back(follower: ApproachFollower) -> list[float]:
    """Places that a retreat goes through, of the command at the end of each decision."""
    found = []
    follower.begin(RETREAT)
    while follower.retreating:
        chunk = follow(follower, RETREAT)
        assert (chunk[:, 7] == OPEN).all()
        found.append(float(chunk[0, 0]))
        follower.passed(told(found[-1], OPEN), 0.0)
    return found


def test_a_retreat_ends_at_the_last_pose_of_low_risk_and_the_plan_goes_on() -> None:
    follower = travelled([0.1] * 6 + [0.9] * 20)
    assert way_back(follower) == list(range(24, 4, -1))
    assert np.array_equal(follow(follower, RETREAT), PLANNED)


def test_where_no_pose_is_of_low_risk_it_ends_at_the_lowest() -> None:
    risks = [0.9] * 30
    risks[12] = 0.5
    assert way_back(travelled(risks))[-1] == 12.0


def test_there_is_one_retreat_in_an_episode() -> None:
    follower = travelled([0.1] * 6 + [0.9] * 20)
    assert way_back(follower)
    assert not follower.may_retreat
    assert way_back(follower) == []
    follower.start_episode(2)
    assert follower.may_retreat


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=80), st.integers(0, 80))
def test_a_retreat_goes_back_along_the_way_and_no_further_than_three_seconds(risks: list[float], closed: int) -> None:
    found = way_back(travelled(risks, closed))
    assert found == [float(len(risks) - 2 - index) for index in range(len(found))]
    assert len(found) <= 30


@given(st.lists(st.floats(0.0, 1.0), min_size=20, max_size=60))
def test_it_ends_where_the_risk_was_low_if_it_ever_was(risks: list[float]) -> None:
    found = way_back(travelled(risks))
    if not found:
        return
    within = risks[max(0, len(risks) - 31) : len(risks) - 9]  # 3 s at most, and half a second before the closing
    ended = risks[int(found[-1])]
    assert ended <= LOW_RISK or ended == min(within)


def test_a_member_is_followed_for_a_whole_approach_and_drawn_anew_for_the_next() -> None:
    follower = ApproachFollower()
    members = [CHUNKS[index].mean(axis=0) for index in range(MEMBERS)]
    seen = Counter[int]()
    for seed in range(60):
        follower.start_episode(seed)
        follower.begin(MEMBER)
        first = follow(follower, MEMBER)
        assert np.array_equal(first, follow(follower, MEMBER))
        (place,) = (index for index, member in enumerate(members) if np.array_equal(first, member))
        assert follower.words(MEMBER, CHUNKS) == f"member {place}"
        seen[place] += 1
    assert set(seen) == set(range(MEMBERS))


def test_a_sample_is_one_of_one_member() -> None:
    follower = ApproachFollower()
    follower.start_episode(3)
    follower.begin(SAMPLE)
    found = follow(follower, SAMPLE)
    assert any(np.array_equal(found, chunk) for chunk in CHUNKS.reshape(-1, ROWS, 8))
    follower.start_episode(3)
    follower.begin(SAMPLE)
    assert np.array_equal(found, follow(follower, SAMPLE))


def test_the_nearest_is_followed_and_the_plan_where_that_is_not_known() -> None:
    follower = ApproachFollower()
    far = np.arange(MEMBERS * SAMPLES, 0, -1.0)
    far[6] = 0.5
    assert np.array_equal(follow(follower, NEAREST, far), CHUNKS[3, 0])
    assert np.array_equal(follow(follower, NEAREST, float("nan")), PLANNED)
    assert np.array_equal(follow(follower, PROJECTED), PLANNED + 1.0)
    assert np.array_equal(follow(follower, MEAN), PLANNED)


def test_an_approach_begins_with_the_episode_and_behind_each_closing_on_nothing() -> None:
    watch = TryWatch()
    course = [(0, 0.0), (0, 0.0), (1, 0.0), (1, 0.0), (1, 0.5), (2, 0.0), (2, 1.5), (2, 0.0), (3, 0.0)]
    begun = [watch.update(*item) for item in course]
    assert begun == [FIRST, "", AGAIN, "", "", AGAIN, "", "", AGAIN]
    assert watch.in_vain == 1  # what was carried for more than a second forgets what was before
    watch.reset()
    assert (watch.update(0, 0.0), watch.in_vain) == (FIRST, 0)


@pytest.mark.parametrize("again", [False, True])
def test_approaches_are_drawn_with_the_probabilities_that_are_recorded(again: bool) -> None:
    random, found = RandomApproach(), Counter[str]()
    said: dict[str, float] = {}
    for seed in range(2000):
        random.start_episode(seed)
        name = random.begin(again=again, manifold=True, may_retreat=True)
        found[name] += 1
        said[name] = random.probability
        assert name == random.drawn
    assert said == pytest.approx(AGAIN_SHARES if again else FIRST_SHARES)
    for name, chance in said.items():
        assert found[name] / 2000 == pytest.approx(chance, abs=0.04)


@given(st.integers(), st.booleans(), st.booleans(), st.booleans())
def test_what_cannot_be_is_not_drawn(seed: int, again: bool, manifold: bool, may_retreat: bool) -> None:
    random = RandomApproach()
    random.start_episode(seed)
    name = random.begin(again=again, manifold=manifold, may_retreat=may_retreat)
    assert name in APPROACHES
    assert manifold or name not in (NEAREST, PROJECTED)
    assert name != RETREAT or (again and may_retreat)
    assert 0.0 < random.probability < 1.0


def test_where_only_the_retreat_is_drawn_an_episode_begins_with_the_mean() -> None:
    random, found = RandomApproach(RANDOM_RETREAT), Counter[str]()
    for seed in range(400):
        random.start_episode(seed)
        assert (random.begin(again=False, manifold=True, may_retreat=True), random.probability) == (MEAN, 1.0)
        found[random.begin(again=True, manifold=True, may_retreat=True)] += 1
        assert random.probability == 0.5
        assert (random.begin(again=True, manifold=True, may_retreat=False), random.probability) == (MEAN, 1.0)
    assert found[RETREAT] / 400 == pytest.approx(0.5, abs=0.08)
