"""The simulator in real time meets the contract: names, types, QoS, rates, contents, silence, start and end.

test_sim_lockstep.py has the rest: pacing, commands, resets and ground truth.
"""

import subprocess
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from salus_vla import contract
from salus_vla.bodies import ROBOT_BODIES
from salus_vla.contract import CAMERAS
from salus_vla.nodes.qos import interface_class

from .sim_client import FRAME_NS, LIMIT_S, SimClient, running_simulator, stamps_of, start_simulator

pytestmark = [pytest.mark.graph, pytest.mark.timeout(120)]

# Written out here on purpose: a change of contract.py that breaks other simulators must not pass unseen.
PUBLISHED = {
    "/clock": "rosgraph_msgs/msg/Clock",
    "/joint_states": "sensor_msgs/msg/JointState",
    **{f"/camera_{camera}/image_raw": "sensor_msgs/msg/Image" for camera in ("front", "side", "top")},
    **{f"/camera_{camera}/camera_info": "sensor_msgs/msg/CameraInfo" for camera in ("front", "side", "top")},
    "/ground_truth/red_cube/pose": "geometry_msgs/msg/PoseStamped",
    "/ground_truth/blue_bin/pose": "geometry_msgs/msg/PoseStamped",
    "/ground_truth/grasped": "std_msgs/msg/Bool",
    "/ground_truth/cube_in_bin": "std_msgs/msg/Bool",
    "/ground_truth/contact": "diagnostic_msgs/msg/DiagnosticArray",
}
SERVICES = {"/sim/reset": "std_srvs/srv/Trigger", "/sim/set_parameters": "rcl_interfaces/srv/SetParameters"}
TF_TOPICS = {"/tf", "/tf_static"}
JOINTS = [*(f"panda_joint{number}" for number in range(1, 8)), "panda_finger_joint1", "panda_finger_joint2"]
FOCAL = 309.019


@pytest.fixture(scope="module")
def client() -> Iterator[SimClient]:
    with running_simulator("-p", "pacing:=realtime") as client:
        yield client


@pytest.fixture(scope="module")
def second(client: SimClient) -> dict[str, list[Any]]:
    """More than a second of every topic."""
    with client.watching_cameras():
        client.wait_for(contract.image_topic("top"), 1)  # the first picture opens OpenGL, which takes a while
        client.forget()
        for camera in CAMERAS:
            client.wait_for(contract.image_topic(camera), 11)
            client.wait_for(contract.camera_info_topic(camera), 11)
        for topic in (contract.CLOCK, contract.JOINT_STATES, *map(contract.pose_topic, contract.ENTITIES)):
            client.wait_for(topic, 51)
        return {topic: list(messages) for topic, messages in client.received.items()}


# -- names, types and QoS ----------------------------------------------------------------------------------------------


def test_it_publishes_exactly_the_topics_of_the_contract(client: SimClient) -> None:
    def published() -> dict[str, list[str]]:
        found = client.interfaces("publisher", "mujoco_sim")
        return {name: types for name, types in found.items() if name not in TF_TOPICS | {contract.DIAGNOSTICS.name}}

    client.eventually(published, {name: [kind] for name, kind in PUBLISHED.items()})


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_topic_has_one_reliable_volatile_publisher(client: SimClient, name: str) -> None:
    (publisher,) = client.wait(lambda: client.node.get_publishers_info_by_topic(name), f"publisher of {name}")
    assert publisher.topic_type == PUBLISHED[name]
    assert publisher.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    assert publisher.qos_profile.durability == DurabilityPolicy.VOLATILE


def test_it_listens_to_nothing_but_joint_commands(client: SimClient) -> None:
    heard = {"/joint_command": ["sensor_msgs/msg/JointState"]}
    client.eventually(lambda: client.interfaces("subscriber", "mujoco_sim"), heard)
    (subscriber,) = client.node.get_subscriptions_info_by_topic("/joint_command")
    assert subscriber.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    assert subscriber.qos_profile.durability == DurabilityPolicy.VOLATILE


def test_its_services_have_standard_types(client: SimClient) -> None:
    offered = {name: [kind] for name, kind in SERVICES.items()}
    client.eventually(lambda: client.interfaces("service", "mujoco_sim"), offered)
    client.eventually(lambda: client.interfaces("client", "mujoco_sim"), {})


def test_no_interface_of_our_own_package_is_on_the_simulators_side(client: SimClient) -> None:
    def used() -> set[str]:
        kinds = ("publisher", "subscriber", "service", "client")
        found = [client.interfaces(kind, "mujoco_sim").values() for kind in kinds]
        return {name for types in found for type_names in types for name in type_names}

    client.wait(lambda: used() >= {*PUBLISHED.values(), *SERVICES.values()}, "knowledge of the whole node")
    assert [name for name in used() if name.startswith("salus_msgs/")] == []


# -- rates -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "period_ns"),
    [
        ("/clock", FRAME_NS),
        ("/joint_states", FRAME_NS),
        ("/ground_truth/red_cube/pose", FRAME_NS),
        ("/ground_truth/blue_bin/pose", FRAME_NS),
        *((f"/camera_{camera}/image_raw", 5 * FRAME_NS) for camera in CAMERAS),
        *((f"/camera_{camera}/camera_info", 5 * FRAME_NS) for camera in CAMERAS),
    ],
)
def test_stamps_advance_by_exactly_the_period(second: dict[str, list[Any]], name: str, period_ns: int) -> None:
    stamps = stamps_of(second[name])
    assert stamps[-1] - stamps[0] >= 1_000_000_000
    assert set(np.diff(stamps)) == {period_ns}


def test_sim_time_follows_the_wall_clock(client: SimClient) -> None:
    client.forget()
    began = time.monotonic()
    clocks = client.wait_for(contract.CLOCK, 126)
    wall = time.monotonic() - began
    simulated = (stamps_of(clocks)[-1] - stamps_of(clocks)[0]) * 1e-9
    assert 0.5 < simulated / wall < 1.5


# -- contents ----------------------------------------------------------------------------------------------------------


def test_joint_states_have_the_nine_joints_in_order_rounded_to_four_decimals(second: dict[str, list[Any]]) -> None:
    for state in second["/joint_states"]:
        assert list(state.name) == JOINTS
        assert state.header.frame_id == ""
        for values in (state.position, state.velocity, state.effort):
            assert len(values) == 9
            assert list(values) == [round(value, 4) for value in values]


def test_joints_are_in_radians_and_metres(second: dict[str, list[Any]]) -> None:
    home = [0.0, -0.785398, 0.0, -2.356194, 0.0, 1.570796, 0.785398, 0.04, 0.04]
    np.testing.assert_allclose(second["/joint_states"][-1].position, home, atol=2e-3)


@pytest.mark.parametrize("camera", CAMERAS)
def test_images_are_rgb8_of_256_by_256(second: dict[str, list[Any]], camera: str) -> None:
    for image in second[f"/camera_{camera}/image_raw"]:
        assert (image.encoding, image.width, image.height, image.step) == ("rgb8", 256, 256, 768)
        assert len(image.data) == 196_608
        assert image.is_bigendian == 0
        assert image.header.frame_id == f"camera_{camera}_optical_frame"
        assert np.asarray(image.data).std() > 10.0  # a scene, not a constant


def test_cameras_differ(second: dict[str, list[Any]]) -> None:
    assert len({bytes(second[f"/camera_{camera}/image_raw"][0].data) for camera in CAMERAS}) == 3


@pytest.mark.parametrize("camera", CAMERAS)
def test_camera_info_is_a_pinhole_of_45_degrees(second: dict[str, list[Any]], camera: str) -> None:
    for info in second[f"/camera_{camera}/camera_info"]:
        assert (info.width, info.height) == (256, 256)
        assert info.header.frame_id == f"camera_{camera}_optical_frame"
        np.testing.assert_allclose(info.k, [FOCAL, 0, 128, 0, FOCAL, 128, 0, 0, 1], atol=1e-3)
        np.testing.assert_allclose(info.p, [FOCAL, 0, 128, 0, 0, FOCAL, 128, 0, 0, 0, 1, 0], atol=1e-3)
        np.testing.assert_array_equal(info.r, np.eye(3).ravel())
        assert info.distortion_model == "plumb_bob"
        assert list(info.d) == [0.0] * 5


@pytest.mark.parametrize("camera", CAMERAS)
def test_each_image_has_a_camera_info_of_its_stamp(second: dict[str, list[Any]], camera: str) -> None:
    images = stamps_of(second[f"/camera_{camera}/image_raw"])
    infos = stamps_of(second[f"/camera_{camera}/camera_info"])
    assert images == stamps_of(second["/camera_top/image_raw"])[: len(images)]
    assert set(images[:11]) <= set(infos)


@pytest.mark.parametrize("entity", ["red_cube", "blue_bin"])
def test_ground_truth_poses_are_in_the_world_frame(second: dict[str, list[Any]], entity: str) -> None:
    for message in second[f"/ground_truth/{entity}/pose"]:
        turn = message.pose.orientation
        assert message.header.frame_id == "world"
        assert np.linalg.norm([turn.x, turn.y, turn.z, turn.w]) == pytest.approx(1.0)


def test_transforms_lead_from_the_world_to_bodies_and_cameras(client: SimClient) -> None:
    pytest.importorskip("tf2_msgs", reason="tf2_msgs is not on PyPI")
    durabilities = {contract.TF: DurabilityPolicy.VOLATILE, contract.TF_STATIC: DurabilityPolicy.TRANSIENT_LOCAL}
    for topic, durability in durabilities.items():
        (publisher,) = client.node.get_publishers_info_by_topic(topic.name)
        assert publisher.qos_profile.durability == durability
        client.subscribe(topic)
    moving = client.wait_for(contract.TF, 1)[0].transforms
    fixed = client.wait_for(contract.TF_STATIC, 1)[0].transforms
    assert {transform.header.frame_id for transform in [*moving, *fixed]} == {"world"}
    assert {*ROBOT_BODIES, "red_cube", "blue_bin"} <= {transform.child_frame_id for transform in moving}
    assert {transform.child_frame_id for transform in fixed} == {f"camera_{name}_optical_frame" for name in CAMERAS}


# -- silence -----------------------------------------------------------------------------------------------------------


def first_image_number(client: SimClient) -> int:
    """Subscribes to a camera until an image comes; the publisher's own number of that image."""
    numbers: list[int] = []
    topic = contract.image_topic("side")
    subscription = client.node.create_subscription(
        interface_class(topic), topic.name, lambda _, info: numbers.append(info["publication_sequence_number"]), 10
    )
    client.wait(lambda: numbers, f"image on {topic.name}")
    client.node.destroy_subscription(subscription)
    return numbers[0]


def test_no_image_is_published_until_somebody_subscribes(client: SimClient) -> None:
    before = first_image_number(client)
    client.forget()
    client.wait_for(contract.GRASPED, 12)  # camera frames
    passed = len(client.received[contract.GRASPED.name])
    published = first_image_number(client) - before
    assert 1 <= published < passed / 2


def test_camera_info_comes_without_a_subscriber_to_images(client: SimClient) -> None:
    client.forget()
    for camera in CAMERAS:
        client.wait_for(contract.camera_info_topic(camera), 8)


# -- start and end -----------------------------------------------------------------------------------------------------

WRONG = {
    "an unknown parameter": ("speed:=2.0", "'speed'"),
    "an unknown pacing": ("pacing:=x", "'pacing' is 'x'"),
    "a negative seed": ("seed:=-1", "'seed' is -1"),
    "a seed of another type": ("seed:=true", "'seed' is True"),
    "a time limit of zero": ("lockstep_timeout_s:=0.0", "'lockstep_timeout_s' is 0.0"),
    "a missing scene file": ("scene_file:=/nowhere/contract.yaml", "/nowhere/contract.yaml"),
}


@pytest.fixture(scope="module")
def wrong_starts() -> Iterator[dict[str, subprocess.Popen[str]]]:
    """A simulator for each wrong parameter, all at once; they end before they publish anything."""
    started = {
        what: start_simulator("-p", argument, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for what, (argument, _) in WRONG.items()
    }
    yield started
    for process in started.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_parameter_ends_the_start_with_one_line_that_names_it(
    wrong_starts: dict[str, subprocess.Popen[str]], what: str
) -> None:
    _, stderr = wrong_starts[what].communicate(timeout=LIMIT_S)
    assert wrong_starts[what].returncode == 1
    (line,) = stderr.splitlines()
    assert line.startswith("error: ")
    assert WRONG[what][1] in line
