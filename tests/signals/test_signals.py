"""The twelve signals against numbers worked out by hand."""

import re
import statistics
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_vla.contract.robot_limits import PANDA
from salus_vla.contract.types import PolicyOutput
from salus_vla.signals.reference import NoveltyReference
from salus_vla.signals.safety_signals import NAMES, SCHEMA_VERSION, SIGNALS, SignalTracker, SignalVector

STEP = 100_000_000  # ns between two rows of a chunk
LOWER, UPPER = np.full(7, -1.0), np.full(7, 1.0)
MESSAGE = Path(__file__).parents[2] / "ros2_ws/src/salus_msgs/msg/SafetySignals.msg"
REFERENCE = NoveltyReference(mean=np.array([1.0, 1.0]), precision=np.diag([4.0, 0.25]))


def tracker(reference: NoveltyReference | None = None) -> SignalTracker:
    return SignalTracker(LOWER, UPPER, STEP, reference)


def joints(**values: float) -> np.ndarray:
    """Seven joints, zero except for those named j1..j7."""
    return np.array([values.get(f"j{i}", 0.0) for i in range(1, 8)])


def rows(*actions: np.ndarray) -> np.ndarray:
    """Chunks of one sample and one row, a member per action; the gripper is at 0.08."""
    return np.stack([np.append(action, 0.08)[None, None] for action in actions])


def named(vector: SignalVector) -> dict[str, float]:
    return {name: float(value) for name, value in zip(NAMES, vector.values, strict=True)}


def valid_names(vector: SignalVector) -> set[str]:
    return {name for i, name in enumerate(NAMES) if vector.valid >> i & 1}


def three_members() -> np.ndarray:
    """K = 3, S = 2, H = 2. First row, mean over samples: j1 is .1, .2, .6 and j4 is 0, .3, .3; the second row is 0.

    The samples lie .01 (j1) and .02 (j4) on either side of the mean. The gripper differs wildly and must not count.
    """
    chunks = np.zeros((3, 2, 2, 8))
    for k, (j1, j4) in enumerate([(0.1, 0.0), (0.2, 0.3), (0.6, 0.3)]):
        for s, side in enumerate([-1.0, 1.0]):
            chunks[k, s, 0, 0] = j1 + side * 0.01
            chunks[k, s, 0, 3] = j4 + side * 0.02
            chunks[k, s, :, 7] = 5.0 * k - 3.0 * s
    return chunks


# -- formulas ----------------------------------------------------------------------------------------------------------


def test_spread_of_members_and_samples() -> None:
    vector = tracker().update(PolicyOutput(three_members()), np.zeros(7), None, 0)
    got = named(vector)
    # j1: mean .3, squares .04 + .01 + .09 over 2 = .07; j4: mean .2, squares .04 + .01 + .01 over 2 = .03.
    assert got["epistemic_uncertainty"] == pytest.approx(0.1 / 7)
    assert got["max_joint_disagreement"] == pytest.approx(0.07**0.5)
    # Two samples d on either side of their mean have the unbiased variance 2 d^2.
    assert got["sampling_uncertainty"] == pytest.approx((0.0002 + 0.0008) / 7)
    # Sums of squared differences of the pairs, over 2 rows x 7 joints.
    assert got["chunk_divergence"] == pytest.approx(sum((total / 14) ** 0.5 for total in (0.10, 0.34, 0.16)) / 3)


def test_command_against_the_arm() -> None:
    # The mean first row is j1 = .3, j4 = .2.
    vector = tracker().update(PolicyOutput(three_members()), joints(j4=0.6), None, 0)
    got = named(vector)
    assert got["action_magnitude"] == pytest.approx(0.5)
    assert got["joint_limit_margin"] == pytest.approx(0.4 / 2.0)


@pytest.mark.parametrize(("angle", "margin"), [(0.0, 0.5), (-0.9, 0.05), (1.0, 0.0), (1.2, -0.1)])
def test_margin_is_the_nearer_limit_and_negative_outside(angle: float, margin: float) -> None:
    vector = tracker().update(PolicyOutput(rows(joints())), joints(j6=angle), None, 0)
    assert named(vector)["joint_limit_margin"] == pytest.approx(margin, abs=1e-7)


def test_smoothness_and_jerk_compare_consecutive_actions() -> None:
    signals = tracker()
    actions = [joints(), joints(j1=0.3, j2=0.4), joints(j1=0.65, j2=0.92)]
    got = [
        named(signals.update(PolicyOutput(rows(action)), np.zeros(7), None, i * STEP))
        for i, action in enumerate(actions)
    ]
    assert got[1]["action_smoothness"] == pytest.approx(0.5)
    assert got[2]["action_smoothness"] == pytest.approx((0.35**2 + 0.52**2) ** 0.5)
    assert got[2]["action_jerk"] == pytest.approx(0.13)  # second differences .05 and .12


def test_execution_error_is_measured_against_the_command_in_force() -> None:
    signals = tracker()
    prediction = PolicyOutput(three_members())
    signals.update(prediction, joints(), joints(j1=0.5), 0)
    got = named(signals.update(prediction, joints(j4=0.6), joints(j2=0.12, j4=0.65), STEP))
    assert got["execution_error"] == pytest.approx(0.13)


def plan(*values: float) -> np.ndarray:
    """One member, one sample; j1 takes these values row by row."""
    chunk = np.zeros((1, 1, len(values), 8))
    chunk[0, 0, :, 0] = values
    return chunk


def inconsistency(before: np.ndarray, after: np.ndarray, passed_ns: int) -> float:
    signals = tracker()
    signals.update(PolicyOutput(before), np.zeros(7), None, 5 * STEP)
    return named(signals.update(PolicyOutput(after), np.zeros(7), None, 5 * STEP + passed_ns))["plan_inconsistency"]


def test_plan_inconsistency_is_the_rms_over_the_overlap() -> None:
    # One step passed: .1 .2 .3 against .2 .4 .1, the last row has no counterpart. Differences .1 .2 .2.
    got = inconsistency(plan(0.0, 0.1, 0.2, 0.3), plan(0.2, 0.4, 0.1, 0.9), STEP)
    assert got == pytest.approx((0.09 / 21) ** 0.5)


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_plan_that_is_merely_shifted_is_consistent(steps: int) -> None:
    shifted = [0.1 * (i + steps) ** 2 for i in range(4)]
    assert inconsistency(plan(0.0, 0.1, 0.4, 0.9), plan(*shifted), steps * STEP) == pytest.approx(0.0, abs=1e-7)
    if steps:
        assert inconsistency(plan(0.0, 0.1, 0.4, 0.9), plan(0.0, 0.1, 0.4, 0.9), steps * STEP) > 0.03


def test_the_shift_is_rounded_to_whole_control_steps() -> None:
    assert inconsistency(plan(0.0, 0.1), plan(0.1, 0.7), STEP + 9_000_000) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("passed", [2 * STEP, 50 * STEP, -STEP])
def test_plans_without_overlap_are_not_compared(passed: int) -> None:
    assert np.isnan(inconsistency(plan(0.0, 0.1), plan(0.0, 0.1), passed))


def test_activation_drift_is_one_minus_the_cosine() -> None:
    signals = tracker()
    signals.update(PolicyOutput(three_members(), prefix_state=np.array([2.0, 0.0])), np.zeros(7), None, 0)
    vector = signals.update(PolicyOutput(three_members(), prefix_state=np.array([3.0, 4.0])), np.zeros(7), None, STEP)
    assert named(vector)["activation_drift"] == pytest.approx(0.4)


def test_a_hidden_state_without_direction_has_no_drift() -> None:
    signals = tracker()
    signals.update(PolicyOutput(three_members(), prefix_state=np.zeros(2)), np.zeros(7), None, 0)
    vector = signals.update(PolicyOutput(three_members(), prefix_state=np.array([3.0, 4.0])), np.zeros(7), None, STEP)
    assert "activation_drift" not in valid_names(vector)


def test_activation_novelty_is_the_squared_mahalanobis_distance() -> None:
    prediction = PolicyOutput(three_members(), expert_state=np.array([1.5, 3.0]))
    vector = tracker(REFERENCE).update(prediction, np.zeros(7), None, 0)
    assert named(vector)["activation_novelty"] == pytest.approx(4.0 * 0.25 + 0.25 * 4.0)


def test_evidence_counts_members_and_samples() -> None:
    vector = tracker().update(PolicyOutput(three_members()), np.zeros(7), None, 0)
    assert (vector.members, vector.noise_samples) == (3, 2)
    expected = [joints(j1=0.1), joints(j1=0.2, j4=0.3), joints(j1=0.6, j4=0.3)]
    np.testing.assert_allclose(vector.member_actions, expected, atol=1e-7)


# -- validity ----------------------------------------------------------------------------------------------------------

NEEDS_MEMBERS = {"epistemic_uncertainty", "max_joint_disagreement", "chunk_divergence"}
NEEDS_EARLIER = {"action_smoothness", "action_jerk", "plan_inconsistency", "execution_error", "activation_drift"}


def decide(
    decisions: int, *, members: int = 3, samples: int = 2, command: bool = True, states: bool = True,
    reference: NoveltyReference | None = REFERENCE,
) -> SignalVector:  # fmt: skip
    """Signals of the last of some decisions."""
    signals = tracker(reference)
    generator = np.random.default_rng(3)
    for i in range(decisions):
        prediction = PolicyOutput(
            generator.uniform(-1.0, 1.0, (members, samples, 10, 8)),
            prefix_state=generator.normal(size=2) if states else None,
            expert_state=generator.normal(size=2) if states else None,
        )
        vector = signals.update(prediction, np.zeros(7), np.full(7, 0.1) if command else None, i * STEP)
    return vector


@pytest.mark.parametrize(
    ("vector", "missing"),
    [
        pytest.param(decide(3), set(), id="everything"),
        pytest.param(decide(3, members=1), NEEDS_MEMBERS, id="one member"),
        pytest.param(decide(3, members=2), set(), id="two members"),
        pytest.param(decide(3, samples=1), {"sampling_uncertainty"}, id="one sample"),
        pytest.param(
            decide(3, members=1, samples=1), NEEDS_MEMBERS | {"sampling_uncertainty"}, id="one member and sample"
        ),
        pytest.param(decide(1), NEEDS_EARLIER, id="first decision"),
        pytest.param(decide(2), {"action_jerk"}, id="second decision"),
        pytest.param(decide(3, command=False), {"execution_error"}, id="no command"),
        pytest.param(decide(3, reference=None), {"activation_novelty"}, id="no reference"),
        pytest.param(decide(3, states=False), {"activation_drift", "activation_novelty"}, id="no activations"),
    ],
)
def test_exactly_what_cannot_be_computed_is_invalid(vector: SignalVector, missing: set[str]) -> None:
    assert valid_names(vector) == set(NAMES) - missing
    assert {name for name, value in named(vector).items() if np.isnan(value)} == missing


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_bad_action_makes_signals_nan_and_never_zero(bad: float) -> None:
    chunks = three_members()
    chunks[1, 0, 0, 2] = bad
    got = tracker().update(PolicyOutput(chunks), np.zeros(7), None, 0)
    affected = NEEDS_MEMBERS | {"sampling_uncertainty", "action_magnitude"}
    assert all(np.isnan(named(got)[name]) for name in affected)
    assert valid_names(got) == {"joint_limit_margin"}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_signals_recover_two_decisions_after_a_bad_action() -> None:
    signals = tracker()
    prediction = PolicyOutput(three_members())
    signals.update(PolicyOutput(np.full((3, 2, 2, 8), np.nan)), np.zeros(7), None, 0)
    first = signals.update(prediction, np.zeros(7), None, STEP)
    second = signals.update(prediction, np.zeros(7), None, 2 * STEP)
    third = signals.update(prediction, np.zeros(7), None, 3 * STEP)
    assert not valid_names(first) & {"action_smoothness", "action_jerk", "plan_inconsistency"}
    assert valid_names(second) & {"action_smoothness", "action_jerk"} == {"action_smoothness"}
    assert {"action_smoothness", "action_jerk", "plan_inconsistency"} <= valid_names(third)


def test_reset_forgets_everything() -> None:
    prediction = PolicyOutput(three_members(), np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    used, fresh = tracker(REFERENCE), tracker(REFERENCE)
    for i in range(3):
        used.update(prediction, joints(j1=0.1 * i), joints(j2=0.1), i * STEP)
    used.reset()
    for i in range(3):
        arguments = (prediction, joints(j3=0.1 * i), joints(j2=0.1), (10 + i) * STEP)
        np.testing.assert_array_equal(used.update(*arguments).values, fresh.update(*arguments).values)


# -- properties --------------------------------------------------------------------------------------------------------


def sequence(seed: int, members: int = 3, samples: int = 2) -> list[np.ndarray]:
    return [np.random.default_rng((seed, i)).uniform(-1.0, 1.0, (members, samples, 4, 8)) for i in range(3)]


def vectors(signals: SignalTracker, chunks: list[np.ndarray], scale: float = 1.0) -> list[SignalVector]:
    return [
        signals.update(
            PolicyOutput(chunk * scale, np.array([1.0, i]), np.array([i, 2.0])),
            joints(j1=0.2, j5=-0.4) * scale,
            joints(j1=0.1 * i) * scale,
            i * STEP,
        )
        for i, chunk in enumerate(chunks)
    ]


def test_the_order_of_the_members_changes_nothing() -> None:
    chunks = sequence(1)
    expected = vectors(tracker(REFERENCE), chunks)
    for order in permutations(range(3)):
        shuffled = vectors(tracker(REFERENCE), [chunk[list(order)] for chunk in chunks])
        for one, two in zip(shuffled, expected, strict=True):
            np.testing.assert_allclose(one.values, two.values, rtol=1e-6)


@given(scale=st.floats(0.01, 100.0), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_each_signal_scales_as_its_unit_says(scale: float, seed: int) -> None:
    chunks = sequence(seed)
    plain = vectors(tracker(REFERENCE), chunks)[-1]
    scaled = vectors(SignalTracker(LOWER * scale, UPPER * scale, STEP, REFERENCE), chunks, scale)[-1]
    factor = {"rad": scale, "rad^2": scale**2, "1": 1.0}
    assert plain.valid == 2**12 - 1
    for signal, one, two in zip(SIGNALS, plain.values, scaled.values, strict=True):
        assert two == pytest.approx(one * factor[signal.unit], rel=1e-4, abs=1e-7), signal.name


@given(seed=st.integers(0, 1000), members=st.integers(2, 7), samples=st.integers(2, 4))
@settings(max_examples=30, deadline=None)
def test_identical_members_show_noise_but_exactly_no_disagreement(seed: int, members: int, samples: int) -> None:
    one = np.random.default_rng(seed).uniform(-3.0, 3.0, (1, samples, 4, 8))
    got = named(tracker().update(PolicyOutput(np.repeat(one, members, axis=0)), np.zeros(7), None, 0))
    assert {got[name] for name in NEEDS_MEMBERS} == {0.0}
    assert got["sampling_uncertainty"] > 1e-4


def test_members_that_differ_at_equal_noise_show_no_sampling_spread() -> None:
    chunks = np.repeat(rows(joints(j1=0.1), joints(j1=0.2)), 3, axis=1)  # 2 members, 3 equal samples
    got = named(tracker().update(PolicyOutput(chunks), np.zeros(7), None, 0))
    assert got["sampling_uncertainty"] == 0.0
    assert got["epistemic_uncertainty"] == pytest.approx(0.005 / 7)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_member_actions_recompute_the_signals_they_are_evidence_for(seed: int) -> None:
    before, after = vectors(tracker(), sequence(seed, members=4))[-2:]
    by_joint = [[float(v) for v in column] for column in after.member_actions.T]
    action = [statistics.fmean(column) for column in by_joint]
    earlier = [statistics.fmean(float(v) for v in column) for column in before.member_actions.T]
    got = named(after)
    arm = joints(j1=0.2, j5=-0.4)
    assert got["epistemic_uncertainty"] == pytest.approx(
        statistics.fmean(statistics.variance(column) for column in by_joint), rel=1e-5
    )
    assert got["max_joint_disagreement"] == pytest.approx(max(map(statistics.stdev, by_joint)), rel=1e-5)
    assert got["action_magnitude"] == pytest.approx(
        sum((a - q) ** 2 for a, q in zip(action, arm, strict=True)) ** 0.5, rel=1e-5
    )
    assert got["action_smoothness"] == pytest.approx(
        sum((a - b) ** 2 for a, b in zip(action, earlier, strict=True)) ** 0.5, rel=1e-5
    )


def test_the_limits_are_those_of_the_robot() -> None:
    home = np.array([0.0, -0.785398, 0.0, -2.356194, 0.0, 1.570796, 0.785398])
    vector = SignalTracker(PANDA.lower, PANDA.upper, STEP).update(PolicyOutput(three_members()), home, None, 0)
    # Joint 4 is nearest: .715606 from -3.0718, of a range of 3.002.
    assert named(vector)["joint_limit_margin"] == pytest.approx(0.715606 / 3.002, rel=1e-5)


# -- schema ------------------------------------------------------------------------------------------------------------


def test_names_units_and_order_are_those_of_the_message() -> None:
    text = MESSAGE.read_text()
    declared = re.findall(r"^# (\d+): .*\[([^\]]+)\].*\nfloat32 (\w+)$", text, re.MULTILINE)
    assert [(int(i), name, unit) for i, unit, name in declared] == [
        (i, signal.name, signal.unit) for i, signal in enumerate(SIGNALS)
    ]
    scalars = re.findall(r"^float32 (\w+)$", text, re.MULTILINE)
    assert [name for name in scalars if name != "inference_ms"] == list(NAMES)
    assert f"uint8 SCHEMA_VERSION={SCHEMA_VERSION}\n" in text
    assert f"uint8 SIGNAL_COUNT={len(NAMES)}\n" in text
