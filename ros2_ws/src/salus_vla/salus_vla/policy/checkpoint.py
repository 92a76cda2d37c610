"""Loads the members of an ensemble: real LeRobot SmolVLA checkpoints, checked against this robot and each other.

LeRobot's own loading is lenient (missing keys are logged, an absent device becomes the CPU, a missing camera is dropped);
beside a real arm each of these is an error that names the file, the key and what was expected.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import make_pre_post_processors
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from safetensors import SafetensorError
from torch import Tensor

from salus_vla.errors import ModelError
from salus_vla.policy.base import ACTION_DIM
from salus_vla.policy.features import ACTION_KEY, STATE_DIM, STATE_KEY, check_features, check_statistics

VLM_PREFIX = "model.vlm_with_expert.vlm."
WEIGHTS = "model.safetensors"
PREPROCESSOR = "policy_preprocessor.json"
POSTPROCESSOR = "policy_postprocessor.json"

# Settings that must agree between members, because one batch runs them all.
_SHARED_SETTINGS = (
    "chunk_size",
    "num_steps",
    "max_state_dim",
    "max_action_dim",
    "resize_imgs_with_padding",
    "tokenizer_max_length",
    "pad_language_to",
    "attention_mode",
    "self_attn_every_n_layers",
    "num_expert_layers",
    "num_vlm_layers",
    "expert_width_multiplier",
    "add_image_special_tokens",
    "min_period",
    "max_period",
)


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
    processors: list[tuple[Any, Any]] = []
    folders = [_folder_of(name) for name in members]
    for name, folder in zip(members, folders, strict=True):
        policy = load_member(name, folder, device)
        pre, post = _load_processors(folder, policy.config, device)
        state = policy.state_dict()
        own = {key: value for key, value in state.items() if not key.startswith(VLM_PREFIX)}
        _check_finite(state, folder)
        vlm_hash = content_hash({key: value for key, value in state.items() if key.startswith(VLM_PREFIX)})
        if vlms:
            _check_agrees(vlms[0].config, folders[0], policy.config, folder)
            _check_same_statistics(processors[0], folders[0], (pre, post), folder)
        if vlm_hash not in vlm_hashes:
            vlm_hashes.append(vlm_hash)
            vlms.append(policy)
        vlm_of_member.append(vlm_hashes.index(vlm_hash))
        experts.append(own)
        hashes.append(content_hash(own))
        processors.append((pre, post))
    if not allow_identical_experts:
        _check_different(members, hashes)
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
    for file in ("config.json", WEIGHTS, PREPROCESSOR, POSTPROCESSOR):
        if not (folder / file).is_file():
            raise ModelError(f"{folder / file} is missing: a member needs the policy and its pre- and post-processor")
    config_file = str(folder / "config.json")
    try:
        config = PreTrainedConfig.from_pretrained(folder)
    except Exception as error:  # draccus, json and lerobot each raise their own
        raise ModelError(f"{config_file}: {type(error).__name__}: {error}") from error
    if not isinstance(config, SmolVLAConfig):
        raise ModelError(f"{config_file}: type is '{config.type}', expected 'smolvla'")
    check_features(config, config_file)
    config.device = device
    config.load_vlm_weights = False  # the weights come from the member's own file
    config.compile_model = False
    config.vlm_model_name = resolve_vlm(config.vlm_model_name, folder)
    try:
        return SmolVLAPolicy.from_pretrained(folder, config=config, strict=True)
    except (RuntimeError, SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{folder / WEIGHTS} does not fit {config_file}: {error}") from error


def resolve_vlm(name: str, folder: Path) -> str:
    """A VLM path stored relative to its member, made absolute; Hub names and absolute paths unchanged."""
    relative = folder / name
    return str(relative.resolve()) if relative.is_dir() else name


def _load_processors(folder: Path, config: SmolVLAConfig, device: str) -> tuple[Any, Any]:
    overrides = {
        "tokenizer_processor": {"tokenizer_name": config.vlm_model_name},
        "device_processor": {"device": device},
    }
    try:
        pre, post = make_pre_post_processors(config, str(folder), preprocessor_overrides=overrides)
    except Exception as error:  # the pipelines raise whatever their steps raise
        raise ModelError(f"{folder / PREPROCESSOR}, {POSTPROCESSOR}: {type(error).__name__}: {error}") from error
    modes = {kind: mode.value for kind, mode in config.normalization_mapping.items()}
    check_statistics(_tensors(pre), STATE_KEY, STATE_DIM, modes.get("STATE", "IDENTITY"), str(folder / PREPROCESSOR))
    check_statistics(
        _tensors(post), ACTION_KEY, ACTION_DIM, modes.get("ACTION", "IDENTITY"), str(folder / POSTPROCESSOR)
    )
    return pre, post


def _tensors(pipeline: Any) -> dict[str, dict[str, Tensor]]:
    """Statistics of the (un)normaliser step of a pipeline, feature -> name -> tensor."""
    for step in pipeline.steps:
        stats = getattr(step, "_tensor_stats", None)
        if stats is not None:
            return {key: dict(values) for key, values in stats.items()}
    return {}


def _check_finite(state: Mapping[str, Tensor], folder: Path) -> None:
    for key, value in state.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ModelError(f"{folder / WEIGHTS}: '{key}' has values that are not finite")


def _check_agrees(first: SmolVLAConfig, first_folder: Path, other: SmolVLAConfig, folder: Path) -> None:
    for key in _SHARED_SETTINGS:
        one, two = getattr(first, key), getattr(other, key)
        if one != two:
            raise ModelError(
                f"members differ in '{key}': {one} in {first_folder / 'config.json'}, {two} in {folder / 'config.json'}"
            )


def _check_same_statistics(first: tuple[Any, Any], first_folder: Path, other: tuple[Any, Any], folder: Path) -> None:
    for one, two, file in zip(first, other, (PREPROCESSOR, POSTPROCESSOR), strict=True):
        stats_one, stats_two = _tensors(one), _tensors(two)
        for key in (STATE_KEY, ACTION_KEY):
            for name in ("mean", "std", "min", "max"):
                a, b = stats_one.get(key, {}).get(name), stats_two.get(key, {}).get(name)
                if (a is None) != (b is None) or (a is not None and b is not None and not torch.equal(a, b)):
                    raise ModelError(
                        f"members differ in the statistics '{key}.{name}': {a} in {first_folder / file}, "
                        f"{b} in {folder / file}"
                    )


def _check_different(names: Sequence[str], hashes: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name, value in zip(names, hashes, strict=True):
        if value in seen:
            raise ModelError(
                f"{seen[value]} and {name} have the same action expert (hash {value}): their disagreement would "
                "always be zero. Give members with different weights, or set model.allow_identical_experts."
            )
        seen[value] = name


logging.getLogger("lerobot").setLevel(logging.ERROR)  # its device warning contradicts the explicit device above
