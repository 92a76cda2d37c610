"""Whatever comes, in whatever order: what may never happen does not happen."""

import numpy as np
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from salus_vla.contract import CAMERAS
from salus_vla.contract.reasons import INACTIVE, NodeState
from salus_vla.contract.robot_limits import PANDA
from salus_vla.control.authority import AuthorityState
from salus_vla.control.authority_types import Output, Refuse, Report, Say, Send, Submit
from salus_vla.control.safety_filter import SafetyFilter

from .acting_filter import SLOW, act
from .authority_world import FRAME, IMAGE, S, World

STOPPED = (AuthorityState.INACTIVE, AuthorityState.HELD, AuthorityState.FAILED)
# What the documentation says ends each stop.
ENDED_BY = {
    AuthorityState.INACTIVE: {"activate"},
    AuthorityState.HELD: {"reset_hold", "deactivate"},
    # A trip, seen when time goes on by a clock or by joints, holds it for longer.
    AuthorityState.FAILED: {"start", "activate", "deactivate", "clock", "joints"},
}
YIELD = 0.1 + 1e-6  # rad/s: the way of a stopped arm's command to where it is measured


class Storm(RuleBasedStateMachine):
    """Random inputs to an authority whose arm follows each command."""

    def interventions(self) -> SafetyFilter | None:
        """Nobody intervenes."""
        return None

    @initialize(lockstep=st.booleans(), begun=st.booleans())
    def make(self, lockstep: bool, begun: bool) -> None:
        self.safety = self.interventions()
        self.world = World(lockstep=lockstep, filters=[] if self.safety is None else [self.safety])
        if begun:
            self.world.begin()
        self.sent: Send | None = self.world.sends[-1] if begun else None  # newest in this time base
        self.speed = np.full(7, 9.0) if begun else np.zeros(7)  # not known
        self.reason = ""
        self.before = self.world.state
        self.lockstep = lockstep
        self.stopped_reason = ""

    def do(self, name: str, outputs: list[Output], *, new_time: bool = False) -> None:
        """Checks what follows from one input."""
        world, state = self.world, self.world.state
        stopped = state in STOPPED and self.before in STOPPED
        if new_time:
            self.sent, self.speed = None, np.full(7, 9.0)  # not known
        for output in outputs:
            if isinstance(output, Send):
                self.check_send(output, stopped)
            elif isinstance(output, Say) and output.state in (NodeState.HOLDING, NodeState.FAILED):
                assert output.reason, name
                assert output.detail, name
                self.reason = output.reason
            elif isinstance(output, Submit):
                assert state not in (AuthorityState.INACTIVE, AuthorityState.FAILED), name
        world.do(outputs)
        if self.before in ENDED_BY and state is not self.before:
            assert name in ENDED_BY[self.before], f"{self.before} was ended by {name}"
        if state in STOPPED and state is not AuthorityState.INACTIVE:
            assert self.reason, f"{state} without a reason"
        self.before = state

    def check_send(self, send: Send, stopped: bool) -> None:
        before, self.sent = self.sent, send
        arm = send.position[:7]
        assert np.isfinite(send.position).all()
        assert ((arm >= PANDA.lower - 1e-9) & (arm <= PANDA.upper + 1e-9)).all()
        if before is None:
            return
        assert send.stamp_ns > before.stamp_ns, "two commands for one frame"
        frames = max(1, round((send.stamp_ns - before.stamp_ns) / FRAME))
        step = arm - before.position[:7]
        # A later command is still one frame of motion behind the one before.
        assert (np.abs(step) <= PANDA.velocity * 0.02 + 1e-9).all()
        speed = np.abs(step) / 0.02
        if stopped and frames == 1:
            assert (speed <= np.maximum(self.speed, YIELD) + 1e-6).all(), "it does not brake"
        self.speed = speed

    # -- time and measurements -----------------------------------------------------------------------------------------

    @rule(images=st.booleans(), clock=st.booleans(), joints=st.booleans())
    def frame(self, images: bool, clock: bool, joints: bool) -> None:
        world = self.world
        world.now += FRAME
        world.wall += 0.02
        if clock:
            self.do("clock", world.authority.clock(world.now, world.wall)[1])
        if joints:
            self.do("joints", world.authority.joints(world.now, *world.measured()))
        for camera in CAMERAS if images else ():
            self.do("image", world.authority.image(camera, world.now, IMAGE))

    @rule(count=st.integers(1, 12))
    def good_frames(self, count: int) -> None:
        for _ in range(count):
            world = self.world
            world.now += FRAME
            world.wall += 0.02
            self.do("clock", world.authority.clock(world.now, world.wall)[1])
            self.do("joints", world.authority.joints(world.now, *world.measured()))
            if world.now % (5 * FRAME) == 0:
                for camera in CAMERAS:
                    self.do("image", world.authority.image(camera, world.now, IMAGE))
            if world.jobs:
                self.decide("move")

    @rule(offset=st.sampled_from([-70 * S, -S, -FRAME, FRAME, S, 70 * S]), source=st.sampled_from(["joints", "image"]))
    def wrong_stamp(self, offset: int, source: str) -> None:
        world = self.world
        stamp = max(0, world.now + offset)
        before = world.state
        if offset > FRAME or offset < -FRAME:
            outputs = (
                world.authority.joints(stamp, *world.measured())
                if source == "joints"
                else world.authority.image(CAMERAS[0], stamp, IMAGE)
            )
            if outputs and all(isinstance(output, Refuse) for output in outputs):
                assert world.state is before, "a refused message changed something"
            self.do(source, outputs)
        elif source == "joints":
            self.do("joints", world.authority.joints(stamp, *world.measured()))
        else:
            self.do("image", world.authority.image(CAMERAS[0], stamp, IMAGE))

    @rule(back=st.sampled_from([FRAME, S, 8 * S]))
    def clock_jumps_back(self, back: int) -> None:
        world = self.world
        world.now = max(FRAME, world.now - back)
        jumped, outputs = world.authority.clock(world.now, world.wall)
        self.do("clock", outputs, new_time=jumped)

    @rule(seconds=st.sampled_from([0.1, 5.0, 100.0]))
    def wall(self, seconds: float) -> None:
        self.world.wall += seconds
        self.do("clock", self.world.authority.wall(self.world.wall))

    # -- decisions -----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.jobs)
    @rule(kind=st.sampled_from(["move", "move", "hold", "nan", "outside", "error"]))
    def decide(self, kind: str) -> None:
        world = self.world
        job = world.jobs.pop()
        world.policy.kind, world.policy.arm = kind, world.arm[:7]
        if job.epoch != world.epoch:
            world.epoch = job.epoch
            world.controller.start_decisions(job.seed)
        if kind == "error":
            self.do("decision", world.authority.decision_failed(job, "RuntimeError: no"))
            return
        outputs = world.authority.decided(job, world.controller.decide(job.observation, job.command_in_force))
        if job.epoch != world.authority.epoch:
            assert not any(isinstance(output, Report) for output in outputs)
        self.do("decision", outputs)

    # -- the episode and the node --------------------------------------------------------------------------------------

    @rule()
    def start(self) -> None:
        world = self.world
        from salus_vla.control.authority_types import EpisodeStart

        world.number += 1
        start = EpisodeStart(world.number, 1, "task", world.now)
        self.do("start", world.authority.episode_started(start, world.wall))

    @rule(other=st.booleans())
    def end(self, other: bool) -> None:
        self.do("end", self.world.authority.episode_ended(self.world.number + 7 * other, self.world.now))

    @rule()
    def activate(self) -> None:
        self.do("activate", self.world.authority.activate(self.world.wall))

    @rule()
    def deactivate(self) -> None:
        outputs = self.world.authority.deactivate()
        assert any(isinstance(output, Say) and output.reason == INACTIVE for output in outputs)
        self.do("deactivate", outputs)

    @rule()
    def reset_hold(self) -> None:
        self.do("reset_hold", self.world.authority.reset_hold(self.world.wall)[1])

    @rule(holds=st.booleans())
    def gate(self, holds: bool) -> None:
        world = self.world
        self.do("gate", world.authority.gate_holds(holds, world.now))
        self.do("gate", world.authority.gate_commanded(world.now, world.arm.copy()))

    # -- always --------------------------------------------------------------------------------------------------------

    @invariant()
    def the_watchdog_guards_an_arm_that_may_move(self) -> None:
        authority = self.world.authority
        if authority.state in (AuthorityState.RUNNING, AuthorityState.YIELDED, AuthorityState.ENDING):
            assert authority.watchdog.armed
        if authority.state is AuthorityState.FAILED and authority.in_episode:
            assert authority.watchdog.armed

    @invariant()
    def only_running_has_a_plan(self) -> None:
        authority = self.world.authority
        if authority.plan_age_ns(self.world.now) is not None:
            assert authority.state in (AuthorityState.RUNNING, AuthorityState.ENDING, AuthorityState.IDLE)


class ShortStorm(Storm):
    """For each run of the tests."""


class ActingStorm(Storm):
    """The same, where interventions act: what is chosen changes nothing of what may never happen."""

    def interventions(self) -> SafetyFilter:
        """They slow the arm down whenever something is in the hand."""
        return act()

    @invariant()
    def somebody_can_intervene(self) -> None:
        assert self.safety is not None
        assert not self.safety.fault
        if self.safety.newest is not None and self.safety.newest.chosen == SLOW:
            event("slowed down")


SETTINGS = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestStorm = ShortStorm.TestCase
TestStorm.settings = SETTINGS
TestActingStorm = ActingStorm.TestCase
TestActingStorm.settings = settings(SETTINGS, max_examples=40)
