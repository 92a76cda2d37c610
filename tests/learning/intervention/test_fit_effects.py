"""Effects of motions: what was put in comes out, grasps are told apart, and too few draws are an error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from salus_vla.contract.errors import TrainingError
from salus_vla.contract.types import FloatArray
from salus_vla.learning.intervention.fit_effects import SHORTEST, FittedEffects, GraspRows, fit_effects, grasp_rows
from salus_vla.safety.intervention.candidates import CHOICES, PLAN
from salus_vla.safety.intervention.effects import SITUATION
from salus_vla.safety.intervention.intervention_file import make_effects

CAREFUL = "careful_0.35"
FELT = SITUATION.index("effort_mean_0.1s.panda_joint2")


def drawn(grasps: int = 300, seed: int = 0) -> GraspRows:
    """Grasps of which heavy ones fail at a share of .8 with the plan and .2 with care; light ones .1 with both."""
    random = np.random.default_rng(seed)
    heavy = random.uniform(size=grasps) < 0.5
    careful = random.uniform(size=grasps) < 0.5
    likely = np.where(heavy, np.where(careful, 0.2, 0.8), 0.1)
    fails = random.uniform(size=grasps) < likely
    rows = np.repeat(np.arange(grasps), 5)
    situation = np.zeros((len(rows), len(SITUATION)))
    situation[:, FELT] = np.where(heavy[rows], 2.0, 0.0)
    motion = np.where(careful, CHOICES.index(CAREFUL), CHOICES.index(PLAN))
    return GraspRows(situation, motion[rows], rows, rows, fails[rows], rows, np.full(len(rows), "eval"))


def failure(fitted: FittedEffects, felt: float) -> FloatArray:
    state = np.zeros(len(SITUATION))
    state[FELT] = felt
    return make_effects(fitted.names, fitted.weights, fitted.mean, fitted.scale, "x").failure(state)


def test_the_effect_that_was_put_in_comes_out_where_it_is() -> None:
    fitted = fit_effects(drawn())
    assert fitted.names == (PLAN, CAREFUL)
    heavy, light = failure(fitted, 2.0), failure(fitted, 0.0)
    assert heavy[0] - heavy[1] > 0.3
    assert abs(light[0] - light[1]) < 0.15


def test_the_same_seed_gives_the_same_weights() -> None:
    first = fit_effects(drawn(), 3).weights
    assert np.array_equal(first, fit_effects(drawn(), 3).weights)
    assert not np.array_equal(first, fit_effects(drawn(), 4).weights)


def test_an_episode_weighs_1_however_often_it_grasps() -> None:
    rows = courses(([(PLAN, 8), ("-", 2), (CAREFUL, 20)], True), ([(PLAN, 9)], False))
    assert [rows.weights[rows.episode == number].sum() for number in (0, 1)] == pytest.approx([1.0, 1.0])


def test_too_few_draws_say_how_many_there_were() -> None:
    with pytest.raises(TrainingError, match=r"plan \d+, careful_0.35 \d+; expected at least"):
        fit_effects(drawn(10))


def test_grasps_that_all_end_alike_teach_nothing() -> None:
    rows = drawn()
    alike = replace(rows, fails=np.ones(len(rows.grasp), bool))
    with pytest.raises(TrainingError, match="end alike"):
        fit_effects(alike)


def courses(*episodes: tuple[list[tuple[str, int]], bool]) -> GraspRows:
    """Episodes as stretches of motions, `-` where none was drawn; and whether they fail."""
    names, episode, fails = [], [], []
    for number, (stretches, failed) in enumerate(episodes):
        for name, length in stretches:
            names += [name] * length
            episode += [number] * length
            fails += [failed] * length
    motions = np.array([PLAN if name == "-" else name for name in names])
    probability = np.array([1.0 if name == "-" else 0.25 for name in names])
    index = np.array(episode)
    situation = np.tile(np.arange(len(names), dtype=float)[:, None], (1, len(SITUATION)))
    return grasp_rows(situation, motions, probability, index, np.array(fails), index + 100, np.full(len(names), "eval"))


def test_a_grasp_ends_where_no_motion_is_drawn_and_with_its_episode() -> None:
    rows = courses(([("-", 3), (PLAN, 6), ("-", 2), (CAREFUL, 7)], True), ([(CAREFUL, 5), ("-", 1)], False))
    assert [int(np.sum(rows.grasp == grasp)) for grasp in np.unique(rows.grasp)] == [6, 6, 5]
    assert rows.seed.tolist() == [100] * 12 + [101] * 5


def test_a_drawn_approach_is_no_grasp() -> None:
    rows = courses(([("mean", 9), (PLAN, 6), ("retreat", 9), ("member", 5), (CAREFUL, 6)], True))
    assert [int(np.sum(rows.grasp == grasp)) for grasp in np.unique(rows.grasp)] == [6, 6]
    assert set(rows.motion.tolist()) == {CHOICES.index(PLAN), CHOICES.index(CAREFUL)}


def test_a_closing_that_is_over_at_once_is_no_grasp() -> None:
    rows = courses(([(PLAN, 20), ("-", 1), (CAREFUL, SHORTEST - 1), ("-", 2)], False))
    assert set(rows.motion.tolist()) == {CHOICES.index(PLAN)}
    assert not rows.fails.any()


def test_a_grasp_fails_as_its_episode_does() -> None:
    rows = courses(([(PLAN, 8), ("-", 15), (CAREFUL, 20), ("-", 3)], False), ([(PLAN, 9)], True))
    assert rows.fails.tolist() == [False] * 12 + [True] * 6
