"""Whether the arm may move, and what is commanded: a state machine of everything that the policy's node decides.

Pure: every input is a method that returns what to send, say and submit; `ros/nodes/commander.py` carries it on.

    state     | means                                    | begins with                | ends with
    ----------|------------------------------------------|----------------------------|---------------------------------
    INACTIVE  | the node is not active: brakes and holds | `deactivate`               | `activate`
    HELD      | the watchdog tripped: brakes and holds   | a trip                     | `reset_hold`, nothing else
    FAILED    | cannot go on: brakes and holds           | a decision that failed,    | the start of the next episode;
              |                                          | a lockstep that was lost   | `activate` after its end
    YIELDED   | the gate holds the arm: sends nothing    | `gate_holds` (realtime)    | the gate's stop is over and the
              |                                          |                            | arm rests; then plans anew there
    RUNNING   | in an episode: follows the plan, or      | `episode_started`          | `episode_ended`
              | brakes and holds until there is one      |                            |
    ENDING    | the episode is over: brakes              | `episode_ended`            | the arm rests
    IDLE      | no episode: nothing is commanded         | the arm rests              | `episode_started`

Where several apply, the first of the table is the state. A plan is made and followed in RUNNING only. The watchdog is
armed from the start of an episode until the arm rests behind it, also in FAILED; an inactive node only brakes.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

import numpy as np

from salus_vla.contract import ARM_DOF, CAMERAS
from salus_vla.contract.reasons import (
    COMMAND_REFUSED,
    DEADMAN,
    INACTIVE,
    LOCKSTEP_LOST,
    MISSING_CLOCK,
    NO_DECISION_YET,
    NO_EPISODE,
    NO_VALID_POLICY,
    PLANNING_ANEW,
    NodeState,
)
from salus_vla.contract.types import FloatArray, ImageArray, Observation, Pose
from salus_vla.control.authority_types import (
    EpisodeStart,
    Intervene,
    Job,
    Log,
    Observed,
    Output,
    Refuse,
    Report,
    Say,
    Send,
    Submit,
)
from salus_vla.control.command_pacing import commands_due
from salus_vla.control.controller import Controller
from salus_vla.control.decision import Decision
from salus_vla.control.decision_schedule import DecisionSchedule
from salus_vla.control.gate_hold import GateHold
from salus_vla.control.observation_matcher import ObservationMatcher
from salus_vla.control.realtime_pace import CANNOT_KEEP_UP
from salus_vla.control.watchdog import JOINTS, Trip, Watchdog, WatchLimits

_INACTIVE_WORDS = "the node is not active: it was deactivated by a lifecycle transition"
_FRESH_FRAMES = 2  # measured joints that are older do not say where the arm is


class AuthorityState(StrEnum):
    """See the table above."""

    INACTIVE = "inactive"
    HELD = "held"
    FAILED = "failed"
    YIELDED = "yielded"
    RUNNING = "running"
    ENDING = "ending"
    IDLE = "idle"


class Authority:
    """Drives a controller; see the table above for its states.

    Attributes:
        watchdog: judges whether what a command rests on is fresh.
        matcher: makes observations of images, joints and poses.
        limited: commands that followed the plan more slowly than it asked for.
        refused: plans that the controller's limiter refused.
        yielded: times that the gate stopped the arm.
        replanned: times that a new plan began where the gate had brought the arm to rest.
    """

    def __init__(
        self,
        controller: Controller,
        *,
        frame_ns: int,
        period_ns: int,
        lockstep: bool,
        limits: WatchLimits,
        wall_s: float,
        cameras: tuple[str, ...] = CAMERAS,
        entities: tuple[str, ...] = (),
    ) -> None:
        """Inactive, without an episode.

        Args:
            controller: with its policy.
            frame_ns: time between two commands [ns].
            period_ns: time between two decisions [ns].
            lockstep: whether a camera set's frame is answered after its decision only.
            limits: of the watchdog.
            wall_s: monotonic wall time now [s]; a missing clock is measured from here.
            cameras: names of the cameras of a set.
            entities: whose ground truth the policy reads.
        """
        self._controller = controller
        self._frame_ns, self._period_ns, self._lockstep = frame_ns, period_ns, lockstep
        self._cameras, self._entities = cameras, entities
        self._schedule = DecisionSchedule(period_ns=period_ns, frame_ns=frame_ns, lockstep=lockstep)
        self.watchdog = Watchdog(limits, wall_s, cameras)
        self.matcher = self._new_matcher()
        self.limited = self.refused = self.yielded = self.replanned = 0
        self._active = self._failed = False
        self._failure = ("", "")
        self._held: Trip | None = None
        self._episode: EpisodeStart | None = None
        self._epoch = 0
        self._joints: tuple[int, FloatArray] | None = None
        self._speed: float | None = None  # largest of the arm's joints between the two newest joint states [rad/s]
        self._gate = GateHold(frame_ns)
        self._sent_ns = -1  # stamp of the newest command
        self._inference_ms = 0.0
        self._waiting: Observation | None = None  # a camera set that came before the start of its episode was known
        self._observed = False  # whether a complete observation has come; READY is said then, not on hope
        self._outputs: list[Output] = []

    @property
    def state(self) -> AuthorityState:
        """See the table above."""
        if not self._active:
            return AuthorityState.INACTIVE
        if self._held is not None:
            return AuthorityState.HELD
        if self._failed:
            return AuthorityState.FAILED
        if self._episode is None:
            return AuthorityState.IDLE
        ended = self._schedule.finished(self._newest_ns)
        if ended and self._controller.resting:
            return AuthorityState.IDLE
        if self._gate.holds:
            return AuthorityState.YIELDED
        return AuthorityState.ENDING if ended else AuthorityState.RUNNING

    @property
    def epoch(self) -> int:
        """Counts episodes and jumps of the clock."""
        return self._epoch

    @property
    def in_episode(self) -> bool:
        """Whether an episode runs whose end is not known."""
        return self._episode is not None and self._schedule.end_ns is None

    @property
    def arm(self) -> FloatArray | None:
        """Newest measured joints, (9,); None before the first."""
        return self._joints[1] if self._joints is not None else None

    def plan_age_ns(self, now_ns: int) -> int | None:
        """Age of the observation behind the plan in force [ns]; None without a plan."""
        return self._controller.plan_age_ns(now_ns)

    # -- the node's life -----------------------------------------------------------------------------------------------

    def activate(self, wall_s: float) -> list[Output]:
        """Commands from now on; in an episode that is running already, from the next decision on."""
        self._active = True
        running = self._episode is not None and not self._schedule.after_end(self._newest_ns)
        unanswered = running and self._schedule.is_next(self._newest_ns)
        if running:
            self.watchdog.arm(wall_s)
            # Nobody answered what came meanwhile.
            self._schedule.answered_ns = max(self._schedule.answered_ns, self._newest_ns)
        else:
            self._failed = False
            if self._episode is not None and not self._controller.resting:
                self.watchdog.arm(wall_s)  # the arm is still being braked behind the end
        if self._held is not None:
            self._say(NodeState.HOLDING, self._held.reason, self._held.detail)
        elif self._failed:
            self._say(NodeState.FAILED, *self._failure)
        else:
            self._go_on("activated")
        if unanswered:  # a simulator in lockstep waits at the newest frame
            self._schedule.answered_ns = self._newest_ns - 1
            self._answer()
        return self._take()

    def deactivate(self) -> list[Output]:
        """The arm brakes and holds: joint states are answered until it rests."""
        self._active = False
        self._controller.drop_plan(INACTIVE, _INACTIVE_WORDS)
        self._say(NodeState.HOLDING, INACTIVE, _INACTIVE_WORDS)
        self.watchdog.disarm()  # braking rests on nothing that could be stale
        self._answer()  # a simulator in lockstep waits for it
        return self._take()

    def reset_hold(self, wall_s: float) -> tuple[Trip | None, list[Output]]:
        """Ends a hold that the watchdog latched and gives its reason; the arm rests until the next decision."""
        trip, self._held = self.watchdog.reset(wall_s), None
        if trip is not None and self._active and not self._failed:
            self._go_on(f"the hold ({trip.reason}) was reset")
        return trip, self._take()

    # -- the episode ---------------------------------------------------------------------------------------------------

    def episode_started(self, start: EpisodeStart, wall_s: float) -> list[Output]:
        """An episode began: everything of the one before is forgotten."""
        self._episode = start
        self._epoch += 1
        answered_ns = self._schedule.answered_ns
        self._schedule.start(start.start_ns)
        if self._held is not None:  # commands go on while the arm is held
            self._schedule.answered_ns = answered_ns
        self._failed = False
        moving = not self._controller.resting
        self._controller.start_motion(start.seed, moving=moving)
        if self._active:
            self.watchdog.arm(wall_s)
        if not self._active:
            self._controller.drop_plan(INACTIVE, _INACTIVE_WORDS)
            return self._take()
        if self._held is not None:
            self._controller.drop_plan(self._held.reason, self._held.detail)
            self._say(NodeState.HOLDING, self._held.reason, self._held.detail, start.start_ns)
        elif self._gate.holds:
            self._controller.drop_plan(DEADMAN, "the gate holds the arm")
            self._say(NodeState.HOLDING, DEADMAN, "the gate holds the arm", start.start_ns)
        else:
            self._say(NodeState.RUNNING, stamp_ns=start.start_ns)
        waiting, self._waiting = self._waiting, None
        self._on_observation(waiting)
        self._answer()
        return self._take()

    def episode_ended(self, number: int, end_ns: int) -> list[Output]:
        """The running episode's terminal observation has this stamp [ns]; that of another, or a second, is ignored."""
        if self._episode is not None and number == self._episode.number and self._schedule.end_ns is None:
            self._schedule.end_ns = end_ns
            self._answer()
        return self._take()

    # -- what is measured ----------------------------------------------------------------------------------------------

    def joints(self, stamp_ns: int, position: FloatArray, motion: FloatArray | None = None) -> list[Output]:
        """Measured joints.

        Args:
            stamp_ns: their stamp [ns].
            position: shape (9,) [rad, m].
            motion: velocity and effort, (2, 9) [rad/s, m/s; N m, N]; None where not measured.
        """
        if not self._counts(JOINTS, stamp_ns):
            return self._take()
        if motion is None:
            motion = np.full((2, len(position)), np.nan)
        self._controller.measured(stamp_ns, np.vstack((position[None], motion)))
        self._check_lockstep(stamp_ns)
        self.watchdog.judge(stamp_ns, self.plan_age_ns(stamp_ns))
        self._hold_if_tripped()
        if self._joints is not None and stamp_ns > self._joints[0]:
            moved = np.abs(position[:ARM_DOF] - self._joints[1][:ARM_DOF]).max()
            self._speed = float(moved) / ((stamp_ns - self._joints[0]) * 1e-9)
        self._joints = (stamp_ns, position)
        self._plan_anew_behind_the_gate()
        self._on_observation(self.matcher.add_joints(stamp_ns, position, self._task))
        self._answer()
        return self._take()

    def image(self, camera: str, stamp_ns: int, pixels: ImageArray) -> list[Output]:
        """A camera's image, shape (height, width, 3), and its stamp [ns]."""
        if self._counts(camera, stamp_ns):
            self._on_observation(self.matcher.add_image(camera, stamp_ns, pixels, self._task))
        return self._take()

    def pose(self, entity: str, stamp_ns: int, pose: Pose) -> list[Output]:
        """The ground truth of an entity."""
        self._on_observation(self.matcher.add_pose(entity, stamp_ns, pose, self._task))
        return self._take()

    # -- decisions -----------------------------------------------------------------------------------------------------

    def decided(self, job: Job, decision: Decision) -> list[Output]:
        """The policy decided."""
        if job.epoch != self._epoch or self._joints is None:
            return self._take()  # of an episode that is over, or of before the clock jumped back
        now_ns, measured = self._joints
        self._schedule.decided_ns = decision.stamp_ns
        self._inference_ms = decision.inference_ms
        self._outputs.append(Report(decision))
        if self.state is AuthorityState.RUNNING:
            self._controller.accept(decision, max(now_ns, decision.stamp_ns), measured)
            done = self._controller.intervention
            if done is not None and done.stamp_ns == decision.stamp_ns:
                self._outputs.append(Intervene(done))
        self._answer()
        return self._take()

    def decision_failed(self, job: Job, words: str) -> list[Output]:
        """The policy could not decide."""
        if job.epoch == self._epoch:
            self._schedule.decided_ns = job.observation.stamp_ns
            self._fail(NO_VALID_POLICY, words)
            self._answer()
        return self._take()

    # -- time ----------------------------------------------------------------------------------------------------------

    def clock(self, now_ns: int, wall_s: float) -> tuple[bool, list[Output]]:
        """ROS time and wall time go on; whether ROS time jumped back, and what to do."""
        self._check_lockstep(now_ns)
        jumped = self.watchdog.clock(now_ns, wall_s, self.plan_age_ns(now_ns))
        if jumped:
            self._forget_stamps(now_ns)
        self._hold_if_tripped()
        self._keep_commanding(now_ns)
        return jumped, self._take()

    def wall(self, wall_s: float) -> list[Output]:
        """Wall time goes on: sees what ROS time cannot show, a clock that is missing or stands still [s]."""
        due = (
            self._lockstep and self._schedule.is_next(self._newest_ns) and self._schedule.decision_due(self._newest_ns)
        )
        self.watchdog.wall(wall_s, thinking=self._schedule.pending, set_due=due)
        self._hold_if_tripped()
        return self._take()

    # -- the gate ------------------------------------------------------------------------------------------------------

    def gate_holds(self, holds: bool, stamp_ns: int) -> list[Output]:
        """Whether the command gate says that it stopped the arm for want of a valid command, and since when [ns].

        In lockstep no command comes late, and whatever the gate refuses is for the episode node to see.
        """
        if self._lockstep or not self._gate.said(holds, stamp_ns):
            return self._take()
        if holds:
            self._yield()
        elif self._joints is not None:  # somebody else's commands, or the arm was teleported
            self._controller.resume_at(self._joints[1])
        return self._take()

    def gate_commanded(self, stamp_ns: int, position: FloatArray) -> list[Output]:
        """A command that reached the arm, shape (9,) [rad, m]: one of ours, or one of the gate's own."""
        if not self._lockstep and self._gate.commanded(stamp_ns, position):
            self._yield()
        return self._take()

    def _yield(self) -> None:
        self.yielded += 1
        slow = self._inference_ms * 1e6 > self._period_ns
        why = f"; a decision took {self._inference_ms:.0f} of {self._period_ns * 1e-6:.0f} ms, {CANNOT_KEEP_UP}"
        detail = f"the gate holds the arm, no valid command came in time{why if slow else ''}"
        self._controller.drop_plan(DEADMAN, detail)
        if self.state is AuthorityState.YIELDED:
            self._say(NodeState.HOLDING, DEADMAN, detail)

    # -- deciding ------------------------------------------------------------------------------------------------------

    @property
    def _task(self) -> str:
        return self._episode.task if self._episode is not None else ""

    @property
    def _newest_ns(self) -> int:
        return self._joints[0] if self._joints is not None else self.watchdog.now_ns or 0

    def _new_matcher(self) -> ObservationMatcher:
        return ObservationMatcher(self._frame_ns // 2, self._cameras, self._entities)

    def _counts(self, source: str, stamp_ns: int) -> bool:
        refusal = self.watchdog.saw(source, stamp_ns)
        if refusal is not None:
            self._outputs.append(Refuse(source, refusal, stamp_ns))
        return refusal is None

    def _on_observation(self, observation: Observation | None) -> None:
        if observation is None:
            return
        stamp_ns = observation.stamp_ns
        self._outputs.append(Observed(stamp_ns))
        if not self._active:
            return
        if not self._observed:
            self._observed = True
            if self._held is None and self._episode is None:
                self._say(NodeState.READY, stamp_ns=stamp_ns)
        if self._episode is None or stamp_ns < self._schedule.start_ns or self._schedule.after_end(stamp_ns):
            # The first set of an episode may overtake the message that starts it.
            self._waiting = observation
            return
        if self._failed:
            return  # nothing that it could decide would be used
        if observation.task != self._task:
            observation = replace(observation, task=self._task)
        self._schedule.submitted_ns = stamp_ns
        self._outputs.append(
            Submit(Job(self._epoch, self._episode.seed, observation, self._controller.command_in_force))
        )

    def _fail(self, reason: str, detail: str) -> None:
        """The arm brakes and holds until the next episode starts; the first reason to stop stays."""
        if self._held is not None or self._failed or not self._active:
            self._outputs.append(Log(f"{reason}: {detail}"))
            return
        self._failed, self._failure = True, (reason, detail)
        self._controller.drop_plan(reason, detail)
        self._say(NodeState.FAILED, reason, detail)

    def _check_lockstep(self, now_ns: int) -> None:
        """A simulator that went on without the answer to its last frame has given up waiting.

        Comes before the watchdog: everything is stale to a node that was not waited for, and that is not the reason.
        """
        if self._failed or not self._active or self._episode is None or self._joints is None:
            return
        if self._schedule.lost(self._joints[0], now_ns):
            self._fail(
                LOCKSTEP_LOST,
                f"the simulator did not wait for the command of stamp {self._joints[0] * 1e-9:.2f} s; "
                "if decisions are that slow, raise mujoco_sim's lockstep_timeout_s",
            )

    # -- commanding ----------------------------------------------------------------------------------------------------

    def _answer(self) -> None:
        """Answers the newest joint frame with a command, in lockstep only when its decision is made."""
        if self._episode is None or self._joints is None or not self._schedule.is_next(self._joints[0]):
            return
        stamp_ns, state = self._joints[0], self.state
        if state is AuthorityState.YIELDED:
            return
        if state is AuthorityState.INACTIVE:
            if not self._controller.resting:
                self._send(stamp_ns)
            return
        ended = self._schedule.finished(stamp_ns)
        if state is AuthorityState.RUNNING and self._lockstep and self._schedule.decision_due(stamp_ns):
            return
        if ended and self._controller.resting:
            self._disarm_at_rest()
            if state is AuthorityState.IDLE:
                self._say(NodeState.READY, stamp_ns=stamp_ns)
            return
        if state is AuthorityState.ENDING:
            self._controller.drop_plan(NO_EPISODE, "the episode is over")
        self._send(stamp_ns)

    def _send(self, stamp_ns: int) -> None:
        """Commands and, in RUNNING, says whether the arm follows a plan."""
        assert self._joints is not None
        measured_ns, measured = self._joints
        if self._controller.command_in_force is None and stamp_ns - measured_ns > _FRESH_FRAMES * self._frame_ns:
            return  # a stream begins where the arm is, not where it was
        running = self.state is AuthorityState.RUNNING
        self._schedule.answered_ns = stamp_ns
        if stamp_ns <= self._sent_ns:
            return  # no frame gets two commands, whatever came between
        self._sent_ns = stamp_ns
        command = self._controller.command(stamp_ns, measured, measured_ns)
        self._gate.sent(stamp_ns, command.position)
        self._outputs.append(Send(stamp_ns, command.position))
        self.limited += command.limited
        if not running:
            return
        if command.hold_reason:
            self.refused += command.hold_reason == COMMAND_REFUSED
            self._say(NodeState.HOLDING, command.hold_reason, command.detail, stamp_ns)
        else:
            self._say(NodeState.RUNNING, stamp_ns=stamp_ns)

    def _keep_commanding(self, now_ns: int) -> None:
        """Commands that no joint state asked for, one per frame, so that the stream neither stops nor jumps.

        While the arm is stopped that is up to now; in realtime otherwise up to a frame ago, because joint states may be
        on their way.
        """
        state = self.state
        if self._joints is None or self._schedule.answered_ns < 0 or state is AuthorityState.YIELDED:
            return
        stopped = state in (AuthorityState.HELD, AuthorityState.FAILED, AuthorityState.INACTIVE)
        over = self._schedule.after_end(now_ns) or state is AuthorityState.INACTIVE
        if over and self._controller.resting:
            self._disarm_at_rest()
            return
        if not stopped and (self._lockstep or self._episode is None or self._schedule.end_ns is not None):
            return
        until_ns = now_ns if stopped else now_ns - self._frame_ns
        stamps, stands = commands_due(self._schedule.answered_ns, until_ns, self._frame_ns)
        if stands:
            self._controller.settle()
        for stamp_ns in stamps:
            self._send(stamp_ns)

    def _disarm_at_rest(self) -> None:
        """Nothing can go wrong any more with an arm that rests and is not to move."""
        over = self._episode is None or self._schedule.finished(self._newest_ns)
        if over and self._controller.resting:
            self.watchdog.disarm()

    # -- stopping and going on -----------------------------------------------------------------------------------------

    def _hold_if_tripped(self) -> None:
        trip = self.watchdog.trip
        if trip is None or trip is self._held:
            return
        self._held = trip
        self._controller.drop_plan(trip.reason, trip.detail)
        if self._failed:
            self._outputs.append(Log(f"{trip.reason}: {trip.detail}"))
        else:
            state = NodeState.FAILED if trip.reason == MISSING_CLOCK else NodeState.HOLDING
            self._say(state, trip.reason, trip.detail, trip.stamp_ns)
        self._answer()  # a simulator in lockstep waits for it

    def _forget_stamps(self, now_ns: int) -> None:
        """After a clock that jumped back: nothing received or decided before can be compared with what comes."""
        self.matcher = self._new_matcher()
        self._epoch += 1
        self._controller.forget_measured()
        self._episode = self._waiting = None
        self._gate.forget()
        self._sent_ns = -1
        commanding = self._schedule.answered_ns >= 0
        self._schedule.forget()
        if self._joints is not None:
            self._joints = (now_ns, self._joints[1])
        if commanding:  # an arm that is moving goes on braking where it is
            self._schedule.answered_ns = now_ns - self._frame_ns

    def _go_on(self, detail: str) -> None:
        """After a hold: the next decision gives a plan, and in lockstep no frame waits for one before."""
        self._controller.drop_plan(NO_DECISION_YET, detail)
        if self._episode is not None and not self._schedule.after_end(self._newest_ns):
            self._schedule.skip_to_answered()
            self._say(NodeState.HOLDING, NO_DECISION_YET, detail)
        else:
            self._say(NodeState.READY if self._observed else NodeState.STARTING, detail=detail)

    def _plan_anew_behind_the_gate(self) -> None:
        """Once the gate's own stop is over and the arm rests, the plan begins at the pose that the gate holds."""
        if self.state is not AuthorityState.YIELDED:
            return
        assert self._joints is not None
        pose = self._gate.let_go(self._newest_ns, self._joints[1], self._speed)
        if pose is None:
            return
        self.replanned += 1
        self._controller.resume_at(pose)
        self._schedule.answered_ns = max(self._schedule.answered_ns, self._newest_ns - 1)
        self._say(NodeState.HOLDING, PLANNING_ANEW, "the gate let go: planning anew from where the arm is")

    def _say(self, state: NodeState, reason: str = "", detail: str = "", stamp_ns: int | None = None) -> None:
        if stamp_ns is None:
            stamp_ns = self.watchdog.now_ns or 0
        self._outputs.append(Say(state, reason, detail, stamp_ns))

    def _take(self) -> list[Output]:
        outputs, self._outputs = self._outputs, []
        return outputs
