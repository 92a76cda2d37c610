"""A training from data set to model folder: which policy it begins with, its two stages, what it keeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from safetensors.torch import load_file

from salus_vla.config.scene import load_scene
from salus_vla.contract.errors import TrainingError
from salus_vla.learning.training.batches import Batches, Frames, bootstrap, split
from salus_vla.learning.training.save_ensemble import load_trained, save_ensemble
from salus_vla.learning.training.stages import ExpertsStage, VlmStage
from salus_vla.learning.training.trainer import Metrics, Trainer
from salus_vla.learning.training.training_data import Statistics
from salus_vla.learning.training.training_settings import TrainSettings
from salus_vla.policies.registry import expand_members
from salus_vla.policies.smolvla.cameras import CameraNames
from salus_vla.policies.smolvla.init.model_init import VLM_FOLDER, policy_config
from salus_vla.policies.smolvla.init.vlm_folder import write_vlm_folder
from salus_vla.policies.smolvla.init.vlm_sizes import SIZES
from salus_vla.policies.smolvla.loading.checkpoint import quiet_lerobot
from salus_vla.policies.smolvla.loading.member_files import NO_RENAME, member_folder, read_member_files
from salus_vla.policies.smolvla.loading.weights import content_hash

SETTINGS_FILE = "train.json"


@dataclass(frozen=True)
class Place:
    """Where a training writes.

    Attributes:
        out: folder of the training.
    """

    out: Path

    def stage(self, name: str) -> Path:
        """Checkpoint and metrics of a stage."""
        return self.out / name

    def model(self, stage: str) -> Path:
        """Model folder that a stage ends with: one policy of `vlm`, the ensemble of `experts`."""
        return self.out / ("policy" if stage == "vlm" else "model")


def begin_policy(out: Path, size: str, seed: int) -> SmolVLAPolicy:
    """A policy with new weights, in fp32 on the CPU; its VLM's configuration goes to OUT/`VLM_FOLDER`.

    Raises:
        TrainingError: the size is not known.
    """
    if size not in SIZES:
        raise TrainingError(f"--size {size}: expected one of {', '.join(SIZES)}")
    folder = out / VLM_FOLDER
    if not folder.is_dir():
        write_vlm_folder(folder, SIZES[size])
    config = policy_config(size, folder, load_scene())
    with quiet_lerobot(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SmolVLAPolicy(config).float()


def begin_from(name: str, *, rename: Mapping[str, str] = NO_RENAME) -> SmolVLAPolicy:
    """A policy that was trained before: a member's folder, the folder of a model, or a Hub name; in fp32 on the CPU.

    Raises:
        ModelError: it cannot be loaded.
    """
    return load_trained(name, rename=rename).float()


def camera_names(name: str, *, rename: Mapping[str, str] = NO_RENAME) -> CameraNames:
    """Which image of a model that is trained on each camera of this robot is.

    Raises:
        ModelError: its files are broken, or cameras remain without an image.
    """
    member = expand_members([name])[0]
    return read_member_files(member, member_folder(member), "cpu", rename=rename).cameras


def origin(name: str, *, rename: Mapping[str, str] = NO_RENAME) -> str:
    """What a model's card says of the policy that its training began with: a folder is told by its weights.

    Raises:
        ModelError: the folder's files are broken.
    """
    members = [Path(member) for member in expand_members([name])]
    if name.startswith("builtin:") or not all(member.is_dir() for member in members):
        return name
    files = [read_member_files(str(member), member, "cpu", rename=rename) for member in members]
    return f"members {', '.join(content_hash(load_file(item.weights.path)) for item in files)}"


def begin_members(name: str, *, rename: Mapping[str, str] = NO_RENAME) -> list[SmolVLAPolicy]:
    """Every member of a model, in fp32 on the CPU, on one VLM: each goes on from its own weights.

    Raises:
        ModelError: one cannot be loaded.
        TrainingError: the model has one member only, or members with different VLMs.
    """
    members = [load_trained(member, rename=rename).float() for member in expand_members([name])]
    if len(members) < 2:
        raise TrainingError(f"--keep-members: {name} has no members to keep, expected a model folder")
    first = members[0].model.vlm_with_expert
    values = first.vlm.state_dict()
    for number, member in enumerate(members[1:], 1):
        own = member.model.vlm_with_expert.vlm.state_dict()
        if own.keys() != values.keys() or not all(torch.equal(own[key], values[key]) for key in values):
            raise TrainingError(f"--keep-members: member {number} of {name} has another VLM than member 0")
        member.model.vlm_with_expert.vlm = first.vlm
    return members


def run_stage(
    policy: SmolVLAPolicy | list[SmolVLAPolicy],
    frames: Frames,
    stats: Statistics,
    settings: TrainSettings,
    place: Place,
    accelerator: Accelerator,
    *,
    report: Callable[[Metrics], None],
    card: dict[str, object],
    rename: Mapping[str, str] = NO_RENAME,
    save_every: int,
    log_every: int,
    compiled: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Trains a stage, continuing what its folder holds, and keeps the policies it ends with.

    Args:
        policy: to begin with; of `begin_members`, each member goes on from its own.
        frames: of the whole data set.
        stats: with which they were normalised.
        settings: of the stage.
        place: where to write.
        accelerator: device, precision and processes.
        report: gets each line of the metrics.
        card: what the model's manifest tells about its making.
        rename: `rename_map` of the pre-processors that are kept.
        save_every: steps between checkpoints.
        log_every: steps between lines.
        compiled: see `Trainer`.
        stop: asked after each step.

    Returns:
        Whether the stage is complete; a model folder is written only then.

    Raises:
        TrainingError: data, settings and checkpoint do not go together, or the loss is not finite.
    """
    folder = place.stage(settings.stage)
    folder.mkdir(parents=True, exist_ok=True)
    frames = _placed(frames, accelerator.device)
    learned, kept_back = split(frames.episodes, settings.held_out, settings.seed)
    if not learned:
        raise TrainingError("no episode is left to learn from; give more episodes or a smaller --held-out")
    horizon = (policy[0] if isinstance(policy, list) else policy).config.chunk_size
    training = Batches(frames, learned, horizon, settings.seed)
    held_out = Batches(frames, kept_back, horizon, settings.seed)
    stage = _make_stage(policy, frames, learned, settings)
    trainer = Trainer(stage, training, held_out, settings, folder, accelerator, compiled=compiled)
    if not trainer.train(report, every=log_every, save_every=save_every, stop=stop):
        return False
    held_out_loss = trainer.measure()
    trainer.use_average()
    if accelerator.is_main_process:
        settings_of_run = {
            **card,
            "stage": settings.model_dump(),
            "held_out_loss": held_out_loss,
            "held_out_episodes": kept_back,
        }
        vlm = place.out / VLM_FOLDER  # only of a training that began with new weights
        save_ensemble(
            place.model(settings.stage),
            stage.policies(),
            stats,
            vlm if vlm.is_dir() else None,
            settings_of_run,
            rename=rename,
        )
    accelerator.wait_for_everyone()
    return True


def check_continues(out: Path, settings_of_run: dict[str, object], *, resume: bool) -> None:
    """Writes what a training is made with, or compares it with what OUT was begun with.

    Raises:
        TrainingError: OUT is in use, or was begun with something else; names the option.
    """
    path = out / SETTINGS_FILE
    if out.exists() and any(out.iterdir()):
        if not resume:
            raise TrainingError(
                f"--out {out}: exists and is not empty; give --resume to continue it, or another folder"
            )
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"{path}: cannot be read ({error}); {out} holds no training") from error
        for name, value in settings_of_run.items():
            if name == "data" and name not in before:
                continue  # a training from before it was noted
            if before.get(name) != value:
                what = "a data set with other episodes, fingerprint" if name == "data" else f"--{name}"
                raise TrainingError(f"{path}: was begun with {what} {before.get(name)}, asked for now is {value}")
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings_of_run, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"--out {out}: cannot be written ({error})") from error


def member_seeds(seed: int, members: int) -> list[int]:
    """Seeds of the members' weights."""
    return [1_000 * (seed + 1) + member for member in range(members)]


def _placed(frames: Frames, device: torch.device) -> Frames:
    """On the GPU where at most half of its free memory is taken: putting batches together costs nothing there."""
    if device.type == "cuda" and frames.size < 0.5 * torch.cuda.mem_get_info(device)[0]:
        return frames.to(device)
    return frames


def _make_stage(
    policy: SmolVLAPolicy | list[SmolVLAPolicy], frames: Frames, learned: list[int], settings: TrainSettings
) -> VlmStage | ExpertsStage:
    if settings.stage == "vlm":
        assert isinstance(policy, SmolVLAPolicy)
        return VlmStage(policy, draws=settings.draws, auxiliary=settings.auxiliary if frames.cube is not None else 0.0)
    counts = bootstrap(learned, settings.members, settings.seed)
    weights = torch.zeros(settings.members, int(frames.episode.max()) + 1)
    weights[:, torch.tensor(learned)] = torch.from_numpy(counts).float()
    episode = frames.episode.cpu()
    per_frame = weights[:, episode]
    # Held-out frames count once for every member, or nothing could be measured on them.
    per_frame[:, ~torch.isin(episode, torch.tensor(learned))] = 1.0
    if isinstance(policy, list):
        return ExpertsStage.of(policy, draws=settings.draws, weights=per_frame)
    seeds = member_seeds(settings.seed, settings.members)
    return ExpertsStage(policy, draws=settings.draws, seeds=seeds, fresh=settings.fresh, weights=per_frame)
