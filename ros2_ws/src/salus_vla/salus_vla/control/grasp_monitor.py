"""Grasps that went wrong, told from the gripper's width alone: a real robot has nothing else.

A closing on nothing ends far below the cube's width. A crooked grasp stops too wide, because the fingers stand on an
edge or across a corner, and creeps on while the cube turns out of them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from salus_vla.contract.errors import ConfigError


class GraspFault(StrEnum):
    """What went wrong."""

    EMPTY_CLOSING = "EMPTY_CLOSING"
    CROOKED_GRASP = "CROOKED_GRASP"


@dataclass(frozen=True)
class GraspRules:
    """When a closing counts as a fault; the defaults are of the contract's cube, 50 mm.

    Attributes:
        empty_width: a gripper narrower than this holds nothing [m].
        crooked_width: widths between which a grasp is crooked [m]; straight grasps of the cube end at 48.6 to 52.9 mm.
        crooked_speed: fingers that close faster are still on their way [m/s].
        empty_s, crooked_s: how long it must have lasted [s].
    """

    empty_width: float = 0.008
    crooked_width: tuple[float, float] = (0.0535, 0.066)
    crooked_speed: float = 0.02
    empty_s: float = 0.3
    crooked_s: float = 0.3

    def __post_init__(self) -> None:
        low, high = self.crooked_width
        if not 0.0 < self.empty_width < low < high:
            raise ConfigError(
                f"grasp rules: empty_width {self.empty_width} and crooked_width {self.crooked_width}: expected "
                "0 < empty_width < the lower < the upper"
            )
        for name in ("crooked_speed", "empty_s", "crooked_s"):
            if not getattr(self, name) > 0.0:
                raise ConfigError(f"grasp rules: {name} is {getattr(self, name)}, expected more than 0")


@dataclass(frozen=True)
class GraspEvent:
    """A fault, when it began, and when it had lasted long enough to be told [ns]."""

    fault: GraspFault
    began_ns: int
    stamp_ns: int


class GraspMonitor:
    """Watches the widths of one episode, at any rate; `reset` begins the next one."""

    def __init__(self, rules: GraspRules | None = None) -> None:
        """Takes the rules."""
        self.rules = rules or GraspRules()
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self._since: dict[GraspFault, int] = {}
        self._told: set[GraspFault] = set()
        self._widths: deque[tuple[int, float]] = deque()  # the last `crooked_s`

    @property
    def closed_on_nothing(self) -> bool:
        """Whether a closing on nothing that was told has not been opened since."""
        return GraspFault.EMPTY_CLOSING in self._told

    def update(self, stamp_ns: int, width: float) -> list[GraspEvent]:
        """Takes in a measured width.

        Args:
            stamp_ns: of the measurement, later than the one before [ns].
            width: of the gripper [m].

        Returns:
            Faults that are told now; each once until it is over.
        """
        rules = self.rules
        self._widths.append((stamp_ns, width))
        while stamp_ns - self._widths[0][0] > rules.crooked_s * 1e9:
            self._widths.popleft()
        empty = self._follow(GraspFault.EMPTY_CLOSING, width < rules.empty_width, stamp_ns, rules.empty_s)
        crooked = self._follow(GraspFault.CROOKED_GRASP, self._creeps(), stamp_ns, rules.crooked_s)
        return [event for event in (empty, crooked) if event is not None]

    def _creeps(self) -> bool:
        """Fingers inside the crooked widths that neither close quickly nor open."""
        low, high = self.rules.crooked_width
        _, width = self._widths[-1]
        if not low <= width <= high or len(self._widths) < 2:
            return False
        (before_ns, before), (now_ns, now) = self._widths[-2], self._widths[-1]
        closing = (before - now) / ((now_ns - before_ns) * 1e-9)
        return -0.1 * self.rules.crooked_speed <= closing <= self.rules.crooked_speed

    def _follow(self, fault: GraspFault, holds: bool, stamp_ns: int, lasts_s: float) -> GraspEvent | None:
        if not holds:
            self._since.pop(fault, None)
            self._told.discard(fault)
            return None
        began_ns = self._since.setdefault(fault, stamp_ns)
        # Half a microsecond forgives the rounding of stamps.
        if fault in self._told or (stamp_ns - began_ns) * 1e-9 < lasts_s - 5e-7:
            return None
        self._told.add(fault)
        return GraspEvent(fault, began_ns, stamp_ns)
