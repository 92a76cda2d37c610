"""What goes into an `Authority` and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass

from salus_vla.contract.reasons import NodeState
from salus_vla.contract.types import FloatArray, Observation
from salus_vla.control.decision import Decision
from salus_vla.control.watchdog import Refusal
from salus_vla.safety.intervention.intervener import Intervention


@dataclass(frozen=True)
class EpisodeStart:
    """What the start of an episode says: its number, seed, instruction and the stamp of its first observation [ns]."""

    number: int
    seed: int
    task: str
    start_ns: int


@dataclass(frozen=True)
class Job:
    """What to decide on.

    Attributes:
        epoch: counts episodes and jumps of the clock; a decision of an earlier one is not used.
        seed: of the episode.
        observation: cameras and joints.
        command_in_force: arm command in force at the observation's stamp, (7,) [rad]; None before the first.
    """

    epoch: int
    seed: int
    observation: Observation
    command_in_force: FloatArray | None


@dataclass(frozen=True)
class Send:
    """Publish a joint target: stamp of the frame that it answers [ns], nine positions in contract order [rad, m]."""

    stamp_ns: int
    position: FloatArray


@dataclass(frozen=True)
class Say:
    """Publish the node's state with the reason of a stop, in words too, and the ROS time of it [ns]."""

    state: NodeState
    reason: str = ""
    detail: str = ""
    stamp_ns: int = 0


@dataclass(frozen=True)
class Submit:
    """Let the policy decide."""

    job: Job


@dataclass(frozen=True)
class Report:
    """Publish the signals of a decision."""

    decision: Decision


@dataclass(frozen=True)
class Intervene:
    """Publish what was done about a foreseen failure."""

    intervention: Intervention


@dataclass(frozen=True)
class Refuse:
    """A message does not count because of its stamp [ns]."""

    source: str
    refusal: Refusal
    stamp_ns: int


@dataclass(frozen=True)
class Observed:
    """A camera set is complete; its stamp [ns]."""

    stamp_ns: int


@dataclass(frozen=True)
class Log:
    """An error that changes nothing, because the arm is stopped for an earlier reason."""

    words: str


Output = Send | Say | Submit | Report | Intervene | Refuse | Observed | Log
