"""LeRobot's own trainer takes an exported data set, offline and on the CPU."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from recorded import make_episode, rollout_run
from salus_vla.contract import CAMERAS
from salus_vla.data.lerobot.dataset_export import export
from salus_vla.policies.smolvla.features import ACTION_KEY, STATE_KEY, image_key
from salus_vla.policies.smolvla.init.vlm_folder import write_vlm_folder
from salus_vla.policies.smolvla.init.vlm_sizes import SIZES

STEPS = 20


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    """LeRobot's trainer takes over the root logger, with handlers that write to what this test captures."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.slow
@pytest.mark.usefixtures("_logging_as_before")
def test_twenty_steps_of_lerobot_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lerobot.configs.default import DatasetConfig
    from lerobot.configs.train import TrainPipelineConfig
    from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
    from lerobot.scripts.lerobot_train import train
    from safetensors.torch import load_file

    run = rollout_run(tmp_path, "run1", [make_episode(seed, decisions=6) for seed in range(3)])
    made = export([run], tmp_path / "set", repo_id="salus/test")
    size = SIZES["tiny"]
    write_vlm_folder(tmp_path / "vlm", size)
    config = TrainPipelineConfig(
        dataset=DatasetConfig(repo_id="salus/test", root=str(made.path), use_imagenet_stats=False),
        policy=SmolVLAConfig(
            device="cpu",
            vlm_model_name=str(tmp_path / "vlm"),
            load_vlm_weights=False,
            resize_imgs_with_padding=(size.image_side, size.image_side),
            num_vlm_layers=size.text_layers,
            chunk_size=8,
            n_action_steps=8,
            num_steps=2,
            push_to_hub=False,
        ),
        output_dir=tmp_path / "trained",
        steps=STEPS,
        batch_size=4,
        num_workers=0,
        log_freq=1,
        env_eval_freq=0,
        seed=0,
    )
    train(config)
    captured = capsys.readouterr()
    losses = [float(value) for value in re.findall(r"\bloss:(\S+)", captured.out + captured.err)]
    assert len(losses) == STEPS
    assert all(0.0 < loss < 10.0 for loss in losses)
    checkpoint = tmp_path / "trained" / "checkpoints" / f"{STEPS:06d}" / "pretrained_model"
    weights = load_file(checkpoint / "model.safetensors")
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())
    # What the policy reads and normalises with is what the data set says.
    trained = SmolVLAConfig.from_pretrained(checkpoint)
    assert set(trained.input_features) == {STATE_KEY, *map(image_key, CAMERAS)}
    assert set(trained.output_features) == {ACTION_KEY}
    (file,) = checkpoint.glob("policy_preprocessor_*_normalizer_processor.safetensors")
    from lerobot.datasets import LeRobotDatasetMetadata

    stats = LeRobotDatasetMetadata("salus/test", root=made.path).stats[ACTION_KEY]
    for name in ("mean", "std"):
        expected = torch.as_tensor(stats[name], dtype=torch.float32)
        torch.testing.assert_close(load_file(file)[f"{ACTION_KEY}.{name}"], expected)
