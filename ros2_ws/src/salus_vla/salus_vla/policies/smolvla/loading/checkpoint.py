"""Loads the members of an ensemble: real LeRobot SmolVLA checkpoints, checked against this robot and each other.

LeRobot's own loading is lenient (missing keys are logged, an absent device becomes the CPU, a missing camera is
dropped); beside a real arm each of these is an error that names the file, the key and what was expected.

Members that share a VLM are told by the bytes in their files, and the VLM is read once. Every tensor goes from the file
to its final place, so that the memory needed is that of the weights.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from torch import Tensor

from salus_vla.contract.errors import ModelError
from salus_vla.policies.smolvla.cameras import UNCHANGED, CameraNames
from salus_vla.policies.smolvla.loading.compatibility import MemberSettings, check_different, check_same_model
from salus_vla.policies.smolvla.loading.devices import choose_dtype, explain_out_of_memory, parse_device, place_members
from salus_vla.policies.smolvla.loading.lerobot_logging import quiet_lerobot
from salus_vla.policies.smolvla.loading.member_files import (
    NO_RENAME,
    VLM_PREFIX,
    MemberFiles,
    member_folder,
    read_member_files,
)
from salus_vla.policies.smolvla.loading.meta_init import empty_policy, move_buffers, place_parameters
from salus_vla.policies.smolvla.loading.processors import (
    Pipelines,
    check_same_processors,
    load_processors,
    tokenizer_of,
)
from salus_vla.policies.smolvla.loading.weights import WeightFile, content_hash, not_finite

__all__ = ["VLM_PREFIX", "LoadedEnsemble", "content_hash", "load_ensemble", "load_member", "load_placed"]
__all__ += ["quiet_lerobot"]

_THREADS = 8  # reading and hashing; more only wait for memory


@dataclass(frozen=True)
class LoadedEnsemble:
    """Members on one device.

    Attributes:
        names: the members as the user named them, folders or Hub names.
        vlms: one policy for each distinct VLM, with the VLM's weights only: what is a member's own is in `experts`, and
            on the meta device here.
        vlm_of_member: index into `vlms` for each member.
        experts: the members' own tensors (action expert and the five projections), LeRobot's key -> (K, ...).
        hashes: SHA-256 of each member's own tensors as they are stored, first 16 hex digits.
        vlm_hashes: the same for each VLM.
        preprocessor, postprocessor: LeRobot's pipelines; the statistics are the same for all members.
        device: where they are.
        cameras: which of its images each camera of this robot is.
        dtype: `stored` or `fp32`, see `choose_dtype`.
    """

    names: tuple[str, ...]
    vlms: tuple[SmolVLAPolicy, ...]
    vlm_of_member: tuple[int, ...]
    experts: dict[str, Tensor]
    hashes: tuple[str, ...]
    vlm_hashes: tuple[str, ...]
    preprocessor: Any
    postprocessor: Any
    device: torch.device
    cameras: CameraNames = UNCHANGED
    dtype: str = "stored"

    @property
    def config(self) -> SmolVLAConfig:
        """Configuration of the first member; what the engine depends on is equal for all."""
        return self.vlms[0].config


def load_ensemble(
    members: Sequence[str], *, device: str = "cpu", dtype: str = "stored", allow_identical_experts: bool = False
) -> LoadedEnsemble:
    """Loads and checks all members on one device; see `load_placed`."""
    return load_placed(members, [parse_device(device)], dtype=dtype, allow_identical_experts=allow_identical_experts)[0]


def load_placed(
    members: Sequence[str],
    devices: Sequence[torch.device],
    *,
    dtype: str = "stored",
    allow_identical_experts: bool = False,
    rename: Mapping[str, str] = NO_RENAME,
) -> list[LoadedEnsemble]:
    """Loads and checks all members, spread over devices.

    Args:
        members: folders or Hub names.
        devices: where the members go, see `place_members`.
        dtype: one of `DTYPES`, see `choose_dtype`.
        allow_identical_experts: accept members with the same action expert (a lesson: five copies of one checkpoint
            look like an ensemble and know nothing).
        rename: see `read_member_files`.

    Returns:
        One ensemble for each device, members in their order. Pre- and post-processors are on the first device.

    Raises:
        ModelError: anything that does not fit; the message names file, key and value.
    """
    if not members:
        raise ModelError("model.members is empty: give at least one folder or Hub name")
    placed = place_members(len(members), len(devices))
    dtypes = [choose_dtype(dtype, device) for device in devices]
    files = [read_member_files(name, member_folder(name), str(devices[0]), rename=rename) for name in members]
    skeleton = _skeleton(files[0])
    settings = [_settings(member, skeleton, files[0]) for member in files]
    pipelines = _pipelines(files, settings, str(devices[0]))
    threads = min(_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        sources = _distinct_vlms(files, settings[0], pool)
        groups = []
        for index, device in enumerate(devices):
            chosen = [k for k, place in enumerate(placed) if place == index]
            computed = settings[0].in_fp32() if dtypes[index] == "fp32" else settings[0]
            needed = _bytes_needed(computed, sources, chosen)
            with explain_out_of_memory("loading the members", device, needed=needed):
                group = _load_group(files, chosen, sources, skeleton, computed, pipelines, device, pool)
            groups.append(replace(group, dtype=dtypes[index]))
    if not allow_identical_experts:
        check_different(members, [value for group in groups for value in group.hashes])
    return groups


def load_member(name: str, folder: Path, device: str, *, rename: Mapping[str, str] = NO_RENAME) -> SmolVLAPolicy:
    """Loads one member as a complete LeRobot policy.

    Args:
        name: the member as the user named it.
        folder: where its files are.
        device: for example `cpu` or `cuda:0`.
        rename: see `read_member_files`.

    Raises:
        ModelError: a file is missing or broken, or the policy does not fit this robot.
    """
    place = parse_device(device)
    files = read_member_files(name, folder, device, rename=rename)
    policy = _skeleton(files)
    settings = _settings(files, policy, files)
    targets = {key: settings.empty(key, (), place) for key in settings.precision}
    for file in dict.fromkeys((files.weights, files.vlm_weights)):
        part = {key: targets[key] for key in file.tensors}
        file.read(part)
        _check_finite(part, file)
    place_parameters(policy, targets)
    move_buffers(policy, place)
    return policy


def _skeleton(member: MemberFiles) -> SmolVLAPolicy:
    try:
        return empty_policy(member.config)
    except Exception as error:  # a setting that does not fit fails anywhere in lerobot, transformers or torch
        raise ModelError(f"{member.misfit}: {type(error).__name__}: {error}") from error


def _settings(member: MemberFiles, skeleton: SmolVLAPolicy, first: MemberFiles) -> MemberSettings:
    """A member's settings and the precision of its weights.

    Raises:
        ModelError: it differs from the first member, or its weights do not fit its configuration.
    """
    vlm = skeleton.model.vlm_with_expert.config
    if member.config.vlm_model_name != first.config.vlm_model_name:
        vlm = member.vlm_config()
    reference = skeleton.state_dict(keep_vars=True)
    settings = MemberSettings.of(member, vlm.to_dict(), reference)
    if member is not first:
        check_same_model(MemberSettings.of(first, skeleton.model.vlm_with_expert.config.to_dict(), reference), settings)
    member.check_keys(reference)
    if member is not first:
        settings.check_precision(MemberSettings.of(first, {}, reference))
    return settings


def _pipelines(files: Sequence[MemberFiles], settings: Sequence[MemberSettings], device: str) -> Pipelines:
    """The first member's pre- and post-processor, which do the same as every other member's."""
    first = load_processors(files[0].folder, files[0].config.vlm_model_name, device, rename=files[0].cameras.rename)
    for member in files[1:]:
        same = member.config.vlm_model_name == files[0].config.vlm_model_name
        other = load_processors(
            member.folder,
            member.config.vlm_model_name,
            device,
            tokenizer=tokenizer_of(first) if same else None,
            rename=member.cameras.rename,
        )
        check_same_processors(first, files[0].folder, other, member.folder)
    return first


def _distinct_vlms(files: Sequence[MemberFiles], settings: MemberSettings, pool: ThreadPoolExecutor) -> list[int]:
    """For each member the first member that has the same VLM, bit for bit."""
    keys = [key for key in settings.precision if key.startswith(VLM_PREFIX)]
    sources = list(range(len(files)))
    open_members = sources[:]
    while open_members:
        source, *others = open_members
        same = list(pool.map(lambda k, s=source: files[s].vlm_weights.same_bytes(files[k].vlm_weights, keys), others))
        for k, equal in zip(others, same, strict=True):
            if equal:
                sources[k] = source
        open_members = [k for k, equal in zip(others, same, strict=True) if not equal]
    return sources


def _bytes_needed(settings: MemberSettings, sources: Sequence[int], chosen: Sequence[int]) -> int:
    vlms = len({sources[k] for k in chosen})
    return sum(settings.size(key) * (vlms if key.startswith(VLM_PREFIX) else len(chosen)) for key in settings.precision)


def _load_group(
    files: Sequence[MemberFiles],
    chosen: Sequence[int],
    sources: Sequence[int],
    skeleton: SmolVLAPolicy,
    settings: MemberSettings,
    pipelines: Pipelines,
    device: torch.device,
    pool: ThreadPoolExecutor,
) -> LoadedEnsemble:
    """Reads the weights of the chosen members onto a device."""
    own = [key for key in settings.precision if not key.startswith(VLM_PREFIX)]
    stacked = {key: settings.empty(key, (len(chosen),), device) for key in own}
    distinct = sorted({sources[k] for k in chosen})
    vlm_targets = [
        {key: settings.empty(key, (), device) for key in settings.precision if key.startswith(VLM_PREFIX)}
        for _ in distinct
    ]
    jobs = [(files[source].vlm_weights, targets) for source, targets in zip(distinct, vlm_targets, strict=True)]
    jobs += [(files[k].weights, {key: stacked[key][row] for key in own}) for row, k in enumerate(chosen)]
    hashes = list(pool.map(lambda job: job[0].read(job[1]), jobs))
    vlms = []
    for file, targets in jobs:
        _check_finite(targets, file)
    for targets in vlm_targets:
        policy = copy.deepcopy(skeleton)
        place_parameters(policy, targets)
        move_buffers(policy, device)
        vlms.append(policy)
    return LoadedEnsemble(
        names=tuple(files[k].name for k in chosen),
        vlms=tuple(vlms),
        vlm_of_member=tuple(distinct.index(sources[k]) for k in chosen),
        experts=stacked,
        hashes=tuple(hashes[len(distinct) :]),
        vlm_hashes=tuple(hashes[: len(distinct)]),
        preprocessor=pipelines[0],
        postprocessor=pipelines[1],
        device=device,
        cameras=files[0].cameras,
    )


def _check_finite(targets: dict[str, Tensor], file: WeightFile) -> None:
    key = not_finite(targets)
    if key is not None:
        raise ModelError(f"{file.path}: '{key}' has values that are not finite")
