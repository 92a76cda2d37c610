"""A bend is followed for half a second, by its seed alone, and what came of it is counted."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawn_manifold import HOME, drawn_manifold
from drawn_predictor import EXPERT, drawn_predictor
from salus_vla.config.policy_settings import DEFAULTS
from salus_vla.contract.errors import ModelError, TrainingError
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.robot_limits import PANDA
from salus_vla.control.decision import Decision
from salus_vla.control.target_filter import Plan
from salus_vla.episode.run_episode import EpisodeResult
from salus_vla.learning.manifold import executed_bends
from salus_vla.learning.manifold.bent_plan import Bend, BentPlan
from salus_vla.learning.manifold.executed_bends import ExecutedBend, draw_bends, groups_of
from salus_vla.learning.manifold.manifold_evaluation import SIZES_RAD
from salus_vla.safety.manifold.action_manifold import ActionManifold
from salus_vla.safety.manifold.manifold_inputs import ROWS
from salus_vla.signals.safety_signals import SignalVector

BASIS = drawn_predictor().basis
CHUNK = np.tile(HOME, (10, 1))
AWAY = np.append(np.full(7, 0.1), -0.01)


def manifold() -> ActionManifold:
    return replace(drawn_manifold(), basis=BASIS.digest)


def decision(number: int) -> Decision:
    expert = np.random.default_rng(number).normal(size=EXPERT).astype(np.float32)
    signals = SignalVector(np.zeros(12, dtype=np.float32), np.zeros((1, 7), dtype=np.float32), 1, 1)
    return Decision(number, number * 100_000_000, CHUNK, signals, 0.0, expert_state=expert)


def followed(bent: BentPlan, number: int) -> np.ndarray:
    joints = np.zeros((3, 9))
    joints[0] = np.append(HOME[:7], [0.025, 0.025])
    bent.measured(number * 100_000_000, joints)
    return bent.choose(decision(number), Plan(CHUNK)).chunk


def test_the_plan_is_bent_for_half_a_second_and_left_alone_otherwise() -> None:
    bent = BentPlan(manifold(), BASIS)
    bent.bend = Bend(3, AWAY)
    bent.start_episode(1)
    whole = bent.bend.of(CHUNK)
    for number in range(12):
        chunk = followed(bent, number)
        if 3 <= number < 3 + ROWS:
            since = number - 3
            np.testing.assert_array_equal(chunk[: len(CHUNK) - since], whole[since:])
            assert (chunk[len(CHUNK) - since :] == whole[-1]).all()
        else:
            np.testing.assert_array_equal(chunk, CHUNK)
    assert 0.0 < bent.plain_distance < bent.distance
    bent.start_episode(2)
    assert np.isnan(bent.distance)


def test_without_a_bend_and_once_handed_over_nothing_changes() -> None:
    bent = BentPlan(manifold(), BASIS)
    bent.start_episode(1)
    np.testing.assert_array_equal(followed(bent, 3), CHUNK)
    bent.bend = Bend(3, AWAY)
    plan = Plan(CHUNK, stop="handed over")
    assert bent.choose(decision(3), plan) is plan


def test_a_manifold_of_another_basis_is_refused() -> None:
    with pytest.raises(ModelError, match="basis 0123456789ab"):
        BentPlan(drawn_manifold(), BASIS)


@given(st.integers(-(2**31), 2**31 - 1), st.integers(ROWS + 2, 200))
def test_bends_follow_from_the_seed_and_end_within_episode_and_limits(seed: int, decisions: int) -> None:
    drawn, again = draw_bends(seed, decisions, 3), draw_bends(seed, decisions, 3)
    for (size, bend), (same_size, same) in zip(drawn, again, strict=True):
        assert (size, bend.decision) == (same_size, same.decision)
        np.testing.assert_array_equal(bend.away, same.away)
        assert size in SIZES_RAD
        assert 1 <= bend.decision < decisions - ROWS
        found = bend.of(CHUNK)
        assert (found >= PANDA.all_lower).all()
        assert (found <= PANDA.all_upper).all()


def test_successes_are_counted_inside_outside_and_together() -> None:
    bends = [
        ExecutedBend("eval", seed, 1, 0.05 if seed < 6 else 0.1, 0.5 if seed < 4 else 1.5, 0.4, outcome)
        for seed, outcome in enumerate(["SUCCESS"] * 3 + ["DROP"] + ["SUCCESS"] + ["MISS"] * 5)
    ]
    everything, small, middle, large = groups_of(bends)
    assert (everything.inside.decisions, everything.inside.share) == (4, 0.75)
    assert (everything.outside.decisions, everything.outside.share) == (6, pytest.approx(1 / 6))
    assert everything.all.share == 0.4
    assert everything.inside.low is not None
    assert everything.inside.low < 0.75 < (everything.inside.high or 0.0)
    assert (small.inside.decisions, small.outside.decisions, middle.outside.decisions) == (4, 2, 4)
    assert (large.all.decisions, large.all.share) == (0, None)


def test_where_nothing_succeeds_nothing_can_be_bent() -> None:
    with pytest.raises(TrainingError, match="other seeds"):
        groups_of([])


def test_ctrl_c_keeps_the_episodes_that_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []

    def run_episode(simulator: object, controller: object, seed: int) -> EpisodeResult:
        runs.append(seed)
        if len(runs) == 8:
            raise KeyboardInterrupt
        return EpisodeResult(seed, Outcome.SUCCESS if seed != 1 else Outcome.DROP, decisions=20)

    policy = SimpleNamespace(provenance=dict)
    monkeypatch.setattr(executed_bends, "run_episode", run_episode)
    monkeypatch.setattr(executed_bends, "build_controller", lambda *_, **__: (None, policy))
    monkeypatch.setattr(executed_bends, "Simulator", lambda *_, **__: nullcontext())
    monkeypatch.setattr(ActionManifold, "require", lambda *_: None)
    monkeypatch.setattr(executed_bends.EnsembleIdentity, "of_facts", lambda _: None)
    said: list[str] = []
    bends, succeeded, made = executed_bends.execute_bends(
        DEFAULTS, manifold(), BASIS, profile="eval", seeds=range(9), tries=2, say=said.append
    )
    assert runs == [0, 0, 0, 1, 2, 2, 2, 3]
    assert [bend.seed for bend in bends] == [0, 0, 2, 2]
    assert (succeeded, made) == (2, 3)
    assert said[-1] == "eval: 3 episodes, 2 succeeded, 4 again with a bend"
