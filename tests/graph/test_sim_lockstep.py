"""The simulator in lockstep: a frame waits for its command, and commands, resets and ground truth keep the contract.

The simulator runs under another node name throughout: nothing depends on node names.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray

from salus_vla import contract
from salus_vla.contract import CAMERAS, CONTACT, JOINT_STATES, TOPICS, Source, Topic

from .sim_client import FRAME_NS, SimClient, running_simulator, stamps_of

pytestmark = [pytest.mark.graph, pytest.mark.timeout(120)]

TIMEOUT_S = 3.0
HOME = np.array([0.0, -0.785398, 0.0, -2.356194, 0.0, 1.570796, 0.785398, 0.04, 0.04])
SETTLED = 40  # frames in which the arm reaches a target that is .3 rad away
JOINT1, JOINT4 = 0, 3
WARN = 30  # of rcl_interfaces/Log, whose constant is an int or bytes


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimClient]:
    arguments = ("-r", "__node:=other", "-p", "pacing:=lockstep", "-p", f"lockstep_timeout_s:={TIMEOUT_S}")
    with running_simulator(*arguments) as client:
        yield client


@pytest.fixture
def client(simulator: SimClient) -> SimClient:
    simulator.forget()
    return simulator


def frames_since(client: SimClient, stamp_ns: int) -> int:
    """Frames that came after a stamp, those that are still on their way included: a reset takes exactly one."""
    client.listen(0.1)  # in real time it would go on by five frames
    return (client.reset().stamp_ns - stamp_ns) // FRAME_NS - 1


# -- pacing ------------------------------------------------------------------------------------------------------------


def test_nothing_depends_on_the_node_name(client: SimClient) -> None:
    client.wait(lambda: "other" in client.node.get_node_names(), "the node's name")  # may come after its messages
    assert "mujoco_sim" not in client.node.get_node_names()
    assert client.reset(3).seed == 3


@pytest.mark.parametrize("answers", [0, 1, 7])
def test_as_many_frames_come_as_are_answered(client: SimClient, answers: int) -> None:
    start = client.reset().stamp_ns
    client.step(start, frames=answers)
    assert frames_since(client, start) == answers


@pytest.mark.parametrize("offset_ns", [-FRAME_NS, -11_000_000, 11_000_000, 10**18], ids=str)
def test_an_answer_to_another_frame_releases_none(client: SimClient, offset_ns: int) -> None:
    start = client.reset().stamp_ns
    client.send_and_see(start + offset_ns, {"panda_joint1": 0.3})
    state = client.step(start, frames=5)
    assert state.position[JOINT1] > 0.01  # its target counts
    assert frames_since(client, start) == 5


@pytest.mark.parametrize("offset_ns", [-9_000_000, 9_000_000])
def test_an_answer_is_matched_within_half_a_frame(client: SimClient, offset_ns: int) -> None:
    start = client.reset().stamp_ns
    client.send_and_see(start + offset_ns)
    client.at(JOINT_STATES, start + FRAME_NS)
    assert frames_since(client, start) == 1


def test_without_answers_it_runs_free_after_the_time_limit_until_the_next_reset(client: SimClient) -> None:
    start = client.reset().stamp_ns
    began = time.monotonic()
    client.at(JOINT_STATES, start + FRAME_NS)
    waited = time.monotonic() - began
    assert waited > 0.8 * TIMEOUT_S
    client.at(JOINT_STATES, start + 10 * FRAME_NS)
    assert time.monotonic() - began < waited + TIMEOUT_S  # only the first of these frames waited
    again = client.reset().stamp_ns
    client.step(again, frames=2)
    assert frames_since(client, again) == 2


@pytest.mark.parametrize(
    "topic", [t for t in TOPICS if t.source is Source.SIMULATOR and t.rate_hz and not t.optional], ids=lambda t: t.name
)
def test_each_topic_comes_at_its_rate_from_the_reset_on(one_second: dict[str, list[Any]], topic: Topic) -> None:
    assert len(one_second[topic.name]) == topic.rate_hz + 1


@pytest.fixture(scope="module")
def one_second(simulator: SimClient) -> dict[str, list[Any]]:
    """Every message of a second of sim time, both ends included."""
    with simulator.watching_cameras():
        free = simulator.reset().stamp_ns
        simulator.step(free, frames=5)
        simulator.at(contract.image_topic("top"), free + 5 * FRAME_NS)  # the cameras are seen by now
        simulator.forget()
        start = simulator.reset().stamp_ns
        simulator.step(start, frames=50)
        for camera in CAMERAS:
            simulator.at(contract.image_topic(camera), start + 50 * FRAME_NS)
        return {name: list(messages) for name, messages in simulator.received.items()}


# -- commands ----------------------------------------------------------------------------------------------------------


def test_a_command_may_name_any_joints_in_any_order(client: SimClient) -> None:
    start = client.reset().stamp_ns
    state = client.step(start, {"panda_joint4": -2.1, "panda_joint1": 0.3}, frames=SETTLED)
    expected = HOME.copy()
    expected[[JOINT1, JOINT4]] = 0.3, -2.1
    np.testing.assert_allclose(state.position, expected, atol=0.02)


def test_a_target_is_held_until_it_is_set_again_and_nan_keeps_it(client: SimClient) -> None:
    start = client.reset().stamp_ns
    client.step(start, {"panda_joint1": 0.3}, frames=2)
    state = client.step(start + 2 * FRAME_NS, {"panda_joint1": np.nan, "panda_joint4": -2.1}, frames=SETTLED)
    assert state.position[JOINT1] == pytest.approx(0.3, abs=0.02)
    assert state.position[JOINT4] == pytest.approx(-2.1, abs=0.02)


@pytest.mark.parametrize(
    ("names", "positions", "named"),
    [
        (["panda_joint1", "elbow"], [0.5, 0.1], "elbow"),
        (["panda_joint1", "panda_joint1"], [0.5, 0.5], "twice"),
        (["panda_joint1", "panda_joint2"], [0.5], "1 positions"),
        (["panda_joint1", "panda_joint2"], [0.5, np.inf], "infinite"),
    ],
    ids=["unknown name", "repeated name", "missing position", "infinite position"],
)
def test_a_wrong_command_is_rejected_as_a_whole_with_a_warning(
    client: SimClient, names: list[str], positions: list[float], named: str
) -> None:
    start = client.reset().stamp_ns
    # A correct command first, of no frame: what is rejected again for the same reason is not logged again.
    client.send_and_see(1, name=["panda_joint1"], position=[HOME[0]])
    client.send_and_see(start, name=names, position=positions)
    # The simulator's diagnostics may warn of it as well.
    warnings = lambda: (log for log in client.logs if log.level == WARN and "/joint_command" in log.msg)  # noqa: E731
    warning = client.wait(lambda: next(warnings(), None), "warning")
    assert named in warning.msg
    client.step(start, frames=5)  # it answered no frame, and the node lives
    state = client.received[JOINT_STATES.name][-1]
    np.testing.assert_allclose(state.position, HOME, atol=1e-3)


def test_only_the_newest_command_counts(client: SimClient) -> None:
    # Two commands arrive while the simulator renders; in a queue of one the second replaces the first. Where the test
    # was too slow for that, both count: that may happen, but not every time.
    with client.watching_cameras():
        for _ in range(20):
            start = client.reset().stamp_ns
            client.step(start, frames=4)
            frame = start + 5 * FRAME_NS
            client.send(frame - FRAME_NS)
            client.at(contract.CLOCK, frame)  # comes before the pictures of the frame
            client.send(frame, {"panda_joint1": 0.5})
            client.send(frame, {"panda_joint4": -2.0})
            client.at(JOINT_STATES, frame + FRAME_NS)
            state = client.step(frame + FRAME_NS, frames=5)
            assert state.position[JOINT4] > -2.3
            if abs(state.position[JOINT1]) < 0.01:
                return
    pytest.fail("the older command always counted, too")


# -- reset -------------------------------------------------------------------------------------------------------------


def test_a_reset_goes_on_with_the_clock_and_the_publishers(client: SimClient) -> None:
    def publishers() -> dict[str, list[list[int]]]:
        info = client.node.get_publishers_info_by_topic
        return {topic: [list(found.endpoint_gid) for found in info(topic)] for topic in ("/clock", "/joint_states")}

    before = publishers()
    stamps = [client.reset(seed).stamp_ns for seed in (1, 2)]
    client.step(stamps[-1], frames=3)
    stamps.append(client.reset(3).stamp_ns)
    assert publishers() == before
    assert [len(found) for found in before.values()] == [1, 1]
    assert np.diff(stamps).tolist() == [FRAME_NS, 4 * FRAME_NS]
    for topic in (contract.CLOCK, JOINT_STATES):  # heard by subscriptions that are older than all resets
        client.wait(lambda topic=topic: stamps_of(client.received[topic.name])[-1] == stamps[-1], topic.name)
        assert set(np.diff(stamps_of(client.received[topic.name]))) == {FRAME_NS}


def test_a_reset_changes_positions_velocities_and_targets(client: SimClient) -> None:
    start = client.reset().stamp_ns
    moving = client.step(start, {"panda_joint1": 0.5}, frames=5)
    assert abs(moving.velocity[JOINT1]) > 0.1
    start = client.reset().stamp_ns
    state = client.at(JOINT_STATES, start)
    np.testing.assert_allclose(state.position, HOME, atol=1e-3)
    np.testing.assert_allclose(state.velocity, np.zeros(9), atol=1e-2)
    np.testing.assert_allclose(client.step(start, frames=10).position, HOME, atol=1e-3)


def trajectory(client: SimClient, seed: int) -> tuple[list[bytes], list[bytes], list[float]]:
    """Joints and images of a short episode with fixed commands, and where its cube was at first."""
    client.forget()
    start = client.reset(seed).stamp_ns
    for number in range(10):
        state = client.step(start + number * FRAME_NS, {"panda_joint1": 0.05 * number, "panda_finger_joint2": 0.01})
    stamps = [start, start + 5 * FRAME_NS, start + 10 * FRAME_NS]
    images = [client.at(contract.image_topic(camera), stamp) for camera in CAMERAS for stamp in stamps]
    states = [client.at(JOINT_STATES, start + number * FRAME_NS) for number in range(11)]
    assert state.position[JOINT1] > 0.1
    return (
        [state.position.tobytes() + state.velocity.tobytes() for state in states],
        [image.data.tobytes() for image in images],
        cube_position(client, start),
    )


def cube_position(client: SimClient, stamp_ns: int, entity: str = "red_cube") -> list[float]:
    point = client.at(contract.pose_topic(entity), stamp_ns).pose.position
    return [point.x, point.y, point.z]


def test_a_seed_repeats_the_episode_bit_for_bit_and_another_moves_the_cube(client: SimClient) -> None:
    with client.watching_cameras():
        client.step(client.reset().stamp_ns, frames=5)
        client.wait_for(contract.image_topic("top"), 1)
        joints, images, cube = trajectory(client, 5)
        _, other_images, other_cube = trajectory(client, 6)
        joints_again, images_again, cube_again = trajectory(client, 5)
    assert joints_again == joints
    assert images_again == images
    assert cube_again == cube
    assert np.linalg.norm(np.subtract(other_cube, cube)) > 0.01
    assert other_images != images


def test_poses_of_entities_are_for_the_next_reset_only(client: SimClient) -> None:
    drawn = cube_position(client, client.reset(4).stamp_ns)
    start = client.reset(4, red_cube=[0.5, 0.2, 0.025, 0, 0, 0, 1], blue_bin=[0.4, -0.35, 0.0, 0, 0, 0, 1]).stamp_ns
    np.testing.assert_allclose(cube_position(client, start), [0.5, 0.2, 0.025], atol=1e-3)
    np.testing.assert_allclose(cube_position(client, start, "blue_bin"), [0.4, -0.35, 0.0], atol=1e-9)
    start = client.reset(4).stamp_ns
    assert cube_position(client, start) == drawn
    np.testing.assert_allclose(cube_position(client, start, "blue_bin"), [0.45, -0.3, 0.0], atol=1e-9)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("seed", 1.5),
        ("gravity", 3),
        ("red_cube", [0.5, 0.2, 0.025, 0, 0, 0, 1]),
        ("green_cube.pose", [0.5, 0.2, 0.025, 0, 0, 0, 1]),
        ("red_cube.pose", [0.5, 0.2, 0.025]),
    ],
)
def test_a_wrong_parameter_is_refused_with_the_reason(client: SimClient, name: str, value: Any) -> None:
    (result,) = client.set_parameters({name: value})
    assert not result.successful
    assert f"'{name}'" in result.reason
    assert "seed (integer, at least 0)" in result.reason


@pytest.mark.parametrize(
    "pose",
    [[np.nan, 0, 0, 0, 0, 0, 1], [0.5, 0, 0.025, 0, 0, 0, 0], [9.0, 0, 0.025, 0, 0, 0, 1]],
    ids=["nan", "no turn", "far"],
)
def test_an_impossible_pose_is_refused_with_the_reason_and_the_next_reset_works(
    client: SimClient, pose: list[float]
) -> None:
    (result,) = client.set_parameters({"red_cube.pose": pose})
    assert not result.successful
    assert result.reason.startswith("red_cube.pose is [")
    client.reset()


# -- ground truth ------------------------------------------------------------------------------------------------------


def pairs(message: DiagnosticArray) -> dict[tuple[str, str], float]:
    """Force by pair of bodies."""
    values = [{item.key: item.value for item in status.values} for status in message.status]
    assert all(set(value) == {"body_a", "body_b", "force_n"} for value in values)
    return {(value["body_a"], value["body_b"]): float(value["force_n"]) for value in values}


def test_after_a_reset_the_cube_on_the_table_is_reported_as_a_contact(client: SimClient) -> None:
    for seed in (1, 2):
        message = client.at(CONTACT, client.reset(seed).stamp_ns)
        assert message.header.frame_id == "world"
        assert pairs(message) == {("red_cube", "table"): pytest.approx(0.05 * 9.81, rel=0.2)}


def test_a_grasp_is_reported(client: SimClient) -> None:
    start = client.reset().stamp_ns
    # The bin as a shelf that holds the cube between the fingers of the arm at home.
    start = client.reset(
        red_cube=[0.3069, 0.0, 0.4869, 0, 0, 0, 1], blue_bin=[0.3069, 0.0, 0.4534, 0, 0, 0, 1]
    ).stamp_ns
    client.forget()
    client.step(start, {"panda_finger_joint1": 0.0, "panda_finger_joint2": 0.0}, frames=30)

    def touched() -> set[tuple[str, str]]:
        return {pair for message in client.received[CONTACT.name] for pair in pairs(message)}

    wanted = {(finger, "red_cube") for finger in ("panda_leftfinger", "panda_rightfinger")}
    client.wait(lambda: touched() >= wanted, "grasp")
