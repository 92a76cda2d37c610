"""Turns the contract's QoS into rclpy's."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from salus_vla.contract import Qos


class Interface(Protocol):
    """A topic or service: of the contract, or of a bag."""

    @property
    def type(self) -> str:
        """ROS type, `package/msg/Name`."""


def qos_profile(qos: Qos, *, depth: int | None = None) -> QoSProfile:
    """Rclpy's profile; `depth` overrides the contract's where a reader needs a longer queue (the recorder)."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth or qos.depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if qos.latched else DurabilityPolicy.VOLATILE,
    )


def interface_class(interface: Interface) -> Any:
    """The generated Python class of a topic's or service's type.

    Raises:
        ImportError: its package is not installed.
    """
    package, kind, name = interface.type.split("/")
    return getattr(importlib.import_module(f"{package}.{kind}"), name)
