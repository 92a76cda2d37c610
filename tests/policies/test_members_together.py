"""Members that do not belong together are refused with both values and both paths."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from checkpoint_edits import (
    ACTION,
    PREPROCESSOR,
    STATE,
    cameras,
    edit_json,
    edit_step,
    edit_tensors,
    fails,
    members,
    state,
)
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy

from salus_vla.policies.smolvla.init.vlm_folder import write_vlm_folder
from salus_vla.policies.smolvla.init.vlm_sizes import VlmSize


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"chunk_size": 20}, ("'chunk_size': 16 in", "20 in")),
        ({"num_steps": 4}, ("'num_steps': 5 in", "4 in")),
        ({"resize_imgs_with_padding": [64, 48]}, ("'resize_imgs_with_padding': (64, 64) in", "(64, 48) in")),
        ({"input_features": cameras("top", "side", "front") | state(8)}, ("the order of input_features",)),
    ],
    ids=["chunk_size", "num_steps", "resize", "camera order"],
)
def test_members_with_different_settings_are_named(
    copied: Path, values: dict[str, Any], named: tuple[str, ...]
) -> None:
    edit_json(copied / "member_1" / "config.json", **values)
    fails(members(copied), *named, *(copied / member / "config.json" for member in ("member_0", "member_1")))


@pytest.mark.parametrize("key", ["observation.state.mean", "action.std"])
def test_members_with_different_statistics_are_named(copied: Path, key: str) -> None:
    for _, statistics in (STATE, ACTION):  # the two of a member agree
        edit_tensors(copied / "member_1" / statistics, lambda tensors: tensors[key].fill_(2.5))
    fails(
        members(copied),
        f"members differ in '{key}'",
        "[2.5, 2.5,",
        *(copied / member / PREPROCESSOR for member in ("member_0", "member_1")),
    )


def test_members_with_different_instruction_padding_are_named(copied: Path) -> None:
    path = copied / "member_1" / PREPROCESSOR
    edit_step(path, "tokenizer_processor", lambda entry: entry["config"].update(padding="max_length"))
    fails(members(copied), "padding'", "longest in", "max_length in", path)


def test_members_with_vlms_of_different_shape_are_named(copied: Path) -> None:
    write_vlm_folder(copied / "other", VlmSize(64, 16, 2, 48, 2, 3, 80, 4, 4, 2, 128, 512))
    member = copied / "member_1"
    edit_json(member / "config.json", vlm_model_name="../other")
    config = PreTrainedConfig.from_pretrained(member)
    config.vlm_model_name = str(copied / "other")
    SmolVLAPolicy(config).save_pretrained(copied / "new")
    shutil.copy(copied / "new" / "model.safetensors", member)
    fails(
        members(copied),
        "the VLM's 'text_config.head_dim': 16 in",
        "20 in",
        copied / "vlm" / "config.json",
        copied / "other" / "config.json",
    )


def test_members_with_different_tokenizers_are_named(copied: Path) -> None:
    shutil.copytree(copied / "vlm", copied / "other")
    tokenizer = (copied / "other" / "tokenizer.json").read_text(encoding="utf-8")
    vocabulary = json.loads(tokenizer)["model"]["vocab"]
    one, two = (token for token, index in vocabulary.items() if index in (40, 41))
    swapped = json.loads(tokenizer)
    swapped["model"]["vocab"] |= {one: vocabulary[two], two: vocabulary[one]}
    (copied / "other" / "tokenizer.json").write_text(json.dumps(swapped), encoding="utf-8")
    edit_json(copied / "member_1" / "config.json", vlm_model_name="../other")
    fails(members(copied), "vocabulary", copied / "vlm", copied / "other")
