"""What a member's folder says, before any weight is read: configuration, and the header of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from torch import Tensor
from transformers import AutoConfig

from salus_vla.contract.errors import ModelError
from salus_vla.policies.smolvla.cameras import CameraNames, match_cameras
from salus_vla.policies.smolvla.features import check_features
from salus_vla.policies.smolvla.loading.lerobot_logging import quiet_lerobot
from salus_vla.policies.smolvla.loading.processors import POSTPROCESSOR, PREPROCESSOR, stored_rename_map
from salus_vla.policies.smolvla.loading.weights import StoredTensor, WeightFile

WEIGHTS = "model.safetensors"
NO_RENAME: Mapping[str, str] = MappingProxyType({})
VLM_PREFIX = "model.vlm_with_expert.vlm."


@dataclass(frozen=True)
class MemberFiles:
    """A member's folder.

    Attributes:
        name: the member as the user named it.
        folder: where its files are.
        config: ready for the constructor: device set, VLM resolved, no weights from elsewhere.
        mixed_precision: LeRobot builds it with each weight in the precision it is stored in; otherwise it converts.
        weights: the header of its weights.
        vlm_weights: where its VLM is: in `weights`, or for members that keep one together in the VLM's folder, under
            the names that it has in the policy.
        cameras: which of its images each camera of this robot is.
    """

    name: str
    folder: Path
    config: SmolVLAConfig
    mixed_precision: bool
    weights: WeightFile
    vlm_weights: WeightFile
    cameras: CameraNames

    @cached_property
    def tensors(self) -> dict[str, StoredTensor]:
        """All that is stored, by its name in the policy."""
        return self.weights.tensors | self.vlm_weights.tensors

    @property
    def misfit(self) -> str:
        """Start of a message about weights and configuration that do not fit each other."""
        return self._misfit(self.weights)

    def vlm_config(self) -> Any:
        """Configuration of the VLM.

        Raises:
            ModelError: it cannot be read.
        """
        try:
            return AutoConfig.from_pretrained(self.config.vlm_model_name)
        except Exception as error:  # transformers, its hub client and json raise their own
            raise ModelError(f"{self.misfit}: {type(error).__name__}: {error}") from error

    def check_keys(self, expected: Mapping[str, Tensor]) -> None:
        """Checks names and shapes of the weights.

        Args:
            expected: state of the policy; a tensor that stands there under two names is stored under one of them.

        Raises:
            ModelError: a tensor is missing, is not known, or has another shape.
        """
        if self.vlm_weights is self.weights:
            self._check_keys(self.weights, expected)
            return
        parts: dict[bool, dict[str, Tensor]] = {False: {}, True: {}}
        for key, tensor in expected.items():
            parts[key.startswith(VLM_PREFIX)][key] = tensor
        self._check_keys(self.weights, parts[False])
        self._check_keys(self.vlm_weights, parts[True])

    def _check_keys(self, file: WeightFile, expected: Mapping[str, Tensor]) -> None:
        stored, misfit = file.tensors, self._misfit(file)
        shared = {id(tensor) for key, tensor in expected.items() if key in stored}
        missing = [key for key, tensor in expected.items() if key not in stored and id(tensor) not in shared]
        if missing:
            raise ModelError(f"{misfit}: Missing key(s): {_some(missing)}")
        unexpected = [key for key in stored if key not in expected]
        if unexpected:
            raise ModelError(f"{misfit}: Unexpected key(s): {_some(unexpected)}")
        for key, tensor in stored.items():
            if tensor.shape != tuple(expected[key].shape):
                raise ModelError(
                    f"{misfit}: size mismatch for {key}: {tensor.shape} in the file, "
                    f"{tuple(expected[key].shape)} by the configuration"
                )

    def _misfit(self, file: WeightFile) -> str:
        return f"{file.path} does not fit {self.folder / 'config.json'}"


def member_folder(name: str) -> Path:
    """The folder of a member given as a folder or a Hub name.

    Raises:
        ModelError: there is none, and the Hub cannot be reached or does not have it.
    """
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
            f"model.members: '{name}' is not a folder, and the Hub gave: {type(error).__name__}: {error}"
        ) from error


def read_member_files(name: str, folder: Path, device: str, *, rename: Mapping[str, str] = NO_RENAME) -> MemberFiles:
    """Reads what a member's folder says.

    Args:
        name: the member as the user named it.
        folder: where its files are.
        device: written into its configuration.
        rename: of the cameras, instead of the stored `rename_map`; empty keeps that.

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
    config.validate_features()  # adds the empty cameras, as the constructor does
    cameras = match_cameras(config, stored_rename_map(folder), rename, str(config_file))
    mixed_precision = config.load_vlm_weights
    config.device = device
    config.load_vlm_weights = False  # the constructor must not read them: they go straight to their final place
    config.compile_model = False
    config.vlm_model_name = resolve_vlm(config.vlm_model_name, folder)
    weights = WeightFile(folder / WEIGHTS)
    vlm_weights = weights
    if mixed_precision and not any(key.startswith(VLM_PREFIX) for key in weights.tensors):
        vlm_weights = _vlm_file(Path(config.vlm_model_name), weights.path, config_file)
    return MemberFiles(name, folder, config, mixed_precision, weights, vlm_weights, cameras)


def resolve_vlm(name: str, folder: Path) -> str:
    """A VLM path stored relative to its member, made absolute; Hub names and absolute paths unchanged."""
    relative = folder / name
    return str(relative.resolve()) if relative.is_dir() else name


def _vlm_file(vlm: Path, weights: Path, config_file: Path) -> WeightFile:
    """The weights of a VLM that members keep together.

    Raises:
        ModelError: they are missing or damaged.
    """
    path = vlm / WEIGHTS
    if not path.is_file():
        raise ModelError(
            f"{path} is missing: {weights} has no VLM, {config_file} says load_vlm_weights and "
            f"vlm_model_name '{vlm}'; expected a folder with the VLM's weights"
        )
    return WeightFile(path, VLM_PREFIX)


def _some(keys: list[str]) -> str:
    return ", ".join(sorted(keys)[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
