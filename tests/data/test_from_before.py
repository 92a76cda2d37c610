"""Files of before the rooms were put in order (revision 6cf7aa1) open and say what they said then.

`before/runs.tar.xz` holds a run of `salus collect` and one of `salus rollout`, both with `--policy ensemble --model
builtin:tiny --seed 7 --max-decisions 5` and cameras of 32 x 32. The model of before is the shipped one.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from salus_vla.config.policy_options import BUILTIN_COMPACT
from salus_vla.contract import ARM_DOF, CAMERAS
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.recorded_observations import opened_bag
from salus_vla.data.episodes import COLLECT, ROLLOUT, Run, open_run
from salus_vla.data.lerobot.dataset_export import export
from salus_vla.data.recording import Part
from salus_vla.learning.evaluation.evaluation import Options, evaluate
from salus_vla.policies.registry import expand_members
from salus_vla.policies.smolvla.loading.member_files import read_member_files
from salus_vla.views.report.write_report import write_run

BEFORE = Path(__file__).with_name("before") / "runs.tar.xz"
DECISIONS = 5


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(BEFORE) as archive:
        archive.extractall(folder, filter="data")
    return {name: open_run(folder / name) for name in ("bags", "rollouts")}


@pytest.mark.parametrize(("name", "made_by"), [("bags", COLLECT), ("rollouts", ROLLOUT)])
def test_a_run_opens(runs: dict[str, Run], name: str, made_by: str) -> None:
    run = runs[name]
    assert (run.made_by, run.policy, run.profile, run.seeds) == (made_by, "ensemble", "eval", (7,))
    assert len(run.members) == 5
    (episode,) = run.episodes
    summary = episode.summary
    assert (summary.seed, summary.outcome, summary.decisions) == (7, Outcome.TIMEOUT, DECISIONS)
    recording = episode.open()
    recording.require(*Part)
    decisions, commands = recording.decisions(), recording.commanded()
    assert decisions.numbers.tolist() == list(range(DECISIONS + 1))
    assert np.isfinite(decisions.signals[-1, :11]).all()
    assert len(commands.stamps_ns) in (5 * DECISIONS, 5 * DECISIONS + 1)  # the graph may answer the terminal frame
    observations = list(recording.observations())
    assert len(observations) == DECISIONS + 1
    assert {image.shape for _, seen in observations for image in seen.images.values()} == {(32, 32, 3)}


def test_a_bag_and_a_rollout_of_one_seed_give_the_same(runs: dict[str, Run]) -> None:
    """The one reader sees no difference between the two, bit for bit."""
    bag, rollout = (runs[name].episodes[0].open() for name in ("bags", "rollouts"))
    starts = [recording.summary.start_ns for recording in (bag, rollout)]
    one, other = bag.decisions(), rollout.decisions()
    np.testing.assert_array_equal(one.stamps_ns - starts[0], other.stamps_ns - starts[1])
    np.testing.assert_array_equal(one.signals, other.signals)
    np.testing.assert_allclose(one.planned, other.planned[:, :ARM_DOF], atol=1e-6)  # recorded as float32
    np.testing.assert_array_equal(bag.measured().positions, rollout.measured().positions)
    frames = len(rollout.commanded().stamps_ns)
    np.testing.assert_array_equal(bag.commanded().positions[:frames], rollout.commanded().positions)
    np.testing.assert_array_equal(bag.cube().poses, rollout.cube().poses)
    for (number, seen), (same, also) in zip(bag.observations(), rollout.observations(), strict=True):
        assert number == same
        np.testing.assert_array_equal(seen.joint_position, also.joint_position)
        for camera in CAMERAS:
            np.testing.assert_array_equal(seen.images[camera], also.images[camera])


def test_what_was_not_recorded_then_is_unknown_and_not_zero(runs: dict[str, Run]) -> None:
    for run in runs.values():
        recording = run.episodes[0].open()
        decisions = recording.decisions()
        assert decisions.expert_state is None
        assert decisions.prefix_parts is None
        assert recording.summary.taken_over is False
    assert runs["rollouts"].episodes[0].open().measured().efforts is None
    measured = runs["bags"].episodes[0].open().measured()
    assert measured.efforts is not None  # bags had them always
    assert measured.velocities is not None
    assert measured.efforts.shape == measured.velocities.shape == measured.positions.shape


def test_topics_that_the_contract_has_no_more_are_read_over(runs: dict[str, Run]) -> None:
    with opened_bag(runs["bags"].episodes[0].path) as reader:
        assert "/ground_truth/grasped" in {connection.topic for connection in reader.connections}
    assert runs["bags"].episodes[0].open().events() == ()


def test_everything_that_reads_runs_reads_them(runs: dict[str, Run], tmp_path: Path) -> None:
    paths = [run.path for run in runs.values()]
    assert [len(run.episodes) for run in runs.values()] == [1, 1]
    (bags,) = evaluate(paths[:1], Options()).outcomes
    assert bags.episodes == 1
    for path in paths:  # not in one: they are the same episode
        exported = export([path], tmp_path / f"{path.name}_set", repo_id="before/set", outcomes=(Outcome.TIMEOUT,))
        assert (exported.episodes, exported.frames) == (1, DECISIONS)
    for run in runs.values():
        assert write_run(run, tmp_path / run.run_id).is_file()


def test_the_model_of_before_opens() -> None:
    for name in expand_members([BUILTIN_COMPACT]):
        read_member_files(name, Path(name), "cpu")
