"""Interventions in the controller: the arm follows what was chosen, is handed over, and never waits for a fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drawn_predictor import EXPERT, PARTS, WIDTH, drawn_predictor
from salus_vla.config.policy_settings import PolicySettings
from salus_vla.contract.errors import ConfigError, ModelError
from salus_vla.contract.reasons import HANDED_OVER
from salus_vla.contract.types import FloatArray, Observation, PolicyOutput
from salus_vla.control.controller import Controller
from salus_vla.control.safety_filter import SafetyFilter, build_safety_filter
from salus_vla.policies.base import Policy
from salus_vla.safety.intervention.candidates import HAND_OVER, MOTIONS, PLAN
from salus_vla.safety.intervention.intervener import Intervener, Intervention
from salus_vla.safety.intervention.modes import ACT, ADVISE, RANDOM, RANDOM_APPROACH
from salus_vla.safety.intervention.random_choice import FIRST_SHARES
from salus_vla.safety.prediction.predictor_file import save_predictor

from .acting_filter import SLOW, act, model

MS = 1_000_000
FRAME, STEP = 20 * MS, 100 * MS
HOME = np.array([0.0, -0.785398, 0.0, -2.356194, 0.0, 1.570796, 0.785398])


class Mover:
    """Wants joint 1 to go on and the hand to close, with hidden states."""

    source = "mover"

    def start_episode(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def predict(self, observation: Observation, decision: int) -> PolicyOutput:
        chunk = np.tile(np.append(observation.arm, 0.0), (10, 1))
        chunk[:, 0] += 0.03 * np.arange(1, 11)
        return PolicyOutput(
            chunk[None, None],
            expert_state=self.random.normal(size=EXPERT),
            prefix_parts=self.random.normal(size=(PARTS, WIDTH)),
        )

    def provenance(self) -> dict[str, str]:
        return {}


def drive(
    safety: SafetyFilter | None,
    seconds: float = 1.0,
    seed: int = 1,
    fingers: float = 0.025,
    policy: Policy | None = None,
) -> tuple[FloatArray, Controller]:
    """Commands of an arm that follows at once, whose hand holds something from the start."""
    controller = Controller(
        policy or Mover(), frame_dt_ns=FRAME, control_dt_ns=STEP, filters=[safety] if safety is not None else []
    )
    controller.start_episode(seed)
    joints = np.append(HOME, [fingers, fingers])
    commands = []
    for frame in range(round(seconds / 0.02)):
        stamp = frame * FRAME
        controller.measured(stamp, np.stack((joints, np.zeros(9), np.zeros(9))))
        if frame % 5 == 0:
            observation = Observation(stamp, {}, joints, "task")
            controller.accept(controller.decide(observation, controller.command_in_force), stamp, joints)
        command = controller.command(stamp, joints)
        commands.append(command.position)
        joints = np.append(command.position[:7], [fingers, fingers])
    return np.array(commands), controller


def test_the_arm_follows_what_was_chosen() -> None:
    plain, _ = drive(None)
    slow, controller = drive(act())
    assert slow[-1, 0] < 0.6 * plain[-1, 0]
    done = controller.intervention
    assert done is not None
    assert (done.chosen, done.acted) == (SLOW, True)
    assert done.failure[0] > 0.9 > 0.1 > done.failure[1]


def test_advice_moves_nothing_and_says_what_would_be_done() -> None:
    plain, _ = drive(None)
    advised, controller = drive(act(ADVISE))
    assert np.array_equal(plain, advised)
    done = controller.intervention
    assert done is not None
    assert (done.chosen, done.acted) == (SLOW, False)


def test_where_nothing_helps_the_plan_is_followed() -> None:
    plain, _ = drive(None)
    assert np.array_equal(plain, drive(act(prefers=PLAN))[0])


def test_the_same_seed_gives_the_same_commands_after_whatever_came_before() -> None:
    for mode in (ACT, RANDOM, f"always:{SLOW}", f"throughout:{SLOW}"):
        safety = SafetyFilter(Intervener(mode, drawn_predictor(), model()))
        first = drive(safety, seed=5)[0]
        drive(safety, seed=6)
        assert np.array_equal(first, drive(safety, seed=5)[0])


def test_a_hopeless_try_is_handed_over_and_stays_so() -> None:
    safety = act(stuck=-1e9)
    controller = Controller(Mover(), frame_dt_ns=FRAME, control_dt_ns=STEP, filters=[safety])
    controller.start_episode(1)
    commands = []
    over_at = None
    width = 0.08
    for frame in range(400):
        stamp = frame * FRAME
        if frame % 50 == 0:
            width = 0.08
        width = max(0.0, width - 0.004)  # closes on nothing again and again
        joints = np.append(commands[-1][:7] if commands else HOME, [width / 2, width / 2])
        controller.measured(stamp, np.stack((joints, np.zeros(9), np.zeros(9))))
        if frame % 5 == 0:
            observation = Observation(stamp, {}, joints, "task")
            controller.accept(controller.decide(observation, controller.command_in_force), stamp, joints)
            if controller.handed_over and over_at is None:
                over_at = frame
        command = controller.command(stamp, joints)
        commands.append(command.position)
        if over_at is not None:
            assert command.hold_reason == HANDED_OVER
    assert over_at is not None
    assert "closed on nothing 2 times" in controller.handed_over
    done = controller.intervention
    assert done is not None
    assert done.chosen == HAND_OVER
    after = np.array(commands[over_at:])
    assert np.abs(np.diff(after[-20:], axis=0)).max() == 0.0  # it rests
    controller.start_episode(2)
    assert not controller.handed_over


def test_what_the_hand_does_behind_a_delivery_is_no_try() -> None:
    """Closes on nothing, carries something for more than a second, lets go, and closes once more."""
    nothing, carries = [0.08] * 15 + [0.0] * 15, [0.08] * 15 + [0.05] * 70

    def handed_over(widths: list[float]) -> bool:
        controller = Controller(Mover(), frame_dt_ns=FRAME, control_dt_ns=STEP, filters=[act(stuck=-1e9, prefers=PLAN)])
        controller.start_episode(1)
        joints = np.append(HOME, [0.04, 0.04])
        for frame, width in enumerate(widths):
            stamp = frame * FRAME
            joints = np.append(joints[:7], [width / 2, width / 2])
            controller.measured(stamp, np.stack((joints, np.zeros(9), np.zeros(9))))
            if frame % 5 == 0:
                observation = Observation(stamp, {}, joints, "task")
                controller.accept(controller.decide(observation, controller.command_in_force), stamp, joints)
            joints[:7] = controller.command(stamp, joints).position[:7]
        return bool(controller.handed_over)

    assert handed_over([*nothing, *nothing])
    assert not handed_over([*nothing, *carries, *nothing])
    assert handed_over([*nothing, *carries, *nothing, *nothing])


def test_what_was_measured_is_forgotten_when_the_clock_jumps_back() -> None:
    safety = act()
    drive(safety)
    safety.forget()
    assert np.array_equal(drive(safety)[0], drive(act())[0])


def test_without_joints_the_plan_is_followed_and_why_is_said() -> None:
    controller = Controller(Mover(), frame_dt_ns=FRAME, control_dt_ns=STEP, filters=[act()])
    controller.start_episode(1)
    joints = np.append(HOME, [0.025, 0.025])
    controller.accept(controller.decide(Observation(0, {}, joints, "task"), None), 0, joints)
    done = controller.intervention
    assert done is not None
    assert not done.acted
    assert "joints" in done.reason


class Disagreeing(Mover):
    """Three members that want joint 1 to go on at different speeds, with an open hand."""

    def predict(self, observation: Observation, decision: int) -> PolicyOutput:
        one = super().predict(observation, decision)
        chunks = np.repeat(one.chunks, 3, axis=0)
        chunks[..., 0] = chunks[:1, ..., 0] + 0.01 * np.arange(3)[:, None, None] * np.arange(1, 11)
        chunks[..., 7] = 0.08
        return PolicyOutput(chunks, expert_state=one.expert_state, prefix_parts=one.prefix_parts)


def approached(mode: str, seed: int = 1) -> tuple[FloatArray, Controller]:
    safety = SafetyFilter(Intervener(mode, drawn_predictor(), model()))
    return drive(safety, seed=seed, fingers=0.04, policy=Disagreeing())


def test_throughout_means_with_a_free_hand_too_and_always_does_not() -> None:
    plain, _ = drive(None, fingers=0.04, policy=Disagreeing())
    assert np.array_equal(plain, approached(f"always:{SLOW}")[0])
    slowed, controller = approached(f"throughout:{SLOW}")
    assert slowed[-1, 0] < 0.6 * plain[-1, 0]
    done = controller.intervention
    assert done is not None
    assert (done.chosen, done.reason, done.acted) == (SLOW, "throughout", True)


def test_a_free_hand_follows_the_approach_and_the_mean_is_the_plan() -> None:
    plain, _ = drive(None, fingers=0.04, policy=Disagreeing())
    ends = {round(float(approached("always:member", seed)[0][-1, 0]), 6) for seed in range(1, 13)}
    assert len(ends) == 3  # one for each member
    assert round(float(plain[-1, 0]), 6) in ends  # the second one is the mean
    assert np.array_equal(plain, approached("always:nearest")[0])  # no manifold: nothing is near
    done = approached("always:member")[1].intervention
    assert done is not None
    assert (done.chosen, done.acted, done.probability) == ("member", True, 1.0)
    assert done.reason.startswith("always, member ")


def test_drawn_approaches_say_what_was_drawn_and_how_likely_it_was() -> None:
    for seed in range(12):
        done = approached(RANDOM_APPROACH, seed)[1].intervention
        assert done is not None
        shares = {name: share for name, share in FIRST_SHARES.items() if name not in ("nearest", "projected")}
        assert done.probability == pytest.approx(shares[done.chosen] / sum(shares.values()))


def tried_in_vain(mode: str, retreats: int) -> tuple[list[Intervention], FloatArray]:
    """An arm whose open hand moves on for 2 s, closes on nothing, and follows: what was done, and the commands."""
    safety = SafetyFilter(Intervener(mode, drawn_predictor(), model(retreats=retreats)))
    controller = Controller(Disagreeing(), frame_dt_ns=FRAME, control_dt_ns=STEP, filters=[safety])
    controller.start_episode(1)
    joints, done, commands = np.append(HOME, [0.04, 0.04]), [], []
    for frame in range(250):
        stamp = frame * FRAME
        if 100 <= frame < 120:
            joints[7:] = 0.0
        elif frame >= 120:
            joints[7:] = 0.04
        controller.measured(stamp, np.stack((joints, np.zeros(9), np.zeros(9))))
        if frame % 5 == 0:
            observation = Observation(stamp, {}, joints, "task")
            controller.accept(controller.decide(observation, controller.command_in_force), stamp, joints)
            assert controller.intervention is not None
            done.append(controller.intervention)
        commands.append(controller.command(stamp, joints).position)
        joints[:7] = commands[-1][:7]
    return done, np.array(commands)


def test_behind_a_closing_on_nothing_the_arm_goes_back_the_way_it_came_as_often_as_it_may() -> None:
    done, commands = tried_in_vain(ACT, 1)
    back = [item.decision for item in done if item.chosen == "retreat"]
    assert back == list(range(20, 20 + len(back)))
    assert len(back) >= 5
    turn, end = commands[100, 0], commands[(20 + len(back)) * 5, 0]
    assert end < turn - 0.02  # joint 1 went on with each plan, and goes back
    assert commands[100:105, 0].min() >= end
    assert {item.chosen for item in done if item.decision not in back} == {PLAN}
    assert "retreat" not in {item.chosen for item in tried_in_vain(ACT, 0)[0]}


def test_where_it_is_only_advised_a_retreat_is_said_once_and_not_followed() -> None:
    done, commands = tried_in_vain(ADVISE, 1)
    assert [(item.decision, item.acted) for item in done if item.chosen == "retreat"] == [(20, False)]
    assert np.array_equal(commands, tried_in_vain(ADVISE, 0)[1])


class Slow(Intervener):
    """Takes its time."""

    def decide(self, *arguments, **more):  # type: ignore[no-untyped-def]
        import time

        end = time.perf_counter() + 0.002
        while time.perf_counter() < end:
            pass
        return super().decide(*arguments, **more)


def test_interventions_that_are_too_slow_end_with_a_reason() -> None:
    safety = SafetyFilter(Slow(ACT, drawn_predictor(), model()), budget_s=0.001)
    _, controller = drive(safety)
    assert "more than 1 ms 5 decisions in a row" in safety.fault
    assert safety.mode == ADVISE
    done = controller.intervention
    assert done is not None
    assert (done.chosen, done.acted, done.reason) == (PLAN, False, safety.fault)


def test_hidden_states_that_it_does_not_know_are_a_fault_and_the_arm_goes_on() -> None:
    other = drawn_predictor(expert=EXPERT + 1)
    safety = SafetyFilter(Intervener(RANDOM, other, None))
    commands, _ = drive(safety)
    assert np.array_equal(commands, drive(None)[0])
    assert "states have" in safety.fault


def settings(tmp_path: Path, **values: str) -> PolicySettings:
    given = {"intervention": ACT, "intervention_predictor": str(tmp_path), "intervention_model": str(tmp_path)}
    return PolicySettings(**{**given, **values})  # type: ignore[arg-type]


def facts() -> dict[str, str]:
    ensemble = drawn_predictor().ensemble
    members = {f"member_{index}_hash": value for index, value in enumerate(ensemble.members)}
    return members | {f"vlm_{index}_hash": value for index, value in enumerate(ensemble.vlms)}


def test_a_missing_file_is_an_error_or_a_fault_with_the_same_words(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        build_safety_filter(settings(tmp_path), facts())
    faults: list[str] = []
    safety = build_safety_filter(settings(tmp_path), facts(), faults)
    assert "does not exist" in faults[0]
    commands, controller = drive(safety)
    assert np.array_equal(commands, drive(None)[0])
    assert faults[0] in safety.fault
    assert controller.safety is safety


def test_another_ensemble_is_refused_with_both_hashes(tmp_path: Path) -> None:
    save_predictor(tmp_path, drawn_predictor(), {})
    with pytest.raises(ModelError, match="another1"):
        build_safety_filter(settings(tmp_path), {"member_0_hash": "another1"})


def test_a_mode_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected off, advise, act"):
        build_safety_filter(settings(tmp_path, intervention="on"), facts())


def test_an_approach_that_needs_a_manifold_is_refused_without_one(tmp_path: Path) -> None:
    save_predictor(tmp_path, drawn_predictor(), {})
    given = settings(tmp_path, intervention="always:projected", intervention_manifold="none")
    with pytest.raises(ConfigError, match="'always:projected' needs an action manifold of this ensemble"):
        build_safety_filter(given, facts())


def test_random_interventions_need_a_predictor_only(tmp_path: Path) -> None:
    save_predictor(tmp_path, drawn_predictor(), {})
    safety = build_safety_filter(settings(tmp_path, intervention=RANDOM), facts())
    _, controller = drive(safety)
    done = controller.intervention
    assert done is not None
    assert done.probability < 1.0
    assert done.chosen in MOTIONS
