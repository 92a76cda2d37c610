"""One episode from its recording to what is written; what takes time, so it runs in worker processes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import CAMERAS
from salus_vla.contract.errors import DatasetError, RecordingError
from salus_vla.contract.types import FloatArray, ImageArray
from salus_vla.data.bags.recorded_observations import HALF_FRAME_NS
from salus_vla.data.lerobot.actions import IncompleteEpisodeError, check_spacing, commanded_actions, planned_actions
from salus_vla.data.lerobot.dataset_images import count_values, encode_png, encode_video, resize
from salus_vla.data.lerobot.dataset_info import EXPERT_STATE_KEY, PREFIX_PARTS_KEY
from salus_vla.data.recording import Decisions, Episode, JointTrack, Part, PoseTrack, Summary

COMMANDED, PLANNED = "commanded", "planned"


@dataclass(frozen=True)
class Options:
    """What is made of a recording.

    Attributes:
        action: `commanded`, what the arm was told, or `planned`, what the policy wanted.
        image_size: side of the stored images [px]; None keeps them as recorded.
        video: store video instead of PNG.
        ground_truth: store where the cube was, for losses that only training has.
        states: store the hidden states of the policy that decided.
        only: take what this policy did, from its takeover on, and nothing of others; everything when empty.
    """

    action: str = COMMANDED
    image_size: int | None = None
    video: bool = False
    ground_truth: bool = False
    only: str = ""
    states: bool = False


@dataclass(frozen=True)
class Prepared:
    """An episode that is ready to be written: D decisions.

    Attributes:
        source: where it comes from.
        policy: who acted in it.
        recovery: it begins where another policy had brought the robot, and this one took over.
        state: 7 arm joints [rad] and gripper width [m], float32 (D, 8).
        action: absolute targets of the same, float32 (D, 8).
        cube: pose of the cube, x y z [m] and quaternion x y z w, float32 (D, 7); None when it was not asked for.
        states: name in the data set -> hidden state of the policy, float32 (D, size); empty when not asked for.
        recorded: camera -> height and width as recorded [px].
        stored: camera -> height and width as stored [px].
        pictures: camera -> D PNGs, or one MP4.
        values: camera -> how often each value is in each channel of the stored images before any loss, (3, 256).
    """

    source: Episode
    policy: str
    recovery: bool
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    cube: NDArray[np.float32] | None
    states: dict[str, NDArray[np.float32]]
    recorded: dict[str, tuple[int, int]]
    stored: dict[str, tuple[int, int]]
    pictures: dict[str, list[bytes]]
    values: dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class LeftOut:
    """An episode that is not complete, and why."""

    source: Episode
    reason: str


def prepare(source: Episode, options: Options) -> Prepared | LeftOut:
    """Reads an episode and encodes its images; holds the encoded ones and a few others in memory.

    The terminal observation is not part of it: no action follows it.

    Raises:
        RecordingError: the recording cannot be read; names bag or file.
        DatasetError: images cannot be stored as video.
    """
    try:
        return _prepare(source, options)
    except IncompleteEpisodeError as incomplete:
        return LeftOut(source, str(incomplete))


def _prepare(source: Episode, options: Options) -> Prepared:
    wanted = source.summary.decisions
    if wanted < 1:
        raise IncompleteEpisodeError("it has no decision")
    first_ns = _first_of(source.summary, options.only)
    planned = options.action == PLANNED
    needed = planned or options.states
    parts = {Part.IMAGES: True, Part.COMMANDS: True, Part.SIGNALS: needed, Part.GROUND_TRUTH: options.ground_truth}
    recording = source.open()
    recording.require(*(part for part, wanted_part in parts.items() if wanted_part))
    cameras = {camera: _Camera(camera, source, options) for camera in CAMERAS}
    seen: list[tuple[int, int, FloatArray]] = []
    before = 0
    for number, observation in islice(recording.observations(), wanted):
        if first_ns is not None and observation.stamp_ns < first_ns - HALF_FRAME_NS:
            before += 1
            continue
        seen.append((number, observation.stamp_ns, observation.state))
        for name, camera in cameras.items():
            camera.add(observation.images[name])
    if before + len(seen) < wanted:
        raise IncompleteEpisodeError(
            f"it has {before + len(seen)} observations that were decided on, expected {wanted}"
        )
    if not seen:
        raise IncompleteEpisodeError(f"{options.only} took over at the end and decided nothing")
    stamps_ns = np.array([stamp for _, stamp, _ in seen], dtype=np.int64)
    check_spacing(stamps_ns)
    action = commanded = _commanded(recording.commanded(), stamps_ns)
    if planned:
        action = _planned(recording.decisions(), [number for number, *_ in seen], commanded)
    return Prepared(
        source=source,
        policy=options.only or source.summary.policy,
        recovery=first_ns is not None,
        state=np.array([state for *_, state in seen], dtype=np.float32),
        action=action.astype(np.float32),
        cube=_cube_at(recording.cube(), stamps_ns) if options.ground_truth else None,
        states=_states(recording.decisions(), [number for number, *_ in seen]) if options.states else {},
        recorded={name: camera.recorded for name, camera in cameras.items()},
        stored={name: camera.stored for name, camera in cameras.items()},
        pictures={name: camera.close() for name, camera in cameras.items()},
        values={name: camera.values for name, camera in cameras.items()},
    )


def _first_of(summary: Summary, only: str) -> int | None:
    """Stamp from which on the wanted policy acted [ns]; None where it did all of the episode, or all is wanted.

    Raises:
        IncompleteEpisodeError: it did nothing in the episode.
    """
    if not only or summary.policy == only:
        return None
    if summary.taken_over_by != only:
        raise IncompleteEpisodeError(f"{only} did nothing in it, {summary.policy} acted throughout")
    return summary.taken_over_ns


def _commanded(commands: JointTrack, stamps_ns: NDArray[np.int64]) -> FloatArray:
    return commanded_actions(stamps_ns, commands.stamps_ns, commands.positions)


def _states(decisions: Decisions, numbers: list[int]) -> dict[str, NDArray[np.float32]]:
    """Hidden states of these decisions, each flat."""
    rows = {number: row for row, number in enumerate(decisions.numbers.tolist())}
    found: dict[str, NDArray[np.float32]] = {}
    for key, states in ((EXPERT_STATE_KEY, decisions.expert_state), (PREFIX_PARTS_KEY, decisions.prefix_parts)):
        if states is None:
            raise IncompleteEpisodeError("the hidden states of its policy were not recorded, or it has none")
        absent = [number for number in numbers if number not in rows]
        if absent:
            raise IncompleteEpisodeError(f"the state of decision {absent[0]} was not recorded")
        found[key] = states[[rows[number] for number in numbers]].reshape(len(numbers), -1)
    return found


def _planned(decisions: Decisions, numbers: list[int], commanded: FloatArray) -> FloatArray:
    plans = dict(zip(decisions.numbers.tolist(), decisions.planned, strict=True))
    absent = [number for number in numbers if number not in plans]
    if absent:
        raise IncompleteEpisodeError(f"the plan of decision {absent[0]} was not recorded")
    return planned_actions(np.stack([plans[number] for number in numbers]), commanded)


def _cube_at(cube: PoseTrack, stamps_ns: NDArray[np.int64]) -> NDArray[np.float32]:
    """Pose of the cube in the frame of each observation, (D, 7)."""
    known = cube.stamps_ns
    # An observation has the stamp of its first image, half a frame from the others at most.
    first = np.searchsorted(known, stamps_ns - HALF_FRAME_NS)
    found = known[np.minimum(first, len(known) - 1)] if len(known) else np.full_like(stamps_ns, -1)
    absent = np.abs(found - stamps_ns) > HALF_FRAME_NS
    if absent.any():
        raise IncompleteEpisodeError(f"the cube's pose of decision {int(absent.argmax())} was not recorded")
    poses: NDArray[np.float32] = cube.poses[first].astype(np.float32)
    return poses


class _Camera:
    """Takes the images of one camera in an episode."""

    def __init__(self, name: str, source: Episode, options: Options) -> None:
        self.recorded: tuple[int, int] = (0, 0)
        self.stored: tuple[int, int] = (0, 0)
        self.values = np.zeros((3, 256), dtype=np.int64)
        self._encoded: list[bytes] = []
        self._name, self._source, self._options = name, source, options

    def add(self, image: ImageArray) -> None:
        shape = (image.shape[0], image.shape[1])
        if self._encoded and shape != self.recorded:
            raise RecordingError(
                f"{self._source.path}: camera {self._name} changes its size from {self.recorded} to {shape}"
            )
        self.recorded = shape
        if self._options.image_size is not None:
            image = resize(image, self._options.image_size)
        self.stored = (image.shape[0], image.shape[1])
        if self._options.video and (self.stored[0] % 2 or self.stored[1] % 2):
            raise DatasetError(
                f"--video: camera {self._name} of {self._source.path} has {self.stored[1]} x {self.stored[0]} pixels, "
                "a video needs even sides; use --image-size"
            )
        self.values += count_values(image)
        self._encoded.append(encode_png(image))

    def close(self) -> list[bytes]:
        return [encode_video(self._encoded)] if self._options.video else self._encoded
