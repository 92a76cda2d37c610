"""The command gate in the graph: the last node before the arm.

A command passes as the message that came, or not at all; a stream that falls silent in motion is braked here, also when
every other process is dead. Time is that of the frames, /joint_states, so that nothing else is needed.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass

from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import JointState

from salus_msgs.msg import Status
from salus_vla import contract
from salus_vla.config.parameters import parameter
from salus_vla.contract import FRAME_HZ, JOINTS, LOCKSTEP, REALTIME
from salus_vla.contract.errors import MessageError
from salus_vla.gate.gate import Gate, OwnCommand, Refused, State
from salus_vla.health.meters import DiagnosticPart, LatencyMeter, Level, RateMeter
from salus_vla.processes import ending_signals
from salus_vla.ros.adapters import messages
from salus_vla.ros.adapters.lean_executor import LeanExecutor
from salus_vla.ros.adapters.node_parameters import make_node, read_parameters
from salus_vla.ros.adapters.publisher_watch import PublisherWatch
from salus_vla.ros.adapters.qos_profiles import qos_profile
from salus_vla.ros.adapters.reaches import reaches
from salus_vla.ros.adapters.run_node import run_node
from salus_vla.ros.adapters.status import StatusPublisher
from salus_vla.ros.adapters.subscribe import subscribe, take_waiting

_FRAME_NS = round(1e9 / FRAME_HZ)
_TICK_S = 0.02  # wall time between two looks at frames that wait, and two commands of a stop without frames
_LEAVES_WITHIN_S = 1.5  # wall time for the stop of a moving arm when the gate is shut down
_REFUSAL_SHOWN_NS = 1_000_000_000  # a refusal stays on the status for this long, so that a flood changes it once
_IN_ORDER = list(JOINTS)
_LISTENERS = frozenset({"bag_recorder", "vla_ensemble"})  # nodes of the graph that hear commands and move nothing


@dataclass(frozen=True)
class GateParameters:
    """Parameters of command_gate."""

    deadman_s: float = parameter(
        0.2,
        "sim time without a valid command within which a moving arm is braked; also the wall time that a frame with "
        "refused commands only waits for a valid one and, in realtime, that a moving arm goes on without frames [s]",
        bounds=(0.02, 2.0),
    )
    max_age_frames: int = parameter(
        2, "a command for a frame older than this is stale [frames of 20 ms]", bounds=(0, 50)
    )
    pacing: str = parameter(
        LOCKSTEP, "lockstep: frames wait for commands; realtime: the arm moves on without", choices=(LOCKSTEP, REALTIME)
    )
    silence_timeout_s: float = parameter(
        60.0, "wall time without a frame, while the arm moves, after which the simulator counts as lost [s]",
        bounds=(0.1, 3600.0),
    )  # fmt: skip
    recorded_by: str = parameter(
        "", "node that must hear the commands, besides the arm, before this one is ready; empty where none has to"
    )


class CommandGateNode:
    """Wires a gate to the topics."""

    def __init__(self) -> None:
        """Connects.

        Raises:
            SalusError: a parameter is wrong.
        """
        self.node = make_node("command_gate")
        self._parameters = p = read_parameters(self.node, GateParameters)
        self._gate = Gate(
            frame_dt_ns=_FRAME_NS,
            deadman_s=p.deadman_s,
            max_age_frames=p.max_age_frames,
            realtime=p.pacing == REALTIME,
        )
        self._status = StatusPublisher(self.node, "gate")
        self._status.set_parameters(p)
        self._leaving_since: float | None = None
        self._refused_ns: int | None = None
        self._refusals_reported = 0
        self._frames_rate, self._judging = RateMeter(FRAME_HZ), LatencyMeter()
        self._frame_wall = time.monotonic()
        command = contract.JOINT_COMMAND
        self._commands = self.node.create_publisher(JointState, command.name, qos_profile(command.qos))
        # The gate judges targets itself, so that each refusal has its reason and its answer.
        # Joints first: the executor takes subscriptions in this order, and a command needs the frame that it answers.
        self._joints = subscribe(self.node, contract.JOINT_STATES, self._on_joints, keep_all=True)
        self._targets = subscribe(self.node, contract.JOINT_TARGET, self._on_target, keep_all=True, checked=False)
        watched = (contract.CLOCK, contract.JOINT_STATES, contract.JOINT_TARGET, command)
        self._publishers = PublisherWatch(self.node, watched, ours=(command,))
        self._timer = self.node.create_timer(_TICK_S, self._on_tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._executor = LeanExecutor()
        self._executor.add_node(self.node)
        self._status.say(Status.STARTING, detail=f"waiting for {contract.JOINT_STATES.name}")

    def run(self) -> None:
        """Spins until a signal; a moving arm is braked before the gate leaves it."""
        for number in ending_signals():
            signal.signal(number, lambda *_: self._leave())
        while self.node.context.ok() and not self._may_leave():
            self._executor.spin_once(timeout_sec=_TICK_S)

    def _leave(self) -> None:
        """Nothing passes any more. In lockstep the world stands still with its simulator: nothing is left to brake."""
        if self._leaving_since is None:
            self._leaving_since = time.monotonic()
            self._gate.block("the gate is being shut down")

    def _may_leave(self) -> bool:
        since = self._leaving_since
        if since is None:
            return False
        lockstep = self._parameters.pacing == LOCKSTEP
        at_rest = self._gate.at_rest and self._gate.state is not State.BRAKING
        return lockstep or at_rest or time.monotonic() - since > _LEAVES_WITHIN_S

    def close(self) -> None:
        """Ends the node."""
        self.node.destroy_node()

    # -- from the graph ------------------------------------------------------------------------------------------------

    def _on_joints(self, message: JointState) -> None:
        stamp_ns = messages.to_ns(message.header.stamp)
        position, velocity = _measured(message)
        self._frame_wall = time.monotonic()
        self._frames_rate.add(stamp_ns)
        before = self._gate.clock_jumps, self._gate.teleports
        self._send(self._gate.frame(stamp_ns, position, velocity, wall_s=self._frame_wall))
        if self._gate.clock_jumps > before[0]:
            self.node.get_logger().warning(f"the frames' stamps jumped back to {stamp_ns * 1e-9:.2f} s: disarmed")
        elif self._gate.teleports > before[1]:
            self.node.get_logger().info("the arm was teleported: the next command must begin where it is")
        early = self._gate.take_early()
        if early is not None:
            self._on_target(early)
        self._report(stamp_ns)

    def _on_target(self, message: JointState) -> None:
        stamp_ns = messages.to_ns(message.header.stamp)
        if self._gate.is_early(stamp_ns):
            take_waiting(self._joints)
            if self._gate.keep_early(stamp_ns, message):
                return
        began = time.perf_counter()
        refused = self._gate.judge(
            stamp_ns,
            message.name,
            message.position,
            wall_s=time.monotonic(),
            extra_values=bool(message.velocity) or bool(message.effort),
        )
        if refused is None:
            self._commands.publish(message)
        else:
            self._refuse(refused)
        self._judging.add((time.perf_counter() - began) * 1e3)

    def _on_tick(self) -> None:
        take_waiting(self._joints)  # joints first: what they say is newer than what the clock on the wall says
        wall_s = time.monotonic()
        if self._leaving_since is None and self._publishers.look():
            self._gate.block(self._publishers.fault)
            self._say_blocked()
        self._send(self._gate.waited(wall_s))
        newest_ns, silent_s = self._gate.newest_ns or 0, wall_s - self._frame_wall
        if silent_s > self._parameters.silence_timeout_s and not self._gate.at_rest:
            detail = f"no {contract.JOINT_STATES.name} for {silent_s:.0f} s of wall time while the arm moves"
            self._status.say(Status.HOLDING, Status.REASON_SIMULATOR_LOST, detail, newest_ns)
        elif self._gate.state is State.IDLE or self._holds:
            self._report(newest_ns)  # what READY waits for, or a stop by the wall clock, may come while no frame does
        self._status.diagnose(newest_ns, self._diagnostics)

    # -- to the graph --------------------------------------------------------------------------------------------------

    def _send(self, own: OwnCommand | None) -> None:
        if own is not None:
            self._commands.publish(
                JointState(header=messages.header(own.stamp_ns), name=_IN_ORDER, position=list(own.position))
            )

    def _refuse(self, refused: Refused) -> None:
        self._send(refused.own)
        newest_ns = self._gate.newest_ns or 0
        if self._refused_ns is None:
            self.node.get_logger().warning(f"{contract.JOINT_TARGET.name}: {refused.reason}: {refused.detail}; refused")
        self._refused_ns = newest_ns
        if not self._holds and not self._gate.blocked:
            detail = f"{refused.reason}: {refused.detail}"
            self._status.say(Status.HOLDING, Status.REASON_COMMAND_REFUSED, detail, newest_ns)

    def _say_blocked(self) -> None:
        newest_ns, fault = self._gate.newest_ns or 0, self._gate.blocked
        if fault:
            self._status.say(Status.HOLDING, Status.REASON_SECOND_PUBLISHER, fault, newest_ns)
        else:
            self._status.say(Status.STARTING, detail="the second publisher is gone", stamp_ns=newest_ns)

    def _report(self, stamp_ns: int) -> None:
        """The state of the gate as the node's; edges only."""
        gate = self._gate
        if gate.blocked:
            self._status.diagnose(stamp_ns, self._diagnostics)
            return
        if self._refused_ns is not None and not 0 <= stamp_ns - self._refused_ns < _REFUSAL_SHOWN_NS:
            self._refused_ns = None
        if self._holds:
            detail = f"no valid command within {self._parameters.deadman_s:g} s"
            if gate.plain_stops:
                detail += f"; {gate.plain_stops} stops without ruckig ({gate.stop_fault})"
            self._status.say(Status.HOLDING, Status.REASON_DEADMAN, detail, stamp_ns)
        elif self._refused_ns is None and gate.state is State.STREAM:
            self._status.say(Status.RUNNING, stamp_ns=stamp_ns)
        elif self._refused_ns is None and gate.state is State.IDLE and self._connected():
            self._status.say(Status.READY, stamp_ns=stamp_ns)
        self._status.diagnose(stamp_ns, self._diagnostics)

    @property
    def _holds(self) -> bool:
        return self._gate.state in (State.BRAKING, State.HELD)

    def _connected(self) -> bool:
        """Whether a first command would arrive and reach the arm: who only listens to commands is not the arm."""
        recorder = self._parameters.recorded_by
        return (
            bool(self._targets.get_publisher_count())
            and reaches(self.node, self._commands, besides=_LISTENERS)
            and (not recorder or reaches(self.node, self._commands, wanted=recorder))
        )

    def _diagnostics(self) -> list[DiagnosticPart]:
        gate = self._gate
        total = sum(gate.refused.values())
        lately, self._refusals_reported = total - self._refusals_reported, total
        commands: dict[str, float] = {"passed": gate.passed, "refused": total, **self._judging.values("judge")}
        commands |= {f"refused_{reason}": count for reason, count in sorted(gate.refused.items())}
        arm = {
            "stops": gate.braked,
            "stops_without_ruckig": gate.plain_stops,
            "teleports": gate.teleports,
            "clock_jumps": gate.clock_jumps,
        }
        return [
            self._frames_rate.part("joints", gate.newest_ns or 0),
            _warned("commands", commands, f"{lately} refused" if lately else ""),
            _warned("arm", arm, gate.blocked or ("the gate holds it" if self._holds else "")),
        ]


def _measured(message: JointState) -> tuple[list[float], list[float]]:
    """Positions and velocities in contract order, 9 each.

    Raises:
        MessageError: as `messages.joint_positions`, or the velocities are missing or not finite.
    """
    position = messages.joint_positions(message).tolist()
    if not all(map(math.isfinite, message.velocity)):
        raise MessageError(f"/joint_states has velocities that are not finite: {list(message.velocity)}")
    if len(message.velocity) != len(message.name):
        raise MessageError(f"/joint_states has {len(message.name)} names and {len(message.velocity)} velocities")
    if message.name == _IN_ORDER:
        return position, message.velocity
    by_name = dict(zip(message.name, message.velocity, strict=True))
    return position, [by_name[joint] for joint in JOINTS]


def _warned(name: str, values: Mapping[str, float], warning: str) -> DiagnosticPart:
    """A part that warns where there is something to warn of."""
    return DiagnosticPart(name, values, Level.WARN, warning) if warning else DiagnosticPart(name, values)


def main(args: list[str] | None = None) -> int:
    """Entry point of the `command_gate` executable."""
    return run_node(CommandGateNode, args, role="gate", ends_itself=True)
