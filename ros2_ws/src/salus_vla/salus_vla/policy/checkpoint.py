"""Loads the members of an ensemble: real LeRobot SmolVLA checkpoints, checked against this robot and each other.

LeRobot's own loading is lenient (missing keys are logged, an absent device becomes the CPU, a missing camera is
dropped); beside a real arm each of these is an error that names the file, the key and what was expected.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from safetensors import safe_open
from torch import Tensor

from salus_vla.errors import ModelError
from salus_vla.policy.agreement import check_different, check_same_model
from salus_vla.policy.features import check_features
from salus_vla.policy.processors import POSTPROCESSOR, PREPROCESSOR, Pipelines, check_same_processors, load_processors

VLM_PREFIX = "model.vlm_with_expert.vlm."
WEIGHTS = "model.safetensors"
_PRECISIONS = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


@dataclass(frozen=True)
class LoadedEnsemble:
    """Members on one device.

    Attributes:
        names: the members as the user named them, folders or Hub names.
        vlms: one policy for each distinct VLM; the policies of members that share a VLM are not kept.
        vlm_of_member: index into `vlms` for each member.
        experts: each member's own tensors (action expert and the five projections) by LeRobot's key.
        hashes: SHA-256 of each member's own tensors, first 16 hex digits.
        vlm_hashes: the same for each VLM.
        preprocessor, postprocessor: LeRobot's pipelines; the statistics are the same for all members.
    """

    names: tuple[str, ...]
    vlms: tuple[SmolVLAPolicy, ...]
    vlm_of_member: tuple[int, ...]
    experts: tuple[dict[str, Tensor], ...]
    hashes: tuple[str, ...]
    vlm_hashes: tuple[str, ...]
    preprocessor: Any
    postprocessor: Any
    device: torch.device

    @property
    def config(self) -> SmolVLAConfig:
        """Configuration of the first member; what the engine depends on is equal for all."""
        return self.vlms[0].config


def load_ensemble(
    members: Sequence[str], *, device: str = "cpu", allow_identical_experts: bool = False
) -> LoadedEnsemble:
    """Loads and checks all members.

    Args:
        members: folders or Hub names.
        device: where everything goes, for example `cpu` or `cuda:0`.
        allow_identical_experts: accept members with the same action expert (a lesson: five copies of one checkpoint
            look like an ensemble and know nothing).

    Raises:
        ModelError: anything that does not fit; the message names file, key and value.
    """
    if not members:
        raise ModelError("model.members is empty: give at least one folder or Hub name")
    torch_device = _checked_device(device)
    vlms: list[SmolVLAPolicy] = []
    vlm_hashes: list[str] = []
    vlm_of_member: list[int] = []
    experts: list[dict[str, Tensor]] = []
    hashes: list[str] = []
    processors: list[Pipelines] = []
    folders = [_folder_of(name) for name in members]
    for name, folder in zip(members, folders, strict=True):
        policy = load_member(name, folder, device)
        pipelines = load_processors(folder, policy.config.vlm_model_name, device)
        if vlms:
            check_same_model(vlms[0], folders[0], policy, folder)
            check_same_processors(processors[0], folders[0], pipelines, folder)
        state = policy.state_dict()
        own = {key: value for key, value in state.items() if not key.startswith(VLM_PREFIX)}
        vlm_hash = content_hash({key: value for key, value in state.items() if key.startswith(VLM_PREFIX)})
        if vlm_hash not in vlm_hashes:
            vlm_hashes.append(vlm_hash)
            vlms.append(policy)
        vlm_of_member.append(vlm_hashes.index(vlm_hash))
        experts.append(own)
        hashes.append(content_hash(own))
        processors.append(pipelines)
    if not allow_identical_experts:
        check_different(members, hashes)
    return LoadedEnsemble(
        names=tuple(members),
        vlms=tuple(vlms),
        vlm_of_member=tuple(vlm_of_member),
        experts=tuple(experts),
        hashes=tuple(hashes),
        vlm_hashes=tuple(vlm_hashes),
        preprocessor=processors[0][0],
        postprocessor=processors[0][1],
        device=torch_device,
    )


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes, first 16 hex digits; equal weights give equal hashes anywhere."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        value = tensors[key].detach().cpu().contiguous()
        digest.update(f"{key}|{value.dtype}|{tuple(value.shape)}|".encode())
        digest.update(value.view(torch.uint8).numpy().data if value.ndim else bytes(value.reshape(1).view(torch.uint8)))
    return digest.hexdigest()[:16]


def _checked_device(device: str) -> torch.device:
    try:
        parsed = torch.device(device)
        torch.empty(1, device=parsed)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"model.device '{device}' cannot be used: {str(error).splitlines()[0]}") from error
    return parsed


def _folder_of(name: str) -> Path:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if folder.is_absolute() or name.startswith("."):
        raise ModelError(f"model.members: {name} is not a folder")
    from huggingface_hub import snapshot_download

    try:
        # Safetensors and configuration only: a pickle would run code while it is loaded.
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model"]))
    except Exception as error:  # the hub client raises a different class for each way to fail
        raise ModelError(
            f"model.members: '{name}' is no folder, and the Hub gave: {type(error).__name__}: {error}"
        ) from error


def load_member(name: str, folder: Path, device: str) -> SmolVLAPolicy:
    """Loads one member's policy on a device.

    Args:
        name: the member as the user named it.
        folder: where its files are.
        device: for example `cpu` or `cuda:0`.

    Raises:
        ModelError: a file is missing or broken, or the policy does not fit this robot.
    """
    config_file = folder / "config.json"
    for file in (config_file, folder / WEIGHTS, folder / PREPROCESSOR, folder / POSTPROCESSOR):
        if not file.is_file():
            raise ModelError(f"{name}: {file} is missing; a member is a policy with its pre- and post-processor")
    try:
        with quiet_lerobot():
            config = PreTrainedConfig.from_pretrained(folder)
    except (Exception, SystemExit) as error:  # json, draccus (an argument parser) and lerobot each raise their own
        why = f" ({error.__cause__})" if error.__cause__ else ""  # draccus keeps the value that it refuses in the cause
        raise ModelError(f"{config_file}: {type(error).__name__}: {error}{why}") from error
    if not isinstance(config, SmolVLAConfig):
        raise ModelError(f"{config_file}: type is '{config.type}', expected 'smolvla'")
    check_features(config, str(config_file))
    mixed_precision = config.load_vlm_weights
    config.device = device
    config.load_vlm_weights = False  # the weights come from the member's own file
    config.compile_model = False
    config.vlm_model_name = resolve_vlm(config.vlm_model_name, folder)
    try:
        with quiet_lerobot():
            policy = SmolVLAPolicy.from_pretrained(folder, config=config, strict=True)
        if mixed_precision:
            _restore_precision(policy, folder / WEIGHTS)
    except Exception as error:  # a setting that does not fit fails anywhere in lerobot, transformers or torch
        raise ModelError(f"{folder / WEIGHTS} does not fit {config_file}: {type(error).__name__}: {error}") from error
    for key, value in policy.state_dict().items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ModelError(f"{folder / WEIGHTS}: '{key}' has values that are not finite")
    return policy


def resolve_vlm(name: str, folder: Path) -> str:
    """A VLM path stored relative to its member, made absolute; Hub names and absolute paths unchanged."""
    relative = folder / name
    return str(relative.resolve()) if relative.is_dir() else name


def _restore_precision(policy: SmolVLAPolicy, weights: Path) -> None:
    """Gives each weight the precision it is stored in.

    LeRobot builds a policy with `load_vlm_weights` in bf16, except for some projections. Without that option, which
    would read the VLM's weights twice, most of it is fp32 and computes something slightly different.
    """
    parameters = dict(policy.named_parameters(remove_duplicate=False))
    with safe_open(weights, framework="pt") as stored:
        for key in parameters.keys() & stored.keys():
            parameters[key].data = parameters[key].data.to(_PRECISIONS[stored.get_slice(key).get_dtype()])


@contextlib.contextmanager
def quiet_lerobot() -> Iterator[None]:
    """Keeps LeRobot's progress off stdout, and its warning that the stored device is absent: ours is explicit."""
    logger = logging.getLogger("lerobot")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
