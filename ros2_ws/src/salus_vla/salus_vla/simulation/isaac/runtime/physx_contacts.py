"""Contact forces per pair of bodies and frame, from the contact reports of PhysX."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from salus_vla.simulation.contact_changes import FORCE_DECIMALS, PairForces, is_reported
from salus_vla.simulation.isaac.runtime.prims import body_of


@dataclass(frozen=True)
class Report:
    """What PhysX reports of two colliders in one physics step.

    Attributes:
        actor_a, actor_b: prims.
        impulse: sum of the normal impulses [N s]; None when the colliders let go of each other.
    """

    actor_a: str
    actor_b: str
    impulse: float | None


class FrameForces:
    """Collects the reports of a frame's physics steps.

    The force of a pair in a frame is the largest, over the frame's steps, of the sum over its colliders, as in MuJoCo.
    PhysX says nothing of bodies that sleep: a pair goes on touching with its last force until it is said to let go.
    """

    def __init__(self, physics_dt: float) -> None:
        """Nothing touches yet; `physics_dt` is the length of a step [s]."""
        self._dt = physics_dt
        self._touching: PairForces = {}
        self._largest: PairForces = {}

    def clear(self) -> None:
        """Forgets everything: the bodies were teleported."""
        self._touching.clear()
        self._largest.clear()

    def add_step(self, reports: Iterable[Report]) -> None:
        """Takes in one physics step."""
        step: PairForces = {}
        lost = set()
        for report in reports:
            first, second = sorted((body_of(report.actor_a), body_of(report.actor_b)))
            pair = (first, second)
            if first == second or not is_reported(*pair):
                continue
            if report.impulse is None:
                lost.add(pair)
            else:
                step[pair] = step.get(pair, 0.0) + report.impulse / self._dt
        for pair in lost:
            self._touching.pop(pair, None)
        self._touching.update(step)
        for pair, force in step.items():
            self._largest[pair] = max(force, self._largest.get(pair, 0.0))

    def end_frame(self) -> PairForces:
        """Force of each pair that touched in the frame, above 0 [N]; the next frame begins."""
        forces = {pair: round(force, FORCE_DECIMALS) for pair, force in (self._touching | self._largest).items()}
        self._largest = {}
        return {pair: force for pair, force in forces.items() if force > 0.0}
