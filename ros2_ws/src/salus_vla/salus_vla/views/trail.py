"""What rviz shows of an episode: the way of the gripper, coloured by the predicted risk there, and the status.

Where no failure predictor runs the colour is how unsure the policy was, by one of its signals.

Plain numpy; `ros/nodes/salus_markers_node.py` makes markers of it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from salus_vla.contract.foreseen_risk import ForeseenRisk
from salus_vla.contract.message_readers import EpisodeEvent, EventKind
from salus_vla.contract.reasons import HANDED_OVER
from salus_vla.contract.types import FloatArray
from salus_vla.views.graph_monitor import Snapshot

Color = tuple[float, float, float]
# Colours that stay apart for people who see no red or green (Okabe and Ito, "Color Universal Design", 2008).
CALM: Color = (0.0, 0.62, 0.45)
DOUBT: Color = (0.94, 0.89, 0.26)
RISK: Color = (0.84, 0.37, 0.0)
UNKNOWN: Color = (0.6, 0.6, 0.6)
_KEPT_PREDICTIONS = 50  # for decisions that are heard later than what is predicted of them
_KEPT_FRAMES = 250  # 5 s: longer than a decision takes, so that its observation's frame is still there


def risk_of(value: float, low: float, high: float) -> float:
    """A signal's value between two bounds as 0 to 1; NaN stays NaN, because unknown is not safe."""
    return value if math.isnan(value) else min(1.0, max(0.0, (value - low) / (high - low)))


def predicted_risk(risk: ForeseenRisk) -> float:
    """0 to 1 by the probability that is nearest to its threshold; an alarm is 1, NaN where nothing is known."""
    return 1.0 if risk.alarm else risk_of(risk.relative, 0.0, 1.0)


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
        stamp_ns: of the observation [ns].
        position: of the tool in the world, shape (3,) [m].
        risk: 0 to 1, NaN where it is not known.
    """

    stamp_ns: int
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
        self._foreseen: deque[tuple[int, float]] = deque(maxlen=_KEPT_PREDICTIONS)

    def frame(self, stamp_ns: int, position: FloatArray) -> None:
        """Notes where the tool is; a stamp that goes back (a recording that loops) starts over."""
        if self._frames and stamp_ns < self._frames[-1][0]:
            self._frames.clear()
            self.clear()
        before_ns = self._frames[-1][0] if self._frames else stamp_ns
        self._frames.append((stamp_ns, position))
        for index in range(len(self.points) - 1, -1, -1):  # decisions that were heard before their frame
            point = self.points[index]
            if point.stamp_ns <= before_ns:
                break
            if abs(stamp_ns - point.stamp_ns) < point.stamp_ns - before_ns:
                self.points[index] = replace(point, position=position)

    def decision(self, stamp_ns: int, risk: float) -> bool:
        """Adds a point at the frame nearest to the observation's stamp; False before the first frame.

        Args:
            stamp_ns: of the observation [ns].
            risk: by the signal, 0 to 1; what is predicted for the same observation takes its place, before or after.
        """
        position = self.position_at(stamp_ns)
        if position is None:
            return False
        self.points.append(TrailPoint(stamp_ns, position, dict(self._foreseen).get(stamp_ns, risk)))
        return True

    def position_at(self, stamp_ns: int) -> FloatArray | None:
        """Where the tool was at the frame nearest to a stamp [ns], shape (3,) [m]; None before the first frame."""
        if not self._frames:
            return None
        return min(self._frames, key=lambda frame: abs(frame[0] - stamp_ns))[1]

    def foreseen(self, stamp_ns: int, risk: float) -> None:
        """Colours the point of an observation by the predicted risk, 0 to 1; topics come in any order."""
        self._foreseen.append((stamp_ns, risk))
        for index in range(len(self.points) - 1, -1, -1):
            if self.points[index].stamp_ns == stamp_ns:
                self.points[index] = replace(self.points[index], risk=risk)
                return

    def clear(self) -> None:
        """Begins a new episode; where the tool is stays known."""
        self.points.clear()
        self._foreseen.clear()

    @property
    def newest_position(self) -> FloatArray | None:
        """Where the tool is now, shape (3,) [m]; None before the first frame."""
        return self._frames[-1][1] if self._frames else None


def status_text(snapshot: Snapshot, signal: str, unit: str) -> str:
    """The episode, the alarm, what colours the trail, and every node that does not simply run, a line each."""
    lines = ["no episode yet" if snapshot.episode is None else _episode(snapshot.episode, snapshot.decision)]
    values, risk, first = snapshot.signals[signal], snapshot.risk, snapshot.first_alarm
    if risk is not None:
        lines.append(f"risk of failure {risk.in_words}")
        if risk.alarm:
            lines.append(f"ALARM: {risk.detail or risk.alarm}")
        elif first is not None:
            lines.append(f"first alarm at decision {first.decision}: {first.detail or first.alarm}")
    elif values:
        lines.append(f"{signal} " + (f"{values[-1]:.4g} {unit}" if math.isfinite(values[-1]) else "not known"))
    if snapshot.handed_over:
        lines.append(f"HANDED OVER: {snapshot.handed_over}")
    elif snapshot.motion is not None and snapshot.motion.intervenes:
        lines.append(": ".join(filter(None, (snapshot.motion.name, snapshot.motion.why_in_words))))
    for line in sorted(snapshot.roles, key=lambda line: line.role):
        if snapshot.handed_over and line.reason == HANDED_OVER:
            continue  # a node that says the same
        if line.reason or line.state in ("STARTING", "FAILED"):
            lines.append(": ".join(filter(None, (f"{line.role} {line.state}", line.reason, line.detail))))
    return "\n".join(lines)


def _episode(event: EpisodeEvent, decision: int | None) -> str:
    name = f"episode {event.episode}, seed {event.seed}"
    if event.kind is EventKind.ENDED:
        return f"{name}: {event.outcome} after {event.decisions} decisions"
    return f"{name}: " + ("no decision yet" if decision is None else f"decision {decision}")
