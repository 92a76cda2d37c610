"""What rviz shows of an episode: the way of the gripper, coloured by how unsure the policy was there, and the status.

Plain numpy; `ros/nodes/salus_markers_node.py` makes markers of it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from salus_vla.contract.message_readers import EpisodeEvent, EventKind
from salus_vla.contract.types import FloatArray
from salus_vla.views.graph_monitor import Snapshot

Color = tuple[float, float, float]
# Colours that stay apart for people who see no red or green (Okabe and Ito, "Color Universal Design", 2008).
CALM: Color = (0.0, 0.62, 0.45)
DOUBT: Color = (0.94, 0.89, 0.26)
RISK: Color = (0.84, 0.37, 0.0)
UNKNOWN: Color = (0.6, 0.6, 0.6)
_KEPT_FRAMES = 250  # 5 s: longer than a decision takes, so that its observation's frame is still there


def risk_of(value: float, low: float, high: float) -> float:
    """A signal's value between two bounds as 0 to 1; NaN stays NaN, because unknown is not safe."""
    return value if math.isnan(value) else min(1.0, max(0.0, (value - low) / (high - low)))


def color_of(risk: float) -> Color:
    """Green at 0, yellow at a half, vermilion at 1, grey where the risk is NaN; each channel 0 to 1."""
    if math.isnan(risk):
        return UNKNOWN
    stops = np.array([CALM, DOUBT, RISK])
    red, green, blue = (float(np.interp(risk, (0.0, 0.5, 1.0), channel)) for channel in stops.T)
    return red, green, blue


@dataclass(frozen=True)
class TrailPoint:
    """Where the gripper was at a decision.

    Attributes:
        position: of the tool in the world, shape (3,) [m].
        risk: 0 to 1, NaN where the signal could not be computed.
    """

    position: FloatArray
    risk: float


class Trail:
    """Puts decisions where the gripper was at their observation.

    Attributes:
        points: of this episode, in order.
    """

    def __init__(self, longest: int) -> None:
        """Keeps the newest `longest` points."""
        self.points: deque[TrailPoint] = deque(maxlen=longest)
        self._frames: deque[tuple[int, FloatArray]] = deque(maxlen=_KEPT_FRAMES)

    def frame(self, stamp_ns: int, position: FloatArray) -> None:
        """Notes where the tool is; a stamp that goes back (a recording that loops) starts over."""
        if self._frames and stamp_ns < self._frames[-1][0]:
            self._frames.clear()
            self.points.clear()
        self._frames.append((stamp_ns, position))

    def decision(self, stamp_ns: int, risk: float) -> bool:
        """Adds a point at the frame nearest to the observation's stamp; False before the first frame."""
        if not self._frames:
            return False
        _, position = min(self._frames, key=lambda frame: abs(frame[0] - stamp_ns))
        self.points.append(TrailPoint(position, risk))
        return True

    def clear(self) -> None:
        """Begins a new episode; where the tool is stays known."""
        self.points.clear()

    @property
    def newest_position(self) -> FloatArray | None:
        """Where the tool is now, shape (3,) [m]; None before the first frame."""
        return self._frames[-1][1] if self._frames else None


def status_text(snapshot: Snapshot, signal: str, unit: str) -> str:
    """The episode, the signal that colours the trail, and every node that does not simply run, a line each."""
    lines = ["no episode yet" if snapshot.episode is None else _episode(snapshot.episode, snapshot.decision)]
    values = snapshot.signals[signal]
    if values:
        lines.append(f"{signal} " + (f"{values[-1]:.4g} {unit}" if math.isfinite(values[-1]) else "not known"))
    for line in sorted(snapshot.roles, key=lambda line: line.role):
        if line.reason or line.state in ("STARTING", "FAILED"):
            lines.append(": ".join(filter(None, (f"{line.role} {line.state}", line.reason, line.detail))))
    return "\n".join(lines)


def _episode(event: EpisodeEvent, decision: int | None) -> str:
    name = f"episode {event.episode}, seed {event.seed}"
    if event.kind is EventKind.ENDED:
        return f"{name}: {event.outcome} after {event.decisions} decisions"
    return f"{name}: " + ("no decision yet" if decision is None else f"decision {decision}")
