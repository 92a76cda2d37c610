"""How commands look across re-plans when decisions are late: a simulation of realtime pacing, and its picture.

`python tools/generate/replanning_picture.py FILE` draws position and velocity of one joint for several latencies.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import ARM_DOF
from salus_vla.contract.reasons import CHUNK_EXHAUSTED
from salus_vla.contract.types import FloatArray, Observation, PolicyOutput
from salus_vla.control.controller import Controller, Decision

FRAME_NS, DECISION_NS = 20_000_000, 100_000_000
_HOME = np.array([0.0, -0.785398, 0.0, -2.356194, 0.0, 1.570796, 0.785398])
_LATENCIES_MS = (0, 150, 400, 1000)


class WavingPolicy:
    """Moves all joints along sines; each chunk is off by a constant of its own, as two decisions never quite agree.

    Attributes:
        source: recorded name.
    """

    source = "waving"

    def __init__(self, *, rows: int = 16, amplitude: float = 0.3, disagreement: float = 0.02) -> None:
        """Sets the motion: rows per chunk, amplitude of the sine [rad], offset of a chunk [rad, one sigma]."""
        self._rows, self._amplitude, self._disagreement = rows, amplitude, disagreement
        self._random = np.random.default_rng(0)

    def start_episode(self, seed: int) -> None:
        """Seeds the offsets."""
        self._random = np.random.default_rng(seed)

    def predict(self, observation: Observation, decision: int) -> PolicyOutput:
        """One member, one sample; row i is the sine at the end of control step i."""
        times = (observation.stamp_ns + DECISION_NS * np.arange(1, self._rows + 1)) * 1e-9
        arm = _HOME + self.path(times)[:, None] + self._random.normal(0.0, self._disagreement, ARM_DOF)
        return PolicyOutput(np.column_stack([arm, np.full(self._rows, 0.04)])[None, None])

    def path(self, times: NDArray[np.floating[Any]]) -> FloatArray:
        """Offset from home without disagreement at times [s]."""
        return np.asarray(self._amplitude * np.sin(2.0 * np.pi * 0.4 * times))

    def read_task(self, task: str) -> dict[str, str]:
        """It reads none."""
        return {}

    def provenance(self) -> dict[str, str]:
        """Nothing but the name."""
        return {"policy": self.source}


@dataclass(frozen=True)
class Replay:
    """Commands of a simulated stretch of realtime pacing.

    Attributes:
        times: of the frames, shape (n,) [s].
        commands: arm joints, shape (n, 7) [rad].
        switches: times at which a new chunk took over [s].
        holds: reason for holding per frame, empty while following a plan.
        limited: whether the limiter had to slow the frame's command.
    """

    times: FloatArray
    commands: FloatArray
    switches: tuple[float, ...]
    holds: tuple[str, ...]
    limited: tuple[bool, ...]

    @property
    def velocities(self) -> FloatArray:
        """Differences of the commands, shape (n - 1, 7) [rad/s]."""
        return np.diff(self.commands, axis=0) / (FRAME_NS * 1e-9)


def simulate(
    latency_ns: int, *, seconds: float = 4.0, policy: WavingPolicy | None = None, until: int = 10**9
) -> Replay:
    """Runs a controller as the node does in realtime pacing: frames go on while a decision is being made.

    Args:
        latency_ns: time from an observation to its decision [ns].
        seconds: length of the simulation [s].
        policy: gives the chunks.
        until: number of decisions after which the policy falls silent.
    """
    controller = Controller(policy or WavingPolicy(), frame_dt_ns=FRAME_NS, control_dt_ns=DECISION_NS)
    controller.start_episode(0)
    measured = np.concatenate([_HOME, [0.02, 0.02]])
    pending: tuple[int, Decision] | None = None
    times, commands, switches, holds, limited = [], [], [], [], []
    decisions = 0
    for stamp_ns in range(0, round(seconds * 1e9), FRAME_NS):
        if pending is not None and stamp_ns >= pending[0]:
            controller.accept(pending[1], stamp_ns, measured)
            switches.append(stamp_ns * 1e-9)
            pending = None
        if stamp_ns % DECISION_NS == 0 and pending is None and decisions < until:
            decision = controller.decide(Observation(stamp_ns, {}, measured, ""), controller.command_in_force)
            decisions += 1
            if latency_ns == 0:
                controller.accept(decision, stamp_ns, measured)
                switches.append(stamp_ns * 1e-9)
            else:
                pending = (stamp_ns + latency_ns, decision)
        command = controller.command(stamp_ns, measured)
        measured = command.position  # an arm that follows perfectly
        times.append((stamp_ns + FRAME_NS) * 1e-9)
        commands.append(command.position[:ARM_DOF])
        holds.append(command.hold_reason)
        limited.append(command.limited)
    return Replay(np.array(times), np.array(commands), tuple(switches), tuple(holds), tuple(limited))


def draw(output: Path, latencies_ms: Sequence[int] = _LATENCIES_MS) -> None:
    """Draws position and velocity of joint 1 for each latency; the last column's policy falls silent after a while."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    runs = [(f"latency {latency} ms", simulate(latency * 1_000_000)) for latency in latencies_ms]
    runs.append(("policy silent after 1 s", simulate(0, until=10)))
    figure, axes = plt.subplots(2, len(runs), figsize=(3.2 * len(runs), 5.0), sharex=True, sharey="row")
    for column, (title, run) in enumerate(runs):
        position, velocity = axes[:, column]
        wanted = WavingPolicy().path(run.times)
        position.plot(run.times, wanted, color="0.7", linewidth=3, label="what the policy means")
        position.plot(run.times, run.commands[:, 0], color="#1d4ed8", linewidth=1.2, label="command")
        velocity.plot(run.times[1:], run.velocities[:, 0], color="#c2410c", linewidth=1.2)
        for switch in run.switches:
            position.axvline(switch, color="0.85", linewidth=0.5, zorder=0)
            velocity.axvline(switch, color="0.85", linewidth=0.5, zorder=0)
        exhausted = [hold == CHUNK_EXHAUSTED for hold in run.holds]
        if any(exhausted):
            for axis in (position, velocity):
                axis.fill_between(
                    run.times, 0, 1, where=exhausted, transform=axis.get_xaxis_transform(), color="#fee2e2", zorder=0
                )
            velocity.annotate(
                "chunk_exhausted", (0.98, 0.03), xycoords="axes fraction", ha="right", fontsize=8, color="#b91c1c"
            )
        position.set_title(title, fontsize=10)
        velocity.set_xlabel("time [s]")
    axes[0, 0].set_ylabel("joint 1 [rad]")
    axes[1, 0].set_ylabel("velocity [rad/s]")
    axes[0, 0].legend(fontsize=7, loc="lower left")
    figure.suptitle("Commands across re-plans (vertical lines: a new chunk takes over)", fontsize=11)
    figure.tight_layout()
    figure.savefig(output, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
