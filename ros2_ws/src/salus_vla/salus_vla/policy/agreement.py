"""What the members of an ensemble must have in common, because one batch runs them all, and what they must not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy

from salus_vla.errors import ModelError

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
# Where a VLM's configuration may differ without a difference in what it computes; the precision is compared by weight.
_FREE_VLM_SETTINGS = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")


def check_same_model(first: SmolVLAPolicy, first_folder: Path, other: SmolVLAPolicy, folder: Path) -> None:
    """Checks that two members have the same architecture; their weights may differ.

    Raises:
        ModelError: they differ; the message has both files and both values.
    """
    files = first_folder / "config.json", folder / "config.json"
    for key in _SHARED_SETTINGS:
        _check_equal(f"'{key}'", getattr(first.config, key), getattr(other.config, key), files)
    # The order of the cameras is the order of their tokens.
    _check_equal(
        "the order of input_features", list(first.config.image_features), list(other.config.image_features), files
    )
    vlm_files = Path(first.config.vlm_model_name) / "config.json", Path(other.config.vlm_model_name) / "config.json"
    one, two = (_flat(policy.model.vlm_with_expert.config.to_dict()) for policy in (first, other))
    for key in sorted(one.keys() | two.keys()):
        _check_equal(f"the VLM's '{key}'", one.get(key), two.get(key), vlm_files)
    weights = other.state_dict()
    for key, tensor in first.state_dict().items():
        _check_equal(f"the precision of '{key}'", tensor.dtype, weights[key].dtype, (first_folder, folder))


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
