"""`salus model init`: real SmolVLA policies from local configuration, without a network.

Members share one VLM bit for bit and have action experts of their own, as members fine-tuned from one base with
`train_expert_only` do.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy, VLAFlowMatching
from lerobot.policies.smolvla.processor_smolvla import make_smolvla_pre_post_processors
from safetensors import SafetensorError

from salus_vla.config.policy_options import MANIFEST
from salus_vla.config.scene import Scene, load_scene
from salus_vla.contract import CAMERAS
from salus_vla.contract.errors import ModelError
from salus_vla.contract.types import ACTION_DIM
from salus_vla.policies.smolvla.features import ACTION_KEY, STATE_DIM, STATE_KEY, image_key
from salus_vla.policies.smolvla.init.vlm_folder import write_vlm_folder
from salus_vla.policies.smolvla.init.vlm_sizes import SIZES
from salus_vla.policies.smolvla.loading.checkpoint import quiet_lerobot
from salus_vla.policies.smolvla.loading.member_files import NO_RENAME

VLM_FOLDER = "vlm"

# Spread of an untrained policy's actions around the home pose: small enough that three sigma stay inside the joint
# limits of safety.md, large enough that the arm visibly moves.
_ARM_STD = 0.15  # rad
_GRIPPER_MEAN, _GRIPPER_STD = 0.06, 0.006  # m


def init_model(folder: Path, *, size: str, members: int, seed: int, scene: Scene | None = None) -> list[Path]:
    """Builds an ensemble of untrained SmolVLA policies, deterministic given the seed.

    Args:
        folder: where to build; it must not exist yet or be empty.
        size: `tiny` (0.35 M parameters, for tests), `compact` (6 M, for training) or `full` (450 M, that of
            `lerobot/smolvla_base`).
        members: number of members, at least 1.
        seed: seed of all weights; member k is the same whatever the number of members.
        scene: gives the camera size and home pose; the shipped one by default.

    Returns:
        The member folders, each a LeRobot checkpoint with its pre- and post-processor.

    Raises:
        ModelError: unknown size, a folder that is in use or cannot be written, a number of members below one.
    """
    if size not in SIZES:
        raise ModelError(f"--size {size}: expected one of {', '.join(SIZES)}")
    if members < 1:
        raise ModelError(f"--members {members}: expected at least 1")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ModelError(f"{folder} exists and is not an empty folder; give a new one or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Built beside its final place: a run that fails leaves no folder that looks like a model.
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _build(partial, size, members, seed, scene or load_scene())
        partial.chmod(0o755)  # mkdtemp made it private
        partial.rename(folder)  # replaces an empty folder; fails where another process was faster
    except (OSError, SafetensorError) as error:  # a full disk is the second
        raise ModelError(f"{folder} cannot be written: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [folder / name for name in member_names(members)]


def member_names(members: int) -> list[str]:
    """Folders of the members of a model."""
    return [f"member_{k}" for k in range(members)]


def _build(folder: Path, size: str, members: int, seed: int, scene: Scene) -> None:
    write_vlm_folder(folder / VLM_FOLDER, SIZES[size])
    config = policy_config(size, folder / VLM_FOLDER, scene)
    stats = _untrained_statistics(scene)
    # One stream of random numbers for everything, and the caller's own left as it was.
    with quiet_lerobot(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = SmolVLAPolicy(config)
        for name in member_names(members):
            for part in own_linears(policy.model):
                part.reset_parameters()
            save_member(policy, stats, folder / name)
    manifest = {"size": size, "members": member_names(members), "seed": seed, "trained": False}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def policy_config(size: str, vlm_folder: Path, scene: Scene) -> SmolVLAConfig:
    """LeRobot's configuration of a policy of this robot.

    Args:
        size: one of `SIZES`.
        vlm_folder: of `write_vlm_folder`.
        scene: gives the size of the cameras' images.
    """
    dimensions = SIZES[size]
    height, width = scene.cameras.height, scene.cameras.width
    return SmolVLAConfig(
        device="cpu",
        input_features={
            STATE_KEY: PolicyFeature(FeatureType.STATE, (STATE_DIM,)),
            **{image_key(camera): PolicyFeature(FeatureType.VISUAL, (3, height, width)) for camera in CAMERAS},
        },
        output_features={ACTION_KEY: PolicyFeature(FeatureType.ACTION, (ACTION_DIM,))},
        vlm_model_name=str(vlm_folder),
        load_vlm_weights=False,
        resize_imgs_with_padding=(dimensions.image_side, dimensions.image_side),
        num_vlm_layers=dimensions.text_layers,
        chunk_size=50 if size == "full" else 16,
        n_action_steps=50 if size == "full" else 16,
        num_steps=10 if size == "full" else 5,
        push_to_hub=False,
    )


def own_linears(model: VLAFlowMatching) -> Iterator[torch.nn.Linear]:
    """Linear maps of what is a member's own: the expert and the five projections."""
    own = [model.vlm_with_expert.lm_expert, model.state_proj, model.action_in_proj, model.action_out_proj]
    for module in [*own, model.action_time_mlp_in, model.action_time_mlp_out]:
        for part in module.modules():
            if isinstance(part, torch.nn.Linear):
                yield part


def _untrained_statistics(scene: Scene) -> dict[str, dict[str, torch.Tensor]]:
    mean = np.append(np.asarray(scene.robot.home), _GRIPPER_MEAN)
    std = np.append(np.full(len(scene.robot.home), _ARM_STD), _GRIPPER_STD)
    tensors = {"mean": torch.tensor(mean, dtype=torch.float32), "std": torch.tensor(std, dtype=torch.float32)}
    return {STATE_KEY: dict(tensors), ACTION_KEY: dict(tensors)}


def save_member(
    policy: SmolVLAPolicy,
    stats: dict[str, dict[str, torch.Tensor]],
    folder: Path,
    weights: dict[str, torch.Tensor] | None = None,
    *,
    rename: Mapping[str, str] = NO_RENAME,
) -> None:
    """Writes a member: LeRobot's checkpoint with its pre- and post-processor, the VLM's folder beside it.

    Args:
        policy: the member.
        stats: `mean` and `std` of state and action, with which it is normalised.
        folder: of the member; the VLM's folder is its sibling `VLM_FOLDER`.
        weights: what to store; all of the policy's by default.
        rename: `rename_map` of its pre-processor, from this robot's keys to the policy's.
    """
    policy.save_pretrained(folder, state_dict=weights)
    preprocessor, postprocessor = make_smolvla_pre_post_processors(policy.config, stats)
    preprocessor.steps[0].rename_map = dict(rename)
    preprocessor.save_pretrained(folder)
    postprocessor.save_pretrained(folder)
    # The VLM's folder is stored relative to the member, so that the whole model can be moved.
    relative = f"../{VLM_FOLDER}"
    _edit_json(folder / "config.json", lambda config: config.update(vlm_model_name=relative))
    _edit_json(folder / "policy_preprocessor.json", lambda pipeline: _set_tokenizer(pipeline, relative))


def _set_tokenizer(pipeline: dict[str, Any], name: str) -> None:
    for step in pipeline["steps"]:
        if step.get("registry_name") == "tokenizer_processor":
            step["config"]["tokenizer_name"] = name


def _edit_json(path: Path, edit: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
