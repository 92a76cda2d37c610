"""Models whose members keep their VLM together in one file: written whole, loaded like any other, read by LeRobot."""

import copy
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import make_pre_post_processors
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForImageTextToText

from salus_vla.contract import CAMERAS
from salus_vla.errors import ModelError
from salus_vla.frames import Observation
from salus_vla.policy import placement
from salus_vla.policy.checkpoint import VLM_PREFIX, LoadedEnsemble, load_ensemble, load_member, load_placed
from salus_vla.policy.engine import EnsembleEngine
from salus_vla.policy.ensemble import EnsemblePolicy
from salus_vla.policy.placement import choose_dtype
from salus_vla.policy.registry import expand_members, make_policy
from salus_vla.policy.vlm_folder import write_vlm_folder
from salus_vla.policy.vlm_sizes import VlmSize
from salus_vla.policy.weights import WeightFile
from salus_vla.training import keep
from salus_vla.training.keep import keep_model, load_trained

CPU = torch.device("cpu")
VLM_KEY = "model.text_model.layers.0.mlp.up_proj.weight"
OWN_KEY = "model.vlm_with_expert.lm_expert.layers.1.mlp.up_proj.weight"
STATS = {
    "observation.state": {"mean": torch.linspace(-1, 1, 8), "std": torch.linspace(0.5, 1, 8)},
    "action": {"mean": torch.linspace(-1, 1, 8), "std": torch.linspace(0.5, 1, 8)},
}
# LeRobot builds the projections of the VLM's keys and values in fp32, here they are bf16 like the rest of the expert;
# and the engine rounds attention once less. Actions of size 1, large weights: measured 1.3e-2, which is also how far
# LeRobot in bf16 is from itself in fp32.
BF16 = 2e-2


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def kept(policies: list[SmolVLAPolicy], model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder; tests must not change it."""
    folder = tmp_path_factory.mktemp("kept") / "model"
    keep_model(folder, policies, STATS, model / "vlm", {"size": "tiny", "seed": 3})
    return folder


@pytest.fixture
def broken(kept: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(kept, tmp_path / "model"))


def _load(folder: Path, **options: Any) -> LoadedEnsemble:
    return load_ensemble(expand_members([str(folder)]), **options)


def _fails(folder: Path, *named: object) -> None:
    for load in (_load, lambda folder: load_trained(str(folder / "member_1"))):
        with pytest.raises(ModelError) as caught:
            load(folder)
        for text in named:
            assert str(text) in str(caught.value)


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _edit_json(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | values), encoding="utf-8")


def _edit_tensors(path: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def _complete(kept: Path, member: Path) -> None:
    """Makes a member that has all weights in its own file."""
    vlm = {VLM_PREFIX + key: value for key, value in load_file(kept / "vlm" / "model.safetensors").items()}
    _edit_tensors(member / "model.safetensors", lambda tensors: tensors.update(vlm))


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
    keep_model(tmp_path / "deep" / "again", policies, STATS, model / "vlm", {"size": "tiny", "seed": 3})
    assert _digests(tmp_path / "deep" / "again") == _digests(kept)
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
    keep_model(tmp_path / "model", policies, STATS, None, {})
    keep_model(tmp_path / "again", policies, STATS, None, {})
    assert _digests(tmp_path / "model") == _digests(tmp_path / "again")
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
        keep_model(tmp_path / "model", [policy], STATS, vlm_folder, {})
        config = json.loads((tmp_path / "model" / "vlm" / "config.json").read_text(encoding="utf-8"))
        assert config["text_config"]["num_hidden_layers"] == 2
        loaded = load_trained(str(tmp_path / "model")).state_dict()
        assert all(
            torch.equal(loaded[key], value.bfloat16().to(loaded[key].dtype))
            for key, value in policy.state_dict().items()
        )


# -- what loads --------------------------------------------------------------------------------------------------------


def test_what_was_kept_comes_back_rounded_to_bf16(kept: Path, policies: list[SmolVLAPolicy]) -> None:
    ensemble = _load(kept)
    assert ensemble.vlm_of_member == (0, 0)
    assert len(set(ensemble.hashes)) == 2
    loaded = ensemble.vlms[0].state_dict()
    for key, value in policies[0].state_dict().items():
        if key.startswith(VLM_PREFIX):
            assert torch.equal(loaded[key], value.bfloat16()), key
    for k, policy in enumerate(policies):
        whole = load_trained(str(kept / f"member_{k}")).state_dict()
        for key, value in policy.state_dict().items():
            rounded = value.bfloat16()
            assert torch.equal(whole[key], rounded.to(whole[key].dtype)), key
            if not key.startswith(VLM_PREFIX):
                assert torch.equal(ensemble.experts[key][k], rounded.to(ensemble.experts[key].dtype)), key
    # What LeRobot's constructor gives fp32 whatever the VLM has, and runs in that only.
    projections = {key for key in ensemble.experts if "vlm_with_expert" not in key}
    assert len(projections) == 10
    assert {ensemble.experts[key].dtype for key in projections} == {torch.float32}


def test_a_moved_model_loads_to_the_same_weights(kept: Path, tmp_path: Path) -> None:
    shutil.copytree(kept, tmp_path / "elsewhere" / "renamed")
    before, after = (_load(folder) for folder in (kept, tmp_path / "elsewhere" / "renamed"))
    assert (after.hashes, after.vlm_hashes) == (before.hashes, before.vlm_hashes)
    assert str(tmp_path / "elsewhere") in after.config.vlm_model_name


def test_members_of_both_kinds_share_the_vlm_and_have_the_same_hashes(kept: Path, broken: Path) -> None:
    _complete(kept, broken / "member_1")
    before, mixed = _load(kept), _load(broken)
    assert mixed.vlm_of_member == (0, 0)
    assert (mixed.hashes, mixed.vlm_hashes) == (before.hashes, before.vlm_hashes)
    reverse = load_ensemble([str(broken / "member_1"), str(broken / "member_0")])
    assert reverse.vlm_hashes == before.vlm_hashes


def test_two_files_with_different_vlms_are_told_apart(kept: Path, broken: Path) -> None:
    _edit_tensors(broken / "vlm" / "model.safetensors", lambda tensors: tensors[VLM_KEY].add_(0.5))
    members = [str(kept / "member_0"), str(broken / "member_1"), str(kept / "member_1")]
    ensemble = load_ensemble(members, allow_identical_experts=True)
    assert ensemble.vlm_of_member == (0, 1, 0)
    assert len(set(ensemble.vlm_hashes)) == 2


def test_the_shared_file_is_read_once_for_each_device(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, found = WeightFile.read, []

    def counted(file: WeightFile, targets: dict[str, Tensor]) -> str:
        found.append(file.path.parent.name)
        return read(file, targets)

    monkeypatch.setattr(WeightFile, "read", counted)
    load_placed(expand_members([str(kept)]), [CPU, CPU])
    assert sorted(found) == ["member_0", "member_1", "vlm", "vlm"]


# -- LeRobot -----------------------------------------------------------------------------------------------------------


def _by_lerobot(member: Path) -> SmolVLAPolicy:
    """LeRobot's own loading, with nothing of ours but the absolute path."""
    config = PreTrainedConfig.from_pretrained(member)
    config.vlm_model_name = str((member / config.vlm_model_name).resolve())
    return SmolVLAPolicy.from_pretrained(member, config=config, strict=False)


def test_transformers_reads_the_vlm(kept: Path) -> None:
    vlm, info = AutoModelForImageTextToText.from_pretrained(kept / "vlm", output_loading_info=True)
    assert not any(info.values())
    stored = load_file(kept / "vlm" / "model.safetensors")
    assert all(torch.equal(value, stored[key]) for key, value in vlm.state_dict().items())


def test_lerobot_loads_the_members_and_gives_the_actions_of_the_engine(
    kept: Path, observe: Callable[..., Observation]
) -> None:
    members = [Path(name) for name in expand_members([str(kept)])]
    theirs = [_by_lerobot(member) for member in members]
    for policy, member in zip(theirs, members, strict=True):
        ours = load_trained(str(member)).state_dict()
        assert all(torch.equal(value.float(), ours[key].float()) for key, value in policy.state_dict().items())
    observation = observe(5)
    preprocessor, _ = make_pre_post_processors(
        None,
        str(members[0]),
        preprocessor_overrides={"tokenizer_processor": {"tokenizer_name": str(kept / "vlm")}},
    )
    images = {
        f"observation.images.{name}": torch.from_numpy(image).permute(2, 0, 1) / 255
        for name, image in observation.images.items()
    }
    state = torch.from_numpy(observation.state).float()
    batch = preprocessor({"observation.state": state, "task": observation.task, **images})
    noise = torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(0))

    def actions() -> Tensor:
        return torch.stack(
            [
                torch.stack([policy.predict_action_chunk(dict(batch), noise=one[None])[0] for one in noise])
                for policy in theirs
            ]
        )

    def engine(dtype: str) -> Tensor:
        return EnsembleEngine(_load(kept, dtype=dtype)).forward(batch, noise).actions

    stored = actions()
    for policy in theirs:
        policy.float()
    full = actions()
    assert float((full[0] - full[1]).abs().max()) > 0.5  # so the bounds tell one member from the other
    assert float((engine("fp32") - full).abs().max()) <= 1e-5
    assert float((engine("stored") - stored).abs().max()) <= BF16


# -- precision ---------------------------------------------------------------------------------------------------------


def test_auto_is_fp32_where_the_processor_does_not_compute_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    for found, expected in (({}, "fp32"), ({"avx512_bf16": True}, "stored"), ({"amx_bf16": True}, "stored")):
        monkeypatch.setattr(placement.torch.cpu, "get_capabilities", lambda found=found: found)
        assert choose_dtype("auto", CPU) == expected
        assert choose_dtype("auto", torch.device("cuda:0")) == "stored"
        assert [choose_dtype(name, CPU) for name in ("stored", "fp32")] == ["stored", "fp32"]


def test_the_facts_say_which_precision_runs(
    kept: Path, observe: Callable[..., Observation], monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = {}
    for dtype in ("stored", "fp32"):
        policy = make_policy("ensemble", members=[str(kept)], dtype=dtype)
        assert policy.facts()["dtype"] == dtype
        chunks[dtype] = policy.predict(observe(1), 0).chunks
    assert 0 < np.abs(chunks["stored"] - chunks["fp32"]).max() < 0.1
    assert {value.dtype for value in _load(kept, dtype="fp32").experts.values()} == {torch.float32}
    monkeypatch.setattr(placement.torch.cpu, "get_capabilities", dict)
    assert EnsemblePolicy(expand_members([str(kept)])).facts()["dtype"] == "fp32"
    with pytest.raises(ModelError, match=r"model.dtype is 'int8', expected one of auto, stored, fp32"):
        make_policy("ensemble", members=[str(kept)], dtype="int8")


# -- what does not load ------------------------------------------------------------------------------------------------


def test_a_missing_vlm_file_is_named(broken: Path) -> None:
    (broken / "vlm" / "model.safetensors").unlink()
    _fails(broken, broken / "vlm" / "model.safetensors", "is missing", "load_vlm_weights")


def test_a_missing_vlm_folder_is_named(broken: Path) -> None:
    shutil.rmtree(broken / "vlm")
    _fails(broken, "../vlm/model.safetensors is missing", "config.json")


def test_a_member_without_vlm_that_does_not_ask_for_one_is_an_error(broken: Path) -> None:
    for member in ("member_0", "member_1"):
        _edit_json(broken / member / "config.json", load_vlm_weights=False)
    _fails(broken, broken / "member_", "Missing key(s)", VLM_PREFIX)


def test_a_member_with_a_part_of_the_vlm_is_an_error(broken: Path) -> None:
    vlm = load_file(broken / "vlm" / "model.safetensors")
    path = broken / "member_1" / "model.safetensors"
    _edit_tensors(path, lambda tensors: tensors.update({VLM_PREFIX + VLM_KEY: vlm[VLM_KEY]}))
    _fails(broken, path, "Missing key(s)", VLM_PREFIX)
    _complete(broken, broken / "member_1")
    _edit_tensors(path, lambda tensors: tensors.pop(VLM_PREFIX + VLM_KEY))
    _fails(broken, path, "Missing key(s)", VLM_PREFIX + VLM_KEY)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda tensors: tensors[VLM_KEY][1, 2].fill_(float("nan")), "not finite"),
        (lambda tensors: tensors.pop(VLM_KEY), "Missing key"),
        (lambda tensors: tensors.update({VLM_KEY: tensors[VLM_KEY][:-1].clone()}), "size mismatch"),
        (lambda tensors: tensors.update({f"{VLM_KEY}.more": torch.ones(2)}), "Unexpected key"),
        (lambda tensors: tensors.update({VLM_KEY: tensors[VLM_KEY].to(torch.int8)}), "type I8"),
    ],
    ids=["nan", "missing", "shape", "extra", "type"],
)
def test_a_wrong_tensor_of_the_vlm_is_named_with_its_file(
    broken: Path, edit: Callable[[dict[str, Tensor]], object], named: str
) -> None:
    path = broken / "vlm" / "model.safetensors"
    _edit_tensors(path, edit)
    _fails(broken, path, VLM_KEY, named)


def test_a_wrong_tensor_of_a_member_is_named_with_its_file(broken: Path) -> None:
    path = broken / "member_1" / "model.safetensors"
    _edit_tensors(path, lambda tensors: tensors.pop(OWN_KEY))
    _fails(broken, path, "Missing key(s)", OWN_KEY)


@pytest.fixture(scope="module")
def scratch(kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(kept, tmp_path_factory.mktemp("damage") / "model"))


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    cut=st.none() | st.floats(0.0, 1.0),
    flips=st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 255)), max_size=3),
)
def test_a_damaged_vlm_file_loads_or_is_a_model_error(
    kept: Path, scratch: Path, cut: float | None, flips: list[tuple[int, int]]
) -> None:
    path = scratch / "vlm" / "model.safetensors"
    content = bytearray((kept / "vlm" / "model.safetensors").read_bytes())
    for place, bits in flips:  # in the header, which has 6,904 bytes
        content[place] ^= bits
    path.write_bytes(content if cut is None else content[: int(cut * len(content))])
    message = None
    try:
        load_trained(str(scratch / "member_0"))
    except ModelError as error:
        message = str(error)
    assert message is None or str(path) in message


# -- what is not kept --------------------------------------------------------------------------------------------------


def test_no_policies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no policies"):
        keep_model(tmp_path / "model", [], STATS, None, {})
    assert list(tmp_path.iterdir()) == []


def test_policies_with_different_vlms_or_bad_values_are_refused(policies: list[SmolVLAPolicy], tmp_path: Path) -> None:
    for key, value, named in (
        (VLM_PREFIX + VLM_KEY, 0.5, "policy 1 has another VLM than policy 0"),
        (OWN_KEY, float("nan"), "policy 1: .* not finite"),
    ):
        other = copy.deepcopy(policies[1])
        other.get_parameter(key).data[0, 0] += value
        with pytest.raises(ModelError, match=named) as caught:
            keep_model(tmp_path / "model", [policies[0], other], STATS, None, {})
        assert key in str(caught.value)
        assert list(tmp_path.iterdir()) == []


def test_a_vlm_folder_that_does_not_fit_is_named(policies: list[SmolVLAPolicy], tmp_path: Path) -> None:
    other = tmp_path / "vlm"
    with pytest.raises(ModelError, match=f"{other}/config.json is missing"):
        keep_model(tmp_path / "model", policies, STATS, other, {})
    write_vlm_folder(other, VlmSize(64, 16, 2, 48, 2, 3, 64, 2, 4, 2, 64, 512))
    with pytest.raises(ModelError, match=f"{other}/config.json: 'text_config.intermediate_size' is 64, .* have 128"):
        keep_model(tmp_path / "model", policies, STATS, other, {})
    (other / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=f"{other}/config.json"):
        keep_model(tmp_path / "model", policies, STATS, other, {})
    assert list(tmp_path.iterdir()) == [other]


@pytest.mark.parametrize("value", [Path("x"), float("nan"), {1, 2}], ids=str)
def test_a_manifest_that_json_does_not_have_is_refused(
    policies: list[SmolVLAPolicy], tmp_path: Path, value: object
) -> None:
    with pytest.raises(ModelError, match=r"salus_model\.json: cannot be written as JSON"):
        keep_model(tmp_path / "model", policies, STATS, None, {"told": value})


def test_only_a_model_folder_is_replaced(policies: list[SmolVLAPolicy], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    keep_model(folder, policies, STATS, None, {"seed": 1})  # an empty folder is filled
    (folder / "old").touch()
    keep_model(folder, policies[:1], STATS, folder / "vlm", {"seed": 2})
    assert sorted(path.name for path in folder.iterdir()) == ["member_0", "salus_model.json", "vlm"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    before = _digests(folder)
    for content in ("{", "[]", '{"members": 3}', None):
        manifest = folder / "salus_model.json"
        manifest.unlink() if content is None else manifest.write_text(content, encoding="utf-8")
        with pytest.raises(ModelError, match="is no model folder"):
            keep_model(folder, policies, STATS, None, {})
    assert _digests(folder).keys() == before.keys() - {"salus_model.json"}
    with pytest.raises(ModelError, match="is no model folder"):
        keep_model(folder / "vlm" / "config.json", policies, STATS, None, {})


@pytest.mark.parametrize("fails_in", ["save_member", "_put"])
def test_a_failure_leaves_the_old_model(
    policies: list[SmolVLAPolicy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_in: str
) -> None:
    keep_model(tmp_path / "model", policies, STATS, None, {})
    before = _digests(tmp_path)

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if fails_in == "save_member":
        monkeypatch.setattr(keep, fails_in, full_disk)
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
        keep_model(tmp_path / "model", policies[:1], STATS, None, {})
    assert _digests(tmp_path) == before


# -- to go on training -------------------------------------------------------------------------------------------------


def test_a_loaded_policy_is_as_trainable_as_a_new_one_and_can_be_kept_again(kept: Path, tmp_path: Path) -> None:
    loaded = load_trained(str(kept))
    new = SmolVLAPolicy(copy.deepcopy(loaded.config))
    trainable = {name for name, parameter in loaded.named_parameters() if parameter.requires_grad}
    assert trainable == {name for name, parameter in new.named_parameters() if parameter.requires_grad}
    assert OWN_KEY in trainable
    keep_model(
        tmp_path / "model", [loaded.float()], STATS, Path(loaded.config.vlm_model_name), {"size": "tiny", "seed": 3}
    )
    again, before = _digests(tmp_path / "model"), _digests(kept)
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
