"""From a recording to what the failure table keeps of an episode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import ARM_DOF, FRAME_HZ, JOINTS
from salus_vla.contract.forward_kinematics import tool_poses
from salus_vla.contract.geometry import rotate_all
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import FloatArray
from salus_vla.control.grasp_monitor import GraspFault, GraspMonitor
from salus_vla.data.bags.recorded_observations import HALF_FRAME_NS
from salus_vla.data.recording import Decisions, JointTrack, Recording
from salus_vla.safety.intervention.candidates import PLAN
from salus_vla.safety.prediction.decision_inputs import FRAMES

_FRAME_NS = round(1e9 / FRAME_HZ)
_NS = 1e-9


@dataclass(frozen=True, eq=False)
class ExtractedEpisode:
    """An episode: D decisions without the terminal one, each with the five frames up to its observation.

    Times count from the first observation [s]. What was not recorded is NaN.

    Attributes:
        seed, profile, outcome: as recorded.
        event_s: when the event that ended it was found; NaN without one, as of a TIMEOUT.
        empty_closing_s, crooked_s: when the first closing on nothing, and the first crooked grasp, began; NaN without.
        times_s: of the decisions, (D,).
        signals: (D, 12).
        expert_state: (D, E), or None.
        prefix_parts: (D, P, W), or None.
        position, velocity, effort: measured, (D, 5, 9) [rad, m; /s; N m, N].
        error: command that answered the frame before, minus position, (D, 5, 9) [rad, m].
        held: 1 where both fingers hold the cube, 0 where not, NaN where that is not known, (D, 5).
        cube_in_tool: position of the cube in the frame of the tool, (D, 5, 3) [m].
        motions: name of what an intervention chose at each decision, D; None where nobody could intervene.
        motion_probability: that it was drawn with, (D,); likewise.
    """

    seed: int
    profile: str
    outcome: Outcome
    event_s: float
    empty_closing_s: float
    crooked_s: float
    times_s: FloatArray
    signals: FloatArray
    expert_state: NDArray[np.float32] | None
    prefix_parts: NDArray[np.float32] | None
    position: FloatArray
    velocity: FloatArray
    effort: FloatArray
    error: FloatArray
    held: FloatArray
    cube_in_tool: FloatArray
    motions: NDArray[np.str_] | None = None
    motion_probability: FloatArray | None = None


def extract(recording: Recording) -> ExtractedEpisode:
    """Reads an episode.

    Raises:
        RecordingError: it is damaged, or breaks the contract; names bag or file.
    """
    summary, decisions, measured = recording.summary, recording.decisions(), recording.measured()
    inside = decisions.stamps_ns < (summary.end_ns or np.iinfo(np.int64).max) - HALF_FRAME_NS
    stamps = decisions.stamps_ns[inside]
    wanted = stamps[:, None] - _FRAME_NS * np.arange(FRAMES - 1, -1, -1)
    event_ns = summary.event_stamp_ns if summary.outcome is not Outcome.TIMEOUT else None
    faults = _first_faults(measured)
    unknown = np.full_like(measured.positions, np.nan)
    held = recording.held()
    motions, probability = _motions(recording, stamps)
    return ExtractedEpisode(
        seed=summary.seed,
        profile=summary.profile,
        outcome=summary.outcome,
        event_s=_since(event_ns, summary.start_ns),
        empty_closing_s=_since(faults.get(GraspFault.EMPTY_CLOSING), summary.start_ns),
        crooked_s=_since(faults.get(GraspFault.CROOKED_GRASP), summary.start_ns),
        times_s=(stamps - summary.start_ns).astype(np.float64) * _NS,
        signals=decisions.signals[inside],
        expert_state=_rows(decisions.expert_state, inside),
        prefix_parts=_rows(decisions.prefix_parts, inside),
        position=_at(measured.stamps_ns, measured.positions, wanted),
        velocity=_at(measured.stamps_ns, _or(measured.velocities, unknown), wanted),
        effort=_at(measured.stamps_ns, _or(measured.efforts, unknown), wanted),
        error=_tracking_error(measured, recording.commanded(), wanted),
        held=np.full(wanted.shape, np.nan)
        if held is None
        else _at(held.stamps_ns, held.held[:, None].astype(np.float64), wanted)[..., 0],
        cube_in_tool=_cube_in_tool(measured, recording, wanted),
        motions=motions,
        motion_probability=probability,
    )


def _motions(recording: Recording, stamps: NDArray[np.int64]) -> tuple[NDArray[np.str_] | None, FloatArray | None]:
    """What was followed at each decision: the plan where nothing was chosen, or where the arm did not follow it."""
    found = recording.interventions()
    if found is None:
        return None, None
    names, drawn = np.full(len(stamps), PLAN, dtype="U32"), np.ones(len(stamps))
    for stamp_ns, name, probability, acted in zip(
        found.stamps_ns.tolist(), found.chosen, found.probability.tolist(), found.acted.tolist(), strict=True
    ):
        place = int(np.searchsorted(stamps, stamp_ns - HALF_FRAME_NS))
        if acted and place < len(stamps) and abs(int(stamps[place]) - stamp_ns) <= HALF_FRAME_NS:
            names[place], drawn[place] = name, probability
    return names, drawn


def state_rows(decisions: Decisions) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Both hidden states of an episode's decisions; None where they were not recorded."""
    if decisions.expert_state is None or decisions.prefix_parts is None:
        return None
    return decisions.expert_state, decisions.prefix_parts


def _first_faults(measured: JointTrack) -> dict[GraspFault, int]:
    """When the first fault of each kind began [ns]."""
    monitor = GraspMonitor()
    found: dict[GraspFault, int] = {}
    widths = measured.positions[:, ARM_DOF:].sum(axis=1)
    for stamp_ns, width in zip(measured.stamps_ns.tolist(), widths.tolist(), strict=True):
        for event in monitor.update(stamp_ns, width):
            found.setdefault(event.fault, event.began_ns)
    return found


def _since(stamp_ns: int | None, start_ns: int) -> float:
    return float("nan") if stamp_ns is None else (stamp_ns - start_ns) * _NS


def _rows(states: NDArray[np.float32] | None, inside: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    return None if states is None else states[inside]


def _or(values: FloatArray | None, unknown: FloatArray) -> FloatArray:
    return unknown if values is None else values


def _at(stamps_ns: NDArray[np.int64], values: FloatArray, wanted: NDArray[np.int64]) -> FloatArray:
    """Values (T, C) at stamps (D, F), (D, F, C); NaN where there is none within half a frame."""
    found = np.full((*wanted.shape, values.shape[1]), np.nan)
    if not len(stamps_ns):
        return found
    nearest = np.clip(np.searchsorted(stamps_ns, wanted - HALF_FRAME_NS), 0, len(stamps_ns) - 1)
    there = np.abs(stamps_ns[nearest] - wanted) <= HALF_FRAME_NS
    found[there] = values[nearest[there]]
    return found


def _tracking_error(measured: JointTrack, commanded: JointTrack, wanted: NDArray[np.int64]) -> FloatArray:
    """A command says where the arm should be one frame later."""
    positions = _at(measured.stamps_ns, measured.positions, wanted)
    told = _at(commanded.stamps_ns, commanded.positions, wanted - _FRAME_NS)
    error: FloatArray = told - positions
    assert error.shape[-1] == len(JOINTS)
    return error


def _cube_in_tool(measured: JointTrack, recording: Recording, wanted: NDArray[np.int64]) -> FloatArray:
    cube = recording.cube()
    poses = _at(cube.stamps_ns, cube.poses, wanted)
    joints = _at(measured.stamps_ns, measured.positions, wanted)
    position, rotation = tool_poses(np.nan_to_num(joints[..., :ARM_DOF]).reshape(-1, ARM_DOF))
    away = poses[..., :3].reshape(-1, 3) - position
    local = rotate_all(rotation, away).reshape(*wanted.shape, 3)
    known = np.isfinite(joints).all(axis=-1, keepdims=True)
    return np.where(known, local, np.nan)
