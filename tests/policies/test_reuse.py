"""What did not change is not computed again; weights are read once, and into their final place."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from salus_vla.contract.types import Observation
from salus_vla.policies.registry import expand_members
from salus_vla.policies.smolvla.inference.ensemble_engine import EnsembleEngine
from salus_vla.policies.smolvla.inference.ensemble_policy import EnsemblePolicy
from salus_vla.policies.smolvla.loading.checkpoint import VLM_PREFIX, load_ensemble
from salus_vla.policies.smolvla.loading.weights import WeightFile, content_hash, not_finite

Observe = Callable[..., Observation]


class _Counts:
    """How often the engine embeds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.images = self.language = 0
        encode, embed = EnsembleEngine.encode_images, EnsembleEngine.embed_language

        def encode_images(engine: EnsembleEngine, *arguments: object) -> object:
            self.images += 1
            return encode(engine, *arguments)  # type: ignore[arg-type]

        def embed_language(engine: EnsembleEngine, *arguments: object) -> object:
            self.language += 1
            return embed(engine, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(EnsembleEngine, "encode_images", encode_images)
        monkeypatch.setattr(EnsembleEngine, "embed_language", embed_language)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> _Counts:
    return _Counts(monkeypatch)


@pytest.fixture
def policy(model: Path) -> EnsemblePolicy:
    return EnsemblePolicy(expand_members([str(model)]))


def test_the_same_images_are_encoded_once(policy: EnsemblePolicy, observe: Observe, counts: _Counts) -> None:
    observation = observe(1)
    first = policy.predict(observation, 0)
    copied = dataclasses.replace(observation, images={key: image.copy() for key, image in observation.images.items()})
    np.testing.assert_array_equal(policy.predict(copied, 0).chunks, first.chunks)
    assert counts.images == 1
    policy.predict(observe(2), 1)
    assert counts.images == 2


def test_new_pixels_in_the_same_array_are_seen(policy: EnsemblePolicy, observe: Observe, counts: _Counts) -> None:
    observation = observe(1)
    first = policy.predict(observation, 0)
    observation.images["top"][0, 0, 0] ^= 128
    again = policy.predict(observation, 0)
    assert counts.images == 2
    assert np.abs(again.chunks - first.chunks).max() > 0


def test_other_joints_with_the_same_images_are_seen(policy: EnsemblePolicy, observe: Observe, counts: _Counts) -> None:
    observation = observe(1)
    first = policy.predict(observation, 0)
    moved = dataclasses.replace(observation, joint_position=observation.joint_position + 0.2)
    reused = policy.predict(moved, 0)
    assert counts.images == 1
    assert np.abs(reused.chunks - first.chunks).max() > 1e-6


def test_a_known_instruction_is_not_tokenized_again_and_gives_the_same(
    model: Path, policy: EnsemblePolicy, observe: Observe, counts: _Counts
) -> None:
    tasks = ["pick it up", "put it down", "pick it up", "put it down"]
    found = [policy.predict(observe(k, task=task), k).chunks for k, task in enumerate(tasks)]
    assert counts.language == 2
    for k, task in enumerate(tasks):
        fresh = EnsemblePolicy(expand_members([str(model)]))
        np.testing.assert_array_equal(fresh.predict(observe(k, task=task), k).chunks, found[k])


def test_instructions_do_not_pile_up(policy: EnsemblePolicy, observe: Observe) -> None:
    for k in range(40):
        policy.predict(observe(task=f"task {k}"), k)
    assert len(policy._inputs._language) <= 16


def test_images_that_could_not_be_encoded_are_not_known(
    policy: EnsemblePolicy, observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    observation, other = observe(1), observe(2)
    expected = policy.predict(observation, 0).chunks
    with monkeypatch.context() as patch:
        patch.setattr(EnsembleEngine, "encode_images", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            policy.predict(other, 0)
    np.testing.assert_array_equal(policy.predict(observation, 0).chunks, expected)
    assert np.abs(policy.predict(other, 0).chunks - expected).max() > 1e-6


# -- reading weights ---------------------------------------------------------------------------------------------------


def test_reading_gives_the_bytes_and_the_hash_of_the_contents(model: Path) -> None:
    path = model / "member_0" / "model.safetensors"
    stored = load_file(path)
    targets = {key: torch.empty_like(value) for key, value in stored.items()}
    assert WeightFile(path).read(targets) == content_hash(stored)
    assert all(torch.equal(value, stored[key]) for key, value in targets.items())


def test_reading_converts_to_the_targets_precision(model: Path, tmp_path: Path) -> None:
    stored = {"a": torch.randn(5, 3).bfloat16(), "b": torch.randn(2)}
    save_file(stored, tmp_path / "w.safetensors")
    targets = {"a": torch.empty(5, 3), "b": torch.empty(2)}
    assert WeightFile(tmp_path / "w.safetensors").read(targets) == content_hash(stored)
    assert torch.equal(targets["a"], stored["a"].float())


def test_one_bit_makes_files_differ(tmp_path: Path) -> None:
    one = {"a": torch.zeros(3_000_000), "b": torch.zeros(7)}  # longer than the buffer
    paths = [tmp_path / f"{k}.safetensors" for k in range(3)]
    save_file(one, paths[0])
    save_file(one, paths[1])
    one["a"][-1] = 1e-30
    save_file(one, paths[2])
    same, also, other = (WeightFile(path) for path in paths)
    assert same.same_bytes(also, one)
    assert not same.same_bytes(other, one)
    assert same.same_bytes(other, ["b"])


def test_a_shared_vlm_is_read_once(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, vlms = WeightFile.read, []

    def counted(file: WeightFile, targets: dict[str, torch.Tensor]) -> str:
        vlms.append(any(key.startswith(VLM_PREFIX) for key in targets))
        return read(file, targets)

    monkeypatch.setattr(WeightFile, "read", counted)
    load_ensemble(expand_members([str(model)]))
    assert sorted(vlms) == [False, False, True]


def test_a_large_sum_is_not_taken_for_infinity() -> None:
    large = torch.full((4,), 3e38)
    assert not bool(large.sum().isfinite())
    assert not_finite({"large": large}) is None
    assert not_finite({"large": large, "nan": torch.tensor([0.0, float("nan")])}) == "nan"


@pytest.mark.slow
def test_loading_needs_the_memory_of_the_weights(model: Path, tmp_path: Path) -> None:
    """In a process of its own, on members large enough to stand out: 3 x 64 MiB."""
    probe = """
import json, sys, torch
from salus_vla.policies.smolvla.loading.weights import WeightFile, not_finite
def memory(what):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(what)) / 1024
files = [WeightFile(__import__("pathlib").Path(path)) for path in sys.argv[1:]]
before = memory("VmRSS")
stack = torch.empty(3, 4096, 4096)
for row, file in enumerate(files):
    file.read({"a": stack[row]})
assert files[0].same_bytes(files[1], ["a"]) is False
assert not_finite({"stack": stack}) is None
print(json.dumps(memory("VmHWM") - before))
"""
    paths = [tmp_path / f"{k}.safetensors" for k in range(3)]
    for k, path in enumerate(paths):
        save_file({"a": torch.full((4096, 4096), float(k))}, path)
    command = [sys.executable, "-c", probe, *map(str, paths)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) <= 1.25 * 3 * 64
