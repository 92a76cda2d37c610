"""Tiny SmolVLA models for the policy tests, built once; nothing here needs a network."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from saved_models import STATS

from salus_vla.config.scene import load_scene
from salus_vla.contract import CAMERAS
from salus_vla.contract.types import Observation
from salus_vla.learning.training.save_ensemble import save_ensemble
from salus_vla.policies.registry import expand_members
from salus_vla.policies.smolvla.init.model_init import init_model
from salus_vla.policies.smolvla.loading.checkpoint import VLM_PREFIX, load_member


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """At these sizes a second thread costs more than it gives."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble of two tiny members with a shared VLM; tests must not change it."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    init_model(folder, size="tiny", members=2, seed=3)
    return folder


@pytest.fixture
def copied(model: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may break."""
    return Path(shutil.copytree(model, tmp_path / "model"))


@pytest.fixture(scope="session")
def observe() -> Callable[..., Observation]:
    """Makes observations with random images, the arm near its home pose."""
    home = np.asarray(load_scene().robot.home)

    def make(seed: int = 0, task: str = "pick up the red cube", side: int = 64) -> Observation:
        random = np.random.default_rng(seed)
        images = {camera: random.integers(0, 256, (side, side, 3), dtype=np.uint8) for camera in CAMERAS}
        joints = np.append(home + random.normal(0, 0.1, len(home)), [0.03, 0.03])
        return Observation(stamp_ns=seed, images=images, joint_position=joints, task=task)

    return make


@pytest.fixture(scope="session")
def policies(model: Path) -> list[SmolVLAPolicy]:
    """Two members with one VLM in fp32, weights large enough that attention is far from uniform."""
    made = [load_member(name, Path(name), "cpu") for name in expand_members([str(model)])]
    for seed, policy in enumerate(made):
        for key, parameter in policy.named_parameters():
            generator = torch.Generator().manual_seed(100 if key.startswith(VLM_PREFIX) else seed)
            if parameter.ndim > 1:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.data.copy_(parameter[0].numel() ** -0.5 * noise)
    return made


@pytest.fixture(scope="session")
def kept(policies: list[SmolVLAPolicy], model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder; tests must not change it."""
    folder = tmp_path_factory.mktemp("kept") / "model"
    save_ensemble(folder, policies, STATS, model / "vlm", {"size": "tiny", "seed": 3})
    return folder


@pytest.fixture
def broken(kept: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(kept, tmp_path / "model"))
