"""Whether what a command rests on is fresh enough; the first thing that is not is latched until somebody resets it.

Fed with stamps: freshness is judged on ROS time, so that a policy that thinks while sim time stands still trips
nothing. Only what ROS time cannot show, a clock that is missing or stands still, is judged on wall time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from salus_vla.contract import CAMERAS
from salus_vla.contract.errors import ConfigError
from salus_vla.contract.reasons import (
    CLOCK_JUMPED_BACK,
    MISSING_CLOCK,
    SIMULATOR_STOPPED,
    STALE_CAMERA,
    STALE_CHUNK,
    STALE_JOINTS,
    WATCHDOG,
)

REASONS = WATCHDOG

JOINTS = "joints"
# A stamp further ahead of the clock than this is not a measurement: of before a restart, or of another time base. A
# busy machine takes /clock later than the images and joint states of its frame, by more than its queue is deep.
AHEAD_NS = 1_000_000_000
# How much of that lead counts as freshness. A clock that lags catches up in one step, and an image that counted from
# the lagging clock would be old at once; a stamp from the future hides a source that fell silent for this long at most.
_LEAD_NS = 500_000_000


class Refusal(StrEnum):
    """Why a stamp does not count."""

    BEFORE_CLOCK = "before_clock"  # no /clock came yet, so nothing says whether the stamp is of its time base
    FUTURE_STAMP = "future_stamp"
    OUT_OF_ORDER = "out_of_order"


@dataclass(frozen=True)
class WatchLimits:
    """When something is too old: from this age on.

    Attributes:
        camera_ns: age of a camera's newest image, ROS time [ns].
        joints_ns: age of the newest joint state, ROS time [ns].
        chunk_ns: age of the observation behind the plan in force, ROS time [ns].
        stopped_s: wall time in which neither the clock nor a decision goes on [s].
        clock_s: wall time from the start to the first clock [s].
    """

    camera_ns: int = 200_000_000
    joints_ns: int = 200_000_000
    chunk_ns: int = 200_000_000
    stopped_s: float = 10.0
    clock_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("camera_ns", "joints_ns", "chunk_ns", "stopped_s", "clock_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"watch limit {name} is {getattr(self, name)}, expected more than 0")


@dataclass(frozen=True)
class Trip:
    """Why the arm has to stop: one of `REASONS`, in words, and the ROS time at which it was noticed [ns]."""

    reason: str
    detail: str
    stamp_ns: int


class Watchdog:
    """Latches the first reason to stop; judges freshness between `arm` and `disarm` only."""

    def __init__(self, limits: WatchLimits, wall_s: float, cameras: Sequence[str] = CAMERAS) -> None:
        """Starts unarmed.

        Args:
            limits: when something is too old.
            wall_s: wall time now, any monotonic clock [s]; a missing clock is measured from here.
            cameras: names of the cameras that must be fresh.
        """
        self._limits = limits
        self._cameras = tuple(cameras)
        self._newest: dict[str, int] = {}  # stamps
        self._fresh: dict[str, int] = {}  # the same, but never ahead of the clock by more than a frame
        self._ahead: dict[str, int] = {}  # how far the newest refused stamp was ahead of the clock
        self._now_ns: int | None = None
        self._armed_ns: int | None = None
        self._started_wall = self._progress_wall = wall_s
        self.trip: Trip | None = None
        self.trips: Counter[str] = Counter()  # by reason; while one is latched, others are not counted
        self.refused: Counter[str] = Counter()  # stamps that did not count, by `Refusal`
        self.jumps = 0  # times the clock jumped back, between episodes too

    @property
    def now_ns(self) -> int | None:
        """The newest clock [ns]; None before the first."""
        return self._now_ns

    @property
    def armed(self) -> bool:
        """Whether freshness is judged."""
        return self._armed_ns is not None

    def age_ns(self, source: str) -> int | None:
        """Age of a camera's newest image or of the newest joint state (`JOINTS`) [ns]; None before both exist."""
        if self._now_ns is None or source not in self._newest:
            return None
        return max(0, self._now_ns - self._newest[source])

    def arm(self, wall_s: float) -> None:
        """Judges freshness from now on; what is older than now counts as if it had come now."""
        self._armed_ns, self._progress_wall = self._now_ns or 0, wall_s

    def disarm(self) -> None:
        """Judges freshness no longer; a latched reason stays."""
        self._armed_ns = None

    def reset(self, wall_s: float) -> Trip | None:
        """Forgets the latched reason and gives it; everything gets its whole time again."""
        trip, self.trip = self.trip, None
        self._started_wall = self._progress_wall = wall_s
        if self.armed:
            self.arm(wall_s)
        return trip

    def saw(self, source: str, stamp_ns: int) -> Refusal | None:
        """Notes a camera's image or a joint state (`JOINTS`); None when it counts, otherwise why its stamp does not."""
        refusal = self._refusal(source, stamp_ns)
        if refusal is not None:
            self.refused[refusal] += 1
            return refusal
        assert self._now_ns is not None
        self._newest[source] = stamp_ns
        self._fresh[source] = min(stamp_ns, self._now_ns + _LEAD_NS)
        self._ahead.pop(source, None)
        return None

    def _refusal(self, source: str, stamp_ns: int) -> Refusal | None:
        if self._now_ns is None:
            return Refusal.BEFORE_CLOCK
        if stamp_ns > self._now_ns + AHEAD_NS:
            self._ahead[source] = stamp_ns - self._now_ns
            return Refusal.FUTURE_STAMP
        return Refusal.OUT_OF_ORDER if stamp_ns < self._newest.get(source, stamp_ns) else None

    def clock(self, now_ns: int, wall_s: float, chunk_age_ns: int | None = None) -> bool:
        """Judges everything at a new ROS time.

        Args:
            now_ns: ROS time [ns].
            wall_s: wall time [s].
            chunk_age_ns: age of the observation behind the plan in force [ns]; None without a plan.

        Returns:
            Whether the clock jumped back. All stamps are forgotten and the watchdog is disarmed then.
        """
        before_ns, self._now_ns = self._now_ns, now_ns
        if before_ns is not None and now_ns < before_ns:
            self._jumped(before_ns, now_ns)
            self._progress_wall = wall_s
            return True
        if now_ns != before_ns:
            self._progress_wall = wall_s
        self.judge(now_ns, chunk_age_ns)
        return False

    def judge(self, now_ns: int, chunk_age_ns: int | None) -> None:
        """Judges freshness at a ROS time that a message proves, also before the clock says it.

        Args:
            now_ns: stamp of the message [ns].
            chunk_age_ns: age of the observation behind the plan in force then [ns]; None without a plan.
        """
        if self._armed_ns is None:
            return
        for source in (JOINTS, *self._cameras):
            limit_ns = self._limits.joints_ns if source == JOINTS else self._limits.camera_ns
            age_ns = now_ns - max(self._fresh.get(source, 0), self._armed_ns)
            if age_ns >= limit_ns:
                reason = STALE_JOINTS if source == JOINTS else STALE_CAMERA
                ahead_ns = self._ahead.get(source)
                why = f"; refused, {ahead_ns * 1e-9:.2f} s ahead of /clock" if ahead_ns is not None else ""
                self._latch(reason, f"{_words(source)}: nothing new for {age_ns * 1e-9:.2f} s{why}", now_ns)
        if chunk_age_ns is not None and chunk_age_ns >= self._limits.chunk_ns:
            oldest = max((JOINTS, *self._cameras), key=lambda source: now_ns - self._newest.get(source, 0))
            self._latch(
                STALE_CHUNK,
                f"the observation behind the plan is {chunk_age_ns * 1e-9:.2f} s old; "
                f"the oldest input, {_words(oldest)}, {(now_ns - self._newest.get(oldest, 0)) * 1e-9:.2f} s",
                now_ns,
            )

    def wall(self, wall_s: float, *, thinking: bool, set_due: bool = False) -> None:
        """Judges what ROS time cannot show.

        Args:
            wall_s: wall time now [s].
            thinking: a decision is being made, for which sim time may stand still.
            set_due: in lockstep the simulator waits for a command that waits for the camera set of the newest joints.
        """
        if self._now_ns is None:
            waited = wall_s - self._started_wall
            if waited >= self._limits.clock_s:
                self._latch(MISSING_CLOCK, f"use_sim_time is set, but no /clock came within {waited:.0f} s")
            return
        if thinking or self._armed_ns is None:
            self._progress_wall = wall_s
            return
        still = wall_s - self._progress_wall
        if still < self._limits.stopped_s:
            return
        joints_ns = self._newest.get(JOINTS, 0)
        missing = [camera for camera in self._cameras if self._newest.get(camera, 0) < joints_ns] if set_due else []
        words = f"nothing new for {still:.0f} s of wall time, and the clock stands still"
        if missing:
            self._latch(STALE_CAMERA, f"{' and '.join(_words(camera) for camera in missing)}: {words}")
        elif joints_ns < max([self._now_ns, *(self._newest.get(camera, 0) for camera in self._cameras)]):
            self._latch(STALE_JOINTS, f"{_words(JOINTS)}: {words}")
        else:
            self._latch(SIMULATOR_STOPPED, f"/clock stands still at {self._now_ns * 1e-9:.2f} s for {still:.0f} s")
        self._progress_wall = wall_s

    def _jumped(self, before_ns: int, now_ns: int) -> None:
        self.jumps += 1
        if self.armed:
            self._latch(CLOCK_JUMPED_BACK, f"/clock went from {before_ns * 1e-9:.2f} s to {now_ns * 1e-9:.2f} s")
        self._newest.clear()
        self._fresh.clear()
        self._ahead.clear()
        self._armed_ns = None

    def _latch(self, reason: str, detail: str, stamp_ns: int | None = None) -> None:
        if self.trip is None:
            self.trip = Trip(reason, detail, stamp_ns or self._now_ns or 0)
            self.trips[reason] += 1


def _words(source: str) -> str:
    return "joint states" if source == JOINTS else f"camera {source}"
