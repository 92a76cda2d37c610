"""The simulator in real time meets the contract: names, types, QoS, rates, contents, silence, start and end.

test_sim_lockstep.py has the rest: pacing, commands, resets and ground truth.
"""

import subprocess
import time
from collections.abc import Iterator

import pytest
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from salus_vla import contract
from salus_vla.config.scene import load_scene
from salus_vla.contract import CAMERAS
from salus_vla.contract.bodies import ROBOT_BODIES
from salus_vla.ros.adapters.qos_profiles import interface_class
from salus_vla.ros.clients.sim_checker import SimChecker
from salus_vla.ros.clients.sim_listener import SimListener
from salus_vla.simulation.conformance.rules import verdicts

from .sim_client import LIMIT_S, SimClient, running_simulator, stamps_of, start_simulator

pytestmark = [pytest.mark.graph, pytest.mark.timeout(120)]

# Written out here on purpose: a change of contract.py that breaks other simulators must not pass unseen.
PUBLISHED = {
    "/clock": "rosgraph_msgs/msg/Clock",
    "/joint_states": "sensor_msgs/msg/JointState",
    **{f"/camera_{camera}/image_raw": "sensor_msgs/msg/Image" for camera in ("front", "side", "top")},
    **{f"/camera_{camera}/camera_info": "sensor_msgs/msg/CameraInfo" for camera in ("front", "side", "top")},
    "/ground_truth/red_cube/pose": "geometry_msgs/msg/PoseStamped",
    "/ground_truth/blue_bin/pose": "geometry_msgs/msg/PoseStamped",
    "/ground_truth/contact": "diagnostic_msgs/msg/DiagnosticArray",
}
SERVICES = {"/sim/reset": "std_srvs/srv/Trigger", "/sim/set_parameters": "rcl_interfaces/srv/SetParameters"}
TF_TOPICS = {"/tf", "/tf_static"}
SCENE = load_scene()


@pytest.fixture(scope="module")
def client() -> Iterator[SimClient]:
    with running_simulator("-p", "pacing:=realtime") as client:
        yield client


# -- names, types and QoS ----------------------------------------------------------------------------------------------


def test_it_publishes_exactly_the_topics_of_the_contract(client: SimClient) -> None:
    def published() -> dict[str, list[str]]:
        found = client.interfaces("publisher", "mujoco_sim")
        return {name: types for name, types in found.items() if name not in TF_TOPICS | {contract.DIAGNOSTICS.name}}

    client.eventually(published, {name: [kind] for name, kind in PUBLISHED.items()})


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


# -- rates and contents ------------------------------------------------------------------------------------------------


def test_sim_time_follows_the_wall_clock(client: SimClient) -> None:
    apart_s = 0.0
    while apart_s < 0.01:  # a simulator that is behind catches up
        client.forget()
        began = time.monotonic()
        client.wait_for(contract.CLOCK, 1)
        apart_s = time.monotonic() - began
    client.forget()
    began = time.monotonic()
    clocks = client.wait_for(contract.CLOCK, 126)
    wall = time.monotonic() - began
    simulated = (stamps_of(clocks)[-1] - stamps_of(clocks)[0]) * 1e-9
    assert 0.5 < simulated / wall < 1.5


def test_every_rule_of_the_contract_is_kept(client: SimClient) -> None:
    """The rules of `salus check-sim`; in lockstep test_check_sim.py has them."""
    client.wait_for(contract.CLOCK, 1)
    with SimListener("contract_checker") as listener:
        table = verdicts(SimChecker(listener, SCENE).observe(), SCENE)
        newest = listener.newest[contract.CLOCK.name]
    client.wait(lambda: stamps_of(client.received[contract.CLOCK.name])[-1] >= newest, "what came meanwhile")
    assert [verdict for verdict in table if verdict.passed is False] == []
    assert {verdict.rule for verdict in table if verdict.passed is None} <= {f"topic {name}" for name in TF_TOPICS}
    assert len(table) > 80


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
    info = contract.camera_info_topic(CAMERAS[0])
    client.wait_for(info, 12)
    passed = len(client.received[info.name])
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
    _, stderr = wrong_starts[what].communicate(timeout=3 * LIMIT_S)  # they start all at once
    assert wrong_starts[what].returncode == 1
    (line,) = stderr.splitlines()
    assert line.startswith("error: ")
    assert WRONG[what][1] in line
