"""Random and adversarial streams of commands: whatever comes, what the gate sends is inside every limit of the arm.

The checker has its own numbers (the arm's data sheet), knows only what was sent and measured, and shares no code with
the gate. A test of it says that it finds each kind of violation.
"""

import os
from dataclasses import dataclass, field

import numpy as np
import pytest
from gate_world import ACCELERATION, DT, FRAME, JERK, LOWER, NAMES, SPEED, UPPER

from salus_vla.gate.command_checks import Reason
from salus_vla.gate.gate import Gate, OwnCommand, State

# Streams and commands in each: 100,000 commands, or as many streams as the environment says, shorter ones.
STREAMS = int(os.environ.get("SALUS_STORM_STREAMS", "500"))
STREAM = 200 if STREAMS <= 500 else 20
COMMANDS = STREAMS * STREAM
HOME = np.array([0.0, -0.785398, 0.0, -2.356194, 0.0, 1.570796, 0.785398, 0.04, 0.04])
# Of velocity, acceleration and jerk. Rounding alone: 4e-16 of 3 rad, differenced three times over 20 ms, is 2e-10; a
# stop that ends exactly at a position limit loses up to 1e-10 rad there, which two differences make 3e-7.
SLACK = 2e-6
REST = 1e-6  # rad/s


@dataclass
class Sent:
    """One stream as the arm sees it: positions with stamps, and the measured pose where a new beginning is allowed."""

    stamps: list[int] = field(default_factory=list)
    positions: list[tuple[float, ...]] = field(default_factory=list)
    measured: list[np.ndarray] = field(default_factory=list)
    teleported: list[bool] = field(default_factory=list)  # since the command before


def violations(sent: Sent) -> list[str]:
    """Every limit that what was sent breaks; each command is one frame of 20 ms behind the one before."""
    found = []
    path = np.array(sent.positions)
    if not len(path):
        return []
    if not np.isfinite(path).all() or not ((path >= LOWER) & (path <= UPPER)).all():
        found.append("position")
    stamps = np.array(sent.stamps)
    if (np.diff(stamps) < FRAME / 2).any():
        found.append("more than one command per frame")
    # A stream may begin anew where the arm was teleported, or after an unanswered frame at rest, and need not. What
    # was sent does not say which, so one of the readings must be inside the limits.
    choices = [i for i in range(1, len(path)) if sent.teleported[i] or stamps[i] - stamps[i - 1] > 1.5 * FRAME]
    readings, begin = [beginning(sent, 0)], 0
    for end in [*choices, len(path)]:
        followed = [np.vstack([before, path[begin:end]]) for before in readings]
        broken = [differences(rows) for rows in followed]
        inside = [rows[-3:] for rows, names in zip(followed, broken, strict=True) if not names]
        if not inside:
            return found + broken[0]
        if end < len(path):
            at_rest = any(np.abs(rows[-1] - rows[-2]).max() <= REST * DT for rows in inside)
            readings = inside + ([beginning(sent, end)] if at_rest or sent.teleported[end] else [])
            begin = end
    return found


def beginning(sent: Sent, index: int) -> np.ndarray:
    """The measured pose that a stream begins at, at rest: three rows."""
    pose = sent.measured[index].copy()
    pose[7:] = pose[7:].mean()  # the hand has one opening
    return np.repeat(np.clip(pose, LOWER, UPPER)[None], 3, axis=0)


def differences(path: np.ndarray) -> list[str]:
    """Which limits the differences of a path break."""
    found = []
    for name, limit in (("velocity", SPEED), ("acceleration", ACCELERATION), ("jerk", JERK)):
        path = np.diff(path, axis=0) / DT
        if not (np.abs(path) <= limit + SLACK).all():
            found.append(name)
    return found


class Storm:
    """One stream of commands at a gate, with an arm that goes where it is told."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.gate = Gate()
        self.sent = Sent()
        self.offered = 0
        self.stamp = int(self.rng.integers(0, 10**12))
        self.pose, self.speed, self.moved = self._somewhere(), np.zeros(9), True
        self.measured = self.pose
        self.begin()

    def _somewhere(self) -> np.ndarray:
        """A measured pose, as /joint_states gives it: 4 decimals."""
        pose = HOME if self.rng.random() < 0.5 else self.rng.uniform(LOWER, UPPER)
        return np.round(pose, 4)

    def begin(self) -> None:
        """The commander starts over from the measured pose: a run at its own share of the limits and in its own way."""
        rng = self.rng
        self.at, self.v = np.clip(self.pose, LOWER, UPPER), np.zeros(9)
        self.at[7:] = np.clip(self.pose[7:].mean(), 0.0, 0.04)
        self.share = rng.choice([0.3, 0.9, 1.0, 1.0, 1.0, 1.02, 3.0])
        self.push = rng.choice([-1.0, 0.0, 1.0], 9) * rng.choice([1.0, 0.2], 9)
        self.careful = rng.random() < 0.5  # stops before the ends of the joints' ranges, or runs into them

    def next(self) -> np.ndarray:
        """The next command of that run."""
        if self.rng.random() < 0.04:
            self.push = self.rng.uniform(-1.0, 1.0, 9)
        top, reach = SPEED * self.share, ACCELERATION * DT * self.share
        v = np.clip(self.push * top, self.v - reach, self.v + reach)
        if self.careful:
            step = ACCELERATION * DT
            up = np.sqrt(step**2 + 2 * ACCELERATION * np.maximum(UPPER - self.at, 0.0)) - step
            down = np.sqrt(step**2 + 2 * ACCELERATION * np.maximum(self.at - LOWER, 0.0)) - step
            v = np.clip(v, -down, up)
        self.v, self.at = v, self.at + v * DT
        return self.at

    def frame(self, put_at: np.ndarray | None = None) -> None:
        self.stamp += FRAME
        if put_at is not None:
            self.moved = self.moved or bool(np.abs(put_at - self.pose).max() > 0.0)
            self.pose, self.speed = put_at, np.zeros(9)
        # An arm that was put a little elsewhere and then follows the next command moves further than any arm can, which
        # is seen as teleported; four frames' way is what late commands may make of it.
        self.moved = self.moved or bool((np.abs(self.pose - self.measured)[:7] > 4 * DT * SPEED[:7]).any())
        # Only what was measured at a frame counts for a beginning.
        self.measured = self.pose
        self._took(self.gate.frame(self.stamp, self.pose.tolist(), self.speed.tolist()))
        self.speed = np.zeros(9)

    def offer(self, position: np.ndarray, stamp: int, names: list[str] = NAMES, **more: bool) -> bool:
        self.offered += 1
        values = position.tolist()
        refused = self.gate.judge(stamp, names, values, **more)
        if refused is None:
            by_name = dict(zip(names, values, strict=True))
            self._took(OwnCommand(stamp, tuple(by_name[name] for name in NAMES)))
        else:
            self._took(refused.own)
        return refused is None

    def _took(self, command: OwnCommand | None) -> None:
        if command is None:
            return
        sent = self.sent
        sent.stamps.append(command.stamp_ns)
        sent.positions.append(command.position)
        sent.measured.append(self.measured)
        sent.teleported.append(self.moved)
        position = np.array(command.position)
        self.speed = (position - self.pose) / DT
        self.pose, self.moved = np.round(position, 4), False

    def run(self, commands: int) -> None:
        """Frames with commands, most of them good, until so many were offered."""
        self.frame()
        while self.offered < commands:
            kind = self.rng.random()
            if kind < 0.8:
                passed = self.offer(self.next(), self.stamp)
            elif kind < 0.97:
                passed = self.attack(int(self.rng.integers(13)))
            elif kind < 0.99:
                passed = False  # silence
            else:
                self.frame(self._somewhere())
                self.begin()
                if self.rng.random() < 0.2:  # it was teleported in motion
                    self.speed = self.rng.uniform(-1.0, 1.0, 9)
                    self.frame()
                continue
            self.frame()
            if not passed and self.rng.random() < 0.5:
                for _ in range(int(self.rng.choice([1, 2, 5, 12, 30], p=[0.4, 0.2, 0.2, 0.1, 0.1]))):
                    self.frame()
                self.begin()

    def attack(self, kind: int) -> bool:
        rng, stamp, joint = self.rng, self.stamp, int(self.rng.integers(9))
        bad = self.next().copy()
        if kind == 0:
            bad[joint] = rng.choice([np.nan, np.inf, -np.inf, 1e300, -1e300])
        elif kind == 1:
            bad[joint] += rng.choice([-1.0, 1.0]) * 10.0 ** rng.uniform(-6, 1)
        elif kind == 2:
            bad = rng.uniform(LOWER, UPPER)
        elif kind == 3:
            bad = np.zeros(9)
        elif kind == 4:
            wrong = [[*NAMES[:-1], "elbow"], [*NAMES[:-1], NAMES[0]], [""] * 9, NAMES[::-1], NAMES[:8], []]
            names = wrong[rng.integers(len(wrong))]
            values = bad[: len(names)] if rng.random() < 0.5 else bad
            return self.offer(values[::-1] if names == NAMES[::-1] else values, stamp, names)
        elif kind == 5:
            stamp += int(rng.choice([-FRAME, FRAME, -10 * FRAME, 10**9, -(10**9), 2**62, -(2**62), 10_000_001]))
        elif kind == 6:  # a flood at 1 kHz, which would be twenty times as fast as it looks
            for _ in range(20):
                self.offer(bad, stamp)
                bad = self.next()
            return False
        elif kind == 7:  # a flood with stamps of its own
            for part in range(20):
                self.offer(bad, stamp + part * 1_000_000)
                bad = self.next()
            return False
        elif kind == 8:  # late, all at once, and in any order
            late = [bad.copy()] + [self.next().copy() for _ in range(3)]
            stamps = [stamp]
            for _ in range(3):
                self.frame()
                stamps.append(self.stamp)
            for i in rng.permutation(4) if rng.random() < 0.5 else range(4):
                self.offer(late[i], stamps[i])
            return True
        elif kind == 9:
            return self.offer(bad, stamp, extra_values=True)
        elif kind == 10:  # a gap, up to and over the deadman's time
            for _ in range(int(rng.integers(2, 25))):
                self.frame()
            stamp = self.stamp
        elif kind == 11:  # the same again
            return self.offer(bad, stamp) and self.offer(bad, stamp)
        else:  # the clock jumps back
            self.stamp -= int(rng.integers(1, 100)) * FRAME
            self.moved = True
            self.sent_before_the_jump()
            self.frame()
            return False
        return self.offer(bad, stamp)

    def sent_before_the_jump(self) -> None:
        """Stamps compare only from here on."""
        self.sent.stamps = [stamp - 10**15 for stamp in self.sent.stamps]


def test_nothing_that_was_sent_breaks_a_limit() -> None:
    passed = braked = 0
    refused = dict.fromkeys(Reason, 0)
    for seed in range(STREAMS):
        storm = Storm(seed)
        storm.run(STREAM)
        for _ in range(40 + 90):  # everybody else is dead; after its stop the gate may go a little to where the arm is
            storm.frame()
        assert violations(storm.sent) == [], seed
        assert storm.gate.at_rest
        assert storm.gate.state is not State.BRAKING
        passed, braked = passed + storm.gate.passed, braked + storm.gate.braked
        for reason, count in storm.gate.refused.items():
            refused[reason] += count
        assert storm.gate.passed + sum(storm.gate.refused.values()) == storm.offered >= STREAM
    assert passed > 0.25 * COMMANDS
    assert braked > 0.02 * COMMANDS
    # Before joints were measured nothing was offered, beyond the jerk limit is nothing inside the other ones, and there
    # is no second publisher.
    assert {reason for reason, count in refused.items() if not count} == {
        Reason.NO_FRAME,
        Reason.JERK_LIMIT,
        Reason.SECOND_PUBLISHER,
    }


@pytest.mark.parametrize("kind", ["position", "velocity", "acceleration", "jerk", "nan", "start", "two in a frame"])
def test_the_checker_finds_what_breaks_a_limit(kind: str) -> None:
    commands = [HOME.copy() for _ in range(10)]
    stamps = [FRAME * (i + 1) for i in range(10)]
    if kind == "position":
        commands = [command + np.array([0, 0, 0, 0, 0, 0, 0, 1e-9, 0]) for command in commands]
    elif kind == "velocity":
        commands = [HOME + np.array([max(0, 0.003 * i * i), 0, 0, 0, 0, 0, 0, 0, 0]) for i in range(10)]
    elif kind == "acceleration":
        commands[5][2] += 1.01 * 10.0 * DT * DT
    elif kind == "jerk":
        commands[5][2] += 2 * 5000.0 * DT**3
    elif kind == "nan":
        commands[3][3] = np.nan
    elif kind == "start":
        commands = [command + np.array([0, 0.0031, 0, 0, 0, 0, 0, 0, 0]) for command in commands]
    else:
        stamps[4] = stamps[3]
    sent = Sent(stamps, [tuple(command) for command in commands], [HOME] * 10, [True, *[False] * 9])
    named = {"nan": "position", "start": "acceleration", "two in a frame": "more than one command per frame"}
    assert named.get(kind, kind) in violations(sent)
    good = Sent([FRAME * (i + 1) for i in range(10)], [tuple(HOME)] * 10, [HOME] * 10, [True, *[False] * 9])
    assert violations(good) == []
