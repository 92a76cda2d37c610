"""Episodes in files: one file per episode, complete or absent, and any damage to it is found (see `checksummed.py`).

The facts of an episode are JSON in the file's header, its arrays are tensors. The images of a camera are two of them:
compressed bytes, and where each image ends in these (see `image_codec.py`). The same episode gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from salus_vla.contract import ARM_DOF, JOINTS
from salus_vla.contract.errors import RecordingError
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import ACTION_DIM, FloatArray, ImageArray
from salus_vla.data.bags.run_records import RUN_FILE, RunRecord, read_record
from salus_vla.data.rollouts.checksummed import AnyArray, pack, read_checked, read_facts, unpack
from salus_vla.data.rollouts.image_codec import CompressedImages, compress
from salus_vla.safety.intervention.candidates import MOTIONS
from salus_vla.signals.safety_signals import NAMES

FORMAT = "salus-episode-1"
EPISODES = "episodes"  # folder in the run's folder
_EPISODE_FILE = re.compile(r"seed_(\d{6,})\.safetensors")

# Name -> type and shape: N observations, F commands, G = F + 1 frames, K members, P parts of the prefix.
_ARRAYS: dict[str, tuple[type[np.generic], tuple[str | int, ...]]] = {
    "stamps_ns": (np.int64, ("N",)),
    "joint_position": (np.float64, ("N", len(JOINTS))),
    "joint_velocity": (np.float64, ("N", len(JOINTS))),
    "planned": (np.float64, ("N", ACTION_DIM)),
    "command_stamps_ns": (np.int64, ("F",)),
    "commands": (np.float64, ("F", len(JOINTS))),
    "frame_position": (np.float64, ("G", len(JOINTS))),
    "cube_pose": (np.float64, ("G", 7)),
    "member_actions": (np.float32, ("N", "K", ARM_DOF)),
    "signals": (np.float32, ("N", len(NAMES))),
    "valid": (np.uint16, ("N",)),
}
# Not in files from before they were stored, nor where there is none: nobody may take over, no network decides.
_OPTIONAL: dict[str, tuple[type[np.generic], tuple[str | int, ...]]] = {
    "taken_over": (np.uint8, ("N",)),
    "holding": (np.uint8, ("G",)),
    "frame_velocity": (np.float32, ("G", len(JOINTS))),
    "frame_effort": (np.float32, ("G", len(JOINTS))),
    "expert_state": (np.float32, ("N", "E")),
    "prefix_parts": (np.float32, ("N", "P", "D")),
    "chosen": (np.uint8, ("N",)),
    "chosen_probability": (np.float32, ("N",)),
    "motion_failure": (np.float32, ("N", len(MOTIONS))),
}


@dataclass(frozen=True)
class StoredEvent:
    """Something that happened: its stamp, as those of `StoredEpisode` [ns], what in a word, and in words."""

    stamp_ns: int
    kind: str
    text: str


@dataclass(frozen=True)
class EpisodeSummary:
    """What is known of a finished episode without its arrays.

    Attributes:
        seed: of the scene and the policy's noise.
        profile: name of the randomisation profile.
        policy: the policy's source, as `policy_source` of a bag.
        task: instruction given to the policy.
        outcome: how it ended.
        decisions: periods of 100 ms that passed; the decision on the terminal observation is not counted.
        event: what ended it, in words.
        event_stamp_ns: when that was detected, as the stamps of `StoredEpisode` [ns].
        events: what happened before that, in order; empty in files from before they were stored.
        taken_over_ns: stamp of the first decision that another policy made, until the end [ns]; None when none did.
        taken_over_by, taken_over_when: source of that policy, and the condition that held; empty when none did.
    """

    seed: int
    profile: str
    policy: str
    task: str
    outcome: Outcome
    decisions: int
    event: str
    event_stamp_ns: int | None
    events: tuple[StoredEvent, ...] = field(default=(), kw_only=True)
    taken_over_ns: int | None = field(default=None, kw_only=True)
    taken_over_by: str = field(default="", kw_only=True)
    taken_over_when: str = field(default="", kw_only=True)


@dataclass(frozen=True, eq=False)
class StoredEpisode(EpisodeSummary):
    """A finished episode: N observations (the terminal one is the last) with their decisions, F commands, F + 1 frames.

    All stamps are sim time since the first observation: the simulator's clock goes on from episode to episode, so it
    depends on what ran before.

    Attributes:
        stamps_ns: of the observations, int64 (N,) [ns].
        joint_position: measured, (N, 9) [rad, m].
        joint_velocity: measured, (N, 9) [rad/s, m/s].
        planned: row 0 of the mean chunk, the target 100 ms after the stamp, (N, 8) [rad, m]; NaN where the policy's
            answer was not finite.
        command_stamps_ns: of the frames with a command, all but the terminal one, int64 (F,) [ns].
        commands: what the frames were answered with, (F, 9) [rad, m].
        frame_position: measured at each frame, (F + 1, 9) [rad, m].
        cube_pose: x, y, z [m] and quaternion x, y, z, w in the world at each frame, (F + 1, 7).
        member_actions: first row of each member's mean chunk, float32 (N, K, 7) [rad].
        signals: as `signals.NAMES`, float32 (N, 12).
        valid: bit i is 1 where signal i could be computed, uint16 (N,).
        images: camera -> N images, uint8 (height, width, 3), decoded at each access; empty in a run without images.
        taken_over: 1 for each decision that the other policy made, uint8 (N,); None in a run where nobody takes over.
        holding: 1 for each frame in which both fingers hold the cube, uint8 (F + 1,); None in files from before.
        frame_velocity: measured at each frame, float32 (F + 1, 9) [rad/s, m/s]; None in files from before.
        frame_effort: measured at each frame, float32 (F + 1, 9) [N m, N]; None in files from before.
        expert_state: see `PolicyOutput`, float32 (N, E); NaN for a decision of a policy without, None where all are.
        prefix_parts: see `PolicyOutput`, float32 (N, C + 1, D); likewise.
        chosen: what an intervention chose at each decision, uint8 (N,): place in `CHOICES`, 255 where nothing was
            weighed, as at the terminal observation. None in a run where nobody intervenes.
        chosen_probability: that it was drawn with, float32 (N,); 1 where it was not drawn.
        motion_failure: probability of failure with each of `MOTIONS`, float32 (N, 8); NaN where not weighed.
    """

    stamps_ns: NDArray[np.int64]
    joint_position: FloatArray
    joint_velocity: FloatArray
    planned: FloatArray
    command_stamps_ns: NDArray[np.int64]
    commands: FloatArray
    frame_position: FloatArray
    cube_pose: FloatArray
    member_actions: NDArray[np.float32]
    signals: NDArray[np.float32]
    valid: NDArray[np.uint16]
    images: Mapping[str, Sequence[ImageArray]] = field(default_factory=dict)
    taken_over: NDArray[np.uint8] | None = None
    holding: NDArray[np.uint8] | None = None
    frame_velocity: NDArray[np.float32] | None = None
    frame_effort: NDArray[np.float32] | None = None
    expert_state: NDArray[np.float32] | None = None
    prefix_parts: NDArray[np.float32] | None = None
    chosen: NDArray[np.uint8] | None = None
    chosen_probability: NDArray[np.float32] | None = None
    motion_failure: NDArray[np.float32] | None = None

    @property
    def frames_taken_over(self) -> NDArray[np.bool_]:
        """Which commands answer the other policy's plans, (F,): those from its first decision on."""
        if self.taken_over_ns is None:
            return np.zeros(len(self.command_stamps_ns), dtype=np.bool_)
        found: NDArray[np.bool_] = self.command_stamps_ns >= self.taken_over_ns
        return found

    @property
    def state(self) -> FloatArray:
        """Policy state of each observation: 7 arm joints [rad] and the gripper width [m], (N, 8)."""
        width = self.joint_position[:, ARM_DOF:].sum(axis=1, keepdims=True)
        return np.concatenate([self.joint_position[:, :ARM_DOF], width], axis=1)

    @property
    def frame_stamps_ns(self) -> NDArray[np.int64]:
        """Stamps of all frames, int64 (F + 1,) [ns]."""
        return np.append(self.command_stamps_ns, self.stamps_ns[-1])

    @property
    def summary(self) -> EpisodeSummary:
        """The same without the arrays."""
        return EpisodeSummary(**_fields(self))


@dataclass(frozen=True)
class StoredRun:
    """A run: its folder, its run.json (`arguments` are the settings), and its finished episodes by their seeds."""

    path: Path
    record: RunRecord
    by_seed: Mapping[int, Path]

    @property
    def episodes(self) -> tuple[Path, ...]:
        """Files of the finished episodes in the order of their seeds."""
        return tuple(self.by_seed.values())


_SUMMARY = TypeAdapter(EpisodeSummary)
_SHAPES = TypeAdapter(dict[str, tuple[int, int, int]])


def episode_file(seed: int) -> str:
    """Name of an episode's file: `seed_000042.safetensors`."""
    return f"seed_{seed:06d}.safetensors"


def is_rollout_run(path: Path) -> bool:
    """Whether `path` is the folder of a run made by `salus rollout`; a run of bags has no such episodes."""
    return (path / RUN_FILE).is_file() and (path / EPISODES).is_dir()


def read_run(path: Path) -> StoredRun:
    """Reads which episodes a run has; looks into none of them.

    Raises:
        RecordingError: `path` is not a run of `salus rollout`, or its run.json is wrong; names it.
    """
    if not is_rollout_run(path):
        raise RecordingError(f"{path}: is not a run of `salus rollout`: expected {RUN_FILE} and {EPISODES}/ in it")
    found = ((_EPISODE_FILE.fullmatch(file.name), file) for file in (path / EPISODES).iterdir())
    by_seed = {int(match[1]): file for match, file in found if match}
    return StoredRun(path, read_record(path / RUN_FILE, RunRecord), dict(sorted(by_seed.items())))


def read_episode(path: Path) -> StoredEpisode:
    """Reads an episode; its images stay compressed until they are asked for.

    Raises:
        RecordingError: the file cannot be read, is damaged, or is not an episode; names it.
    """
    return _episode(*read_checked(path), str(path))


def read_summary(path: Path) -> EpisodeSummary:
    """Reads the facts of an episode; checks the file's header and size, not the arrays.

    Raises:
        RecordingError: the file cannot be read, its header is damaged, or it is cut off; names it.
    """
    return _summary(read_facts(path), str(path))


def encode(episode: StoredEpisode, where: str) -> bytes:
    """The bytes of an episode's file.

    Raises:
        RecordingError: an array has another shape or type than `StoredEpisode` says; `where` names the episode.
    """
    try:
        images = {name: compress(pictures) for name, pictures in sorted(episode.images.items())}
    except RecordingError as error:
        raise RecordingError(f"{where}: {error}") from error
    arrays: dict[str, AnyArray] = {name: getattr(episode, name) for name in _ARRAYS}
    arrays |= {name: array for name in _OPTIONAL if (array := getattr(episode, name)) is not None}
    _check(arrays, images, where)
    for name, pictures in images.items():
        arrays[f"images.{name}.ends"] = np.cumsum([len(blob) for blob in pictures.blobs], dtype=np.int64)
        arrays[f"images.{name}.zstd"] = np.frombuffer(b"".join(pictures.blobs), dtype=np.uint8)
    shapes = {name: pictures.shape for name, pictures in images.items()}
    return pack({"format": FORMAT, "summary": asdict(episode.summary), "pictures": shapes}, arrays)


def decode(data: bytes, where: str) -> StoredEpisode:
    """The episode in the bytes of a file.

    Raises:
        RecordingError: they are damaged, or no episode; `where` names them.
    """
    return _episode(*unpack(data, where), where)


def _episode(facts: dict[str, Any], stored: dict[str, AnyArray], where: str) -> StoredEpisode:
    summary = _summary(facts, where)
    arrays: dict[str, Any] = {name: stored[name].copy() for name in (*_ARRAYS, *_OPTIONAL) if name in stored}
    try:
        shapes = _SHAPES.validate_python(facts.get("pictures"))
        images = {name: _pictures(stored, name, shape, where) for name, shape in shapes.items()}
    except (KeyError, ValueError) as error:  # pydantic's error is a ValueError
        raise RecordingError(f"{where}: its pictures are not what it says ({error!r:.200})") from error
    _check(arrays, images, where)
    return StoredEpisode(**_fields(summary), **arrays, images=images)


def _summary(facts: dict[str, Any], where: str) -> EpisodeSummary:
    if facts.get("format") != FORMAT:
        raise RecordingError(f"{where}: has format {facts.get('format')!r}, this version of SALUS reads {FORMAT!r}")
    try:
        return _SUMMARY.validate_python(facts.get("summary"))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "summary"
        raise RecordingError(f"{where}: {key}: {first['msg']} (got {first['input']!r:.80})") from error


def _fields(summary: EpisodeSummary) -> dict[str, Any]:
    return {item.name: getattr(summary, item.name) for item in fields(EpisodeSummary)}


def _pictures(stored: Mapping[str, AnyArray], name: str, shape: tuple[int, int, int], where: str) -> CompressedImages:
    ends = stored[f"images.{name}.ends"].tolist()
    data = memoryview(stored[f"images.{name}.zstd"])
    blobs = [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    return CompressedImages(shape, blobs, f"{where}: camera {name!r}")


def _check(arrays: Mapping[str, AnyArray], images: Mapping[str, CompressedImages], where: str) -> None:
    """Compares with `_ARRAYS`: a letter must stand for the same number everywhere."""
    sizes: dict[str | int, int] = {}
    for name, (kind, expected) in {**_ARRAYS, **_OPTIONAL}.items():
        array = arrays.get(name)
        if array is None and name in _OPTIONAL:
            continue
        if array is None:
            raise RecordingError(f"{where}: has no {name}")
        if array.ndim == len(expected):
            for letter, size in zip(expected, array.shape, strict=True):
                sizes.setdefault(letter, size)
            if "F" in sizes:
                sizes["G"] = sizes["F"] + 1
        wanted = tuple(sizes.get(letter, letter) if isinstance(letter, str) else letter for letter in expected)
        if array.dtype != kind or array.shape != wanted:
            raise RecordingError(f"{where}: {name} is {array.dtype} {array.shape}, expected {np.dtype(kind)} {wanted}")
    if sizes["N"] < 1:
        raise RecordingError(f"{where}: has no observation")
    for name, pictures in images.items():
        if len(pictures) != sizes["N"]:
            raise RecordingError(f"{where}: camera {name!r} has {len(pictures)} pictures, expected {sizes['N']}")
