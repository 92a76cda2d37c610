"""Reads a LeRobotDataset into memory as a policy sees it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.processor_smolvla import make_smolvla_pre_post_processors
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from salus_vla.contract import CAMERAS, RESERVED_FROM
from salus_vla.contract.errors import TrainingError
from salus_vla.data.lerobot.dataset_images import resize
from salus_vla.data.lerobot.dataset_info import CUBE_KEY, PROFILE, RECOVERY, SEED, WEIGHT
from salus_vla.data.lerobot.robot_fit import HardlyMoving, check_fits, check_values, with_floor
from salus_vla.learning.training.batches import Frames
from salus_vla.learning.training.stages import CUBE_DIM
from salus_vla.policies.registry import expand_members
from salus_vla.policies.smolvla.features import ACTION_KEY, STATE_DIM, STATE_KEY, image_key
from salus_vla.policies.smolvla.loading.instruction import InstructionReader
from salus_vla.policies.smolvla.loading.lerobot_logging import quiet_lerobot
from salus_vla.policies.smolvla.loading.member_files import NO_RENAME, member_folder, read_member_files
from salus_vla.policies.smolvla.loading.processors import load_processors, normalisation

_SHORT = 16  # frames that one item of the loader reads
Statistics = dict[str, dict[str, Tensor]]


def open_dataset(folder: Path, *, any_names: bool = False, names: Mapping[str, str] = NO_RENAME) -> LeRobotDataset:
    """Opens a data set without a network, and checks that it is one of this robot before any image is decoded.

    Args:
        folder: of the data set.
        any_names: see `check_fits`.
        names: key of a camera of this robot -> key in the data set, where that differs.

    Raises:
        TrainingError: no LeRobotDataset v3, or it cannot be read.
        DatasetError: it is not one of this robot, or has values that nothing can be learned from; see `robot_fit`.
    """
    if not (folder / "meta" / "info.json").is_file():
        raise TrainingError(f"--data {folder}: is not a LeRobotDataset (meta/info.json is missing)")
    try:
        with quiet_lerobot():
            dataset = LeRobotDataset(f"local/{folder.name}", root=folder)
    except Exception as error:  # LeRobot, datasets and pyarrow raise what they like on damaged files
        raise TrainingError(f"--data {folder}: cannot be read ({type(error).__name__}: {error})") from error
    where = f"--data {folder}"
    check_fits(where, dataset.features, dataset.fps, dataset.meta.robot_type, any_names=any_names, cameras=names)
    numbers = [key for key in (STATE_KEY, ACTION_KEY, CUBE_KEY) if key in dataset.features]
    try:
        columns = dataset.hf_dataset.select_columns([*numbers, "episode_index"]).with_format("numpy")[:]
    except Exception as error:
        raise TrainingError(f"{where}: cannot be read ({type(error).__name__}: {error})") from error
    check_values(where, {key: columns[key] for key in numbers}, columns["episode_index"])
    return dataset


def statistics(dataset: LeRobotDataset) -> Statistics:
    """Mean and standard deviation of state and action, with which they are normalised.

    A deviation is `SMALLEST_DEVIATION` at least; `hardly_moving` names the dimensions that this concerns.

    Raises:
        TrainingError: there are none, or they are not finite; names the file and the key.
    """
    return {
        key: {
            "mean": torch.as_tensor(mean, dtype=torch.float32),
            "std": torch.as_tensor(with_floor(key, mean, std)[0], dtype=torch.float32),
        }
        for key, (mean, std) in _stored_statistics(dataset).items()
    }


def hardly_moving(dataset: LeRobotDataset) -> list[HardlyMoving]:
    """Dimensions of state and action that are normalised with more than their own deviation."""
    return [item for key, (mean, std) in _stored_statistics(dataset).items() for item in with_floor(key, mean, std)[1]]


def _stored_statistics(dataset: LeRobotDataset) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    stats, found = dataset.meta.stats or {}, {}
    for key in (STATE_KEY, ACTION_KEY):
        values = []
        for name in ("mean", "std"):
            value = np.asarray(stats.get(key, {}).get(name, ()), dtype=np.float64)
            if value.shape != (STATE_DIM,) or not np.isfinite(value).all():
                raise TrainingError(
                    f"{dataset.root}/meta/stats.json: {key}.{name} is {value.tolist()}, expected {STATE_DIM} finite "
                    "numbers; the statistics are not of these data"
                )
            values.append(value)
        found[key] = (values[0], values[1])
    return found


def read_frames(
    dataset: LeRobotDataset,
    config: SmolVLAConfig,
    stats: Statistics,
    *,
    cameras: Sequence[str] = CAMERAS,
    names: Mapping[str, str] = NO_RENAME,
    cut_task: bool = False,
    workers: int = 0,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Frames:
    """Reads all frames.

    Args:
        dataset: of this robot.
        config: of the policy: the side of its images, how it normalises and tokenizes.
        stats: with which state and action are normalised.
        cameras: of this robot, in the order in which the policy sees them.
        names: as `open_dataset`.
        cut_task: accept instructions of which the policy reads only the beginning.
        workers: processes that decode images; 0 decodes in this one.
        progress: gets the frames read so far and their number.

    Raises:
        ModelError: an instruction is longer than the policy reads.
        TrainingError: a frame cannot be decoded.
    """
    preprocessor, _ = make_smolvla_pre_post_processors(config, stats)
    reads = InstructionReader.of(preprocessor, cut=cut_task)
    for task in tasks_of(dataset):
        reads.check(task)
    side = (config.resize_imgs_with_padding or (0,))[0]
    count = dataset.num_frames
    keys = [names.get(image_key(camera), image_key(camera)) for camera in cameras]
    reader = _Reader(dataset, side, keys)
    loader = DataLoader(reader, batch_size=None, num_workers=workers)
    images = torch.empty(count, len(cameras), 3, side, side, dtype=torch.uint8)
    columns: dict[str, list[Tensor]] = {}
    tasks: list[str] = []
    done = 0
    for item in loader:
        size = len(item["images"])
        images[done : done + size] = item["images"]
        tasks += item["task"]
        for key in (STATE_KEY, ACTION_KEY, "episode_index", CUBE_KEY):
            if key in item:
                columns.setdefault(key, []).append(item[key])
        done += size
        progress(done, count)
    joined = {key: torch.cat(parts) for key, parts in columns.items()}
    prepared = preprocessor({STATE_KEY: joined[STATE_KEY], ACTION_KEY: joined[ACTION_KEY], "task": tasks})
    return Frames(
        images=images,
        state=prepared[STATE_KEY],
        action=prepared[ACTION_KEY],
        tokens=prepared["observation.language.tokens"],
        valid=prepared["observation.language.attention_mask"].bool(),
        episode=joined["episode_index"],
        cube=_cube(joined[CUBE_KEY]) if CUBE_KEY in joined else None,
        state_std=stats[STATE_KEY]["std"],
        weight=_weights(dataset, joined["episode_index"]),
    )


def tasks_of(dataset: LeRobotDataset) -> list[str]:
    """The instructions of a data set, each once."""
    rows = dataset.meta.episodes
    return sorted({str(task) for tasks in rows["tasks"] for task in tasks}) if rows is not None else []


def _weights(dataset: LeRobotDataset, episode: Tensor) -> Tensor | None:
    """Weight of each frame, (N,); None where the data set says none."""
    rows = dataset.meta.episodes
    if rows is None or WEIGHT not in rows.column_names:
        return None
    weights = torch.tensor([float(weight) for weight in rows[WEIGHT]], dtype=torch.float64)
    if not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()) or not float(weights.sum()) > 0:
        raise TrainingError(f"--data {dataset.root}: {WEIGHT} must be 0 or more, and above 0 somewhere")
    return None if bool((weights == weights[0]).all()) else weights[episode]


def statistics_of(model: str, *, rename: Mapping[str, str] = NO_RENAME) -> Statistics:
    """The statistics that a trained policy normalises with: who continues it must keep them.

    Args:
        model: a model folder, whose members have the same, or a member's folder.
        rename: see `read_member_files`.

    Raises:
        ModelError: it is none, or its pipelines are broken.
    """
    name = expand_members([model])[0]
    folder = member_folder(name)
    files = read_member_files(name, folder, "cpu", rename=rename)
    pre, post = load_processors(folder, str(files.config.vlm_model_name), "cpu")
    found = {STATE_KEY: normalisation(pre)[STATE_KEY], ACTION_KEY: normalisation(post)[ACTION_KEY]}
    return {key: {name: found[key][name].float() for name in ("mean", "std")} for key in found}


class _Reader(Dataset[dict[str, Any]]):
    """Some frames at a time, images as the policy sees them, of these keys in this order."""

    def __init__(self, dataset: LeRobotDataset, side: int, keys: Sequence[str]) -> None:
        self._dataset, self._side, self._keys = dataset, side, tuple(keys)

    def __len__(self) -> int:
        return -(-self._dataset.num_frames // _SHORT)

    def __getitem__(self, index: int) -> dict[str, Any]:
        frames = range(index * _SHORT, min((index + 1) * _SHORT, self._dataset.num_frames))
        try:
            items = [self._dataset[i] for i in frames]
        except Exception as error:
            raise TrainingError(f"{self._dataset.root}: frame {frames.start} cannot be read ({error})") from error
        images = torch.stack([torch.stack([self._image(item[key]) for key in self._keys]) for item in items])
        read: dict[str, Any] = {"images": images, "task": [item["task"] for item in items]}
        for key in (STATE_KEY, ACTION_KEY, "episode_index", CUBE_KEY):
            if key in items[0]:
                read[key] = torch.stack([torch.as_tensor(item[key]) for item in items])
        return read

    def _image(self, image: Tensor) -> Tensor:
        """Float (3, h, w) in [0, 1] as LeRobot gives it -> uint8 (3, side, side)."""
        pixels = (image * 255.0).round().to(torch.uint8)
        if pixels.shape[1:] == (self._side, self._side):
            return pixels
        resized = resize(pixels.permute(1, 2, 0).contiguous().numpy(), self._side)
        return torch.from_numpy(resized).permute(2, 0, 1)


def _cube(poses: Tensor) -> Tensor:
    """Poses x y z qx qy qz qw (N, 7) -> position and the yaw of a shape with four equal sides, normalised (N, 5)."""
    x, y, z, w = poses[:, 3:].double().unbind(1)
    yaw = torch.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    described = torch.stack([*poses[:, :3].double().unbind(1), torch.cos(4 * yaw), torch.sin(4 * yaw)], dim=1)
    assert described.shape[1] == CUBE_DIM
    return ((described - described.mean(0)) / described.std(0).clamp_min(1e-6)).float()


def fingerprint(dataset: LeRobotDataset) -> str:
    """Tells data sets apart wherever they lie: 16 hex digits of metadata, statistics and episodes."""
    digest = hashlib.sha256()
    for name in ("info.json", "stats.json"):
        digest.update((dataset.root / "meta" / name).read_bytes())
    rows = dataset.meta.episodes
    for name in ("length", "tasks", WEIGHT, SEED, PROFILE):
        if rows is not None and name in rows.column_names:
            digest.update(json.dumps([name, list(rows[name])]).encode())
    return digest.hexdigest()[:16]


def describe(dataset: LeRobotDataset) -> dict[str, object]:
    """What a model's card says about its data.

    Raises:
        TrainingError: an episode's seed is reserved.
    """
    described: dict[str, object] = {
        "episodes": dataset.num_episodes,
        "frames": dataset.num_frames,
        "fingerprint": fingerprint(dataset),
    }
    rows = dataset.meta.episodes
    if rows is not None and {SEED, PROFILE} <= set(rows.column_names):
        seeds = [int(seed) for seed in rows[SEED]]
        if max(seeds) >= RESERVED_FROM:
            raise TrainingError(
                f"--data {dataset.root}: has an episode of seed {max(seeds)}; seeds from {RESERVED_FROM} on are "
                "reserved for acceptance, nothing may learn from them"
            )
        described |= {"seeds": [min(seeds), max(seeds)], "profiles": sorted(set(rows[PROFILE]))}
        if RECOVERY in rows.column_names:
            described["recoveries"] = sum(map(bool, rows[RECOVERY]))
    return described
