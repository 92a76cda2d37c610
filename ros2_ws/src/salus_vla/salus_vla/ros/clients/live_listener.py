"""Hears every topic of the contract and hands the messages on: for `salus watch` and `salus view live`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

from salus_msgs.msg import Status
from salus_vla.contract import (
    CLOCK,
    EPISODE,
    FAILURE_PREDICTION,
    INTERVENTION,
    SAFETY_SIGNALS,
    STATUS_TOPIC,
    TOPICS,
    Topic,
)
from salus_vla.contract.errors import MessageError
from salus_vla.contract.foreseen_risk import ForeseenRisk
from salus_vla.contract.message_readers import EpisodeEvent
from salus_vla.ros.adapters.messages import to_ns
from salus_vla.ros.adapters.qos_profiles import interface_class
from salus_vla.ros.adapters.subscribe import subscribe
from salus_vla.ros.clients.connection import Connection
from salus_vla.safety.intervention.told_motion import ToldMotion
from salus_vla.signals.safety_signals import NAMES
from salus_vla.views.graph_monitor import GraphMonitor

# What the terminal shows the content of; of all others it only needs to know that they came.
SHOWN = (CLOCK.name, EPISODE.name, FAILURE_PREDICTION.name, INTERVENTION.name, SAFETY_SIGNALS.name, STATUS_TOPIC.name)


class LiveListener(Connection):
    """Subscribes to the contract's topics."""

    def __init__(
        self,
        name: str,
        on_message: Callable[[Topic, Any], None],
        *,
        topics: Iterable[Topic] = TOPICS,
        read: Collection[str] | None = None,
    ) -> None:
        """Subscribes.

        Args:
            name: of the node.
            on_message: called with each message; with its bytes unless its topic is one of `read`.
            topics: of the contract.
            read: names of the topics to deserialize, all by default.
        """
        super().__init__(name)
        for topic in topics:
            if topic.optional and not _is_installed(topic):
                continue
            raw = read is not None and topic.name not in read
            subscribe(self.node, topic, _handler(topic, on_message), keep_all=True, raw=raw)


def note(monitor: GraphMonitor, topic: Topic, message: Any) -> None:
    """Gives a message to the terminal's model; topics that are not in `SHOWN` as bytes."""
    now_s = time.monotonic()
    monitor.message(topic.name, now_s)
    if topic.name == CLOCK.name:
        monitor.clock(to_ns(message.clock) * 1e-9, now_s)
    elif topic.name == SAFETY_SIGNALS.name:
        values = [getattr(message, name) for name in NAMES]
        monitor.decision(message.decision, message.inference_ms, values, to_ns(message.header.stamp))
    elif topic.name == FAILURE_PREDICTION.name:
        monitor.prediction(ForeseenRisk.of(message))
    elif topic.name == INTERVENTION.name:
        try:
            monitor.intervention(ToldMotion.of(message))
        except MessageError as error:
            monitor.status(topic.name, Status.FAILED, "malformed", str(error))
    elif topic.name == STATUS_TOPIC.name:
        monitor.status(message.role, message.state, message.reason, message.detail)
    elif topic.name == EPISODE.name:
        monitor.episode(EpisodeEvent.of(message))


def _handler(topic: Topic, on_message: Callable[[Topic, Any], None]) -> Callable[..., None]:
    return lambda message, *_: on_message(topic, message)  # with raw messages comes when they were sent


def _is_installed(topic: Topic) -> bool:
    try:
        interface_class(topic)
    except ImportError:
        return False
    return True
