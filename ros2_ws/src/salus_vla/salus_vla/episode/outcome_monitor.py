"""Decides how an episode ends, from ground truth only: joint positions, entity poses and contact events.

Pure: no ROS, no simulator. Both simulators and a replayed bag feed it frame by frame. Every event carries the stamp of
the frame it was detected in. One event at most ends the episode; when several rules fire in the same frame the order is
COLLISION, DROP, SUCCESS, MISS, TIMEOUT. Thresholds are `outcomes` of config/contract.yaml.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from salus_vla.config.scene import Scene
from salus_vla.contract import ARM_DOF
from salus_vla.contract.bodies import BIN, CUBE, FINGER_BODIES, ROBOT_BODIES, TABLE, adjacent
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import Contact, FloatArray, Pose

MISS_TRY = "MISS_TRY"
_ROBOT = frozenset(ROBOT_BODIES)


@dataclass(frozen=True)
class TaskEvent:
    """Something that happened in the task.

    Attributes:
        kind: name of the outcome, or `MISS_TRY` for a failed try that does not end the episode.
        outcome: how the episode ended, or None when it goes on.
        stamp_ns: stamp of the frame in which it was detected [ns].
        detail: what was measured, in words.
    """

    kind: str
    outcome: Outcome | None
    stamp_ns: int
    detail: str


@dataclass(frozen=True)
class _View:
    """One frame as the rules see it: stamp [ns], gripper width [m], poses, and the fingers' forces on the cube [N]."""

    stamp_ns: int
    width: float
    cube: FloatArray
    bin: Pose
    fingers: tuple[float, float]

    @property
    def both_touch(self) -> bool:
        return min(self.fingers) > 0.0

    @property
    def any_touches(self) -> bool:
        return max(self.fingers) > 0.0


@dataclass(frozen=True)
class _Hold:
    """The cube is held: largest gripper width since then [m], and whether the cube has been lifted."""

    width: float
    lifted: bool


@dataclass(frozen=True)
class _Loss:
    """The moment the lifted cube left the fingers; whether it is a drop shows in the frames after it."""

    stamp_ns: int
    position: FloatArray
    hold: _Hold


class TaskMonitor:
    """Watches one episode at a time; `start` begins the next one."""

    def __init__(self, scene: Scene, *, max_decisions: int | None = None) -> None:
        """Takes the thresholds and the geometry.

        Args:
            scene: the contract's scene.
            max_decisions: decisions before TIMEOUT; the scene's by default.
        """
        self._limits = scene.outcomes
        self._bin = scene.objects.blue_bin
        self._rest_height = scene.objects.red_cube.edge / 2.0
        self._max_decisions = max_decisions if max_decisions is not None else scene.rates.max_decisions
        self._longest_ns = self._max_decisions * scene.rates.decision_dt_ns
        self.start(0)

    def start(self, stamp_ns: int) -> None:
        """Begins an episode: forgets all contacts; the next update must be the reset's frame, which reports them."""
        self._touching: dict[tuple[str, str], float] = {}
        self._stamp_ns = self._start_ns = stamp_ns
        self._outcome = Outcome.RUNNING
        self._squeezed_since: int | None = None
        self._hold: _Hold | None = None
        self._loss: _Loss | None = None
        self._last_cube: tuple[int, FloatArray] | None = None
        self._resting_since: int | None = None
        self._armed = False
        self._tries = 0

    @property
    def outcome(self) -> Outcome:
        """How the episode ended, or RUNNING."""
        return self._outcome

    @property
    def holding(self) -> bool:
        """True while both fingers have held the cube for grasp_time and have not lost it."""
        return self._hold is not None

    def update(
        self, stamp_ns: int, joint_position: FloatArray, poses: Mapping[str, Pose], contacts: Iterable[Contact]
    ) -> list[TaskEvent]:
        """Takes in one frame.

        Args:
            stamp_ns: sim time [ns].
            joint_position: nine joints in contract order, shape (9,) [rad, m].
            poses: poses of `red_cube` and `blue_bin` in the world.
            contacts: pairs that began, changed or ended (force 0) since the last frame.

        Returns:
            What happened in this frame; at most one event has an outcome, and after it every update returns nothing.
        """
        if self._outcome is not Outcome.RUNNING:
            return []
        self._stamp_ns = stamp_ns
        for contact in contacts:
            self._take(contact)
        view = _View(
            stamp_ns,
            float(np.sum(joint_position[ARM_DOF:])),
            np.asarray(poses[CUBE].position),
            poses[BIN],
            (self._force(FINGER_BODIES[0], CUBE), self._force(FINGER_BODIES[1], CUBE)),
        )
        self._follow_hold(view)
        # All rules see every frame, because some keep state; the first in the order wins.
        found = (self._collision(), self._drop(view), self._success(view), self._miss(view), self._timeout(view))
        events = [event for event in found if event is not None]
        for event in events:
            if event.outcome is not None:
                self._outcome = event.outcome
                return [event]
        return events

    # -- contacts ------------------------------------------------------------------------------------------------------

    def _take(self, contact: Contact) -> None:
        pair = (min(contact.body_a, contact.body_b), max(contact.body_a, contact.body_b))
        if contact.force > 0.0:
            self._touching[pair] = contact.force
        else:
            self._touching.pop(pair, None)

    def _force(self, body_a: str, body_b: str) -> float:
        return self._touching.get((min(body_a, body_b), max(body_a, body_b)), 0.0)

    # -- holding -------------------------------------------------------------------------------------------------------

    def _follow_hold(self, view: _View) -> None:
        """Held once both fingers pressed on the cube for grasp_time; lost when either no longer touches it."""
        if min(view.fingers) < self._limits.grasp_force:
            self._squeezed_since = None
        elif self._squeezed_since is None:
            self._squeezed_since = view.stamp_ns
        squeezed_since = self._squeezed_since
        if self._hold is not None and not view.both_touch:
            self._loss = _Loss(view.stamp_ns, view.cube, self._hold) if self._hold.lifted else None
            self._hold = None
        elif self._loss is not None and view.both_touch:
            self._hold, self._loss = self._loss.hold, None  # a contact that flickered
        elif (
            self._hold is None and squeezed_since is not None and self._passed(squeezed_since, self._limits.grasp_time)
        ):
            self._hold = _Hold(view.width, lifted=False)
        if self._hold is not None:
            lifted = self._hold.lifted or self._height(view.cube) > self._limits.lift_height
            self._hold = _Hold(max(self._hold.width, view.width), lifted)

    def _height(self, cube: FloatArray) -> float:
        """Height of the cube over its place on the table [m]."""
        return float(cube[2]) - self._rest_height

    def _passed(self, since_ns: int, duration: float) -> bool:
        """True when the duration [s] has passed; half a microsecond forgives the rounding of stamps."""
        return (self._stamp_ns - since_ns) * 1e-9 >= duration - 5e-7

    # -- the rules -----------------------------------------------------------------------------------------------------

    def _event(self, outcome: Outcome, detail: str) -> TaskEvent:
        return TaskEvent(outcome.name, outcome, self._stamp_ns, detail)

    def _collision(self) -> TaskEvent | None:
        """Robot or held cube against table or bin, or robot against itself, harder than collision_force.

        The fingers count like the arm. Whatever the robot does to the cube is not a collision, and the cube counts
        once it has been lifted: while the fingers close on it they may press it on the table.
        """
        for (body_a, body_b), force in sorted(self._touching.items()):
            if force > self._limits.collision_force and self._may_not_touch(body_a, body_b):
                return self._event(Outcome.COLLISION, f"{body_a} hit {body_b} with {force:.1f} N")
        return None

    def _may_not_touch(self, body_a: str, body_b: str) -> bool:
        pair = {body_a, body_b}
        if pair <= _ROBOT:
            return not adjacent(body_a, body_b)
        movers = _ROBOT | {CUBE} if self._hold is not None and self._hold.lifted else _ROBOT
        return bool(pair & movers) and bool(pair & {TABLE, BIN})

    def _drop(self, view: _View) -> TaskEvent | None:
        """The cube was held and lifted and left the fingers although the gripper did not open.

        A release looks the same in its first frame, so the loss is judged when the gripper has moved: wider by
        open_margin is a release; narrower by it (the fingers close on nothing) or still there after grasp_time is a
        drop. Below drop_height, or over the bin's hollow, it is a placement.
        """
        loss, limits = self._loss, self._limits
        if loss is None:
            return None
        opened = view.width - loss.hold.width
        if abs(opened) <= limits.open_margin and not self._passed(loss.stamp_ns, limits.grasp_time):
            return None
        self._loss = None
        height = self._height(loss.position)
        if opened > limits.open_margin or height <= limits.drop_height or self._bin.covers(view.bin, loss.position):
            return None
        return self._event(Outcome.DROP, f"cube lost {height * 100:.1f} cm above the table")

    def _success(self, view: _View) -> TaskEvent | None:
        """The cube is at rest inside the bin and no finger touches it, for success_rest_time."""
        before, self._last_cube = self._last_cube, (view.stamp_ns, view.cube)
        if before is None or view.stamp_ns <= before[0]:
            return None
        speed = float(np.linalg.norm(view.cube - before[1])) / ((view.stamp_ns - before[0]) * 1e-9)
        resting = speed < self._limits.success_rest_speed and self._bin.contains(view.bin, view.cube)
        if not resting or view.any_touches:
            self._resting_since = None
            return None
        if self._resting_since is None:
            self._resting_since = before[0]  # the speed was measured from there on
        if not self._passed(self._resting_since, self._limits.success_rest_time):
            return None
        return self._event(Outcome.SUCCESS, "cube at rest in the bin, released")

    def _miss(self, view: _View) -> TaskEvent | None:
        """The free cube is out of reach or off the table, or the gripper closed on nothing once too often."""
        if not view.any_touches:
            radius = float(np.hypot(view.cube[0], view.cube[1]))
            if not self._limits.reach[0] <= radius <= self._limits.reach[1]:
                return self._event(Outcome.MISS, f"cube out of reach, {radius:.2f} m from the base")
            if view.cube[2] < 0.0:
                return self._event(Outcome.MISS, "cube fell off the table")
        return self._empty_closing(view)

    def _empty_closing(self, view: _View) -> TaskEvent | None:
        """A gripper that was wide open is now narrower than any grip of the cube, and does not hold it."""
        if view.width > self._limits.open_width:
            self._armed = True
        if not self._armed or view.width >= self._limits.close_width or view.both_touch:
            return None
        self._armed = False
        self._tries += 1
        detail = f"gripper closed without the cube, try {self._tries} of {self._limits.miss_tries}"
        if self._tries < self._limits.miss_tries:
            return TaskEvent(MISS_TRY, None, view.stamp_ns, detail)
        return self._event(Outcome.MISS, detail)

    def _timeout(self, view: _View) -> TaskEvent | None:
        """The time of all decisions has passed, whether or not each was made: a slow policy gets no longer episode."""
        if view.stamp_ns - self._start_ns < self._longest_ns:
            return None
        return self._event(Outcome.TIMEOUT, f"the time of {self._max_decisions} decisions has passed")
