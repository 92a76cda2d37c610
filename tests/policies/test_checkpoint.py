"""Loading: whatever is wrong with a checkpoint is a ModelError that names the file, the key and the value."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from checkpoint_edits import (
    ACTION,
    ACTION_STATISTICS,
    ALL,
    POSTPROCESSOR,
    PREPROCESSOR,
    STATE,
    STATE_STATISTICS,
    cameras,
    edit_json,
    edit_step,
    edit_tensors,
    fails,
    members,
    state,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from safetensors.torch import load_file

from salus_vla.contract.errors import ModelError
from salus_vla.policies.registry import expand_members
from salus_vla.policies.smolvla.loading.checkpoint import VLM_PREFIX, load_ensemble
from salus_vla.policies.smolvla.loading.weights import content_hash

EXPERT_KEY = "model.vlm_with_expert.lm_expert.layers.1.mlp.up_proj.weight"
VLM_KEY = "model.vlm_with_expert.vlm.model.text_model.layers.0.mlp.up_proj.weight"


# -- what loads --------------------------------------------------------------------------------------------------------


def test_members_of_one_model_share_the_vlm_and_have_their_own_experts(
    model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ensemble = load_ensemble(members(model))
    assert ensemble.vlm_of_member == (0, 0)
    assert len(ensemble.vlms) == 1
    assert len(set(ensemble.hashes)) == 2
    for k, member in enumerate(members(model)):
        stored = load_file(Path(member) / "model.safetensors")
        assert ensemble.experts.keys() == {key for key in stored if not key.startswith(VLM_PREFIX)}
        assert all(torch.equal(value[k], stored[key]) for key, value in ensemble.experts.items())
    # A policy kept for its VLM has no memory for what is a member's own.
    for key, parameter in ensemble.vlms[0].named_parameters():
        assert parameter.device.type == ("cpu" if key.startswith(VLM_PREFIX) else "meta"), key
    assert capfd.readouterr().out == ""


def test_members_with_vlms_of_their_own_are_told_apart(copied: Path) -> None:
    edit_tensors(copied / "member_1" / "model.safetensors", lambda tensors: tensors[VLM_KEY].add_(0.1))
    ensemble = load_ensemble([*members(copied), str(copied / "member_0")], allow_identical_experts=True)
    assert ensemble.vlm_of_member == (0, 1, 0)
    assert len(set(ensemble.vlm_hashes)) == 2


def test_identical_experts_are_refused_unless_allowed(model: Path) -> None:
    members = [str(model / "member_1")] * 2
    fails(members, members[0], "same action expert", "allow_identical_experts")
    ensemble = load_ensemble(members, allow_identical_experts=True)
    assert ensemble.hashes[0] == ensemble.hashes[1]


def test_a_policy_in_mixed_precision_is_loaded_as_lerobot_builds_it(copied: Path) -> None:
    # LeRobot reads the VLM's own weights in bf16; here they lie in the VLM's folder.
    member = copied / "member_0"
    config = PreTrainedConfig.from_pretrained(member)
    config.vlm_model_name = str(copied / "vlm")
    untrained = SmolVLAPolicy(config)
    untrained.model.vlm_with_expert.vlm.save_pretrained(copied / "vlm")
    config.load_vlm_weights = True
    built = SmolVLAPolicy(config)
    assert {value.dtype for value in built.state_dict().values()} == {torch.bfloat16, torch.float32}
    built.save_pretrained(member)

    ensemble = load_ensemble([str(member)])
    loaded = ensemble.vlms[0].state_dict() | {key: value[0] for key, value in ensemble.experts.items()}
    for key, value in built.state_dict().items():
        assert loaded[key].dtype == value.dtype, key
        assert torch.equal(loaded[key], value), key

    fails(members(copied), "precision", "torch.bfloat16", "torch.float32", copied / "member_1")


def test_the_hash_depends_on_names_types_shapes_and_bytes() -> None:
    base = {"a": torch.arange(6.0), "b": torch.tensor(1.0)}
    others = [
        {"c": base["a"], "b": base["b"]},
        {"a": base["a"].to(torch.bfloat16), "b": base["b"]},
        {"a": base["a"].reshape(2, 3), "b": base["b"]},
        {"a": base["a"] + torch.tensor([0, 0, 0, 0, 0, 1e-6]), "b": base["b"]},
    ]
    hashes = {content_hash(tensors) for tensors in [base, *others]}
    assert len(hashes) == 5
    assert content_hash({"b": base["b"].clone(), "a": base["a"].clone()}) == content_hash(base)


# -- what is missing ---------------------------------------------------------------------------------------------------


def test_no_members_are_refused() -> None:
    fails([], "model.members is empty")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    fails([str(tmp_path / "nowhere")], tmp_path / "nowhere", "not a folder")


@pytest.mark.parametrize(
    "file",
    ["config.json", "model.safetensors", PREPROCESSOR, POSTPROCESSOR, STATE_STATISTICS, ACTION_STATISTICS],
)
def test_a_missing_file_is_named(copied: Path, file: str) -> None:
    (copied / "member_1" / file).unlink()
    fails(members(copied), copied / "member_1" / file, "missing")


def test_pickled_weights_are_never_read(copied: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (copied / "exploded",)

    member = copied / "member_0"
    (member / "model.safetensors").unlink()
    torch.save({"weight": Bomb()}, member / "pytorch_model.bin")
    fails([str(member)], member / "model.safetensors", "missing")
    assert not (copied / "exploded").exists()


def test_a_pipeline_cannot_name_a_class_to_call(copied: Path) -> None:
    path = copied / "member_0" / PREPROCESSOR
    content = json.loads(path.read_text(encoding="utf-8"))
    content["steps"][0] = {"class": "pathlib.Path", "config": {}}
    path.write_text(json.dumps(content), encoding="utf-8")
    fails(members(copied), path, "class pathlib.Path", "expected ['rename_observations_processor'")


def test_a_hub_name_without_network_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    start = time.monotonic()
    fails(["nobody/no-such-policy"], "'nobody/no-such-policy' is not a folder, and the Hub gave")
    assert time.monotonic() - start < 5.0


@pytest.mark.parametrize("device", ["cuda:9", "banana", ""])
def test_an_unknown_device_is_named(model: Path, device: str) -> None:
    fails(members(model), f"model.device '{device}' cannot be used", device=device)


# -- config.json -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"smolvla"', '{"type": "smolvla", ', "\ufeff{}"])
def test_a_configuration_that_is_no_json_object_is_named(copied: Path, text: str) -> None:
    for file in ("config.json", PREPROCESSOR, POSTPROCESSOR):
        path = copied / "member_0" / file
        original = path.read_text(encoding="utf-8")
        path.write_text(text, encoding="utf-8")
        fails(members(copied), path)
        path.write_text(original, encoding="utf-8")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"type": "act"}, "act"),
        ({"type": "no_such_policy"}, "'no_such_policy'"),
        ({"type": None}, "type"),
        ({"chunk_size": "sixteen"}, "chunk_size"),
        ({"chunk_sizes": 16}, "chunk_sizes"),
        ({"n_action_steps": 17}, "17"),
        ({"num_expert_layers": 3}, "num_expert_layers 3"),
        ({"num_vlm_layers": 1}, "layers.1."),
        ({"max_state_dim": 16}, "model.state_proj.weight"),
        ({"vlm_model_name": "../no_such_vlm"}, "no_such_vlm"),
        ({"device": "banana"}, "banana"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(copied: Path, values: dict[str, Any], named: str) -> None:
    edit_json(copied / "member_0" / "config.json", **values)
    fails(members(copied), copied / "member_0" / "config.json", named)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"input_features": state(8) | cameras("front", "side", "wrist")}, "observation.images.wrist"),
        ({"input_features": state(8) | cameras("front", "side")}, "this robot has"),
        ({"input_features": state(8) | cameras("front", "side", "top", "extra")}, "observation.images.extra"),
        ({"input_features": state(7) | ALL}, "input_features['observation.state'] has shape (7,), expected (8,)"),
        ({"input_features": ALL}, "input_features['observation.state'] is missing"),
        ({"output_features": {"action": {"type": "ACTION", "shape": [6]}}}, "'action'] has shape (6,), expected (8,)"),
        ({"output_features": {}}, "output_features['action'] is missing"),
    ],
    ids=["other camera", "fewer cameras", "more cameras", "7-D state", "no state", "6-D action", "no action"],
)
def test_features_of_another_robot_are_named(copied: Path, values: dict[str, Any], named: str) -> None:
    edit_json(copied / "member_0" / "config.json", **values)
    fails(members(copied), copied / "member_0" / "config.json", named)


# -- weights -----------------------------------------------------------------------------------------------------------


def _poison(value: float) -> Callable[[dict[str, torch.Tensor]], None]:
    def edit(tensors: dict[str, torch.Tensor]) -> None:
        tensors[EXPERT_KEY][2, 3] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (_poison(float("nan")), "not finite"),
        (_poison(float("inf")), "not finite"),
        (lambda tensors: tensors.pop(EXPERT_KEY), "Missing key"),
        (lambda tensors: tensors.update({EXPERT_KEY: tensors[EXPERT_KEY][:-1].clone()}), "size mismatch"),
    ],
    ids=["nan", "inf", "missing", "shape"],
)
def test_a_wrong_tensor_is_named(copied: Path, edit: Callable[[dict[str, torch.Tensor]], None], named: str) -> None:
    path = copied / "member_1" / "model.safetensors"
    edit_tensors(path, edit)
    fails(members(copied), path, EXPERT_KEY, named)


def test_an_extra_tensor_is_named(copied: Path) -> None:
    path = copied / "member_0" / "model.safetensors"
    edit_tensors(path, lambda tensors: tensors.update({"model.another_head.weight": torch.ones(2)}))
    fails(members(copied), path, "model.another_head.weight", "Unexpected key")


@pytest.mark.parametrize("size", [0, 7, 1000, -1])
def test_truncated_weights_are_named(copied: Path, size: int) -> None:
    path = copied / "member_0" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    fails(members(copied), path)


# -- statistics --------------------------------------------------------------------------------------------------------


def _statistic(key: str, value: torch.Tensor | None) -> Callable[[dict[str, torch.Tensor]], None]:
    def edit(tensors: dict[str, torch.Tensor]) -> None:
        del tensors[key]
        if value is not None:
            tensors[key] = value

    return edit


ONES = torch.ones(8)


@pytest.mark.parametrize(
    ("files", "key", "value", "named"),
    [
        (STATE, "observation.state.mean", None, "no statistics 'mean' for 'observation.state'"),
        (ACTION, "action.std", None, "no statistics 'std' for 'action'"),
        (STATE, "observation.state.std", torch.ones(7), "'observation.state.std' has 7 values, expected 8"),
        (ACTION, "action.mean", torch.ones(9), "'action.mean' has 9 values, expected 8"),
        (ACTION, "action.mean", ONES * float("nan"), "'action.mean' has values that are not finite"),
        (STATE, "observation.state.std", ONES * float("inf"), "'observation.state.std' has values that are not finite"),
        (ACTION, "action.std", torch.tensor([1.0] * 7 + [0.0]), "'action.std' has values that are not positive"),
        (STATE, "observation.state.std", -ONES, "'observation.state.std' has values that are not positive"),
    ],
)
def test_wrong_statistics_are_named(
    copied: Path, files: tuple[str, str], key: str, value: torch.Tensor | None, named: str
) -> None:
    pipeline, statistics = files
    edit_tensors(copied / "member_0" / statistics, _statistic(key, value))
    fails(members(copied), copied / "member_0" / pipeline, named)


@pytest.mark.parametrize("name", ["action.mean", "action.std", "observation.state.mean"])
def test_pipelines_of_two_trainings_are_not_one_member(copied: Path, name: str) -> None:
    edit_tensors(copied / "member_1" / ACTION_STATISTICS, lambda tensors: tensors.update({name: tensors[name] + 0.25}))
    first = float(load_file(copied / "member_1" / ACTION_STATISTICS)[name][0])
    fails(members(copied), copied / "member_1", f"'{name}' is [", PREPROCESSOR, f"and [{first:.4g}, ", POSTPROCESSOR)


def test_pipelines_normalise_in_one_way(copied: Path) -> None:
    edit_step(
        copied / "member_0" / PREPROCESSOR,
        "normalizer_processor",
        lambda entry: entry["config"]["norm_map"].update(ACTION="MIN_MAX"),
    )
    fails(members(copied), "norm_map ACTION is MIN_MAX in", "and MEAN_STD in", "not of one training")


@pytest.mark.parametrize(
    ("file", "step", "config", "named"),
    [
        (PREPROCESSOR, "normalizer_processor", {"features": {}}, "no STATE 'observation.state'"),
        (POSTPROCESSOR, "unnormalizer_processor", {"norm_map": {"ACTION": "QUANTILES"}}, "QUANTILES"),
        (PREPROCESSOR, "normalizer_processor", {"norm_map": {"VISUAL": "MEAN_STD"}}, "VISUAL is MEAN_STD"),
        (PREPROCESSOR, "normalizer_processor", {"normalize_observation_keys": []}, "normalize_observation_keys"),
        (PREPROCESSOR, "tokenizer_processor", {"maximum": 3}, "maximum"),
    ],
)
def test_a_pipeline_that_would_leave_values_unnormalised_is_named(
    copied: Path, file: str, step: str, config: dict[str, Any], named: str
) -> None:
    edit_step(copied / "member_0" / file, step, lambda entry: entry["config"].update(config))
    fails(members(copied), copied / "member_0", file, named)


# -- damage at random --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scratch(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(model, tmp_path_factory.mktemp("damage") / "model"))


@pytest.mark.parametrize("file", ["config.json", PREPROCESSOR])
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    cut=st.none() | st.floats(0.0, 1.0),
    flips=st.lists(st.tuples(st.floats(0.0, 1.0, exclude_max=True), st.integers(1, 255)), max_size=3),
)
def test_a_damaged_file_loads_or_is_a_model_error(
    model: Path, scratch: Path, file: str, cut: float | None, flips: list[tuple[float, int]]
) -> None:
    content = bytearray((model / "member_0" / file).read_bytes())
    for place, bits in flips:
        content[int(place * len(content))] ^= bits
    if cut is not None:
        content = content[: int(cut * len(content))]
    damaged = scratch / "member_0" / file
    damaged.write_bytes(content)
    message = None
    try:
        load_ensemble([str(damaged.parent)])
    except ModelError as error:
        message = str(error)
    finally:
        damaged.write_bytes((model / "member_0" / file).read_bytes())
    assert message is None or str(damaged.parent) in message


def test_expanded_members_of_a_model_load(model: Path) -> None:
    assert load_ensemble(expand_members([str(model)])).names == tuple(members(model))
