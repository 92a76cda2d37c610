"""Runs of bags and rollouts become a data set that LeRobot reads back exactly."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from recorded import (
    PERIOD_NS,
    TASK,
    bag_run,
    commanded_of,
    content,
    exported,
    loaded,
    make_episode,
    rollout_run,
    state_of,
)
from salus_vla.contract import ARM_JOINTS, CAMERAS
from salus_vla.contract.errors import DatasetError, RecordingError
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.lerobot.dataset_export import export
from salus_vla.data.lerobot.dataset_info import CUBE_KEY, read_info
from salus_vla.data.lerobot.prepare import Options
from salus_vla.data.lerobot.sources import find_sources
from salus_vla.data.rollouts.rollout_store import StoredEpisode

EPISODES = (make_episode(11, decisions=4), make_episode(7, decisions=6), make_episode(9, decisions=1))
ORDERED = sorted(EPISODES, key=lambda episode: episode.seed)  # rollouts are


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rollout_run(tmp_path_factory.mktemp("runs"), "run1", EPISODES)


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bag_run(tmp_path_factory.mktemp("runs"), "run1", ORDERED)


@pytest.fixture(scope="module")
def dataset(rollouts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("data") / "set", rollouts).path


# -- what is in it -----------------------------------------------------------------------------------------------------


def test_every_state_action_and_pixel_comes_back(dataset: Path) -> None:
    frames = loaded(dataset)
    assert len(frames) == sum(episode.decisions for episode in EPISODES)
    index = 0
    for number, episode in enumerate(ORDERED):
        states, actions = state_of(episode), commanded_of(episode)
        for step in range(episode.decisions):
            item = frames[index]
            np.testing.assert_array_equal(item["observation.state"].numpy(), states[step])
            np.testing.assert_array_equal(item["action"].numpy(), actions[step])
            for camera in CAMERAS:
                seen = item[f"observation.images.{camera}"].permute(1, 2, 0).numpy()
                np.testing.assert_array_equal(seen, episode.images[camera][step].astype(np.float32) / 255)
            assert (item["task"], item["episode_index"], item["frame_index"], item["index"]) == (
                TASK,
                number,
                step,
                index,
            )
            assert item["timestamp"] == np.float32(step / 10)
            index += 1


def test_pictures_are_stored_bit_for_bit(dataset: Path) -> None:
    frames = loaded(dataset).hf_dataset.with_format(None)
    for camera in CAMERAS:
        expected = [image for episode in ORDERED for image in episode.images[camera][: episode.decisions]]
        for found, image in zip(frames[f"observation.images.{camera}"], expected, strict=True):
            np.testing.assert_array_equal(np.asarray(found), image)


def test_chunks_of_actions_end_with_their_episode(dataset: Path) -> None:
    frames = loaded(dataset, delta_timestamps={"action": [step / 10 for step in range(3)]})
    actions = commanded_of(ORDERED[0])
    np.testing.assert_array_equal(frames[1]["action"].numpy(), actions[1:4])
    last = frames[5]
    np.testing.assert_array_equal(last["action"].numpy(), actions[[5, 5, 5]])
    assert last["action_is_pad"].tolist() == [False, True, True]


def test_the_metadata_say_where_each_episode_comes_from(dataset: Path) -> None:
    episodes = loaded(dataset).meta.episodes
    assert episodes["salus/seed"][:] == [7, 9, 11]
    assert episodes["salus/outcome"][:] == ["SUCCESS"] * 3
    assert episodes["salus/profile"][:] == ["train"] * 3
    assert episodes["salus/policy"][:] == ["expert"] * 3
    assert episodes["salus/run"][:] == ["run1"] * 3
    assert episodes["salus/episode"][:] == ["seed_000007", "seed_000009", "seed_000011"]
    chosen = loaded(dataset, episode_filter=lambda episode: episode["salus/seed"] > 8)
    assert chosen.episodes == [1, 2]


def test_features_have_lerobots_names_and_shapes(dataset: Path) -> None:
    meta = loaded(dataset).meta
    assert (meta.fps, meta.robot_type, meta.camera_keys) == (10, "panda", [f"observation.images.{c}" for c in CAMERAS])
    for key in ("observation.state", "action"):
        assert meta.features[key]["names"] == [*ARM_JOINTS, "gripper_width"]
    assert meta.features["observation.images.top"]["shape"] == (16, 16, 3)


def test_statistics_are_over_all_frames(dataset: Path) -> None:
    stats = loaded(dataset).meta.stats
    for key, columns in (("observation.state", map(state_of, ORDERED)), ("action", map(commanded_of, ORDERED))):
        values = np.concatenate(list(columns)).astype(np.float64)
        np.testing.assert_allclose(stats[key]["mean"], values.mean(axis=0), rtol=1e-9)
        np.testing.assert_allclose(stats[key]["std"], values.std(axis=0), rtol=1e-6)
        np.testing.assert_array_equal(stats[key]["min"], values.min(axis=0))
        assert stats[key]["count"].tolist() == [len(values)]
    images = np.concatenate([episode.images["side"][: episode.decisions] for episode in ORDERED]) / 255.0
    np.testing.assert_allclose(stats["observation.images.side"]["mean"].ravel(), images.mean(axis=(0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(stats["observation.images.side"]["std"].ravel(), images.std(axis=(0, 1, 2)), rtol=1e-9)


# -- where it comes from -----------------------------------------------------------------------------------------------


def test_a_bag_gives_what_a_rollout_of_the_same_episodes_gives(dataset: Path, bags: Path, tmp_path: Path) -> None:
    found, expected = content(exported(tmp_path / "set", bags).path), content(dataset)
    episodes = "meta/episodes/chunk-000/file-000.parquet"  # the names in the run differ
    assert found.pop(episodes) != expected.pop(episodes)
    assert found == expected


def test_planned_is_what_the_policy_wanted(rollouts: Path, bags: Path, tmp_path: Path) -> None:
    options = Options(action="planned")
    of_rollouts = loaded(exported(tmp_path / "rollouts", rollouts, options=options).path).hf_dataset["action"][:]
    expected = np.concatenate([episode.planned[: episode.decisions] for episode in ORDERED]).astype(np.float32)
    np.testing.assert_array_equal(np.array(of_rollouts), expected)
    # The policy's gripper is not in a bag: there it is the commanded one.
    of_bags = loaded(exported(tmp_path / "bags", bags, options=options).path).hf_dataset["action"][:]
    expected[:, 7] = np.concatenate([commanded_of(episode)[:, 7] for episode in ORDERED])
    np.testing.assert_array_equal(np.array(of_bags), expected)


def test_runs_can_be_mixed(bags: Path, tmp_path: Path) -> None:
    other = rollout_run(tmp_path, "run2", [make_episode(1, task="put it down")])
    frames = loaded(exported(tmp_path / "set", bags, other).path)
    assert frames.meta.episodes["salus/run"][:] == ["run1", "run1", "run1", "run2"]
    assert frames.meta.episodes["tasks"][:] == [[TASK], [TASK], [TASK], ["put it down"]]
    assert frames[len(frames) - 1]["task"] == "put it down"


def test_only_wanted_outcomes_are_taken(tmp_path: Path) -> None:
    run = rollout_run(
        tmp_path, "run1", [make_episode(seed, outcome=outcome) for seed, outcome in enumerate(Outcome, 1)]
    )
    made = exported(tmp_path / "success", run)
    assert made.episodes == 1
    assert made.left_out == Counter({f"outcome {o.name}": 1 for o in Outcome if o is not Outcome.SUCCESS})
    made = exported(tmp_path / "two", run, outcomes=(Outcome.DROP, Outcome.MISS))
    assert loaded(made.path).meta.episodes["salus/outcome"][:] == ["DROP", "MISS"]
    for refused in (Outcome.ABORTED, Outcome.RUNNING):
        with pytest.raises(DatasetError, match=rf"--outcomes {refused.name}: such episodes are not complete"):
            exported(tmp_path / "never", run, outcomes=(Outcome.SUCCESS, refused))


def test_one_image_size_for_all(rollouts: Path, tmp_path: Path) -> None:
    made = exported(tmp_path / "set", rollouts, options=Options(image_size=8))
    frames = loaded(made.path)
    assert frames.meta.features["observation.images.front"]["shape"] == (8, 8, 3)
    assert frames[0]["observation.images.front"].shape == (3, 8, 8)


def test_video(rollouts: Path, tmp_path: Path) -> None:
    # AV1 does not take smaller ones; random pixels cannot be compressed, so only their means are compared.
    made = exported(tmp_path / "set", rollouts, options=Options(video=True, image_size=64))
    frames = loaded(made.path, video_backend="pyav")
    assert frames.meta.video_keys == [f"observation.images.{camera}" for camera in CAMERAS]
    assert frames.meta.features["observation.images.top"]["info"]["video.codec"] == "av1"
    for index, (episode, step) in enumerate((e, s) for e in ORDERED for s in range(e.decisions)):
        for camera in CAMERAS:
            seen = frames[index][f"observation.images.{camera}"].mean(dim=(1, 2)).numpy()
            expected = episode.images[camera][step].mean(axis=(0, 1)) / 255.0
            np.testing.assert_allclose(seen, expected, atol=0.03)


def test_a_new_file_begins_where_one_is_full(
    rollouts: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salus_vla.data.lerobot.dataset_writer._MIB", 150)  # times LeRobot's 100: 15 kB
    made = exported(tmp_path / "set", rollouts)
    files = sorted((made.path / "data").glob("*/*.parquet"))
    assert [pq.read_metadata(file).num_rows for file in files] == [6, 5]
    frames, whole = loaded(made.path), loaded(dataset)
    assert frames.meta.episodes["data/file_index"][:] == [0, 1, 1]
    for index in range(len(whole)):
        np.testing.assert_array_equal(frames[index]["action"], whole[index]["action"])


# -- the same again ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [Options(), Options(video=True, image_size=64)], ids=["png", "video"])
def test_exported_twice_every_file_is_the_same(rollouts: Path, tmp_path: Path, options: Options) -> None:
    first = content(exported(tmp_path / "a", rollouts, options=options).path)
    again = tmp_path / "elsewhere" / "run1"
    again.parent.mkdir()
    rollouts.rename(again)
    try:
        second = content(exported(tmp_path / "other" / "b", again, options=options).path)
    finally:
        again.rename(rollouts)
    assert first == second
    assert all(str(tmp_path).encode() not in data and str(rollouts).encode() not in data for data in first.values())


def test_workers_change_nothing(rollouts: Path, dataset: Path, tmp_path: Path) -> None:
    assert content(exported(tmp_path / "set", rollouts, workers=2).path) == content(dataset)


def test_statistics_do_not_depend_on_the_hash_seed_of_the_process(dataset: Path) -> None:
    keys = list(json.loads((dataset / "meta" / "stats.json").read_text()))
    assert keys == sorted(keys)
    assert len(keys) == 10


def test_runs_of_before_there_were_profiles_are_of_the_default_one(tmp_path: Path) -> None:
    run = bag_run(tmp_path, "a", [make_episode(1)])
    record = json.loads((run / "run.json").read_text())
    record["arguments"] = {}
    (run / "run.json").write_text(json.dumps(record))
    assert find_sources([run], [Outcome.SUCCESS]).episodes[0].profile == "eval"


def test_the_terminal_observation_is_not_part_of_an_episode() -> None:
    episode = make_episode(1, decisions=4)
    assert len(episode.stamps_ns) == 5
    assert len(state_of(episode)) == 4
    assert episode.stamps_ns[-1] == 4 * PERIOD_NS


def test_the_cubes_pose_is_that_of_each_observation(tmp_path: Path) -> None:
    poses = np.arange(7 * 21, dtype=np.float64).reshape(21, 7)
    episode = make_episode(1, decisions=4, cube_pose=poses)
    run = rollout_run(tmp_path, "run", [episode])
    plain = export([run], tmp_path / "plain", repo_id="salus/test").path
    told = export([run], tmp_path / "told", repo_id="salus/test", options=Options(ground_truth=True)).path
    (file,) = (told / "data").rglob("*.parquet")
    stored = np.array(pq.read_table(file)[CUBE_KEY].to_pylist())
    assert np.array_equal(stored, poses[[0, 5, 10, 15]])
    assert CUBE_KEY not in pq.read_table(next((plain / "data").rglob("*.parquet"))).column_names


def test_a_bag_without_the_cubes_pose_is_named(tmp_path: Path) -> None:
    run = bag_run(tmp_path, "run", [make_episode(1)])
    with pytest.raises(RecordingError, match="ground_truth/red_cube/pose"):
        export([run], tmp_path / "told", repo_id="salus/test", options=Options(ground_truth=True))


# -- what somebody did only --------------------------------------------------------------------------------------------


def taken_over(seed: int, first: int, decisions: int) -> StoredEpisode:
    """The ensemble's, in which the expert acts from a decision on."""
    return make_episode(
        seed,
        decisions=decisions,
        policy="ensemble",
        taken_over=(np.arange(decisions + 1) >= first).astype(np.uint8),
        taken_over_ns=first * PERIOD_NS,
        taken_over_by="expert",
        taken_over_when="stuck",
    )


def test_of_an_episode_that_the_expert_took_over_only_its_part_is_taken(tmp_path: Path) -> None:
    own, whole = taken_over(1, 3, 7), make_episode(2, decisions=4)
    alone = make_episode(3, decisions=4, policy="ensemble")
    run = rollout_run(tmp_path, "run", [own, whole, alone])
    made = export([run], tmp_path / "set", repo_id="salus/test", options=Options(only="expert"))
    frames = loaded(made.path)
    assert len(frames) == 4 + 4
    np.testing.assert_array_equal(np.stack([frames[i]["action"] for i in range(4)]), commanded_of(own)[3:])
    np.testing.assert_array_equal(np.stack([frames[i]["observation.state"] for i in range(4)]), state_of(own)[3:])
    seen = frames[0]["observation.images.top"].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(seen, own.images["top"][3].astype(np.float32) / 255)
    rows = frames.meta.episodes
    assert rows["salus/recovery"][:] == [True, False]
    assert rows["salus/policy"][:] == ["expert", "expert"]
    assert made.left_out == Counter({"not complete": 1})
    assert made.incomplete[0].reason == "expert did nothing in it, ensemble acted throughout"
    found = read_info(made.path)
    assert [episode.recovery for episode in found.episodes] == [True, False]


def test_without_only_all_of_it_is_taken(tmp_path: Path) -> None:
    run = rollout_run(tmp_path, "run", [taken_over(1, 3, 7)])
    made = export([run], tmp_path / "set", repo_id="salus/test")
    assert made.frames == 7
    assert loaded(made.path).meta.episodes["salus/recovery"][:] == [False]


def test_runs_are_mixed_with_weights(tmp_path: Path) -> None:
    runs = [rollout_run(tmp_path, name, [make_episode(seed, decisions=2)]) for seed, name in enumerate("ab")]
    made = export(runs, tmp_path / "set", repo_id="salus/test", weights=(0.5, 2.0))
    assert loaded(made.path).meta.episodes["salus/weight"][:] == [0.5, 2.0]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((0.0, 0.0), "--weights 0,0: expected numbers of 0 or more, and one above 0"),
        ((1.0,), "--weights 1: 1 for 2 runs, expected one for each"),
        ((1.0, -1.0), "--weights 1,-1"),
        ((1.0, float("nan")), "--weights 1,nan"),
    ],
)
def test_weights_that_mix_nothing_are_refused(tmp_path: Path, weights: tuple[float, ...], message: str) -> None:
    runs = [rollout_run(tmp_path, name, [make_episode(seed, decisions=2)]) for seed, name in enumerate("ab")]
    with pytest.raises(DatasetError) as error:
        export(runs, tmp_path / "set", repo_id="salus/test", weights=weights)
    assert message in str(error.value)
    assert not (tmp_path / "set").exists()


# -- hidden states -----------------------------------------------------------------------------------------------------


def with_states(seed: int, width: int = 3) -> StoredEpisode:
    random = np.random.default_rng(seed)
    return make_episode(
        seed,
        decisions=3,
        expert_state=random.normal(size=(4, 5)).astype(np.float32),
        prefix_parts=random.normal(size=(4, 4, width)).astype(np.float32),
    )


def test_what_the_policy_saw_comes_back(tmp_path: Path) -> None:
    episode = with_states(1)
    made = export(
        [rollout_run(tmp_path, "run", [episode])], tmp_path / "set", repo_id="salus/test", options=Options(states=True)
    )
    frames = loaded(made.path)
    assert episode.expert_state is not None
    assert episode.prefix_parts is not None
    for step in range(3):
        np.testing.assert_array_equal(frames[step]["policy.expert_state"], episode.expert_state[step])
        np.testing.assert_array_equal(frames[step]["policy.prefix_parts"], episode.prefix_parts[step].ravel())
    assert "policy.expert_state" not in loaded(exported(tmp_path / "plain", tmp_path / "run").path).features


def test_an_episode_without_states_is_left_out_and_one_of_another_policy_is_an_error(tmp_path: Path) -> None:
    run = rollout_run(tmp_path, "run", [with_states(1), make_episode(2, decisions=3)])
    made = export([run], tmp_path / "set", repo_id="salus/test", options=Options(states=True))
    assert "hidden states of its policy were not recorded" in made.incomplete[0].reason
    other = rollout_run(tmp_path, "other", [with_states(3, width=2)])
    with pytest.raises(DatasetError, match=r"policy\.prefix_parts has 12 values .* 8 in .*: not of one policy"):
        export([run, other], tmp_path / "both", repo_id="salus/test", options=Options(states=True))
