"""Which pairs of bodies began to touch, touch harder or softer, or let go: the same rule for every simulator."""

from __future__ import annotations

from collections.abc import Mapping

from salus_vla.contract.bodies import BIN, TABLE, adjacent
from salus_vla.contract.types import Contact

FORCE_DECIMALS = 4
DEADBAND = 1.0  # N, a touching pair is reported again when its force changed by more than this

PairForces = dict[tuple[str, str], float]


def is_reported(body_a: str, body_b: str) -> bool:
    """False for pairs that touch by construction: adjacent robot links, and table and bin."""
    return not adjacent(body_a, body_b) and {body_a, body_b} != {TABLE, BIN}


class ContactChanges:
    """Compares the forces of a frame with those that were reported before."""

    def __init__(self) -> None:
        """Nothing was reported yet."""
        self._reported: PairForces = {}

    def clear(self) -> None:
        """Forgets everything: the next frame reports every touching pair anew."""
        self._reported = {}

    def update(self, forces: Mapping[tuple[str, str], float]) -> tuple[Contact, ...]:
        """What changed, in sorted order of the pair; force 0 for a pair that no longer touches.

        Args:
            forces: force of each pair that touches in this frame, by sorted body names, above 0 [N].
        """
        events = []
        for pair in sorted(forces.keys() | self._reported.keys()):
            force = forces.get(pair, 0.0)
            before = self._reported.get(pair)
            if before is None or force == 0.0 or abs(force - before) > DEADBAND:
                events.append(Contact(*pair, force))
                if force > 0.0:
                    self._reported[pair] = force
                else:
                    del self._reported[pair]
        return tuple(events)
