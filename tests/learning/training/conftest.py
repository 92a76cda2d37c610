"""A small policy and synthetic frames, so that training is tested in seconds."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy

from alone import alone
from salus_vla.learning.training.batches import Frames
from salus_vla.learning.training.training_run import begin_policy

__all__ = ["alone"]  # a fixture for every test here

SIDE, CAMERAS, TOKENS = 64, 3, 6


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> SmolVLAPolicy:
    """An untrained tiny policy; copy it before training."""
    return begin_policy(tmp_path_factory.mktemp("begun"), "tiny", 0)


MakeFrames = Callable[..., Frames]


@pytest.fixture(scope="session")
def make_frames() -> MakeFrames:
    """Frames of episodes of these lengths; what is to be learned is in the picture's brightness."""

    def make(*lengths: int, seed: int = 0, cube: bool = True) -> Frames:
        generator = torch.Generator().manual_seed(seed)
        count = sum(lengths)
        target = torch.rand(count, 8, generator=generator) * 2 - 1
        brightness = (127 + 100 * target[:, :3]).to(torch.uint8)
        images = brightness[:, :, None, None, None].expand(-1, -1, 3, SIDE, SIDE).contiguous()
        return Frames(
            images=images,
            state=torch.randn(count, 8, generator=generator),
            action=target,
            tokens=torch.randint(10, 100, (1, TOKENS), generator=generator).expand(count, -1),
            valid=torch.ones(count, TOKENS, dtype=torch.bool),
            episode=torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)),
            cube=torch.randn(count, 5, generator=generator) if cube else None,
            state_std=torch.full((8,), 0.5),
        )

    return make


@pytest.fixture
def statistics() -> dict[str, dict[str, torch.Tensor]]:
    """Mean and deviation of state and action."""
    one = {"mean": torch.zeros(8), "std": torch.ones(8)}
    return {"observation.state": dict(one), "action": dict(one)}


@pytest.fixture
def out(tmp_path: Path, begun: SmolVLAPolicy) -> Path:
    """Folder of a training that was begun with `begun`."""
    folder = tmp_path / "trained"
    shutil.copytree(Path(begun.config.vlm_model_name), folder / "vlm")
    return folder
