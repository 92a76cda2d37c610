"""`salus train` from a data set to an ensemble that drives the arm, and what it says to wrong arguments."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from lerobot.configs.policies import PreTrainedConfig
from safetensors.torch import load_file

from recorded import make_episode, rollout_run
from salus_vla.cli.main import main
from salus_vla.config.scene import load_scene
from salus_vla.contract import CAMERAS, DEFAULT_TASK
from salus_vla.contract.types import Observation
from salus_vla.data.lerobot.dataset_export import export
from salus_vla.data.lerobot.prepare import Options
from salus_vla.learning.training.training_data import (
    _Reader,
    fingerprint,
    open_dataset,
    read_frames,
    statistics,
    statistics_of,
)
from salus_vla.policies.registry import expand_members
from salus_vla.policies.smolvla.features import image_key
from salus_vla.policies.smolvla.inference.ensemble_policy import EnsemblePolicy

OPTIONS = ["--size", "tiny", "--members", "2", "--steps", "3", "--expert-steps", "2", "--batch", "4", "--draws", "2"]
OPTIONS += ["--device", "cpu", "--log-every", "1", "--held-out", "0.3"]


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demos")
    run = rollout_run(folder, "run", [make_episode(seed, decisions=6) for seed in range(4)])
    return export([run], folder / "set", repo_id="salus/test", options=Options("planned", ground_truth=True)).path


@pytest.fixture(scope="module")
def trained(demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "out"
    assert main(["train", "--data", str(demos), "--out", str(out), *OPTIONS]) == 0
    return out


def test_frames_are_what_was_recorded(demos: Path, trained: Path) -> None:
    episodes = [make_episode(seed, decisions=6) for seed in range(4)]
    dataset = open_dataset(demos)
    config = PreTrainedConfig.from_pretrained(trained / "model" / "member_0")
    config.vlm_model_name, config.device = str(trained / "model" / "vlm"), "cpu"
    side = config.resize_imgs_with_padding[0]
    frames = read_frames(dataset, config, statistics(dataset))
    assert frames.images.shape == (24, len(CAMERAS), 3, side, side)
    assert frames.cube is not None
    stats = statistics(dataset)
    recorded = torch.tensor(np.concatenate([episode.planned[:6] for episode in episodes]), dtype=torch.float32)
    expected = (recorded - stats["action"]["mean"]) / (stats["action"]["std"] + 1e-8)
    torch.testing.assert_close(frames.action, expected, rtol=1e-4, atol=1e-4)
    assert frames.episodes == [0, 1, 2, 3]


def test_cameras_of_a_data_set_are_found_under_its_names(demos: Path) -> None:
    mine = open_dataset(demos)
    named = {image_key(camera): image_key(f"cam_{camera}") for camera in CAMERAS}

    class Renamed:
        """The same data under other names."""

        root, num_frames = demos, mine.num_frames

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            return {named.get(key, key): value for key, value in mine[index].items()}

    order = ["top", "front", "side"]
    theirs = _Reader(Renamed(), 64, [named[image_key(camera)] for camera in order])[0]["images"]  # type: ignore[arg-type]
    assert torch.equal(theirs, _Reader(mine, 64, list(map(image_key, order)))[0]["images"])
    assert not torch.equal(theirs, _Reader(mine, 64, list(map(image_key, CAMERAS)))[0]["images"])


def test_the_ensemble_shares_its_vlm_and_decides(trained: Path) -> None:
    manifest = json.loads((trained / "model" / "salus_model.json").read_text())
    assert manifest["trained"] is True
    assert manifest["data"]["episodes"] == 4
    policy = EnsemblePolicy(expand_members([str(trained / "model")]))
    assert policy.provenance()["shared_vlm"] == "true"
    scene = load_scene()
    images = {camera: np.full((64, 64, 3), 100, dtype=np.uint8) for camera in CAMERAS}
    policy.start_episode(0)
    chunks = policy.predict(Observation(0, images, scene.robot.home_position, DEFAULT_TASK), 0).chunks
    assert np.isfinite(chunks).all()
    assert not np.array_equal(chunks[0], chunks[1])


def test_the_vlm_of_the_ensemble_is_that_of_the_first_stage(trained: Path) -> None:
    first, second = (load_file(trained / name / "vlm" / "model.safetensors") for name in ("policy", "model"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_the_same_seed_gives_the_same_weights(demos: Path, trained: Path, tmp_path: Path) -> None:
    assert main(["train", "--data", str(demos), "--out", str(tmp_path / "again"), *OPTIONS]) == 0
    for member in ("member_0", "member_1"):
        one, two = (load_file(out / "model" / member / "model.safetensors") for out in (trained, tmp_path / "again"))
        assert all(torch.equal(one[key], two[key]) for key in one)


def test_progress_and_pictures_are_left(trained: Path) -> None:
    for stage, steps in (("vlm", 3), ("experts", 2)):
        lines = (trained / stage / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == list(range(1, steps + 1))
        assert (trained / stage / "metrics.png").stat().st_size > 5000


def test_a_finished_training_is_not_done_again(demos: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (trained / "model" / "member_0" / "model.safetensors").stat().st_mtime_ns
    assert main(["train", "--data", str(demos), "--out", str(trained), *OPTIONS, "--resume"]) == 0
    assert (trained / "model" / "member_0" / "model.safetensors").stat().st_mtime_ns == before
    capsys.readouterr()


@pytest.mark.slow
def test_ctrl_c_writes_a_checkpoint_and_resume_goes_on(demos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--data", str(demos), "--out", str(out), *OPTIONS]
    options[options.index("--steps") + 1] = "100000"
    command = [sys.executable, "-m", "salus_vla.cli", "train", *options, "--stage", "vlm"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as training:
        assert training.stdout is not None
        for line in training.stdout:
            if line.startswith("vlm 2/"):
                training.send_signal(signal.SIGINT)
                break
        output = training.stdout.read()
        assert training.wait(timeout=60) == 130
    assert "--resume continues" in output
    options[options.index("--steps") + 1] = "6"
    done = json.loads((out / "vlm" / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    options[options.index("6")] = str(done + 1)
    assert main(["train", *options, "--stage", "vlm", "--resume"]) == 0
    assert (out / "policy" / "salus_model.json").is_file()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (["--data", "/nowhere"], "meta/info.json is missing"),
        (["--steps", "0"], "--steps 0"),
        (["--held-out", "1.5"], "--held-out 1.5"),
        (["--seed", "900000"], "--seed 900000"),
        (["--stage", "experts"], "run --stage vlm first"),
        (["--device", "cuda:7"], "cuda:7"),
        (["--from", "/nowhere"], "/nowhere"),
        (["--keep-members"], "--keep-members: needs --from MODEL and --stage experts"),
    ],
)
def test_wrong_arguments_are_named(
    demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: list[str], named: str
) -> None:
    arguments = ["train", "--data", str(demos), "--out", str(tmp_path / "out"), *OPTIONS, *changed]
    assert main(arguments) == 1
    assert named in capsys.readouterr().err
    assert not (tmp_path / "out" / "model").exists()


def test_a_folder_in_use_is_refused(demos: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", str(demos), "--out", str(trained), *OPTIONS]) == 1
    assert "give --resume" in capsys.readouterr().err
    assert main(["train", "--data", str(demos), "--out", str(trained), *OPTIONS, "--resume", "--seed", "5"]) == 1
    assert "--seed 0" in capsys.readouterr().err


def test_a_data_set_without_ground_truth_trains_without_the_auxiliary_loss(tmp_path: Path) -> None:
    run = rollout_run(tmp_path, "run", [make_episode(seed, decisions=6) for seed in range(2)])
    plain = export([run], tmp_path / "set", repo_id="salus/test").path
    assert main(["train", "--data", str(plain), "--out", str(tmp_path / "out"), *OPTIONS, "--stage", "vlm"]) == 0
    entry = json.loads((tmp_path / "out" / "vlm" / "metrics.jsonl").read_text().splitlines()[0])
    assert entry["cube"] is None


def test_another_model_may_be_the_beginning(demos: Path, trained: Path, tmp_path: Path) -> None:
    options = ["--from", str(trained / "model"), "--stage", "experts", *OPTIONS]
    assert main(["train", "--data", str(demos), "--out", str(tmp_path / "out"), *options]) == 0
    policy = EnsemblePolicy(expand_members([str(tmp_path / "out" / "model")]))
    assert (
        policy.provenance()["vlm_0_hash"]
        == EnsemblePolicy(expand_members([str(trained / "model")])).provenance()["vlm_0_hash"]
    )


def test_a_model_with_other_names_of_cameras_may_be_the_beginning(demos: Path, trained: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(trained / "model", tmp_path / "base"))
    for file in base.glob("member_*/config.json"):
        text = file.read_text()
        for camera, name in (("front", "camera3"), ("side", "camera1"), ("top", "camera2")):
            text = text.replace(f"observation.images.{camera}", f"observation.images.{name}")
        file.write_text(text)
    names = "front=camera3,side=camera1,top=camera2"
    options = ["--from", str(base), "--stage", "experts", "--cameras", names, *OPTIONS]
    assert main(["train", "--data", str(demos), "--out", str(tmp_path / "out"), *options]) == 0
    policy = EnsemblePolicy(expand_members([str(tmp_path / "out" / "model")]))
    assert policy.provenance()["cameras"] == "front=camera3,side=camera1,top=camera2"
    assert policy._inputs.cameras == ("front", "side", "top")


def test_images_are_in_the_order_in_which_the_policy_sees_them(demos: Path, trained: Path) -> None:
    dataset = open_dataset(demos)
    config = PreTrainedConfig.from_pretrained(trained / "model" / "member_0")
    config.vlm_model_name, config.device = str(trained / "model" / "vlm"), "cpu"
    usual, turned = (
        read_frames(dataset, config, statistics(dataset), cameras=order).images
        for order in (CAMERAS, ("side", "top", "front"))
    )
    assert torch.equal(turned, usual[:, [1, 2, 0]])
    assert not torch.equal(turned, usual)


def test_every_member_goes_on_from_its_own_weights_and_statistics(demos: Path, trained: Path, tmp_path: Path) -> None:
    """After a step of almost nothing they are where they were, to what bf16 keeps."""
    run = rollout_run(tmp_path, "other", [make_episode(seed, decisions=6) for seed in range(20, 23)])
    other = export([run], tmp_path / "set", repo_id="salus/test").path
    model = trained / "model"
    options = ["--from", str(model), "--keep-members", "--stage", "experts", "--expert-steps", "1", "--rate", "1e-9"]
    out = tmp_path / "out"
    assert main(["train", "--data", str(other), "--out", str(out), *OPTIONS, *options]) == 0
    before, after = statistics_of(str(model)), statistics_of(str(out / "model"))
    for key, values in before.items():
        assert all(torch.equal(values[name], after[key][name]) for name in values)
    assert not torch.equal(before["action"]["mean"], statistics(open_dataset(other))["action"]["mean"])
    for member in expand_members([str(model)]):
        one, two = (
            load_file(folder / "model.safetensors") for folder in (Path(member), out / "model" / Path(member).name)
        )
        assert one.keys() == two.keys()
        for key, value in one.items():
            torch.testing.assert_close(two[key].float(), value.float(), rtol=1e-2, atol=1e-4)
    first, second = (load_file(path / "vlm" / "model.safetensors") for path in (model, out / "model"))
    assert all(torch.equal(first[key], second[key]) for key in first)
    facts = EnsemblePolicy(expand_members([str(model)])).provenance()
    begun_with = json.loads((out / "model" / "salus_model.json").read_text())["from"]
    assert begun_with == f"members {facts['member_0_hash']}, {facts['member_1_hash']}"  # not where it lay


def test_a_training_goes_on_with_the_data_that_it_was_begun_with(
    demos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = rollout_run(tmp_path, "other", [make_episode(seed, decisions=6) for seed in range(20, 23)])
    other = export([run], tmp_path / "set", repo_id="salus/test").path
    assert main(["train", "--data", str(other), "--out", str(trained), *OPTIONS, "--resume"]) == 1
    assert "was begun with a data set with other episodes" in capsys.readouterr().err
    described = json.loads((trained / "model" / "salus_model.json").read_text())["data"]
    assert described["fingerprint"] == fingerprint(open_dataset(demos))
    shutil.copytree(demos, tmp_path / "elsewhere")
    assert main(["train", "--data", str(tmp_path / "elsewhere"), "--out", str(trained), *OPTIONS, "--resume"]) == 0


def _at_30_hz(data: Path) -> None:
    info = data / "meta" / "info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fps": 30}))


def _with_nan(data: Path) -> None:
    (file,) = data.glob("data/*/*.parquet")
    table = pq.read_table(file)
    rows = table["action"].to_pylist()
    rows[7][2] = float("nan")
    column = table.schema.get_field_index("action")
    field = table.schema.field(column)
    pq.write_table(table.set_column(column, field, pa.array(rows, field.type)), file)


@pytest.mark.parametrize(
    ("break_it", "named"),
    [
        (_at_30_hz, "fps is 30, expected 10"),
        (_with_nan, "action panda_joint3 is nan in episode 1, frame 1"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_the_first_step(
    demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], break_it: Callable[[Path], None], named: str
) -> None:
    data = Path(shutil.copytree(demos, tmp_path / "set"))
    break_it(data)
    assert main(["train", "--data", str(data), "--out", str(tmp_path / "out"), *OPTIONS]) == 1
    assert named in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_instruction_that_would_be_cut_is_refused_by_export_and_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = " ".join(["pick up the red cube"] * 12) + " NOT"
    run = rollout_run(tmp_path, "run", [replace(make_episode(seed, decisions=6), task=task) for seed in range(2)])
    export_it = ["dataset", "export", str(run), "--out", str(tmp_path / "set")]
    assert main(export_it) == 1
    assert "NOT' at its end is not read" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
    with pytest.warns(RuntimeWarning, match="the policy reads 48"):
        assert main([*export_it, "--cut-task"]) == 0
    assert main(["train", "--data", str(tmp_path / "set"), "--out", str(tmp_path / "out"), *OPTIONS]) == 1
    assert "NOT' at its end is not read" in capsys.readouterr().err


def test_a_gripper_that_never_moved_is_said_and_gets_a_deviation(
    demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(demos, tmp_path / "set"))
    file = data / "meta" / "stats.json"
    stats = json.loads(file.read_text())
    stats["action"]["std"][7] = 0.0
    file.write_text(json.dumps(stats))
    assert main(["train", "--data", str(data), "--out", str(tmp_path / "out"), *OPTIONS, "--stage", "vlm"]) == 0
    assert "warning: action gripper_width hardly moves" in capsys.readouterr().out
    assert float(statistics_of(str(tmp_path / "out" / "policy"))["action"]["std"][7]) == pytest.approx(1e-4)


def test_the_same_frames_with_other_weights_or_words_are_other_data(tmp_path: Path) -> None:
    episodes = [make_episode(seed, decisions=6) for seed in range(4)]
    runs = [rollout_run(tmp_path, "a", episodes[:2]), rollout_run(tmp_path, "b", episodes[2:])]
    told = [
        rollout_run(tmp_path, name, [replace(e, task="put it back") for e in part])
        for name, part in (("c", episodes[:2]), ("d", episodes[2:]))
    ]
    made = [
        export(runs, tmp_path / "plain", repo_id="salus/test").path,
        export(runs, tmp_path / "again", repo_id="salus/test").path,
        export(runs, tmp_path / "weighted", repo_id="salus/test", weights=(1.0, 2.0)).path,
        export(told, tmp_path / "told", repo_id="salus/test").path,
    ]
    plain, again, weighted, other_words = (fingerprint(open_dataset(path)) for path in made)
    assert plain == again
    assert len({plain, weighted, other_words}) == 3


def test_reserved_seeds_are_not_learned_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = rollout_run(tmp_path, "run", [make_episode(seed, decisions=6) for seed in (1, 900_000)])
    plain = export([run], tmp_path / "set", repo_id="salus/test").path
    assert main(["train", "--data", str(plain), "--out", str(tmp_path / "out"), *OPTIONS]) == 1
    assert "seed 900000" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
