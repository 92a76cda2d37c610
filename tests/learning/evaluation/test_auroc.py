"""AUROC against counting pairs, its interval against DeLong's own definition and a jackknife over seeds."""

from fractions import Fraction
from math import exp, log
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from salus_vla.contract.errors import ConfigError
from salus_vla.learning.evaluation.auroc import FEWEST, Group, auroc, compare
from salus_vla.learning.evaluation.intervals import Z

unhurried = settings(deadline=None)  # other processes may have the machine
# Few different values, so that there are ties, and any others.
TIED = st.integers(-3, 3).map(float)
ANY = st.floats(-1e9, 1e9)
values = st.one_of(*(arrays.arrays(np.float64, st.integers(1, 30), elements=element) for element in (TIED, ANY)))


def group(numbers: np.ndarray, first_seed: int = 0) -> Group:
    return Group(np.asarray(numbers, dtype=np.float64), np.arange(first_seed, first_seed + len(numbers)))


def counted(first: np.ndarray, second: np.ndarray) -> Fraction:
    wins = sum(Fraction(2 * int(b > a) + int(b == a), 2) for a in first for b in second)
    return wins / (len(first) * len(second))


@unhurried
@given(values, values)
def test_it_is_the_share_of_pairs(first: np.ndarray, second: np.ndarray) -> None:
    assert auroc(first, second) == float(counted(first, second))


@unhurried
@given(values, values)
def test_the_other_way_round_it_is_the_rest(first: np.ndarray, second: np.ndarray) -> None:
    assert auroc(first, second) + auroc(second, first) == pytest.approx(1.0, abs=1e-12)


@unhurried
@given(values, values, st.randoms(use_true_random=False))
def test_the_order_of_the_episodes_does_not_matter(first: np.ndarray, second: np.ndarray, random: Random) -> None:
    one, two = group(first), group(second, len(first) // 2)  # some seeds in common
    mixed = []
    for item in (one, two):
        order = list(range(item.size))
        random.shuffle(order)
        mixed.append(Group(item.values[order], item.seeds[order]))
    straight, shuffled = compare(one, two), compare(*mixed)
    assert shuffled.value == straight.value
    if straight.low is not None:
        assert (shuffled.low, shuffled.high) == pytest.approx((straight.low, straight.high), abs=1e-6)


@unhurried
@given(values, values)
def test_only_the_order_of_the_values_matters(first: np.ndarray, second: np.ndarray) -> None:
    ranks = np.unique(np.concatenate([first, second]), return_inverse=True)[1].astype(np.float64)
    cubes = ranks**3 - 7.0
    assert compare(group(cubes[: len(first)]), group(cubes[len(first) :], 100)) == compare(
        group(first), group(second, 100)
    )


@unhurried
@given(values, values)
def test_the_interval_holds_the_value_and_stays_in_bounds(first: np.ndarray, second: np.ndarray) -> None:
    found = compare(group(first), group(second, 100))
    assert (found.first, found.second) == (len(first), len(second))
    if min(len(first), len(second)) < FEWEST:
        assert found.value is found.low is found.high is None
    else:
        assert 0.0 <= found.low <= found.value <= found.high <= 1.0
        assert found.low < found.high


def delong(first: np.ndarray, second: np.ndarray) -> float:
    """Variance as DeLong, DeLong and Clarke-Pearson write it: of the components of each group."""
    pairs = np.array([[float(b > a) + 0.5 * float(b == a) for a in first] for b in second])
    return float(pairs.mean(axis=1).var(ddof=1) / len(second) + pairs.mean(axis=0).var(ddof=1) / len(first))


def test_with_different_seeds_the_interval_is_delongs() -> None:
    random = np.random.default_rng(0)
    first, second = random.integers(0, 20, 30).astype(float), random.integers(5, 25, 40).astype(float)
    found = compare(group(first), group(second, 100))
    value = found.value
    half = Z * delong(first, second) ** 0.5 / (value * (1 - value))
    limits = [1 / (1 + exp(-(log(value / (1 - value)) + sign * half))) for sign in (-1, 1)]
    assert (found.low, found.high) == pytest.approx(limits, rel=1e-9)


@pytest.mark.parametrize("profiles", [1, 4])
def test_episodes_of_one_seed_are_not_independent(profiles: int) -> None:
    """As leaving out one seed after the other tells; treating all episodes as independent is far off."""
    random = np.random.default_rng(1)
    common = random.normal(0, 1, 60)
    first = Group(common + random.normal(0, 0.3, 60), np.arange(60))
    second = Group(np.tile(common, profiles) + random.normal(0.7, 0.3, 60 * profiles), np.tile(np.arange(60), profiles))
    without = [
        auroc(first.values[first.seeds != seed], second.values[second.seeds != seed]) for seed in first.seeds.tolist()
    ]
    jackknife = float((59 / 60 * ((np.array(without) - np.mean(without)) ** 2).sum()) ** 0.5)
    found = compare(first, second)
    slope = found.value * (1 - found.value)
    error = (log(found.high / (1 - found.high)) - log(found.low / (1 - found.low))) / (2 * Z) * slope
    assert error == pytest.approx(jackknife, rel=0.1)
    assert abs(delong(first.values, second.values) ** 0.5 / jackknife - 1.0) > 0.2


def test_a_perfect_separation_is_no_certainty() -> None:
    few, many = (compare(group(np.zeros(count)), group(np.ones(count), 1000)) for count in (5, 200))
    assert few.value == many.value == 1.0
    assert few.high == many.high == 1.0
    assert 0.5 < few.low < 0.8 < 0.97 < many.low < 1.0
    mirrored = compare(group(np.ones(5)), group(np.zeros(5), 1000))
    assert (mirrored.low, mirrored.high) == pytest.approx((0.0, 1.0 - few.low), abs=1e-9)


def test_seeds_count_not_episodes() -> None:
    many = Group(np.arange(40.0), np.tile(np.arange(FEWEST - 1), 14)[:40])
    assert compare(group(np.zeros(10), 100), many).value is None
    assert compare(group(np.zeros(10), 100), many).second == 40


def test_values_that_are_not_known_are_left_out_and_never_zero() -> None:
    found = Group.of_valid(np.array([1.0, np.nan, 3.0, np.nan]), np.array([5, 6, 7, 8]))
    assert found.values.tolist() == [1.0, 3.0]
    assert found.seeds.tolist() == [5, 7]


@pytest.mark.parametrize("bad", [np.array([]), np.array([1.0, np.nan]), np.array([np.inf])])
def test_unknown_values_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="first group"):
        auroc(bad, np.array([1.0]))
