"""What goes wrong between plan and arm while demonstrations are collected, so that recovering from it is in the data.

The policy's own chunk stays the clean label; only what is commanded differs. Noise, offsets, pauses and a gripper that
does not close follow from the episode's seed alone. The limiter comes after it and treats the result like any target.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from salus_vla.contract import ARM_DOF
from salus_vla.contract.errors import ConfigError
from salus_vla.contract.forward_kinematics import tool_height
from salus_vla.contract.robot_limits import PANDA
from salus_vla.contract.types import FloatArray
from salus_vla.control.target_filter import TargetFilter

_STREAM = 0xD157  # keeps the draws apart from the scene's and the policy's, which use the same seed
_FARTHEST = 0.3  # rad from the plan: less than the limiter takes for a jump, whatever the settings
_EARLY_RAMP_S = 0.3  # in which the arm goes off before the fingers close


@dataclass(frozen=True)
class Disturbances:
    """How much goes wrong.

    A policy that plans from where the arm is takes a displaced arm as its new start: an offset of the target then moves
    the arm by its integral over the servos' lag of 0.1 s, so .02 rad for one second make about .1 rad.

    Attributes:
        noise: standard deviation of the targets' noise while it is on, per joint [rad].
        noise_s: its correlation time [s].
        noise_on_s, noise_off_s: mean lengths of the times with and without it [s].
        event_gap_s: range of the time from one pause or offset to the next [s].
        pause_share: of the events; the others are offsets.
        pause_s: range of a pause's length [s].
        offset: largest offset of a joint's target [rad].
        offset_s: range of an offset's length [s].
        regrasp_share: of the episodes in which the gripper opens once although it should close.
        regrasp_delay_s: range of the time from the beginning of the closing to the opening [s].
        regrasp_s: time for which it stays open [s].
        early_share: of the episodes in which the gripper closes before its time: above the cube, beside it, across it.
        early_heights: range of the tool's height over the table below which that happens [m].
        early_s: range of the time for which it stays closed, the arm standing still [s].
        early_offset: largest offset of the arm's joints meanwhile: the fingers stand beside the cube [rad].
        early_turn: largest offset of the last joint: the fingers stand across the cube [rad].
        loss_share: of the episodes in which the gripper opens once while it carries.
        loss_delay_s: range of the time from the beginning of the closing to that opening [s].
        loss_s: time for which it stays open [s].
        contact_heights: heights of the tool over the table between which offsets fade in [m]; below them there is none.
        contact_noise: share of the noise that is left there.
    """

    noise: float = 0.012
    noise_s: float = 0.2
    noise_on_s: float = 1.0
    noise_off_s: float = 1.0
    event_gap_s: tuple[float, float] = (0.8, 3.5)
    pause_share: float = 0.35
    pause_s: tuple[float, float] = (0.3, 1.0)
    offset: float = 0.03
    offset_s: tuple[float, float] = (0.5, 1.5)
    regrasp_share: float = 0.3
    regrasp_delay_s: tuple[float, float] = (0.0, 0.4)
    regrasp_s: float = 0.6
    early_share: float = 0.4
    early_heights: tuple[float, float] = (0.028, 0.18)
    early_s: tuple[float, float] = (0.4, 1.4)
    early_offset: float = 0.02
    early_turn: float = 0.3
    loss_share: float = 0.2
    loss_delay_s: tuple[float, float] = (0.8, 2.5)
    loss_s: float = 0.4
    contact_heights: tuple[float, float] = (0.06, 0.16)
    contact_noise: float = 0.25

    def __post_init__(self) -> None:
        for name in ("noise_s", "noise_on_s", "noise_off_s"):
            if not getattr(self, name) > 0.0:
                raise ConfigError(f"disturbance {name} is {getattr(self, name)}, expected more than 0 s")
        for name in ("noise", "offset", "regrasp_s", "loss_s", "early_offset", "early_turn"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise ConfigError(f"disturbance {name} is {getattr(self, name)}, expected 0 or more")
        for name in ("pause_share", "regrasp_share", "contact_noise", "early_share", "loss_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"disturbance {name} is {getattr(self, name)}, expected 0 to 1")
        ranges = ("event_gap_s", "pause_s", "offset_s", "regrasp_delay_s", "contact_heights")
        for name in (*ranges, "early_heights", "early_s", "loss_delay_s"):
            low, high = getattr(self, name)
            if not 0.0 <= low <= high < np.inf:
                raise ConfigError(f"disturbance {name} is ({low}, {high}), expected 0 <= low <= high")


@dataclass(frozen=True)
class _Event:
    """A pause or an offset: begin and end since the start of the episode [s], and the largest offset (7,) [rad]."""

    begin: float
    end: float
    pause: bool
    offset: FloatArray

    def offset_at(self, now: float) -> FloatArray:
        """The offset at a time between the last event and the end of this one [rad]."""
        share = max(0.0, now - self.begin) / (self.end - self.begin)
        return np.asarray(np.sin(np.pi * share) ** 2 * self.offset)


@dataclass
class _Early:
    """A closing before its time.

    Attributes:
        height: of the tool over the table at which it begins [m].
        lasts: how long the gripper is closed [s].
        offset: of the joints meanwhile, (7,) [rad].
        begin: when it began, since the start of the episode [s]; None before.
        arm: joints of the plan then, (7,) [rad].
    """

    height: float
    lasts: float
    offset: FloatArray
    begin: float | None = None
    arm: FloatArray = field(default_factory=lambda: np.zeros(ARM_DOF))

    @classmethod
    def draw(cls, random: np.random.Generator, settings: Disturbances) -> _Early:
        """More often near the cube than far above it."""
        low, high = settings.early_heights
        offset = random.uniform(-settings.early_offset, settings.early_offset, ARM_DOF)
        offset[-1] = random.uniform(-settings.early_turn, settings.early_turn)
        height = low + (high - low) * float(random.uniform()) ** 2
        return cls(height, float(random.uniform(*settings.early_s)), offset)


class Disturbance(TargetFilter):
    """Disturbs the targets of one episode at a time."""

    def __init__(self, settings: Disturbances | None = None) -> None:
        """Takes the settings; the defaults leave an expert that recovers from them able to do the task."""
        self._settings = settings or Disturbances()
        self.start_episode(0)

    def start_episode(self, seed: int) -> None:
        """Draws anew for an episode."""
        self._random = np.random.default_rng([_STREAM, abs(seed), int(seed < 0)])
        self._first_ns: int | None = None
        self._now = 0.0
        self._noise = np.zeros(ARM_DOF)
        self._noisy, self._switch_at = False, 0.0
        self._event = self._draw_event(0.0)
        self._paused: FloatArray | None = None
        s = self._settings
        self._regrasp_left = bool(self._random.uniform() < s.regrasp_share)
        self._regrasp_delay = float(self._random.uniform(*s.regrasp_delay_s))
        self._closing_at: float | None = None
        # Of a stream of its own: what was drawn above is what it was before there were these.
        other = np.random.default_rng([_STREAM, abs(seed), int(seed < 0), 1])
        self._early = _Early.draw(other, s) if other.uniform() < s.early_share else None
        self._loss_left = bool(other.uniform() < s.loss_share)
        self._loss_delay = float(other.uniform(*s.loss_delay_s))

    def apply(self, target: FloatArray, when_ns: int) -> FloatArray:
        """The disturbed target, inside the position limits.

        Args:
            target: 7 joints [rad] and the gripper width [m], shape (8,).
            when_ns: when it is to be reached; not before that of the last call [ns].
        """
        if self._first_ns is None:
            self._first_ns = when_ns
        passed, self._now = self._now, (when_ns - self._first_ns) * 1e-9
        s = self._settings
        while self._now >= self._event.end:
            self._event, self._paused = self._draw_event(self._event.end), None
        height = tool_height(target[:ARM_DOF])
        if (early := self._closed_early(target, height)) is not None:
            return early
        clearance = float(np.interp(height, s.contact_heights, (0.0, 1.0)))
        moved = self._noise_after(self._now - passed) * max(clearance, s.contact_noise)
        moved += clearance * self._event.offset_at(self._now)
        disturbed = np.append(target[:ARM_DOF] + np.clip(moved, -_FARTHEST, _FARTHEST), self._grip(float(target[-1])))
        disturbed = np.clip(disturbed, PANDA.all_lower, PANDA.all_upper)
        if not (self._event.pause and self._now >= self._event.begin):
            return disturbed
        if self._paused is None or np.abs(self._paused - target)[:ARM_DOF].max() > 2.0 * _FARTHEST:
            self._paused = disturbed
        return self._paused.copy()

    def _noise_after(self, seconds: float) -> FloatArray:
        """The next value of an autocorrelated noise that is switched on and off, (7,) [rad]."""
        s = self._settings
        while self._now >= self._switch_at:
            self._noisy = not self._noisy
            self._switch_at += float(self._random.exponential(s.noise_on_s if self._noisy else s.noise_off_s))
        kept = float(np.exp(-seconds / s.noise_s))
        drive = self._random.standard_normal(ARM_DOF) * (s.noise if self._noisy else 0.0)
        self._noise = kept * self._noise + np.sqrt(1.0 - kept**2) * drive
        return self._noise

    def _grip(self, width: float) -> float:
        """The gripper's target: open for a while, soon after it begins to close, or while it carries."""
        if self._closing_at is None:
            if width > PANDA.gripper_max / 2.0:
                return width
            self._closing_at = self._now
        s, since = self._settings, self._now - self._closing_at
        for left, delay, open_s in (
            (self._regrasp_left, self._regrasp_delay, s.regrasp_s),
            (self._loss_left, self._loss_delay, s.loss_s),
        ):
            if left and delay <= since < delay + open_s:
                return PANDA.gripper_max
        self._regrasp_left &= since < self._regrasp_delay + s.regrasp_s
        self._loss_left &= since < self._loss_delay + s.loss_s
        return width

    def _closed_early(self, target: FloatArray, height: float) -> FloatArray | None:
        """The target while the gripper is closed before its time: the arm goes a little off and stands there."""
        early = self._early
        if early is None:
            return None
        if early.begin is None:
            if self._closing_at is not None or target[-1] < PANDA.gripper_max / 2.0 or height > early.height:
                return None
            early.begin, early.arm = self._now, target[:ARM_DOF].copy()
        passed = self._now - early.begin
        if passed >= _EARLY_RAMP_S + early.lasts:
            self._early = None
            return None
        arm = early.arm + min(1.0, passed / _EARLY_RAMP_S) * early.offset
        width = float(target[-1]) if passed < _EARLY_RAMP_S else 0.0
        return np.clip(np.append(arm, width), PANDA.all_lower, PANDA.all_upper)

    def _draw_event(self, after: float) -> _Event:
        s, random = self._settings, self._random
        begin = after + random.uniform(*s.event_gap_s)
        pause = random.uniform() < s.pause_share
        length = random.uniform(*(s.pause_s if pause else s.offset_s))
        offset = random.uniform(-s.offset, s.offset, ARM_DOF)
        # At least a millisecond long: with ranges of 0 the time must still go on.
        return _Event(begin, begin + max(length, 1e-3), pause, 0.0 * offset if pause else offset)
