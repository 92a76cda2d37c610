"""Which runs belong together, what they are called, and who is whose member."""

from pathlib import Path

import pytest

from salus_vla.contract.errors import ConfigError
from salus_vla.contract.outcomes import Outcome
from salus_vla.learning.evaluation.evaluated_episodes import evaluated
from salus_vla.learning.evaluation.evaluated_runs import open_runs
from salus_vla.learning.evaluation.subjects import ALL_SHIFTS, PolicyUnderTest, group, member_of
from synthetic import HASHES, rollout_run, stored


def subjects(*paths: Path, reference: str = "eval") -> list[PolicyUnderTest]:
    return group([(run, list(map(evaluated, run.counted))) for run in open_runs(paths, acceptance=False)], reference)


def run(out: Path, name: str, profile: str = "eval", first: int = 0, count: int = 2, **keys: object) -> Path:
    return rollout_run(out, name, [stored(first + n, profile=profile) for n in range(count)], **keys)


def test_profiles_of_one_model_are_one_subject_the_reference_first(tmp_path: Path) -> None:
    paths = [run(tmp_path, name, name) for name in ("dark", "train", "heavy", "eval")]
    (found,) = subjects(*paths)
    assert found.label == "models/mine"
    assert [item.profile for item in found.conditions] == ["eval", "train", "dark", "heavy"]
    assert found.in_distribution is found.conditions[0]
    (other,) = subjects(*paths, reference="heavy")
    assert [item.profile for item in other.conditions] == ["heavy", "train", "dark", "eval"]


def test_all_shifts_are_those_that_are_neither_reference_nor_train(tmp_path: Path) -> None:
    paths = [run(tmp_path, name, name, count=2 + n) for n, name in enumerate(("eval", "train", "dark", "heavy"))]
    (found,) = subjects(*paths)
    assert found.pooled is not None
    assert found.pooled.profile == ALL_SHIFTS
    assert sorted(found.pooled.seeds.tolist()) == sorted([*range(4), *range(5)])
    (few,) = subjects(*paths[:3])
    assert few.pooled is None


def test_runs_of_one_profile_are_put_together(tmp_path: Path) -> None:
    (found,) = subjects(run(tmp_path, "b", first=10), run(tmp_path, "a"))
    (condition,) = found.conditions
    assert condition.seeds.tolist() == [0, 1, 10, 11]
    assert [item.run_id for item in condition.runs] == ["b", "a"]


def test_an_episode_counts_once(tmp_path: Path) -> None:
    paths = run(tmp_path, "a", count=3), run(tmp_path, "b", first=2)
    with pytest.raises(ConfigError, match=r"b: has seed 2 as .*a has"):
        subjects(*paths)


def test_an_aborted_episode_may_have_been_repeated(tmp_path: Path) -> None:
    aborted = rollout_run(tmp_path, "a", [stored(0, Outcome.ABORTED), stored(1)])
    (found,) = subjects(aborted, run(tmp_path, "b", count=1))
    (condition,) = found.conditions
    assert condition.seeds.tolist() == [0, 1]
    assert condition.apart == {"ABORTED": 1}


@pytest.mark.parametrize(
    ("change", "label"),
    [
        ({"disturb": True}, "models/mine (disturbed true)"),
        ({"max_decisions": 6}, "models/mine (at most 6 decisions)"),
        ({"provenance": {"worker.policy.noise_samples": "8"}}, "models/mine (noise samples 8)"),
        ({"provenance": {"worker.policy.novelty_reference": "abcd"}}, "models/mine (novelty reference abcd)"),
        ({"model": "models/other", "members": ("x", "y")}, "models/other"),
        ({"policy": "expert", "members": ()}, "expert"),
    ],
)
def test_what_changes_the_episodes_or_the_signals_is_another_subject(
    tmp_path: Path, change: dict[str, object], label: str
) -> None:
    one, other = subjects(run(tmp_path, "a"), run(tmp_path, "b", **change))
    assert other.label == label
    assert one.label.startswith("models/mine")


def test_weights_decide_and_not_the_name_of_the_model(tmp_path: Path) -> None:
    same = run(tmp_path, "b", "dark", model="/elsewhere/mine")
    assert len(subjects(run(tmp_path, "a"), same)) == 1
    trained_again = run(tmp_path, "c", "dark", members=("x", "y", "z"))
    one, other = subjects(tmp_path / "a", trained_again)
    assert one.label != other.label
    assert "weights" in one.label


def test_a_member_is_found_by_its_weights(tmp_path: Path) -> None:
    single = {"members": HASHES[1:2], "model": "models/mine/member_1"}
    ensemble, member, disturbed, stranger = subjects(
        run(tmp_path, "all"),
        run(tmp_path, "one", **single),
        run(tmp_path, "disturbed", disturb=True, **single),
        run(tmp_path, "stranger", members=("zzzz",), model="models/other"),
    )
    assert member_of(member, ensemble) == 1
    assert [member_of(other, ensemble) for other in (ensemble, disturbed, stranger)] == [None, None, None]
    assert member_of(ensemble, member) is None
