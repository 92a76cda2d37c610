"""What the members of an ensemble must have in common, because one batch runs them all, and what they must not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from salus_vla.contract.errors import ModelError
from salus_vla.policies.smolvla.loading.member_files import MemberFiles

_SHARED_SETTINGS = (
    "chunk_size",
    "num_steps",
    "max_state_dim",
    "max_action_dim",
    "resize_imgs_with_padding",
    "attention_mode",
    "self_attn_every_n_layers",
    "num_expert_layers",
    "num_vlm_layers",
    "expert_width_multiplier",
    "add_image_special_tokens",
    "min_period",
    "max_period",
)
_MIXED = "model.vlm_with_expert."
# Where a VLM's configuration may differ without a difference in what it computes; the precision is compared by weight.
_FREE_VLM_SETTINGS = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")


@dataclass(frozen=True)
class MemberSettings:
    """What decides on a member's architecture.

    Attributes:
        member: its folder.
        vlm: settings of its VLM.
        precision: of each stored weight as the policy computes with it.
    """

    member: MemberFiles
    vlm: Mapping[str, Any]
    precision: Mapping[str, torch.dtype]

    @staticmethod
    def of(member: MemberFiles, vlm: Mapping[str, Any], reference: Mapping[str, Tensor]) -> MemberSettings:
        """Settings of a member.

        Args:
            member: its folder.
            vlm: settings of its VLM.
            reference: the state of a policy that LeRobot builds without `load_vlm_weights`. With that option, VLM and
                expert keep the precision they are stored in; the five projections, which get fp32, are the same.
        """

        def keeps(key: str) -> bool:
            return key not in reference or (member.mixed_precision and key.startswith(_MIXED))

        precision = {
            key: tensor.dtype if keeps(key) else reference[key].dtype for key, tensor in member.tensors.items()
        }
        return MemberSettings(member, vlm, precision)

    def in_fp32(self) -> MemberSettings:
        """The same, to be computed in fp32 whatever is stored."""
        return replace(self, precision=dict.fromkeys(self.precision, torch.float32))

    def empty(self, key: str, batch: tuple[int, ...], device: torch.device) -> Tensor:
        """Room for `batch` weights of this name."""
        return torch.empty((*batch, *self.member.tensors[key].shape), dtype=self.precision[key], device=device)

    def size(self, key: str) -> int:
        """Memory of the weight [bytes]."""
        return prod(self.member.tensors[key].shape) * self.precision[key].itemsize

    def check_precision(self, first: MemberSettings) -> None:
        """Raises ModelError when a weight has another precision in the first member."""
        folders = first.member.folder, self.member.folder
        for key, value in first.precision.items():
            _check_equal(f"the precision of '{key}'", value, self.precision.get(key), folders)


def check_same_model(first: MemberSettings, other: MemberSettings) -> None:
    """Checks that two members have the same architecture; their weights may differ.

    Raises:
        ModelError: they differ; the message has both files and both values.
    """
    one, two = first.member, other.member
    files = one.folder / "config.json", two.folder / "config.json"
    for key in _SHARED_SETTINGS:
        _check_equal(f"'{key}'", getattr(one.config, key), getattr(two.config, key), files)
    # The order of the cameras is the order of their tokens.
    _check_equal("the order of input_features", list(one.config.image_features), list(two.config.image_features), files)
    vlm_files = Path(one.config.vlm_model_name) / "config.json", Path(two.config.vlm_model_name) / "config.json"
    for key, left, right in vlm_differences(first.vlm, other.vlm):
        _check_equal(f"the VLM's '{key}'", left, right, vlm_files)


def vlm_differences(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Settings that make two VLMs compute different things: name, nested ones with dots, and both values."""
    left, right = _flat(first), _flat(other)
    keys = sorted(left.keys() | right.keys())
    return [(key, left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)]


def check_different(names: Sequence[str], hashes: Sequence[str]) -> None:
    """Raises ModelError when two members have the same action expert."""
    seen: dict[str, str] = {}
    for name, value in zip(names, hashes, strict=True):
        if value in seen:
            raise ModelError(
                f"{seen[value]} and {name} have the same action expert (hash {value}): their disagreement would "
                "always be zero. Give members with different weights, or set model.allow_identical_experts."
            )
        seen[value] = name


def _check_equal(what: str, one: Any, two: Any, files: tuple[Path, Path]) -> None:
    if one != two:
        raise ModelError(f"members differ in {what}: {one} in {files[0]}, {two} in {files[1]}")


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `text_config.hidden_size` -> value, without the ones that may differ."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if key in _FREE_VLM_SETTINGS:
            continue
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
