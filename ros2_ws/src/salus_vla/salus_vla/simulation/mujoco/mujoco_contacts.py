"""Which bodies touch and how hard: contact events from MuJoCo's contacts, merged by pairs of bodies."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.types import Contact, FloatArray
from salus_vla.simulation.contact_changes import FORCE_DECIMALS, ContactChanges, PairForces, is_reported


class ContactTracker:
    """Collects the forces of each physics step and says, per frame, which pairs began, changed or ended.

    The force of a pair in a frame is the largest, over the frame's physics steps, of the sum of its contacts' normal
    forces. Pairs of adjacent robot links and of table and bin are left out: they touch by construction.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        """Prepares the tables from geoms to pairs of bodies."""
        names = [model.body(i).name for i in range(model.nbody)]
        count = len(names)
        body = model.geom_bodyid
        low, high = np.minimum.outer(body, body), np.maximum.outer(body, body)
        self._pair_of_geoms: NDArray[np.int64] = (low * count + high).astype(np.int64)
        self._names = {
            a * count + b: (min(names[a], names[b]), max(names[a], names[b]))
            for a in range(count)
            for b in range(a, count)
            if is_reported(names[a], names[b])
        }
        self._largest: FloatArray = np.zeros(count * count)
        self._changes = ContactChanges()
        self._forces: PairForces = {}

    @property
    def forces(self) -> PairForces:
        """Force of each pair that touched in the last frame, by sorted body names [N]."""
        return self._forces

    def clear(self) -> None:
        """Forgets everything: the next frame reports every touching pair anew."""
        self._largest[:] = 0.0
        self._changes.clear()
        self._forces = {}

    def add_step(self, data: mujoco.MjData) -> None:
        """Takes in the contacts of the physics step just made."""
        if data.ncon == 0:
            return
        contact = data.contact
        address = contact.efc_address
        active = address >= 0
        geoms = contact.geom[active]
        pairs = self._pair_of_geoms[geoms[:, 0], geoms[:, 1]]
        # Elliptic cones: the first constraint force of a contact is its normal force.
        summed = np.bincount(pairs, weights=data.efc_force[address[active]], minlength=len(self._largest))
        np.maximum(self._largest, summed, out=self._largest)

    def end_frame(self) -> tuple[Contact, ...]:
        """Closes the frame and returns what changed, in sorted order of the pair."""
        forces: PairForces = {}
        for index in np.flatnonzero(self._largest):
            force = round(float(self._largest[index]), FORCE_DECIMALS)
            if force > 0.0 and index in self._names:
                forces[self._names[index]] = force
        self._largest[:] = 0.0
        self._forces = forces
        return self._changes.update(forces)
