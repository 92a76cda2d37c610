"""What a training keeps: a model folder whose members share one VLM, which is stored once.

    MODEL/salus_model.json   the members, and what the training tells about itself
    MODEL/vlm/               the VLM as transformers reads it: configuration, tokenizer, weights
    MODEL/member_k/          a LeRobot policy without its VLM: `load_vlm_weights` and `vlm_model_name` name the folder

Everything is stored in bf16, and no file has a path of the machine it was made on.
"""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoConfig

from salus_vla.config.policy_options import MANIFEST
from salus_vla.contract.errors import ModelError
from salus_vla.policies.registry import expand_members
from salus_vla.policies.smolvla.init.model_init import VLM_FOLDER, member_names, save_member
from salus_vla.policies.smolvla.loading.checkpoint import load_member, quiet_lerobot
from salus_vla.policies.smolvla.loading.compatibility import vlm_differences
from salus_vla.policies.smolvla.loading.member_files import NO_RENAME, VLM_PREFIX, WEIGHTS, member_folder
from salus_vla.policies.smolvla.loading.weights import not_finite

_COPIED = (".json", ".txt", ".model", ".jinja")  # configuration and tokenizer; an index of weights is left out


def save_ensemble(
    folder: Path,
    policies: Sequence[SmolVLAPolicy],
    stats: dict[str, dict[str, Tensor]],
    vlm_folder: Path | None,
    metadata: Mapping[str, object],
    *,
    rename: Mapping[str, str] = NO_RENAME,
) -> None:
    """Writes a model folder, the same bytes for the same arguments.

    Args:
        folder: where to; a model folder that is there is replaced, any other folder in use is left alone.
        policies: the members, which have the same VLM; on any device and in any precision. They are not changed.
        stats: `mean` and `std` of `observation.state` and `action`, with which the members were trained.
        vlm_folder: has the configuration and the tokenizer of the VLM; None takes the policies' own.
        metadata: goes into the manifest, beside `members` and `trained`.
        rename: `rename_map` of their pre-processors.

    Raises:
        ModelError: no policies, different VLMs, values that are not finite, a VLM folder that does not fit the
            policies, something in the manifest that JSON does not have, a folder in use or that cannot be written.
    """
    if not policies:
        raise ModelError(f"{folder}: no policies to keep, expected at least one")
    _check_replaceable(folder)
    manifest = _manifest(metadata, len(policies), folder)
    vlm, experts = _split(policies)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Built beside its final place: a run that fails leaves an old model as it was, and no half of a new one.
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise ModelError(f"{folder} cannot be written: {error}") from error
    try:
        _write_vlm(partial / VLM_FOLDER, policies[0], vlm_folder, vlm)
        for policy, expert, name in zip(policies, experts, member_names(len(policies)), strict=True):
            _write_member(partial / name, policy, stats, expert, rename)
        (partial / MANIFEST).write_text(manifest, encoding="utf-8")
        partial.chmod(0o755)  # mkdtemp made it private
        _put(partial, folder)
    except (OSError, SafetensorError) as error:  # a full disk is the second
        raise ModelError(f"{folder} cannot be written: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_trained(name: str, *, rename: Mapping[str, str] = NO_RENAME) -> SmolVLAPolicy:
    """A policy on the CPU, in the precision that LeRobot gives it, trainable as LeRobot's constructor leaves it.

    Args:
        name: a member's folder, a model folder (its first member) or a Hub name.
        rename: see `read_member_files`.

    Raises:
        ModelError: it is none of these, or it cannot be loaded.
    """
    members = expand_members([name])
    if not members:
        raise ModelError(f"'{name}' names no policy; expected a member's folder, a model folder or a Hub name")
    policy = load_member(members[0], member_folder(members[0]), "cpu", rename=rename)
    for parameter in policy.parameters():  # loading is for inference
        parameter.requires_grad = True
    policy.model.vlm_with_expert.set_requires_grad()
    policy.model.set_requires_grad()
    return policy


def _check_replaceable(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        if not any(folder.iterdir()):
            return
        try:
            members = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["members"]
        except (OSError, ValueError, KeyError, TypeError):
            members = None
        if isinstance(members, list):
            return
    elif not folder.exists() and not folder.is_symlink():
        return
    raise ModelError(f"{folder} exists and is not a model folder ({MANIFEST} with 'members'); it is left alone")


def _manifest(metadata: Mapping[str, object], members: int, folder: Path) -> str:
    content = {**metadata, "members": member_names(members), "trained": True}
    try:
        return json.dumps(content, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ModelError(f"{folder / MANIFEST}: cannot be written as JSON: {error}") from error


def _split(policies: Sequence[SmolVLAPolicy]) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """The VLM that all policies have, under its own names, and what is each policy's own; bf16 on the CPU."""
    vlm = {key: value for key, value in policies[0].state_dict().items() if key.startswith(VLM_PREFIX)}
    experts = []
    for k, policy in enumerate(policies):
        state = policy.state_dict()
        for key, value in vlm.items():
            other = state.get(key)
            same = other is not None and (other is value or other.data_ptr() == value.data_ptr())
            if not same and (other is None or not torch.equal(other.to(value.device), value)):
                raise ModelError(
                    f"policy {k} has another VLM than policy 0 ('{key}'); the members of a model share one"
                )
        experts.append(_stored({key: value for key, value in state.items() if not key.startswith(VLM_PREFIX)}))
        _check_finite(experts[k], k)
    stored = _stored(vlm)
    _check_finite(stored, 0)
    return {key.removeprefix(VLM_PREFIX): value for key, value in stored.items()}, experts


def _stored(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as they are stored; one that stands there under two names is stored under the first."""
    found: dict[tuple[int, torch.Size], str] = {}
    for key, value in state.items():
        found.setdefault((value.data_ptr(), value.shape), key)
    return {key: state[key].detach().to("cpu", torch.bfloat16).contiguous() for key in found.values()}


def _check_finite(tensors: Mapping[str, Tensor], k: int) -> None:
    key = not_finite(tensors)
    if key is not None:
        raise ModelError(f"policy {k}: '{key}' has values that are not finite; it is not kept")


def _write_vlm(folder: Path, policy: SmolVLAPolicy, source: Path | None, weights: dict[str, Tensor]) -> None:
    folder.mkdir()
    both = policy.model.vlm_with_expert
    if source is None:
        with quiet_lerobot():
            both.config.save_pretrained(folder)
            both.processor.save_pretrained(folder)
    else:
        _check_fits(source, policy)
        for file in sorted(source.iterdir()):
            if file.suffix in _COPIED and not file.name.endswith(".index.json"):
                shutil.copyfile(file, folder / file.name)
    # A policy may use fewer layers of its VLM than there are; only those are stored.
    path = folder / "config.json"
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    config["text_config"]["num_hidden_layers"] = both.num_vlm_layers
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def _check_fits(vlm_folder: Path, policy: SmolVLAPolicy) -> None:
    path = vlm_folder / "config.json"
    if not path.is_file():
        raise ModelError(f"{path} is missing; expected the configuration and the tokenizer of the policies' VLM")
    try:
        config = AutoConfig.from_pretrained(vlm_folder)
    except Exception as error:  # transformers and json raise their own
        raise ModelError(f"{path}: {type(error).__name__}: {error}") from error
    for key, found, expected in vlm_differences(config.to_dict(), policy.model.vlm_with_expert.config.to_dict()):
        raise ModelError(f"{path}: '{key}' is {found}, the policies have {expected}")


def _write_member(
    folder: Path,
    policy: SmolVLAPolicy,
    stats: dict[str, dict[str, Tensor]],
    weights: dict[str, Tensor],
    rename: Mapping[str, str],
) -> None:
    # The same modules with a configuration of their own: the training's device is nobody else's business.
    shell = copy.copy(policy)
    shell.config = copy.deepcopy(policy.config)
    shell.config.device = "cpu"
    shell.config.load_vlm_weights = True
    shell.config.pretrained_path = None
    shell.config.push_to_hub = False
    on_cpu = {key: {name: value.detach().cpu() for name, value in group.items()} for key, group in stats.items()}
    save_member(shell, on_cpu, folder, weights, rename=rename)


def _put(partial: Path, folder: Path) -> None:
    """Renames a finished folder to its place; the one that is there is gone only after that."""
    if not folder.exists():
        partial.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    try:
        folder.rename(old / "model")
        try:
            partial.rename(folder)
        except OSError:
            (old / "model").rename(folder)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
