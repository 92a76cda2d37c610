"""Who of a graph still gives a sign of life."""

from __future__ import annotations

LONGEST_NAP_S = 1.0  # between two looks; one who looks less often has slept, and judges nobody for that time


class Heartbeats:
    """Names the first node that has been silent for too long. All times are wall time [s]."""

    def __init__(self, timeout_s: float) -> None:
        """Nobody is expected yet; `timeout_s` of silence makes a node lost."""
        self._timeout_s = timeout_s
        self._heard: dict[str, float] = {}
        self._watching = False
        self._looked: float | None = None

    @property
    def known(self) -> frozenset[str]:
        """Everyone who has ever been heard."""
        return frozenset(self._heard)

    def heard(self, name: str, wall_s: float) -> None:
        """A node gave a sign of life."""
        self._heard[name] = wall_s

    def begin(self, wall_s: float) -> None:
        """From now on everyone who has ever been heard, or will be, must go on."""
        self._watching = True
        self._heard = dict.fromkeys(self._heard, wall_s)
        self._looked = wall_s

    def dismiss(self) -> None:
        """Nobody is expected any more."""
        self._watching = False

    def lost(self, wall_s: float) -> tuple[str, float] | None:
        """The node that has been silent longest, and for how long [s], if that is too long.

        A look that comes late, because this process itself did not run, takes the time lost from everybody's silence.
        """
        nap_s = wall_s - self._looked if self._looked is not None else 0.0
        self._looked = wall_s
        if nap_s > LONGEST_NAP_S:
            self._heard = {name: heard + nap_s for name, heard in self._heard.items()}
        silences = {name: wall_s - heard for name, heard in self._heard.items()} if self._watching else {}
        name = max(silences, key=silences.__getitem__, default=None)
        if name is None or silences[name] <= self._timeout_s:
            return None
        return name, silences[name]
