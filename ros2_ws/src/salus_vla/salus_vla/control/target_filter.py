"""What stands between the plan and the limiter: it may choose another plan, and change where the arm is told to be.

The `Disturbance` of demonstrations is one, the `SafetyFilter` that acts on what is foreseen another. What comes out is
limited and gated like every target.
"""

from __future__ import annotations

from dataclasses import dataclass

from salus_vla.contract.types import FloatArray
from salus_vla.control.decision import Decision


@dataclass(frozen=True)
class Plan:
    """What is followed from a decision on.

    Attributes:
        chunk: row i is the target at the end of control step i, (H, 8) [rad, m].
        stop: in words why the arm brakes and holds instead; empty where it follows the chunk.
    """

    chunk: FloatArray
    stop: str = ""


class TargetFilter:
    """Changes nothing; to be derived from. Called by one thread: the one that commands."""

    def start_episode(self, seed: int) -> None:
        """Forgets the episode before."""

    def forget(self) -> None:
        """Forgets what was measured: the clock jumped back."""

    def measured(self, stamp_ns: int, joints: FloatArray) -> None:
        """Takes the joints of a frame, in order.

        Args:
            stamp_ns: of the frame [ns].
            joints: position, velocity and effort, (3, 9) [rad, m; /s; N m, N]; NaN where not measured.
        """

    def commanded(self, stamp_ns: int, position: FloatArray) -> None:
        """Takes the command (9,) that answered the frame at `stamp_ns` [rad, m]."""

    def choose(self, decision: Decision, plan: Plan) -> Plan:
        """What is followed from a decision on, instead of `plan`."""
        return plan

    def apply(self, target: FloatArray, when_ns: int) -> FloatArray:
        """Where the arm is told to be instead of `target`, (8,) [rad, m].

        Args:
            target: of the plan.
            when_ns: stamp of the frame that is answered; not before that of the last call [ns].
        """
        return target
