"""The plugin of rqt in a graph, without rqt: what it hears it shows, and its buttons ask the services."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
from lifecycle_msgs.srv import ChangeState
from PyQt5.QtWidgets import QApplication, QLabel, QPushButton, QWidget
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from salus_msgs.msg import Episode, SafetySignals, Status
from salus_vla import contract
from salus_vla.contract import RESET_HOLD, camera_frame, image_topic
from salus_vla.ros.adapters.messages import header, to_time
from salus_vla.ros.clients.rqt_plugin import SalusPlugin

from .graph_client import GraphClient

pytestmark = [pytest.mark.graph, pytest.mark.timeout(120)]

START_NS = 10**10
STEP_NS = 10**8
HEARD = (contract.CLOCK, contract.EPISODE, contract.SAFETY_SIGNALS, contract.STATUS_TOPIC, image_topic("front"))


class Context:
    """What a plugin uses of rqt's context."""

    widget: QWidget

    def serial_number(self) -> int:
        return 1

    def add_widget(self, widget: QWidget) -> None:
        self.widget = widget
        widget.resize(1280, 740)
        widget.show()


class Graph(GraphClient):
    """Simulator, policy and episode node in one."""

    def __init__(self) -> None:
        super().__init__("graph")
        self.asked: list[str] = []
        self._publishers = {topic.name: self.publisher(topic) for topic in HEARD}

    def say(self, topic: contract.Topic, message: object) -> None:
        self._publishers[topic.name].publish(message)

    def serve(self) -> None:
        """Takes part as the policy's node."""
        change = contract.POLICY_CHANGE_STATE
        self.node.create_service(Trigger, RESET_HOLD.name, self._on_reset)
        self.node.create_service(ChangeState, change.name, self._on_change)

    def check(self) -> None:
        """Gives Qt its turn while something is waited for."""
        QApplication.processEvents()

    def connected(self) -> bool:
        return all(publisher.get_subscription_count() for publisher in self._publishers.values())

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.asked.append("reset")
        response.success, response.message = True, "was held by stale_camera"
        return response

    def _on_change(self, request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        self.asked.append(f"transition {request.transition.id}")
        response.success = True
        return response


@pytest.fixture
def graph() -> Iterator[Graph]:
    with closing(Graph()) as made:
        yield made


def words(context: Context) -> str:
    """All that is said, with what a tool tip says in full."""
    return " | ".join(f"{label.text()} {label.toolTip()}" for label in context.widget.findChildren(QLabel))


def test_it_shows_what_it_hears_and_its_buttons_ask(graph: Graph) -> None:
    application = QApplication.instance() or QApplication([])
    # Latched before the window is there.
    started = Episode(header=header(START_NS), kind=Episode.STARTED, run_id="run", episode=4, seed=17)
    graph.say(contract.EPISODE, started)
    graph.say(contract.STATUS_TOPIC, Status(role="policy", state=Status.HOLDING, reason="stale_camera", detail="front"))
    context = Context()
    plugin = SalusPlugin(context)
    try:
        graph.wait(graph.connected, "subscriptions of the window")
        graph.wait(lambda: "run run, episode 4, seed 17" in words(context), "latched episode")
        graph.wait(lambda: "Holding: stale camera" in words(context), "latched status")
        for step in range(5):
            stamp = header(START_NS + step * STEP_NS)
            graph.say(contract.CLOCK, Clock(clock=to_time(START_NS + step * STEP_NS)))
            graph.say(contract.SAFETY_SIGNALS, SafetySignals(header=stamp, decision=step, action_magnitude=0.1))
        graph.wait(lambda: "decision 4 at 0.4 s" in words(context), "signals on the episode's time")
        image = Image(header=header(START_NS, camera_frame("front")), height=2, width=2, encoding="rgb8", step=6)
        image.data = bytes(12)
        before = context.widget.grab().toImage()
        graph.say(image_topic("front"), image)
        graph.say(contract.STATUS_TOPIC, Status(role="gate", state=Status.RUNNING))
        graph.wait(lambda: context.widget.grab().toImage() != before, "picture of the camera")
        hold, reset = context.widget.findChildren(QPushButton)
        reset.click()
        graph.wait(lambda: f"nobody serves {RESET_HOLD.name}" in words(context), "answer that nobody gives")
        graph.serve()
        reset.click()
        graph.wait(lambda: "was held by stale_camera" in words(context), "answer of the service")
        hold.click()
        graph.wait(lambda: "hold: done" in words(context), "transition")
        assert graph.asked == ["reset", "transition 4"]
    finally:
        plugin.shutdown_plugin()
        context.widget.close()
        application.processEvents()
