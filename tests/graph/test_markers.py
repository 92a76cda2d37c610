"""A real `salus_markers` process draws what a simulator and a policy say, for an rviz that comes late."""

import signal
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ament_index_python.packages import get_package_prefix
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from visualization_msgs.msg import Marker, MarkerArray

from salus_msgs.msg import Episode, FailurePrediction, Intervention, MemberChunks, SafetySignals
from salus_vla import contract
from salus_vla.contract import ARM_DOF, JOINTS, Topic
from salus_vla.contract.foreseen_risk import PREDICTED
from salus_vla.ros.adapters.messages import header
from salus_vla.ros.nodes.salus_markers_node import GRIPPER, PLANS, TEXT, TRAIL
from salus_vla.views.text_block import HEIGHT_M, SPACE_M
from salus_vla.views.trail import RISK, UNKNOWN

from .graph_client import GraphClient

pytestmark = [pytest.mark.graph, pytest.mark.timeout(120)]

STEP_NS = 100_000_000
HOME = (0.0, -0.7854, 0.0, -2.3562, 0.0, 1.5708, 0.7854, 0.04, 0.04)


class Talker(GraphClient):
    """Publishes as simulator, policy and episode node do, and hears the markers."""

    def __init__(self) -> None:
        super().__init__("talker")
        self.heard: list[MarkerArray] = []
        told = (contract.JOINT_STATES, contract.SAFETY_SIGNALS, contract.EPISODE)
        told += (contract.FAILURE_PREDICTION, contract.INTERVENTION, contract.MEMBER_CHUNKS)
        told += (contract.pose_topic("red_cube"),)
        self._publishers = {topic: self.publisher(topic) for topic in told}

    def say(self, topic: Topic, message: Any) -> None:
        self._publishers[topic].publish(message)

    def connected(self) -> bool:
        return all(publisher.get_subscription_count() for publisher in self._publishers.values())

    def listen(self) -> None:
        """Subscribes as rviz does."""
        self.listen_to(contract.MARKERS, self.heard.append)

    def gripper_turned(self, angle: float) -> bool:
        """Whether the gripper is drawn at this angle about the world's vertical axis; asks for a picture."""
        self.say(contract.EPISODE, Episode(kind=Episode.EVENT, seed=7, episode=3))
        ball = self.newest().get(GRIPPER)
        return ball is not None and abs(np.arctan2(ball.pose.position.y, ball.pose.position.x) - angle) < 1e-3

    def cube_drawn(self) -> bool:
        """Whether the cube is drawn; asks for a picture."""
        self.say(contract.EPISODE, Episode(kind=Episode.EVENT, seed=7, episode=3))
        cube = self.newest()["red_cube"]
        return cube.action == Marker.ADD and cube.pose.position.x == 0.5

    def newest(self) -> dict[str, Marker]:
        return {marker.ns: marker for marker in self.heard[-1].markers} if self.heard else {}


def test_markers_show_the_way_of_the_gripper_by_risk_and_the_outcome() -> None:
    executable = Path(get_package_prefix("salus_vla"), "lib", "salus_vla", "salus_markers")
    with subprocess.Popen([str(executable)]) as process, closing(Talker()) as talker, closing(Talker()) as late:
        try:
            talker.wait(talker.connected, "subscriptions of salus_markers")
            talker.listen()
            talker.say(contract.EPISODE, Episode(header=header(STEP_NS), kind=Episode.STARTED, seed=7, episode=3))
            talker.wait(talker.newest, "a first picture")
            assert talker.newest()[TRAIL].action == Marker.DELETE  # of an earlier episode
            assert talker.newest()[PLANS].action == Marker.DELETE
            assert {talker.newest()[name].action for name in ("red_cube", "blue_bin")} == {Marker.DELETE}
            assert talker.newest()["table"].action == Marker.ADD
            for step, risk in enumerate((0.0, 1.0, float("nan")), start=1):
                stamp = header(step * STEP_NS)
                position = [HOME[0] + 0.2 * step, *HOME[1:]]
                talker.say(contract.JOINT_STATES, JointState(header=stamp, name=list(JOINTS), position=position))
                # Topics are not ordered among each other: the decision comes when the gripper was seen there.
                talker.wait(lambda step=step: talker.gripper_turned(0.2 * step), "the gripper")  # type: ignore[misc]
                signals = SafetySignals(header=stamp, decision=step, max_joint_disagreement=risk)
                talker.say(contract.SAFETY_SIGNALS, signals)
                words = f"decision {step}\n"
                talker.wait(lambda words=words: words in talker.newest()[TEXT].text, words)  # type: ignore[misc]
            cube = PoseStamped(header=header(3 * STEP_NS, contract.WORLD_FRAME))
            cube.pose.position.x, cube.pose.orientation.w = 0.5, 1.0
            talker.say(contract.pose_topic("red_cube"), cube)
            rows = np.tile(HOME[:ARM_DOF], (2, 16, 1))
            rows[1, :, 0] = 1.0  # the second member turns away
            arm = rows.astype(np.float32).ravel().tolist()
            planned = MemberChunks(header=stamp, schema_version=1, members=2, rows=16, row_s=0.1, arm=arm)
            talker.say(contract.MEMBER_CHUNKS, planned)
            talker.wait(lambda: talker.newest()[PLANS].action == Marker.ADD, "the plans")
            plans = talker.newest()[PLANS]
            talker.wait(lambda: talker.cube_drawn(), "the cube")
            # What is predicted takes the place of the signal, where it is predicted.
            limits = {f"{kind}_threshold": 0.5 for kind in PREDICTED}
            words = "the hand closes on nothing"
            said = {"failure": 0.25, "alarm": True, "alarm_kind": "miss", "detail": words}
            talker.say(
                contract.FAILURE_PREDICTION, FailurePrediction(header=header(STEP_NS), decision=1, **said, **limits)
            )
            talker.wait(lambda: words in talker.newest()[TEXT].text, words)
            talker.say(contract.INTERVENTION, Intervention(decision=1, chosen="careful", reason="best", acted=True))
            talker.wait(lambda: "careful: best" in talker.newest()[TEXT].text, "the intervention")
            talker.say(
                contract.EPISODE,
                Episode(header=stamp, kind=Episode.ENDED, seed=7, episode=3, outcome=Episode.DROP, decisions=3),
            )
            talker.wait(lambda: "DROP" in talker.newest()[TEXT].text, "the outcome")
            late.listen()
            late.wait(late.newest, "latched markers")
            markers = late.newest()
            process.send_signal(signal.SIGINT)
            assert process.wait(30.0) == 0
        finally:
            process.kill()
    assert [line for line in markers[TEXT].text.splitlines() if line.strip()] == [
        "episode 3, seed 7: DROP after 3 decisions",
        "risk of failure 25%, alarm above 50%",
        "ALARM: the hand closes on nothing",
        "careful: best",
    ]
    # With a scale.x of 0 a space would be half a metre wide.
    assert (markers[TEXT].scale.x, markers[TEXT].scale.z) == (SPACE_M, HEIGHT_M)
    assert markers[PLANS].action == Marker.DELETE  # nothing is planned after the end
    assert (plans.type, len(plans.points)) == (Marker.LINE_LIST, 2 * 2 * 10)
    ends = np.array([(point.x, point.y) for point in plans.points])
    first, second = ends[:20], ends[20:]
    np.testing.assert_allclose(np.arctan2(first[1:, 1], first[1:, 0]), 0.0, atol=1e-6)
    np.testing.assert_allclose(np.arctan2(second[1:, 1], second[1:, 0]), 1.0, atol=1e-6)
    line = markers[TRAIL]
    assert (line.type, line.action, line.header.frame_id) == (Marker.LINE_STRIP, Marker.ADD, contract.WORLD_FRAME)
    colors = [(color.r, color.g, color.b) for color in line.colors]
    np.testing.assert_allclose(colors, [RISK, RISK, UNKNOWN], atol=1e-6)
    points = np.array([(point.x, point.y, point.z) for point in line.points])
    # The first joint turns the arm about the world's vertical axis.
    np.testing.assert_allclose(np.arctan2(points[:, 1], points[:, 0]), [0.2, 0.4, 0.6], atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(points[:, :2], axis=1), np.linalg.norm(points[0, :2]), atol=1e-6)
    ball = markers[GRIPPER].pose.position
    np.testing.assert_allclose((ball.x, ball.y, ball.z), points[-1], atol=1e-6)
