"""QoS of the contract; `ros/adapters/qos_profiles.py` turns a `Qos` into rclpy's profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Qos:
    """Reliable keep-last QoS; every topic of SALUS is reliable because a lost image is a hole in the recorded data."""

    depth: int
    latched: bool = False  # transient local: a late subscriber gets the last message


STREAM: Final = Qos(depth=10)
COMMAND: Final = Qos(depth=1)  # only the newest command counts: a queue would add latency
LATCHED: Final = Qos(depth=10, latched=True)  # a late joiner sees the episode's whole story
STATUS: Final = Qos(depth=1, latched=True)  # per publisher: the state now, with its reason
