"""A storm over a graph in motion: kills, pauses, delays, floods and corrupt bytes at random, and what reached the arm.

The arm is driven in realtime by the scripted expert. An observer that shares no code with the graph hears what reaches
the arm; see `observer.py` for what it checks. A pause of commands in motion may last 0.2 s, whoever is to blame, except
while the gate itself is dead or stopped: it is the last thing before the arm, and then the arm holds its last target.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from salus_vla import contract
from salus_vla.bench.faults.fault_results import replace_marked, table_row
from salus_vla.bench.faults.observer import Kind, Observation, Seen, observe
from salus_vla.bench.faults.running_graph import (
    EPISODE,
    GATE,
    POLICY,
    RECORDER,
    SIMULATOR,
    STARTS_WITHIN_S,
    Collecting,
    Watch,
)
from salus_vla.contract import ARM_JOINTS, Topic
from salus_vla.contract.errors import SalusError

BEGIN, END = "<!-- storm -->", "<!-- /storm -->"
SILENCE_S = 0.2
# Of a timestamp that the middleware puts on a message, and of the scheduler between two frames of wall time.
_TOLERANCE_S = 0.02
_CALM_S = (1.0, 4.0)  # wall time between two faults
_FLOOD_S, _FLOOD_HZ = 1.0, 3000.0
_DELAYS, _DELAY_S = 12, (0.01, 0.08)
_NODES = {"policy": POLICY, "gate": GATE, "recorder": RECORDER, "episode node": EPISODE, "simulator": SIMULATOR}
_CORRUPTED = (contract.JOINT_STATES, contract.JOINT_TARGET, contract.EPISODE, contract.CLOCK, contract.STATUS_TOPIC)


@dataclass(frozen=True)
class Gust:
    """One fault of the storm.

    Attributes:
        fault: its name, the same for every repetition.
        outcome: what became of the graph, in a few words.
        silence_s: longest pause of commands in motion that the gate was there to end [s].
        commands: seen while it lasted.
        problems: what is not as it should be.
    """

    fault: str
    outcome: str
    silence_s: float
    commands: int
    problems: tuple[str, ...]


class Observer:
    """Hears what reaches the arm, beside a `Watch` in the same domain."""

    def __init__(self, watch: Watch) -> None:
        """Subscribes."""
        from sensor_msgs.msg import JointState

        from salus_vla.ros.adapters.qos_profiles import qos_profile

        self._watch = watch
        self.events: list[Seen] = []
        # With two parameters rclpy gives the middleware's information too; its annotations know of one.
        takers: tuple[tuple[Topic, Callable[..., None]], ...] = (
            (contract.JOINT_COMMAND, lambda message, info: self._take(Kind.COMMAND, message, info)),
            (contract.JOINT_STATES, lambda message, info: self._take(Kind.JOINTS, message, info)),
        )
        for topic, take in takers:
            watch.node.create_subscription(JointState, topic.name, take, qos_profile(topic.qos, depth=1000))

    def _take(self, kind: Kind, message: Any, info: Mapping[str, Any]) -> None:
        by_name = dict(zip(message.name, message.position, strict=False))
        if any(joint not in by_name for joint in ARM_JOINTS):
            return  # corrupt on purpose; the gate's own are whole
        stamp = message.header.stamp
        arm = np.array([by_name[joint] for joint in ARM_JOINTS])
        self.events.append(Seen(info["source_timestamp"] * 1e-9, kind, stamp.sec + stamp.nanosec * 1e-9, arm))

    def look(self) -> Observation:
        """What was seen since the last look; the newest of each kind stays for the next one."""
        found = observe(self.events, time.time())
        newest = {event.kind: event for event in self.events[-200:]}
        before = [event for event in self.events if event.kind is Kind.COMMAND][-2:]
        self.events = sorted(
            {id(event): event for event in (*before, *newest.values())}.values(), key=lambda e: e.wall_s
        )
        return found


def storm(folder: Path, minutes: float, seed: int, watch: Watch) -> Iterator[Gust]:
    """Blows for so many minutes.

    Args:
        folder: empty folder for the runs.
        minutes: wall time.
        seed: of the faults and their moments.
        watch: in the ROS domain of this process.

    Yields:
        What each fault did.
    """
    chance = random.Random(seed)
    observer = Observer(watch)
    until = time.monotonic() + 60.0 * minutes
    number = 0
    while time.monotonic() < until:
        number += 1
        out = folder / f"runs{number}"
        out.mkdir()
        observer.events.clear()
        watch.forget()
        options = ["--episodes", "100000", "--run-id", "storm", "--policy", "expert", "--pacing", "realtime"]
        collecting = Collecting(out, [*options, "--seed", str(700_000 + number)])
        try:
            yield from _over_one_graph(chance, collecting, watch, observer, until)
        finally:
            collecting.kill_all()
            watch.spin(0.5)


def _over_one_graph(
    chance: random.Random, collecting: Collecting, watch: Watch, observer: Observer, until: float
) -> Iterator[Gust]:
    if not watch.spin(STARTS_WITHIN_S, lambda: watch.seen.episode is not None or collecting.ended):
        yield Gust("start", "no episode began", 0.0, 0, (collecting.output,))
        return
    while time.monotonic() < until and not collecting.ended:
        watch.spin(chance.uniform(*_CALM_S), lambda: collecting.ended)
        if not collecting.ended:
            yield _one(chance, collecting, watch, observer)


def _one(chance: random.Random, collecting: Collecting, watch: Watch, observer: Observer) -> Gust:
    watch.spin(0.05)
    observer.look()
    fault = chance.choice((_kill, _pause, _pause, _delay, _delay, _flood, _corrupt))
    blind: list[tuple[float, float]] = []  # wall time in which the gate was not there
    name = fault(chance, collecting, watch, blind)
    watch.spin(_ENDS_WITHIN_S[fault], lambda: collecting.ended)
    found = observer.look()
    problems = list(found.violations[:5])
    worst = 0.0
    for silence in found.silences:
        end = silence.since_s + silence.lasted_s
        if any(begin - _TOLERANCE_S <= end and silence.since_s <= finish for begin, finish in blind):
            continue
        worst = max(worst, silence.lasted_s)
    if worst > SILENCE_S + _TOLERANCE_S:
        problems.append(f"no command for {worst * 1e3:.0f} ms in motion")
    return Gust(name, _outcome(collecting), worst, found.commands, tuple(problems))


def _outcome(collecting: Collecting) -> str:
    if not collecting.wait_at_most(0.0):
        return "went on"
    for line in collecting.output.splitlines():
        _, found, reason = line.partition("salus: error: ")
        if found:
            return f"ended: {reason.split(':')[0]}"
    return "ended"


# -- faults ------------------------------------------------------------------------------------------------------------

Fault = Callable[[random.Random, Collecting, Watch, list[tuple[float, float]]], str]


def _kill(chance: random.Random, collecting: Collecting, watch: Watch, blind: list[tuple[float, float]]) -> str:
    name = chance.choice(list(_NODES))
    if name == "gate":
        blind.append((time.time(), float("inf")))
    _signal(collecting, name, signal.SIGKILL)
    return f"kill -9 of the {name}"


def _pause(chance: random.Random, collecting: Collecting, watch: Watch, blind: list[tuple[float, float]]) -> str:
    name = chance.choice(list(_NODES))
    seconds = chance.choice((0.1, 0.3, 1.0, 3.0))
    began = time.time()
    _signal(collecting, name, signal.SIGSTOP)
    watch.spin(seconds)
    _signal(collecting, name, signal.SIGCONT)
    if name == "gate":
        blind.append((began, time.time() + 0.2))
    return f"SIGSTOP of the {name}, 0.1 to 3 s"


def _delay(chance: random.Random, collecting: Collecting, watch: Watch, blind: list[tuple[float, float]]) -> str:
    name = chance.choice(list(_NODES))
    began = time.time()
    for _ in range(_DELAYS):
        _signal(collecting, name, signal.SIGSTOP)
        watch.spin(chance.uniform(*_DELAY_S))
        _signal(collecting, name, signal.SIGCONT)
        watch.spin(chance.uniform(*_DELAY_S))
    if name == "gate":
        blind.append((began, time.time() + 0.2))
    return f"the {name} stopped and let go 12 times, 10 to 80 ms each"


def _flood(chance: random.Random, collecting: Collecting, watch: Watch, blind: list[tuple[float, float]]) -> str:
    from sensor_msgs.msg import JointState

    kind = chance.choice(("finite", "not finite"))
    value = 0.1 if kind == "finite" else float("nan")
    message = JointState(name=list(contract.JOINTS), position=[value] * 9)
    _publish(watch, contract.JOINT_TARGET, lambda: message, _FLOOD_S, _FLOOD_HZ)
    return f"a flood of {kind} targets from another node"


def _corrupt(chance: random.Random, collecting: Collecting, watch: Watch, blind: list[tuple[float, float]]) -> str:
    topic = chance.choice(_CORRUPTED)
    _publish(watch, topic, lambda: b"\x00\x01\x00\x00" + chance.randbytes(chance.randrange(4, 200)), 0.5, 200.0)
    return "random bytes on a topic that decides"


# Wall time in which a graph has ended that ends by it [s]: a node is missed after 5 s.
_ENDS_WITHIN_S: dict[Fault, float] = {_kill: 20.0, _pause: 4.0, _delay: 3.0, _flood: 9.0, _corrupt: 9.0}


def _publish(watch: Watch, topic: Topic, make: Callable[[], Any], seconds: float, rate_hz: float) -> None:
    from rclpy.impl.implementation_singleton import rclpy_implementation

    from salus_vla.ros.adapters.qos_profiles import interface_class, qos_profile

    publisher = watch.node.create_publisher(interface_class(topic), topic.name, qos_profile(topic.qos, depth=100))
    try:
        watch.spin(1.0, lambda: bool(publisher.get_subscription_count()))
        began, sent = time.monotonic(), 0
        while (passed := time.monotonic() - began) < seconds:
            if sent <= passed * rate_hz:
                with suppress(rclpy_implementation.RCLError):  # the middleware itself refuses some of what is corrupt
                    publisher.publish(make())
                sent += 1
            if sent % 20 == 0:
                watch.spin(0.0)
    finally:
        watch.node.destroy_publisher(publisher)


def _signal(collecting: Collecting, name: str, number: signal.Signals) -> None:
    with suppress(SalusError, psutil.NoSuchProcess):  # it may have ended a moment ago
        process = collecting.processes().get(_NODES[name])
        if process is not None:
            process.send_signal(number)


# -- the table ---------------------------------------------------------------------------------------------------------


def storm_table(gusts: list[Gust]) -> str:
    """A Markdown table with one row per fault."""
    lines = ["| fault | times | outcome | longest pause in motion [ms] | verdict |", "|---|---|---|---|---|"]
    for fault in sorted({gust.fault for gust in gusts}):
        items = [gust for gust in gusts if gust.fault == fault]
        worst = max(gust.silence_s for gust in items)
        failed = sum(bool(gust.problems) for gust in items)
        lines.append(table_row(fault, [gust.outcome for gust in items], f"{worst * 1e3:.0f}", failed))
    return "\n".join(lines)


def write_storm(file: Path, gusts: list[Gust], heading: str) -> None:
    """Replaces the table of the storm in a Markdown file.

    Raises:
        ConfigError: as `replace_marked`.
    """
    replace_marked(file, BEGIN, END, f"{heading}\n\n{storm_table(gusts)}")
