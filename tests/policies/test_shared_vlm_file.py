"""Models whose members keep their VLM together in one file: loaded like any other, and read by LeRobot."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import make_pre_post_processors
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from safetensors.torch import load_file
from saved_models import CPU, OWN_KEY, VLM_KEY, check_fails, edit_json, edit_tensors, load_model, make_complete
from torch import Tensor
from transformers import AutoModelForImageTextToText

from salus_vla.contract.errors import ModelError
from salus_vla.contract.types import Observation
from salus_vla.learning.training.save_ensemble import load_trained
from salus_vla.policies.registry import expand_members, make_policy
from salus_vla.policies.smolvla.inference.ensemble_engine import EnsembleEngine
from salus_vla.policies.smolvla.inference.ensemble_policy import EnsemblePolicy
from salus_vla.policies.smolvla.loading import devices
from salus_vla.policies.smolvla.loading.checkpoint import VLM_PREFIX, load_ensemble, load_placed
from salus_vla.policies.smolvla.loading.devices import choose_dtype
from salus_vla.policies.smolvla.loading.weights import WeightFile

# LeRobot builds the projections of the VLM's keys and values in fp32, here they are bf16 like the rest of the expert;
# and the engine rounds attention once less. Actions of size 1, large weights: measured 1.3e-2, which is also how far
# LeRobot in bf16 is from itself in fp32.
BF16 = 2e-2


# -- what loads --------------------------------------------------------------------------------------------------------


def test_what_was_kept_comes_back_rounded_to_bf16(kept: Path, policies: list[SmolVLAPolicy]) -> None:
    ensemble = load_model(kept)
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
    before, after = (load_model(folder) for folder in (kept, tmp_path / "elsewhere" / "renamed"))
    assert (after.hashes, after.vlm_hashes) == (before.hashes, before.vlm_hashes)
    assert str(tmp_path / "elsewhere") in after.config.vlm_model_name


def test_members_of_both_kinds_share_the_vlm_and_have_the_same_hashes(kept: Path, broken: Path) -> None:
    make_complete(kept, broken / "member_1")
    before, mixed = load_model(kept), load_model(broken)
    assert mixed.vlm_of_member == (0, 0)
    assert (mixed.hashes, mixed.vlm_hashes) == (before.hashes, before.vlm_hashes)
    reverse = load_ensemble([str(broken / "member_1"), str(broken / "member_0")])
    assert reverse.vlm_hashes == before.vlm_hashes


def test_two_files_with_different_vlms_are_told_apart(kept: Path, broken: Path) -> None:
    edit_tensors(broken / "vlm" / "model.safetensors", lambda tensors: tensors[VLM_KEY].add_(0.5))
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
        return EnsembleEngine(load_model(kept, dtype=dtype)).forward(batch, noise).actions

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
        monkeypatch.setattr(devices.torch.cpu, "get_capabilities", lambda found=found: found)
        assert choose_dtype("auto", CPU) == expected
        assert choose_dtype("auto", torch.device("cuda:0")) == "stored"
        assert [choose_dtype(name, CPU) for name in ("stored", "fp32")] == ["stored", "fp32"]


def test_the_facts_say_which_precision_runs(
    kept: Path, observe: Callable[..., Observation], monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = {}
    for dtype in ("stored", "fp32"):
        policy = make_policy("ensemble", members=[str(kept)], dtype=dtype)
        assert policy.provenance()["dtype"] == dtype
        chunks[dtype] = policy.predict(observe(1), 0).chunks
    assert 0 < np.abs(chunks["stored"] - chunks["fp32"]).max() < 0.1
    assert {value.dtype for value in load_model(kept, dtype="fp32").experts.values()} == {torch.float32}
    monkeypatch.setattr(devices.torch.cpu, "get_capabilities", dict)
    assert EnsemblePolicy(expand_members([str(kept)])).provenance()["dtype"] == "fp32"
    with pytest.raises(ModelError, match=r"model.dtype is 'int8', expected one of auto, stored, fp32"):
        make_policy("ensemble", members=[str(kept)], dtype="int8")


# -- what does not load ------------------------------------------------------------------------------------------------


def test_a_missing_vlm_file_is_named(broken: Path) -> None:
    (broken / "vlm" / "model.safetensors").unlink()
    check_fails(broken, broken / "vlm" / "model.safetensors", "is missing", "load_vlm_weights")


def test_a_missing_vlm_folder_is_named(broken: Path) -> None:
    shutil.rmtree(broken / "vlm")
    check_fails(broken, "../vlm/model.safetensors is missing", "config.json")


def test_a_member_without_vlm_that_does_not_ask_for_one_is_an_error(broken: Path) -> None:
    for member in ("member_0", "member_1"):
        edit_json(broken / member / "config.json", load_vlm_weights=False)
    check_fails(broken, broken / "member_", "Missing key(s)", VLM_PREFIX)


def test_a_member_with_a_part_of_the_vlm_is_an_error(broken: Path) -> None:
    vlm = load_file(broken / "vlm" / "model.safetensors")
    path = broken / "member_1" / "model.safetensors"
    edit_tensors(path, lambda tensors: tensors.update({VLM_PREFIX + VLM_KEY: vlm[VLM_KEY]}))
    check_fails(broken, path, "Missing key(s)", VLM_PREFIX)
    make_complete(broken, broken / "member_1")
    edit_tensors(path, lambda tensors: tensors.pop(VLM_PREFIX + VLM_KEY))
    check_fails(broken, path, "Missing key(s)", VLM_PREFIX + VLM_KEY)


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
    edit_tensors(path, edit)
    check_fails(broken, path, VLM_KEY, named)


def test_a_wrong_tensor_of_a_member_is_named_with_its_file(broken: Path) -> None:
    path = broken / "member_1" / "model.safetensors"
    edit_tensors(path, lambda tensors: tensors.pop(OWN_KEY))
    check_fails(broken, path, "Missing key(s)", OWN_KEY)


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
