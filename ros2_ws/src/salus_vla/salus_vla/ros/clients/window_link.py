"""Between the graph and the window: hears topics and calls services in a thread of its own, without Qt.

It has a context and a node of its own. On the node that rqt shares among its plugins another plugin may take the turns
(rqt_robot_monitor spins it from a timer, and 2 of 216 messages arrived).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any, Final

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.client import Client
from std_srvs.srv import Trigger

from salus_vla import contract
from salus_vla.contract import CAMERAS, FAILURE_ALARM, Topic, image_topic
from salus_vla.contract.errors import MessageError
from salus_vla.contract.foreseen_risk import ForeseenRisk
from salus_vla.contract.message_readers import image_view
from salus_vla.contract.reasons import NodeState
from salus_vla.contract.types import ImageArray
from salus_vla.ros.adapters import messages
from salus_vla.ros.adapters.qos_profiles import interface_class
from salus_vla.ros.clients.live_listener import LiveListener, note
from salus_vla.views.window.watched_graph import WatchedGraph

_IMAGES: Final = {image_topic(camera).name: camera for camera in CAMERAS}
_READ: Final = (
    contract.CLOCK,
    contract.EPISODE,
    contract.FAILURE_PREDICTION,
    contract.FAILURE_ALARM,
    contract.INTERVENTION,
    contract.SAFETY_SIGNALS,
    contract.STATUS_TOPIC,
)
HEARD: Final = (*_READ, *map(image_topic, CAMERAS))
_QUEUE: Final = 20_000  # messages that wait for a window that is busy; then the oldest go
_WAIT_S: Final = 0.5
_ANSWER_S: Final = 3.0  # wall time in which a service answers
_JOIN_S: Final = 3.0

HOLD, GO_ON, RESET = "hold", "go on", "reset the hold"
_TRANSITIONS: Final = {HOLD: Transition.TRANSITION_DEACTIVATE, GO_ON: Transition.TRANSITION_ACTIVATE}


class WindowLink:
    """Joins the ROS domain of this process; nothing in it touches Qt."""

    def __init__(self) -> None:
        """Begins to listen."""
        self._heard: deque[tuple[Topic, Any]] = deque(maxlen=_QUEUE)
        self._images: dict[str, bytes] = {}
        self._asked: SimpleQueue[str] = SimpleQueue()
        self._answers: SimpleQueue[str] = SimpleQueue()
        self._stop = Event()
        self._listener = LiveListener("salus_window", self._take, topics=HEARD, read=[topic.name for topic in _READ])
        node, change, reset = self._listener.node, contract.POLICY_CHANGE_STATE, contract.RESET_HOLD
        self._change: Client = node.create_client(interface_class(change), change.name)
        self._reset: Client = node.create_client(interface_class(reset), reset.name)
        self._thread = Thread(target=self._listen, name="salus_window", daemon=True)
        self._thread.start()

    # -- for the window's thread ---------------------------------------------------------------------------------------

    def drain(self, watched: WatchedGraph) -> None:
        """Gives everything that was heard meanwhile to the window's model."""
        for _ in range(len(self._heard)):
            topic, message = self._heard.popleft()
            try:
                note(watched, topic, message)
                if topic.name == FAILURE_ALARM.name:
                    watched.alarm(ForeseenRisk.of(message))
            except MessageError as error:
                watched.status(topic.name, NodeState.FAILED, "malformed", str(error))

    def pictures(self) -> Iterator[tuple[str, ImageArray]]:
        """The newest picture of each camera that has a new one, decoded now; those between are never decoded."""
        for camera in CAMERAS:
            cdr = self._images.pop(camera, None)
            if cdr is None:
                continue
            topic = image_topic(camera)
            try:
                message = messages.deserialized(topic, cdr)
                messages.check(topic, message)
                yield camera, image_view(message)
            except MessageError:
                continue  # a camera that shows nothing usable says so by its age

    def ask(self, what: str) -> None:
        """Asks for `HOLD`, `GO_ON` or `RESET`; `answers` says what came of it."""
        self._asked.put(what)

    def answers(self) -> Iterator[str]:
        """What the services answered meanwhile, in words."""
        while not self._answers.empty():
            yield self._answers.get()

    def close(self) -> None:
        """Leaves the graph."""
        self._stop.set()
        self._thread.join(_JOIN_S)

    # -- in its own thread ---------------------------------------------------------------------------------------------

    def _take(self, topic: Topic, message: Any) -> None:
        camera = _IMAGES.get(topic.name)
        if camera is not None:
            self._images[camera] = message
            message = b""
        self._heard.append((topic, message))

    def _listen(self) -> None:
        with self._listener as listener:
            while not self._stop.is_set():
                listener.spin(_WAIT_S, until=lambda: self._stop.is_set() or not self._asked.empty())
                try:
                    what = self._asked.get_nowait()
                except Empty:
                    continue
                self._answers.put(f"{what}: {self._call(what)}")

    def _call(self, what: str) -> str:
        """Calls a service and says in words what it answered."""
        if what == RESET:
            client, request = self._reset, Trigger.Request()
        else:
            client, request = self._change, ChangeState.Request(transition=Transition(id=_TRANSITIONS[what]))
        until = time.monotonic() + _ANSWER_S
        if not self._listener.spin(_ANSWER_S, until=client.service_is_ready):
            return f"nobody serves {client.srv_name}"
        future = client.call_async(request)
        self._listener.spin(max(0.1, until - time.monotonic()), until=lambda: future.done() or self._stop.is_set())
        if not future.done():
            client.remove_pending_request(future)
            return f"no answer within {_ANSWER_S:g} s"
        answer = future.result()
        words = str(getattr(answer, "message", ""))
        return words or ("done" if answer.success else "refused")
