"""Where members go: one device holds everything, or several hold what they were given."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salus_vla.contract.errors import ModelError
from salus_vla.contract.types import Observation
from salus_vla.policies.registry import expand_members, make_policy
from salus_vla.policies.smolvla.inference.ensemble_engine import EnsembleEngine
from salus_vla.policies.smolvla.inference.ensemble_policy import EnsemblePolicy
from salus_vla.policies.smolvla.loading.checkpoint import load_ensemble, load_placed
from salus_vla.policies.smolvla.loading.devices import check_placed, explain_out_of_memory, place_members

Observe = Callable[..., Observation]
META = torch.device("meta")


@given(members=st.integers(1, 40), devices=st.integers(1, 8))
def test_placement_is_contiguous_and_as_even_as_possible(members: int, devices: int) -> None:
    if devices > members:
        with pytest.raises(ModelError, match=f"{devices} devices for {members} members"):
            place_members(members, devices)
        return
    placed = place_members(members, devices)
    assert placed == sorted(placed)
    counts = np.bincount(placed, minlength=devices)
    assert len(placed) == members
    assert counts.max() - counts.min() <= 1
    assert list(counts) == sorted(counts, reverse=True)


def test_examples_of_placement() -> None:
    assert place_members(5, 1) == [0, 0, 0, 0, 0]
    assert place_members(5, 2) == [0, 0, 0, 1, 1]
    assert place_members(5, 3) == [0, 0, 1, 1, 2]


def test_two_engines_give_the_numbers_of_one(model: Path, observe: Observe) -> None:
    members = [*expand_members([str(model)]), str(model / "member_0")]
    one = EnsemblePolicy(members, allow_identical_experts=True)
    two = EnsemblePolicy(members, devices=["cpu", "cpu"], allow_identical_experts=True)
    facts = two.provenance()
    assert facts["device"] == "cpu, cpu"
    assert facts["members_per_device"] == "2, 1"
    whole = one.provenance()
    assert {key: facts[key] for key in whole if "hash" in key} == {key: whole[key] for key in whole if "hash" in key}
    left, right = (policy.predict(observe(3), 1) for policy in (one, two))
    for name in ("chunks", "prefix_state", "expert_state"):
        np.testing.assert_allclose(getattr(right, name), getattr(left, name), rtol=0, atol=1e-5)


def test_checks_between_members_hold_across_devices(model: Path) -> None:
    members = [str(model / "member_0")] * 2
    with pytest.raises(ModelError, match="same action expert"):
        load_placed(members, [torch.device("cpu")] * 2)


def test_more_devices_than_members_are_refused(model: Path) -> None:
    with pytest.raises(ModelError, match="3 devices for 2 members"):
        EnsemblePolicy(expand_members([str(model)]), devices=["cpu", "cpu", "cpu"])


def test_a_device_that_is_not_there_is_named(model: Path) -> None:
    with pytest.raises(ModelError, match=r"model.devices 'cuda:9' cannot be used"):
        EnsemblePolicy(expand_members([str(model)]), devices=["cpu", "cuda:9"])


def test_a_tensor_elsewhere_is_named() -> None:
    tensors = {"here": torch.ones(1), "model.action_out_proj.weight": torch.ones(1, device=META)}
    with pytest.raises(ModelError, match=r"'model.action_out_proj.weight' is on meta, .* belongs on cpu"):
        check_placed(tensors, torch.device("cpu"))


@pytest.mark.parametrize("part", ["parameter", "buffer", "expert"])
def test_the_engine_refuses_parts_on_another_device(model: Path, part: str) -> None:
    ensemble = load_ensemble(expand_members([str(model)]))
    vision = ensemble.vlms[0].model.vlm_with_expert.vlm.model.vision_model
    if part == "parameter":
        vision.post_layernorm.weight = torch.nn.Parameter(vision.post_layernorm.weight.to(META))
        named = "vlm_0.vision.post_layernorm.weight"
    elif part == "buffer":
        vision.register_buffer("extra", torch.ones(1, device=META))
        named = "vlm_0.vision.extra"
    else:
        named = "model.action_out_proj.bias"
        ensemble.experts[named] = ensemble.experts[named].to(META)
    with pytest.raises(ModelError, match=f"'{named}' is on meta"):
        EnsembleEngine(ensemble)


def test_everything_of_an_engine_is_checked(model: Path) -> None:
    ensemble = load_ensemble(expand_members([str(model)]))
    experts = {key: value.numel() for key, value in ensemble.experts.items()}
    vlm = ensemble.vlms[0].model.vlm_with_expert.vlm
    used = sum(parameter.numel() for key, parameter in vlm.named_parameters() if "lm_head" not in key)
    engine = EnsembleEngine(ensemble)
    assert ensemble.experts == {}  # taken over, nothing is kept twice
    tensors = engine.tensors()
    assert sum(tensor.numel() for key, tensor in tensors.items() if key.startswith("model.")) == sum(experts.values())
    assert sum(tensor.numel() for key, tensor in tensors.items() if key.startswith("vlm_0.")) >= used


# -- memory ------------------------------------------------------------------------------------------------------------


def test_out_of_memory_names_what_was_needed_and_what_helps() -> None:
    text = "CUDA out of memory. Tried to allocate 1.50 GiB."
    with (
        pytest.raises(ModelError) as caught,
        explain_out_of_memory("loading the members", torch.device("cuda:0"), needed=3 << 30),
    ):
        raise torch.cuda.OutOfMemoryError(text)
    message = str(caught.value)
    for part in ("cuda:0", "loading the members needs 3072 MiB", "free", text):
        assert part in message
    for option in ("model.noise_samples", "bf16", "model.devices", "model.members"):
        assert option in message


def test_out_of_memory_in_a_decision_is_a_model_error(
    model: Path, observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = EnsemblePolicy(expand_members([str(model)]))

    def short(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("Tried to allocate 20.00 MiB")

    (engine,) = policy._engines._engines
    monkeypatch.setattr(engine, "_decide_eager", short)
    monkeypatch.setattr(engine, "_decide", short)
    with pytest.raises(ModelError, match=r"out of memory on cpu: a decision .*Tried to allocate 20.00 MiB"):
        policy.predict(observe(), 0)


def test_out_of_memory_while_loading_is_a_model_error(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("Tried to allocate 20.00 MiB")

    monkeypatch.setattr("salus_vla.policies.smolvla.loading.checkpoint.move_buffers", short)
    with pytest.raises(ModelError, match="loading the members needs 2 MiB"):
        load_ensemble(expand_members([str(model)]))


def test_devices_may_stand_in_one_text_as_on_a_command_line(model: Path) -> None:
    facts = make_policy("ensemble", members=[str(model)], devices=["cpu, cpu"]).provenance()
    assert (
        facts["members_per_device"]
        == make_policy("ensemble", members=[str(model)], devices=["cpu", "cpu"]).provenance()["members_per_device"]
    )
    assert make_policy("ensemble", members=[str(model)], devices=[""]).provenance()["device"] == "cpu"
