"""`save_ensemble` writes a model folder whole or not at all: the VLM once, every member with what is its own."""

import copy
import json
from pathlib import Path

import pytest
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from safetensors.torch import load_file
from saved_models import (
    OWN_KEY,
    STATS,
    VLM_KEY,
    digests,
)

from salus_vla.contract import CAMERAS
from salus_vla.contract.errors import ModelError
from salus_vla.learning.training import save_ensemble as saving
from salus_vla.learning.training.save_ensemble import load_trained, save_ensemble
from salus_vla.policies.smolvla.init.vlm_folder import write_vlm_folder
from salus_vla.policies.smolvla.init.vlm_sizes import VlmSize
from salus_vla.policies.smolvla.loading.checkpoint import VLM_PREFIX, load_ensemble

# -- what is written ---------------------------------------------------------------------------------------------------


def test_the_vlm_is_stored_once_and_a_member_has_only_its_own(kept: Path, policies: list[SmolVLAPolicy]) -> None:
    state = policies[0].state_dict()
    own = {key for key in state if not key.startswith(VLM_PREFIX)}
    vlm = {key.removeprefix(VLM_PREFIX) for key in state} - own
    assert "lm_head.weight" in vlm
    files = {path: load_file(path) for path in sorted(kept.rglob("model.safetensors"))}
    assert [path.parent.name for path in files] == ["member_0", "member_1", "vlm"]
    assert [set(tensors) for tensors in files.values()] == [own, own, vlm]
    assert {value.dtype for tensors in files.values() for value in tensors.values()} == {torch.bfloat16}
    values = 2 * sum(state[key].numel() for key in own) + sum(state[VLM_PREFIX + key].numel() for key in vlm)
    on_disk = sum(path.stat().st_size for path in kept.rglob("*") if path.is_file())
    assert 2 * values < on_disk < 2 * values + 60_000  # headers, configuration, tokenizer


def test_the_manifest_tells_what_it_was_given(kept: Path) -> None:
    manifest = json.loads((kept / "salus_model.json").read_text(encoding="utf-8"))
    assert manifest == {"size": "tiny", "seed": 3, "members": ["member_0", "member_1"], "trained": True}


def test_the_same_policies_give_the_same_bytes_wherever_they_are_kept(
    kept: Path, policies: list[SmolVLAPolicy], model: Path, tmp_path: Path
) -> None:
    configs = [copy.deepcopy(policy.config) for policy in policies]
    before = {key: value.clone() for key, value in policies[0].state_dict().items()}
    save_ensemble(tmp_path / "deep" / "again", policies, STATS, model / "vlm", {"size": "tiny", "seed": 3})
    assert digests(tmp_path / "deep" / "again") == digests(kept)
    assert [policy.config for policy in policies] == configs
    assert all(torch.equal(value, before[key]) for key, value in policies[0].state_dict().items())
    assert not list(tmp_path.rglob(".*"))


def test_no_file_contains_a_path_of_this_machine(kept: Path, model: Path) -> None:
    for path in kept.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(str(place).encode() in content for place in (kept.parent, model.parent, Path.cwd())), path
    for member in ("member_0", "member_1"):
        config = json.loads((kept / member / "config.json").read_text(encoding="utf-8"))
        assert (config["vlm_model_name"], config["load_vlm_weights"], config["device"]) == ("../vlm", True, "cpu")


def test_a_vlm_without_a_folder_is_kept_from_the_policies_themselves(
    kept: Path, policies: list[SmolVLAPolicy], tmp_path: Path
) -> None:
    save_ensemble(tmp_path / "model", policies, STATS, None, {})
    save_ensemble(tmp_path / "again", policies, STATS, None, {})
    assert digests(tmp_path / "model") == digests(tmp_path / "again")
    for path in (tmp_path / "model").rglob("*.json"):
        assert str(kept.parent.parent) not in path.read_text(encoding="utf-8"), path
    # Members of both folders make one ensemble: configuration, tokenizer and VLM are the same.
    both = load_ensemble([str(kept / "member_0"), str(tmp_path / "model" / "member_1")])
    assert both.vlm_of_member == (0, 0)


def test_of_a_vlm_that_was_cut_the_layers_in_use_are_kept(tmp_path: Path) -> None:
    write_vlm_folder(tmp_path / "vlm", VlmSize(32, 8, 2, 16, 1, 2, 32, 4, 4, 2, 32, 512))
    config = json.loads((tmp_path / "vlm" / "config.json").read_text(encoding="utf-8"))
    assert config["text_config"]["num_hidden_layers"] == 4
    features = {f"observation.images.{camera}": {"type": "VISUAL", "shape": [3, 32, 32]} for camera in CAMERAS}
    values = {
        "type": "smolvla",
        "device": "cpu",
        "input_features": {"observation.state": {"type": "STATE", "shape": [8]}, **features},
        "output_features": {"action": {"type": "ACTION", "shape": [8]}},
        "vlm_model_name": str(tmp_path / "vlm"),
        "resize_imgs_with_padding": [32, 32],
        "num_vlm_layers": 2,
        "chunk_size": 4,
        "n_action_steps": 4,
    }
    (tmp_path / "config.json").write_text(json.dumps(values), encoding="utf-8")
    policy = SmolVLAPolicy(PreTrainedConfig.from_pretrained(tmp_path))
    for vlm_folder in (tmp_path / "vlm", None):
        save_ensemble(tmp_path / "model", [policy], STATS, vlm_folder, {})
        config = json.loads((tmp_path / "model" / "vlm" / "config.json").read_text(encoding="utf-8"))
        assert config["text_config"]["num_hidden_layers"] == 2
        loaded = load_trained(str(tmp_path / "model")).state_dict()
        assert all(
            torch.equal(loaded[key], value.bfloat16().to(loaded[key].dtype))
            for key, value in policy.state_dict().items()
        )


# -- what is not kept --------------------------------------------------------------------------------------------------


def test_no_policies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no policies"):
        save_ensemble(tmp_path / "model", [], STATS, None, {})
    assert list(tmp_path.iterdir()) == []


def test_policies_with_different_vlms_or_bad_values_are_refused(policies: list[SmolVLAPolicy], tmp_path: Path) -> None:
    for key, value, named in (
        (VLM_PREFIX + VLM_KEY, 0.5, "policy 1 has another VLM than policy 0"),
        (OWN_KEY, float("nan"), "policy 1: .* not finite"),
    ):
        other = copy.deepcopy(policies[1])
        other.get_parameter(key).data[0, 0] += value
        with pytest.raises(ModelError, match=named) as caught:
            save_ensemble(tmp_path / "model", [policies[0], other], STATS, None, {})
        assert key in str(caught.value)
        assert list(tmp_path.iterdir()) == []


def test_a_vlm_folder_that_does_not_fit_is_named(policies: list[SmolVLAPolicy], tmp_path: Path) -> None:
    other = tmp_path / "vlm"
    with pytest.raises(ModelError, match=f"{other}/config.json is missing"):
        save_ensemble(tmp_path / "model", policies, STATS, other, {})
    write_vlm_folder(other, VlmSize(64, 16, 2, 48, 2, 3, 64, 2, 4, 2, 64, 512))
    with pytest.raises(ModelError, match=f"{other}/config.json: 'text_config.intermediate_size' is 64, .* have 128"):
        save_ensemble(tmp_path / "model", policies, STATS, other, {})
    (other / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=f"{other}/config.json"):
        save_ensemble(tmp_path / "model", policies, STATS, other, {})
    assert list(tmp_path.iterdir()) == [other]


@pytest.mark.parametrize("value", [Path("x"), float("nan"), {1, 2}], ids=str)
def test_a_manifest_that_json_does_not_have_is_refused(
    policies: list[SmolVLAPolicy], tmp_path: Path, value: object
) -> None:
    with pytest.raises(ModelError, match=r"salus_model\.json: cannot be written as JSON"):
        save_ensemble(tmp_path / "model", policies, STATS, None, {"told": value})


def test_only_a_model_folder_is_replaced(policies: list[SmolVLAPolicy], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save_ensemble(folder, policies, STATS, None, {"seed": 1})  # an empty folder is filled
    (folder / "old").touch()
    save_ensemble(folder, policies[:1], STATS, folder / "vlm", {"seed": 2})
    assert sorted(path.name for path in folder.iterdir()) == ["member_0", "salus_model.json", "vlm"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    before = digests(folder)
    for content in ("{", "[]", '{"members": 3}', None):
        manifest = folder / "salus_model.json"
        manifest.unlink() if content is None else manifest.write_text(content, encoding="utf-8")
        with pytest.raises(ModelError, match="is not a model folder"):
            save_ensemble(folder, policies, STATS, None, {})
    assert digests(folder).keys() == before.keys() - {"salus_model.json"}
    with pytest.raises(ModelError, match="is not a model folder"):
        save_ensemble(folder / "vlm" / "config.json", policies, STATS, None, {})


@pytest.mark.parametrize("fails_in", ["save_member", "_put"])
def test_a_failure_leaves_the_old_model(
    policies: list[SmolVLAPolicy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_in: str
) -> None:
    save_ensemble(tmp_path / "model", policies, STATS, None, {})
    before = digests(tmp_path)

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if fails_in == "save_member":
        monkeypatch.setattr(saving, fails_in, full_disk)
    else:
        rename = Path.rename
        # The old model is moved away, the new one cannot take its place.
        monkeypatch.setattr(
            Path,
            "rename",
            lambda path, to: (
                full_disk()
                if (path / "vlm").is_dir() and to == tmp_path / "model" and path.parent == tmp_path
                else rename(path, to)
            ),
        )
    with pytest.raises(ModelError, match="No space left"):
        save_ensemble(tmp_path / "model", policies[:1], STATS, None, {})
    assert digests(tmp_path) == before


# -- to go on training -------------------------------------------------------------------------------------------------


def test_a_loaded_policy_is_as_trainable_as_a_new_one_and_can_be_kept_again(kept: Path, tmp_path: Path) -> None:
    loaded = load_trained(str(kept))
    new = SmolVLAPolicy(copy.deepcopy(loaded.config))
    trainable = {name for name, parameter in loaded.named_parameters() if parameter.requires_grad}
    assert trainable == {name for name, parameter in new.named_parameters() if parameter.requires_grad}
    assert OWN_KEY in trainable
    save_ensemble(
        tmp_path / "model", [loaded.float()], STATS, Path(loaded.config.vlm_model_name), {"size": "tiny", "seed": 3}
    )
    again, before = digests(tmp_path / "model"), digests(kept)
    assert {name: again[name] for name in again if name != "salus_model.json"} == {
        name: before[name] for name in again if name != "salus_model.json"
    }


def test_a_name_that_is_no_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nobody/no-such-policy"):
        load_trained("nobody/no-such-policy")
    with pytest.raises(ModelError, match="names no policy"):
        load_trained(" ")
    (tmp_path / "salus_model.json").write_text('{"members": []}', encoding="utf-8")
    with pytest.raises(ModelError, match="names no policy"):
        load_trained(str(tmp_path))
