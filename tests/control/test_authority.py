"""Who stops the arm, what it does then, and what ends the stop: each row of the table in `control/authority.py`."""

import numpy as np
import pytest

from salus_vla.contract.reasons import (
    CLOCK_JUMPED_BACK,
    DEADMAN,
    INACTIVE,
    LOCKSTEP_LOST,
    NO_DECISION_YET,
    NO_VALID_POLICY,
    STALE_JOINTS,
    NodeState,
)
from salus_vla.control.authority import AuthorityState
from salus_vla.control.authority_types import Refuse, Report
from salus_vla.control.watchdog import Refusal

from .authority_world import CAMERAS, FRAME, PERIOD, S, World


def moved(world: World, frames: int, **options: object) -> float:
    """How far the arm goes [rad] behind the braking of the first half second."""
    world.run(25, **options)  # type: ignore[arg-type]
    before = world.arm.copy()
    world.run(frames, **options)  # type: ignore[arg-type]
    return float(np.abs(world.arm - before)[:7].max())


def test_after_a_lost_lockstep_a_decision_that_was_being_made_moves_nothing() -> None:
    world = World()
    world.begin()
    while not world.jobs:
        world.frame()
    world.now += FRAME  # the simulator goes on although its frame has no answer
    world.clock()
    assert world.state is AuthorityState.FAILED
    assert (world.says[-1].state, world.says[-1].reason) == (NodeState.FAILED, LOCKSTEP_LOST)
    world.decide()
    assert moved(world, 50) < 1e-6
    assert world.state is AuthorityState.FAILED
    assert world.authority.watchdog.armed


def test_after_a_failed_decision_nothing_moves_until_the_next_episode() -> None:
    world = World()
    world.begin()
    while not world.jobs:
        world.frame()
    world.decide("error")
    assert (world.says[-1].state, world.says[-1].reason) == (NodeState.FAILED, NO_VALID_POLICY)
    assert moved(world, 50) < 1e-6
    assert not world.jobs  # nothing that it could decide would be used
    world.end()
    world.run(10)
    assert world.state is AuthorityState.FAILED
    world.start()
    assert world.state is AuthorityState.RUNNING
    assert moved(world, 20) > 0.05


def test_failed_is_not_ended_by_deactivating_and_activating_within_the_episode() -> None:
    world = World()
    world.begin()
    while not world.jobs:
        world.frame()
    world.decide("error")
    world.do(world.authority.deactivate())
    world.do(world.authority.activate(world.wall))
    assert world.state is AuthorityState.FAILED
    assert moved(world, 30) < 1e-6


def test_the_watchdog_guards_an_arm_that_failed() -> None:
    world = World(lockstep=False)
    world.begin()
    while not world.jobs:
        world.frame()
    world.decide("error")
    for _ in range(11):
        world.now += FRAME
        world.clock()
    assert world.state is AuthorityState.HELD
    assert world.authority.watchdog.trip is not None
    assert world.authority.watchdog.trip.reason == STALE_JOINTS
    assert world.says[-1].reason == NO_VALID_POLICY  # the first reason stays


@pytest.mark.parametrize("lockstep", [True, False])
def test_an_inactive_node_brakes_holds_and_falls_silent(lockstep: bool) -> None:
    world = World(lockstep=lockstep)
    world.begin()
    world.do(world.authority.deactivate())
    assert (world.says[-1].state, world.says[-1].reason) == (NodeState.HOLDING, INACTIVE)
    assert "lifecycle" in world.says[-1].detail
    assert moved(world, 20) < 1e-6
    sent = len(world.sends)
    world.run(20)
    assert len(world.sends) == sent
    assert not world.authority.watchdog.armed


def test_activating_in_an_episode_goes_on_from_the_next_decision() -> None:
    world = World()
    world.begin()
    world.do(world.authority.deactivate())
    world.run(40)
    world.do(world.authority.activate(world.wall))
    assert world.says[-1].reason == NO_DECISION_YET
    before = world.arm.copy()
    world.run(25)
    assert world.state is AuthorityState.RUNNING
    assert np.abs(world.arm - before).max() > 0.05


def test_activating_behind_an_episode_does_not_arm_the_watchdog() -> None:
    world = World()
    world.begin()
    world.end()
    world.run(30)
    world.do(world.authority.deactivate())
    world.do(world.authority.activate(world.wall))
    assert not world.authority.watchdog.armed
    world.do(world.authority.wall(world.wall + 60.0))  # a simulator in lockstep stands still between two episodes
    assert world.state is AuthorityState.IDLE
    assert world.says[-1].state is NodeState.READY


def test_a_trip_is_ended_by_the_reset_and_by_nothing_else() -> None:
    world = World(lockstep=False)
    world.begin()
    for _ in range(11):
        world.now += FRAME
        world.clock()
    assert world.says[-1].reason == STALE_JOINTS
    assert moved(world, 20) < 1e-6
    world.end()
    world.run(5)
    world.start()
    world.do(world.authority.deactivate())
    world.do(world.authority.activate(world.wall))
    assert moved(world, 20) < 1e-6
    assert world.state is AuthorityState.HELD
    trip, outputs = world.authority.reset_hold(world.wall)
    world.do(outputs)
    assert trip is not None
    assert trip.reason == STALE_JOINTS
    assert world.says[-1].reason == NO_DECISION_YET
    before = world.arm.copy()
    world.run(25)
    assert np.abs(world.arm - before).max() > 0.05


def test_a_clock_that_jumps_back_holds_and_forgets_decisions_of_before() -> None:
    world = World(lockstep=False)
    world.begin()
    while not world.jobs:
        world.frame()
    world.clock(5 * S)
    assert world.says[-1].reason == CLOCK_JUMPED_BACK
    assert not any(isinstance(output, Report) for output in _decided(world))
    assert moved(world, 20) < 1e-6


def _decided(world: World) -> list[object]:
    job = world.jobs.pop()
    decision = world.controller.decide(job.observation, job.command_in_force)
    return list(world.do(world.authority.decided(job, decision)))


def test_a_decision_of_the_episode_before_is_not_used() -> None:
    world = World()
    world.begin()
    while not world.jobs:
        world.frame()
    world.end()
    world.start()
    assert _decided(world) == []


def test_joints_stamped_by_the_wall_clock_are_refused_by_name_and_silence_nobody() -> None:
    world = World(lockstep=False)
    wall = 1_795_000_000 * S
    early = world.authority.joints(wall, world.arm)
    assert early == [Refuse("joints", Refusal.BEFORE_CLOCK, wall)]
    world.clock()
    assert world.authority.joints(wall, world.arm) == [Refuse("joints", Refusal.FUTURE_STAMP, wall)]
    assert world.authority.image(CAMERAS[0], wall, np.zeros((2, 2, 3), np.uint8)) == [
        Refuse(CAMERAS[0], Refusal.FUTURE_STAMP, wall)
    ]
    world.begin()  # good ones count
    for _ in range(10):
        world.now += FRAME
        world.clock()
        world.do(world.authority.joints(wall + world.now, world.arm))
    assert world.says[-1].reason == STALE_JOINTS
    assert "ahead of /clock" in world.says[-1].detail


class Yielding:
    """The gate's side of a realtime stop, typed from `gate/gate.py`: brake, then hold, said with the first command."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.pose = world.arm.copy()
        self.speed = np.zeros(9)
        self.speed[0] = 0.2

    def stop(self, frames: int = 8) -> None:
        world = self.world
        for number in range(frames):
            world.now += FRAME
            world.wall += 0.02
            world.clock()
            self.speed *= 0.5 if number < frames - 2 else 0.0
            self.pose = self.pose + self.speed * 0.02
            world.arm = self.pose.copy()
            world.joints()
            if world.now % PERIOD == 0:
                world.images()
            world.do(world.authority.gate_commanded(world.now, self.pose.copy()))
            if number == 0:
                world.do(world.authority.gate_holds(True, world.now))


def test_behind_a_stop_of_the_gate_it_plans_anew_from_where_the_arm_is_within_a_second() -> None:
    world = World(lockstep=False)
    world.begin()
    gate = Yielding(world)
    sent = len(world.sends)
    gate.stop()
    assert world.state is AuthorityState.YIELDED
    assert len(world.sends) <= sent + 1  # the gate commands, once it has said so
    assert [said.reason for said in world.says if said.state is NodeState.HOLDING][-1] == DEADMAN
    began = world.now
    while world.state is AuthorityState.YIELDED:
        world.frame()
    first = world.sends[-1]
    np.testing.assert_allclose(first.position, gate.pose, atol=1e-9)  # the stream goes on where the gate holds
    before = world.arm.copy()
    while np.abs(world.arm - before)[:7].max() < 0.01:
        world.frame()
        if world.jobs:
            world.decide()
        world.do(world.authority.gate_commanded(world.sends[-1].stamp_ns, world.sends[-1].position))
    assert world.now - began <= S
    assert (world.authority.yielded, world.authority.replanned) == (1, 1)
    assert world.authority.watchdog.armed


def test_a_gate_that_replaces_our_targets_still_holds_although_it_says_so_once() -> None:
    world = World(lockstep=False)
    world.begin()
    Yielding(world).stop()
    while world.state is AuthorityState.YIELDED:
        world.frame()
    for _ in range(3):
        world.frame()
        world.do(world.authority.gate_commanded(world.sends[-1].stamp_ns, world.sends[-1].position + 0.01))
    assert world.state is AuthorityState.YIELDED
    assert world.authority.yielded == 2


def test_a_machine_that_cannot_keep_the_pace_says_so() -> None:
    world = World(lockstep=False)
    world.begin()
    world.authority._inference_ms = 240.0
    Yielding(world).stop()
    detail = next(said.detail for said in world.says if said.reason == DEADMAN)
    assert "240 of 100 ms" in detail
    assert "cannot keep the pace" in detail


def test_a_gate_that_holds_in_lockstep_is_the_episode_nodes_to_judge() -> None:
    world = World()
    world.begin()
    assert world.authority.gate_holds(True, world.now) == []
    assert world.state is AuthorityState.RUNNING


def test_an_episode_that_starts_while_the_gate_holds_waits_for_the_gate() -> None:
    world = World(lockstep=False)
    world.begin()
    gate = Yielding(world)
    gate.stop(3)
    world.end()
    world.start()
    sent = len(world.sends)
    gate.stop(4)
    assert len(world.sends) == sent
    world.run(40)
    assert world.state is AuthorityState.RUNNING


def test_ready_is_said_on_a_complete_observation_and_never_in_an_episode() -> None:
    world = World()
    world.do(world.authority.activate(world.wall))
    assert world.says[-1].state is NodeState.STARTING
    while world.says[-1].state is not NodeState.READY:
        world.frame()
    assert world.now % PERIOD == 0


def test_in_lockstep_a_joint_state_with_a_wrong_stamp_is_refused_and_loses_nothing() -> None:
    world = World()
    world.begin()
    while not world.jobs:
        world.frame()
    for ahead in (2 * S, 60 * S, 10**18):
        outputs = world.authority.joints(world.now + ahead, world.arm)
        assert outputs == [Refuse("joints", Refusal.FUTURE_STAMP, world.now + ahead)]
    assert world.state is AuthorityState.RUNNING
    world.decide()
    world.run(10)
    assert world.state is AuthorityState.RUNNING


def test_a_policy_that_comes_beside_a_gate_that_holds_goes_on_from_the_measured_pose() -> None:
    """It heard the latched status, and none of the commands of the gate's stop."""
    world = World(lockstep=False)
    world.do(world.authority.activate(world.wall))
    world.run(10)
    world.do(world.authority.gate_holds(True, world.now))
    world.start()
    assert world.says[-1].reason == DEADMAN
    world.run(40)
    assert world.state is AuthorityState.RUNNING
    assert world.speed() > 0.05


def test_behind_a_reset_the_gates_old_pose_is_not_where_the_arm_is() -> None:
    world = World(lockstep=False)
    world.begin()
    Yielding(world).stop()
    world.arm = world.arm + 0.5
    sent = len(world.sends)
    while len(world.sends) == sent:
        world.frame()
    np.testing.assert_allclose(world.sends[-1].position[:7], world.arm[:7], atol=1e-6)


def test_the_reason_of_a_hold_is_said_again_when_the_node_is_activated() -> None:
    world = World(lockstep=False)
    world.begin()
    for _ in range(11):
        world.now += FRAME
        world.clock()
    world.do(world.authority.deactivate())
    assert world.says[-1].reason == INACTIVE
    world.do(world.authority.activate(world.wall))
    assert world.says[-1].reason == STALE_JOINTS


def test_an_arm_that_is_activated_while_it_is_braked_behind_the_end_is_guarded_until_it_rests() -> None:
    """Found by the storm: the end came, the node was deactivated, one frame later activated."""
    world = World(lockstep=False)
    world.begin()
    world.run(30)
    world.end()
    world.do(world.authority.deactivate())
    world.frame()
    world.do(world.authority.activate(world.wall))
    assert world.state is AuthorityState.ENDING
    assert world.authority.watchdog.armed
    world.run(100)
    assert world.state is AuthorityState.IDLE
    assert not world.authority.watchdog.armed
