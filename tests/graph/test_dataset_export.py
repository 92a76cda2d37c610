"""A bag of the graph and a rollout of the same seed give the same data set: states, actions, every pixel."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from salus_vla.config.policy_options import BUILTIN_TINY
from salus_vla.contract import ARM_DOF
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.run_folder import RunFolder
from salus_vla.data.lerobot.dataset_export import export
from salus_vla.data.lerobot.prepare import Options
from salus_vla.data.rollouts.episode_maker import EpisodeMaker
from salus_vla.data.rollouts.rollout_settings import RolloutSettings
from salus_vla.data.rollouts.rollout_store import EPISODES, episode_file
from written import write_episode

from .conftest import DECISIONS, SEED, Collected

pytestmark = [pytest.mark.graph, pytest.mark.timeout(200)]


@pytest.fixture(scope="module")
def rollout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first episode of `collected`, made without the graph."""
    run = RunFolder.create(tmp_path_factory.mktemp("rollouts"), "run", provenance={}, arguments={})
    (run.path / EPISODES).mkdir()
    with EpisodeMaker(RolloutSettings(model=BUILTIN_TINY, max_decisions=DECISIONS)) as maker:
        write_episode(run.path / EPISODES / episode_file(SEED), maker.make(SEED))
    run.close()
    return run.path


def first_episode(run: Path, out: Path, action: str) -> pa.Table:
    """Every frame of the first episode of a run, as exported."""
    outcomes = [outcome for outcome in Outcome if outcome not in (Outcome.RUNNING, Outcome.ABORTED)]
    made = export([run], out, repo_id="salus/test", options=Options(action=action), outcomes=outcomes)
    assert not made.left_out
    # One row group for each episode.
    return pq.ParquetFile(made.path / "data" / "chunk-000" / "file-000.parquet").read_row_group(0)


def test_the_frames_do_not_tell_where_they_come_from(collected: Collected, rollout: Path, tmp_path: Path) -> None:
    of_bag = first_episode(collected.run.path, tmp_path / "bags", "commanded")
    assert of_bag.equals(first_episode(rollout, tmp_path / "rollouts", "commanded"))
    assert len(of_bag) > 5
    assert len({tuple(action) for action in of_bag["action"].to_pylist()}) == len(of_bag)


def test_what_the_policy_wanted_is_the_same_but_for_the_gripper(
    collected: Collected, rollout: Path, tmp_path: Path
) -> None:
    wanted = [
        np.array(first_episode(run, tmp_path / name, "planned")["action"].to_pylist())
        for name, run in (("bags", collected.run.path), ("rollouts", rollout))
    ]
    # A bag holds the members' actions in single precision.
    np.testing.assert_allclose(wanted[0][:, :ARM_DOF], wanted[1][:, :ARM_DOF], atol=1e-6)
