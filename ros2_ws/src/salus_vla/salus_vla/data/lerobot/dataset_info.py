"""What is in the folder of a data set, from its metadata; reads data sets of others too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, NonNegativeInt, PositiveInt, ValidationError

from salus_vla.contract import ARM_JOINTS
from salus_vla.contract.errors import DatasetError

# Columns of SALUS in meta/episodes, a row per episode: how it ended, the seed of scene and noise, the randomisation
# profile, what produced the actions, the id of the run and the name in it, whether it is a recovery (it begins where
# another policy had brought the robot), and the weight of its frames when they are learned from.
EPISODE_COLUMNS = (
    "salus/outcome",
    "salus/seed",
    "salus/profile",
    "salus/policy",
    "salus/run",
    "salus/episode",
    "salus/recovery",
    "salus/weight",
)
OUTCOME, SEED, PROFILE = EPISODE_COLUMNS[:3]
RECOVERY, WEIGHT = EPISODE_COLUMNS[6:]
# Pose of the cube, x y z and the quaternion. Not an observation: LeRobot gives no policy a key of this name.
CUBE_KEY = "ground_truth.red_cube"
# Hidden states of the policy that decided, flat; likewise no observation.
EXPERT_STATE_KEY, PREFIX_PARTS_KEY = "policy.expert_state", "policy.prefix_parts"
POSE_NAMES = ("x", "y", "z", "qx", "qy", "qz", "qw")
GRIPPER_WIDTH = "gripper_width"
VECTOR_NAMES = (*ARM_JOINTS, GRIPPER_WIDTH)  # of state and action
ROBOT_TYPE = "panda"

INFO_FILE = Path("meta/info.json")
EPISODES_FOLDER = Path("meta/episodes")


class Feature(BaseModel):
    """One column of the data, as LeRobot describes it."""

    dtype: str
    shape: tuple[NonNegativeInt, ...]


class _Info(BaseModel):
    """The part of meta/info.json that is shown."""

    codebase_version: str
    fps: PositiveInt
    total_episodes: NonNegativeInt
    total_frames: NonNegativeInt
    robot_type: str | None = None
    features: dict[str, Feature]


@dataclass(frozen=True)
class DatasetEpisode:
    """A row of meta/episodes; what SALUS adds is None in data sets of others."""

    frames: int
    tasks: tuple[str, ...]
    outcome: str | None
    seed: int | None
    profile: str | None
    recovery: bool | None = None
    weight: float | None = None


@dataclass(frozen=True)
class DatasetInfo:
    """A data set: version of the format, what it holds, and its size on disk [B]."""

    path: Path
    version: str
    fps: int
    robot_type: str | None
    features: dict[str, Feature]
    episodes: tuple[DatasetEpisode, ...]
    size: int

    @property
    def frames(self) -> int:
        """Frames of all episodes."""
        return sum(episode.frames for episode in self.episodes)


def read_info(path: Path) -> DatasetInfo:
    """Reads the metadata of a LeRobotDataset v3.

    Raises:
        DatasetError: `path` is none, or its metadata are damaged or contradict each other; names the file.
    """
    file = path / INFO_FILE
    try:
        info = _Info.model_validate_json(file.read_bytes())
    except OSError as error:
        raise DatasetError(f"{path}: is not a LeRobotDataset: {file} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(top level)"
        raise DatasetError(f"{file}: {key}: {first['msg']} (got {first['input']!r:.80})") from error
    if not info.codebase_version.startswith("v3."):
        raise DatasetError(f"{file}: codebase_version is {info.codebase_version!r}, expected v3.x")
    episodes = [episode for part in sorted((path / EPISODES_FOLDER).glob("*/*.parquet")) for episode in _read(part)]
    for name, listed, found in (
        ("total_episodes", info.total_episodes, len(episodes)),
        ("total_frames", info.total_frames, sum(episode.frames for episode in episodes)),
    ):
        if listed != found:
            raise DatasetError(f"{file}: {name} is {listed}, {path / EPISODES_FOLDER} has {found}")
    return DatasetInfo(
        path=path,
        version=info.codebase_version,
        fps=info.fps,
        robot_type=info.robot_type,
        features=info.features,
        episodes=tuple(episodes),
        size=sum(item.stat().st_size for item in path.rglob("*") if item.is_file()),
    )


def _read(file: Path) -> list[DatasetEpisode]:
    try:
        with pq.ParquetFile(file) as opened:
            present = set(opened.schema_arrow.names)
            wanted = [name for name in ("length", "tasks", OUTCOME, SEED, PROFILE, RECOVERY, WEIGHT) if name in present]
            rows: list[dict[str, Any]] = opened.read(columns=wanted).to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DatasetError(f"{file}: is damaged, or is not a parquet file ({error!s:.200})") from error
    try:
        return [
            DatasetEpisode(
                frames=int(row["length"]),
                tasks=tuple(row["tasks"]),
                outcome=row.get(OUTCOME),
                seed=row.get(SEED),
                profile=row.get(PROFILE),
                recovery=row.get(RECOVERY),
                weight=row.get(WEIGHT),
            )
            for row in rows
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{file}: a row lacks length or tasks ({error!r})") from error
