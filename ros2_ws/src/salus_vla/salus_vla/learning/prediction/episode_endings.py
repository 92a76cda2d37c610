"""From a failure table to what the rules about causes look at."""

from __future__ import annotations

import numpy as np

from salus_vla.config.scene import Scene
from salus_vla.contract import ARM_DOF, FRAME_HZ, JOINTS
from salus_vla.contract.forward_kinematics import tool_poses
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import FloatArray
from salus_vla.data.failures.failure_table import FailureTable
from salus_vla.learning.prediction.failure_causes import Ending
from salus_vla.learning.prediction.hand_attempts import Attempt, Frames, attempts
from salus_vla.safety.prediction.decision_inputs import FRAMES
from salus_vla.simulation.variation import sample_variation, start_poses

_UNKNOWN_S = 0.1  # the table ends with the last decision, up to this long before the event


def endings(table: FailureTable, scene: Scene) -> list[Ending | None]:
    """How each of E episodes ended, the successes too; None where ground truth is missing.

    Args:
        table: of the episodes.
        scene: that they were made in: it says where the arm reaches, and when a seed shoves the cube.
    """
    episode = table.numbers["episode"]
    starts = np.flatnonzero(np.append(True, episode[1:] != episode[:-1]))
    ends = np.append(starts[1:], len(episode))
    return [_ending(table, slice(int(begin), int(end)), scene) for begin, end in zip(starts, ends, strict=True)]


def _ending(table: FailureTable, rows: slice, scene: Scene) -> Ending | None:
    joints, error, cube = (
        table.lists[name][rows].astype(np.float64).reshape(-1, size)
        for name, size in (("position", len(JOINTS)), ("error", len(JOINTS)), ("cube_in_tool", 3))
    )
    held, decisions = table.lists["held"][rows].reshape(-1), table.times["time_s"][rows]
    time = decisions.repeat(FRAMES) + np.tile(np.arange(1 - FRAMES, 1) / FRAME_HZ, len(decisions))
    known = np.isfinite(joints).all(axis=1) & np.isfinite(held) & np.isfinite(cube).all(axis=1)  # not before the reset
    if not known[-FRAMES:].all():
        return None
    width = joints[:, ARM_DOF:].sum(axis=1)
    frames = Frames(time, width, width + error[:, ARM_DOF:].sum(axis=1), held, cube)
    frames = Frames(*(values[known] for values in vars(frames).values()))
    closings = tuple(attempts(frames))
    outcome = str(table.texts["outcome"][rows.start])
    return Ending(
        outcome=outcome,
        attempts=closings,
        out_of_reach=outcome == Outcome.MISS.name and _out_of_reach(joints[-FRAMES:], cube[-FRAMES:], scene),
        shove_s=_shove_s(str(table.texts["profile"][rows.start]), int(table.numbers["seed"][rows.start]), scene),
        sag=_sag(frames, closings, joints[known], error[known]),
    )


def _sag(frames: Frames, closings: tuple[Attempt, ...], joints: FloatArray, error: FloatArray) -> float:
    """Mean over the last frames of the last grasp."""
    if not closings or closings[-1].grasp is None:
        return float("nan")
    end = int(np.searchsorted(frames.time_s, closings[-1].grasp.end_s, side="right"))
    last = slice(max(0, end - FRAMES), end)
    measured, told = (tool_poses(arm[last, :ARM_DOF])[0][:, 2] for arm in (joints, joints + error))
    return float((told - measured).mean())


def _out_of_reach(joints: FloatArray, cube: FloatArray, scene: Scene) -> bool:
    """Whether the cube, as it moved in the last frames (5, ...), is beyond the arm's reach or the table's edge."""
    position, rotation = tool_poses(joints[:, :ARM_DOF])
    world = position + np.einsum("nij,nj->ni", rotation, cube)
    speed = (world[-1] - world[0]) * FRAME_HZ / (FRAMES - 1)
    x, y, z = world[-1] + speed * _UNKNOWN_S
    low, high = scene.outcomes.reach
    return bool(not low <= np.hypot(x, y) <= high or z < 0.0)


def _shove_s(profile: str, seed: int, scene: Scene) -> float:
    """When the seed's shove begins; infinite without one, or of a profile that is not this scene's."""
    drawn = scene.profiles.get(profile)
    if drawn is None or drawn.push is None:
        return float("inf")
    push = sample_variation(scene, drawn, seed, start_poses(scene, drawn, seed, {})).push
    return float("inf") if push is None else push.begin
