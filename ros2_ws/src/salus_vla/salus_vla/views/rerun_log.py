"""Cameras, joints, signals and events of an episode as a rerun recording, with a layout for them.

Messages may be those of rclpy or of rosbags: only their fields are read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from salus_vla.contract import (
    ARM_JOINTS,
    CAMERAS,
    EPISODE,
    FAILURE_PREDICTION,
    FINGER_JOINTS,
    JOINT_COMMAND,
    JOINT_STATES,
    SAFETY_SIGNALS,
    STATUS_TOPIC,
    Topic,
    image_topic,
)
from salus_vla.contract.errors import SalusError
from salus_vla.contract.foreseen_risk import PREDICTED, ForeseenRisk
from salus_vla.contract.message_readers import EventKind, stamp_of
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.recorded_observations import connections_of, image_copy, messages_of, opened_bag, read_message
from salus_vla.signals.safety_signals import SIGNALS
from salus_vla.views.graph_monitor import STATES

if TYPE_CHECKING:  # optional: requirements-rerun.txt
    import rerun as rr
    import rerun.blueprint as rrb

APPLICATION = "salus"
TIMELINE = "sim_time"
EVENTS = "events"
_CAMERA_OF = {image_topic(camera).name: camera for camera in CAMERAS}
LOGGED: tuple[Topic, ...] = (
    *map(image_topic, CAMERAS),
    JOINT_STATES,
    JOINT_COMMAND,
    SAFETY_SIGNALS,
    FAILURE_PREDICTION,
    EPISODE,
    STATUS_TOPIC,
)
_JPEG_QUALITY = 80  # an episode of 20 s is then some 10 MB instead of 120


def import_rerun() -> Any:
    """The rerun module.

    Raises:
        SalusError: it is not installed; says how to install it.
    """
    try:
        import rerun
    except ImportError as error:
        raise SalusError("salus view needs rerun: pip install -r requirements-rerun.txt") from error
    return rerun


def layout(*, risk: bool = False) -> rrb.Blueprint:
    """Cameras above the signals by group, then, with `risk`, what is foreseen, joints and events below."""
    import_rerun()
    import rerun.blueprint as rrb

    cameras = [rrb.Spatial2DView(origin=f"camera/{camera}", name=camera) for camera in CAMERAS]
    groups = dict.fromkeys(signal.group for signal in SIGNALS)
    signals = [rrb.TimeSeriesView(origin=f"signals/{group}", name=group) for group in groups]
    risks = [rrb.TimeSeriesView(origin=f"risk/{name}", name=f"risk: {name}") for name in PREDICTED]
    joints = [
        rrb.TimeSeriesView(origin=f"joints/{part}", name=f"{part} [{unit}]")
        for part, unit in (("arm", "rad"), ("fingers", "m"))
    ]
    events = rrb.TextLogView(origin=EVENTS, name=EVENTS)
    rows = [(rrb.Horizontal(*cameras), 4), (rrb.Horizontal(*signals), 3)]
    rows += [(rrb.Horizontal(*risks), 2)] if risk else []
    rows += [(rrb.Horizontal(*joints, events), 3)]
    shares = [share for _, share in rows]
    return rrb.Blueprint(rrb.Vertical(*(row for row, _ in rows), row_shares=shares), collapse_panels=True)


class RerunLog:
    """One recording; its time is sim time."""

    def __init__(self, name: str, connect: Callable[[rr.RecordingStream], None]) -> None:
        """Opens a recording.

        Args:
            name: shown in the viewer.
            connect: sends it somewhere: `stream.save(...)`, `stream.connect_grpc(...)`.

        Raises:
            SalusError: rerun is not installed.
        """
        self._rr = import_rerun()
        self._alarm = ""  # kind of the one that was said last
        self._foreseen = False
        self._stream: rr.RecordingStream = self._rr.RecordingStream(APPLICATION, recording_id=name)
        connect(self._stream)
        self._stream.send_blueprint(layout())
        self._stream.send_recording_name(name)

    def close(self) -> None:
        """Writes what is still in memory."""
        self._stream.flush()
        self._stream.disconnect()

    def message(self, topic: str, message: Any) -> None:
        """Logs a message of one of the topics `LOGGED`.

        Raises:
            RecordingError: an image cannot be read; names the topic.
        """
        self._stream.set_time(TIMELINE, duration=np.timedelta64(stamp_of(message), "ns"))
        if topic in _CAMERA_OF:
            image = self._rr.Image(read_message(image_copy, message, topic)).compress(jpeg_quality=_JPEG_QUALITY)
            self._stream.log(f"camera/{_CAMERA_OF[topic]}", image)
        elif topic == JOINT_STATES.name:
            self._joints(message, "measured")
        elif topic == JOINT_COMMAND.name:
            self._joints(message, "commanded")
        elif topic == SAFETY_SIGNALS.name:
            for signal in SIGNALS:
                value = float(getattr(message, signal.name))
                self._stream.log(f"signals/{signal.group}/{signal.name}", self._rr.Scalars([value]))
        elif topic == FAILURE_PREDICTION.name:
            self._risk(ForeseenRisk.of(message))
        elif topic == EPISODE.name:
            if message.kind == EventKind.STARTED:
                self._alarm = ""
            self._event(EPISODE.name, *_episode_words(message))
        elif topic == STATUS_TOPIC.name:
            self._event(f"status/{message.role}", *_status_words(message))

    def _risk(self, risk: ForeseenRisk) -> None:
        if not self._foreseen:  # a recording without predictions has no empty row
            self._foreseen = True
            self._stream.send_blueprint(layout(risk=True))
        for name in PREDICTED:
            for kind, value in (("probability", risk.values[name]), ("threshold", risk.thresholds[name])):
                self._stream.log(f"risk/{name}/{kind}", self._rr.Scalars([value]))
        if risk.alarm != self._alarm:
            words = f"alarm: {risk.detail or risk.alarm}" if risk.alarm else f"no alarm any more ({self._alarm})"
            self._event("alarm", f"decision {risk.decision}, {words}", "WARN" if risk.alarm else "INFO")
        self._alarm = risk.alarm

    def _joints(self, message: Any, kind: str) -> None:
        by_name = dict(zip(message.name, message.position, strict=False))
        for part, joints in (("arm", ARM_JOINTS), ("fingers", FINGER_JOINTS)):
            for joint in joints:
                if joint in by_name:
                    self._stream.log(f"joints/{part}/{joint}/{kind}", self._rr.Scalars([float(by_name[joint])]))

    def _event(self, source: str, words: str, level: str) -> None:
        self._stream.log(f"{EVENTS}/{source.strip('/')}", self._rr.TextLog(words, level=level))


def log_bag(bag: Path, log: RerunLog) -> int:
    """Logs what a bag holds of the topics `LOGGED`; gives the number of messages.

    Raises:
        RecordingError: no readable bag, or none of these topics in it; names the bag.
    """
    names = {topic.name for topic in LOGGED}
    with opened_bag(bag) as reader:
        present = {item.topic for item in reader.connections if item.msgcount}
        # A bag without any of them is refused, naming the topics.
        wanted = [topic for topic in LOGGED if topic.name in present] or list(LOGGED)
        count = 0
        for topic, message in messages_of(reader, connections_of(reader, bag, wanted)):
            if topic in names:
                log.message(topic, message)
                count += 1
    return count


def _episode_words(message: Any) -> tuple[str, str]:
    number, seed = int(message.episode), int(message.seed)
    if message.kind == EventKind.STARTED:
        return f"episode {number} started, seed {seed}: {message.task}", "INFO"
    if message.kind == EventKind.ENDED:
        outcome = Outcome(message.outcome).name
        words = f"episode {number}: {outcome} after {int(message.decisions)} decisions"
        good = outcome in ("SUCCESS", "TIMEOUT")
        return words + (f": {message.detail}" if message.detail else ""), "INFO" if good else "WARN"
    return f"{message.event}: {message.detail}", "WARN"


def _status_words(message: Any) -> tuple[str, str]:
    state = STATES[message.state]
    level = {"FAILED": "ERROR", "HOLDING": "WARN"}.get(state, "INFO")
    return " ".join(part for part in (message.role, state, message.reason, message.detail) if part), level
