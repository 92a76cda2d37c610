"""The script for Isaac's Python as a process on the stand-in: real topics, both major versions."""

import json
import socket
import subprocess
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from graph.sim_client import FRAME_NS, SimClient, stamps_of
from salus_vla import contract
from salus_vla.config.paths import config_dir
from salus_vla.config.scene import load_scene
from salus_vla.contract import CAMERAS, JOINTS
from salus_vla.contract.bodies import CUBE
from salus_vla.ros.adapters.messages import to_contacts, to_pose
from salus_vla.simulation.isaac.host.scene_spec_builder import SceneSpecBuilder

from .conftest import LIMIT_S, STANDALONE, Isaac, Running, standalone

pytestmark = pytest.mark.graph

SCENE = load_scene()
VERSIONS = ("5.1.0", "6.0.1")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimClient]:
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", str(config_dir() / "fastdds.xml"))
    made = SimClient()
    yield made
    made.close()


def wait_for_frames(client: SimClient, running: Running) -> None:
    client.wait(lambda: client.received["/ground_truth/red_cube/pose"] or running.process.poll() is not None, "a frame")
    if running.process.poll() is not None:
        pytest.fail(f"the script has ended: {running.process.communicate()[0]}")
    client.wait(lambda: client.received["/joint_states"], "joints")


# What differs between the majors is tried on both; the rest on one of them.
@pytest.fixture(params=VERSIONS)
def isaac(request: pytest.FixtureRequest, make_isaac: Callable[..., Isaac]) -> Isaac:
    return make_isaac(request.param)


def test_it_runs_from_start_to_end(isaac: Isaac, client: SimClient) -> None:
    with standalone(isaac) as running:
        wait_for_frames(client, running)
        client.forget()
        poses, states = client.received[contract.pose_topic(CUBE).name], client.received[contract.JOINT_STATES.name]
        client.wait(
            lambda: len(set(stamps_of(poses)) & set(stamps_of(states))) > 20, "ground truth with joints' stamps"
        )
        assert running.stop() == 0, running.process.communicate()[0]
    assert set(np.diff(stamps_of(poses))) <= {FRAME_NS - 1, FRAME_NS, FRAME_NS + 1}
    np.testing.assert_allclose(states[-1].position, SCENE.robot.home_position, atol=1e-4)
    np.testing.assert_allclose(
        to_pose(poses[-1]).position, SceneSpecBuilder(SCENE, "eval").reset_sample(0, {}).poses[CUBE][:3], atol=1e-6
    )
    names = isaac.call_names()
    assert names[0] == "SimulationApp"
    kept = ("set_end_time", "edit", "play", "stop", "close")
    assert [name for name in names if name in kept] == list(kept)


def test_lockstep_waits_for_the_answer_and_a_reset_keeps_the_clock(
    make_isaac: Callable[..., Isaac], client: SimClient
) -> None:
    isaac = make_isaac("5.1.0")
    with standalone(isaac, pacing="lockstep", lockstep_timeout_s=LIMIT_S) as running:
        wait_for_frames(client, running)
        before = client.wait_for(contract.CLOCK, 1)
        reset = client.reset(7)
        assert (reset.seed, reset.profile) == (7, "eval")
        client.listen(0.2)
        stamps = stamps_of(client.received["/joint_states"])
        assert stamps[-1] == reset.stamp_ns, "a frame came that nobody had answered"
        assert min(np.diff(stamps)) > 0
        assert stamps[0] >= stamps_of(before)[0] - FRAME_NS
        # The frame of the reset is one with pictures.
        picture = client.at(contract.camera_info_topic(CAMERAS[0]), reset.stamp_ns)
        assert picture.header.frame_id == "camera_front_optical_frame"
        cube = to_pose(client.at(contract.pose_topic(CUBE), reset.stamp_ns))
        np.testing.assert_allclose(
            cube.position, SceneSpecBuilder(SCENE, "eval").reset_sample(7, {}).poses[CUBE][:3], atol=1e-6
        )
        # One answer, one frame; what it said is where the arm goes, the rest stays.
        client.forget()
        client.send(reset.stamp_ns, {"panda_joint4": -2.0, "panda_joint1": float("nan")})
        (state,) = client.wait_for(contract.JOINT_STATES, 1)
        assert abs(stamps_of([state])[0] - reset.stamp_ns - FRAME_NS) <= 1
        expected = SCENE.robot.home_position
        expected[3] = -2.0
        np.testing.assert_allclose(state.position, expected, atol=1e-4)
        # An unknown name rejects the whole message: no target changes and no frame is answered.
        client.send(stamps_of([state])[0], {"panda_joint4": -1.0, "elbow": 0.0})
        client.wait(lambda: any("'elbow'" in log.msg for log in client.logs), "warning")
        client.listen(0.2)
        assert len(client.received["/joint_states"]) == 1
        assert running.stop() == 0


def test_a_closed_gripper_holds_and_lets_go(isaac: Isaac, client: SimClient) -> None:
    with standalone(isaac, pacing="lockstep", lockstep_timeout_s=LIMIT_S) as running:
        wait_for_frames(client, running)
        stamp = client.reset(1).stamp_ns
        client.forget()
        for number, width in enumerate([0.02] * 6 + [0.04] * 6, start=1):
            client.send(stamp, dict.fromkeys(JOINTS[7:], width))
            stamp = stamps_of(client.wait_for(contract.JOINT_STATES, number))[-1]
        contacts = client.wait(lambda: len(found := touches(client)) == 2 and found, "touch and release")
        assert running.stop() == 0
    assert contacts == [(CUBE, 10.0), (CUBE, 0.0)]


def touches(client: SimClient) -> list[tuple[str, float]]:
    """What the left finger touched since the last `forget`, and how hard."""
    contacts = (found for message in client.received["/ground_truth/contact"] for found in to_contacts(message))
    return [(found.body_b, found.force) for found in contacts if found.body_a == "panda_leftfinger"]


def test_a_refused_pose_changes_nothing(make_isaac: Callable[..., Isaac], client: SimClient) -> None:
    isaac = make_isaac("6.0.1")
    with standalone(isaac) as running:
        wait_for_frames(client, running)
        (refused,) = client.set_parameters({"red_cube.pose": [0.4, 0.0, 0.025, 0.0, 0.0, 0.0, 0.0]})
        assert not refused.successful
        assert refused.reason.startswith("red_cube.pose is [")
        client.forget()
        (pose,) = client.wait_for(contract.pose_topic(CUBE), 1)
        np.testing.assert_allclose(
            to_pose(pose).position, SceneSpecBuilder(SCENE, "eval").reset_sample(0, {}).poses[CUBE][:3], atol=1e-6
        )
        assert json.loads(client.try_reset().message)["seed"] == 0


def test_a_profile_changes_light_friction_and_cameras_but_not_their_frames(
    make_isaac: Callable[..., Isaac], client: SimClient
) -> None:
    isaac = make_isaac("5.1.0")
    with standalone(isaac, profile="train", seed=3) as running:
        wait_for_frames(client, running)
        assert running.stop() == 0
    sample = SceneSpecBuilder(SCENE, "train").reset_sample(3, {})
    assert sample.light != 1.0
    values = dict(isaac.calls("Set"))
    assert values["/World/materials/red_cube.physics:staticFriction"] == pytest.approx(sample.friction)
    sun = next(value for name, value in isaac.calls("Create") if name == "/World/sun.inputs:intensity")
    assert values["/World/sun.inputs:intensity"] == pytest.approx(sun * sample.light)
    placed = [(paths, positions) for paths, positions, _ in isaac.calls("set_world_poses")]
    cameras = [positions for paths, positions in placed if paths[0] == "/World/cameras/front"]
    np.testing.assert_allclose(cameras[-1], [sample.views[name][:3] for name in CAMERAS])
    assert cameras[-1] != cameras[0]
    assert len([paths for paths, _ in placed if paths[0].startswith("/World/frames/")]) == 1


def test_the_silence_of_a_policy_ends_lockstep(make_isaac: Callable[..., Isaac], client: SimClient) -> None:
    isaac = make_isaac("6.0.1")
    with standalone(isaac, pacing="lockstep", lockstep_timeout_s=0.3) as running:
        wait_for_frames(client, running)
        reset = client.reset(1)
        client.wait(lambda: any("running in real time" in log.msg for log in client.logs), "the message")
        client.wait(lambda: stamps_of(client.received["/joint_states"])[-1] > reset.stamp_ns + FRAME_NS, "frames")


FAILURES = {
    "no asset root": ({"STAND_IN_NO_ASSETS": "1"}, "assets cannot be reached"),
    "no bridge": ({"STAND_IN_BROKEN_EXTENSION": "isaacsim.ros2.bridge"}, "extension isaacsim.ros2.bridge"),
    "another robot": ({"STAND_IN_JOINTS": "a,b"}, "has the joints a, b; expected panda_joint1"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_what_fails_in_isaac_is_told(make_isaac: Callable[..., Isaac], what: str) -> None:
    extra, message = FAILURES[what]
    with standalone(make_isaac("6.0.1", **extra)) as running:
        output, _ = running.process.communicate(timeout=LIMIT_S)
        assert running.process.returncode == 1
    assert message in running.failures[0]
    assert f"error: {running.failures[0]}" in output


def test_without_the_bridges_libraries_it_does_not_even_start_the_app(make_isaac: Callable[..., Isaac]) -> None:
    isaac = make_isaac("5.1.0")
    clean = {key: value for key, value in isaac.environment.items() if key not in ("AMENT_PREFIX_PATH", "PYTHONPATH")}
    with standalone(isaac, environment=clean) as running:
        running.process.communicate(timeout=LIMIT_S)
    libraries = isaac.folder / "exts/isaacsim.ros2.bridge/jazzy/lib"
    assert f'LD_LIBRARY_PATH="${{LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}}{libraries}"' in running.failures[0]
    assert isaac.calls("SimulationApp") == []


def test_lockstep_needs_the_experience_without_delay(make_isaac: Callable[..., Isaac]) -> None:
    isaac = make_isaac("6.0.1")
    (isaac.folder / "apps" / "isaacsim.exp.base.zero_delay.kit").unlink()
    with standalone(isaac, pacing="lockstep") as running:
        running.process.communicate(timeout=LIMIT_S)
    assert "apps/isaacsim.exp.base.zero_delay.kit: missing" in running.failures[0]
    assert isaac.calls("SimulationApp") == []


def test_it_ends_when_the_node_that_started_it_has_gone(make_isaac: Callable[..., Isaac]) -> None:
    """A socket that nobody holds is closed, however its owner ended."""
    isaac = make_isaac("6.0.1")
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        result = subprocess.run(
            [str(isaac.python), str(STANDALONE), "--channel", str(theirs.fileno())],
            env=isaac.environment,
            pass_fds=(theirs.fileno(),),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    assert result.returncode == 1
    assert "is gone" in result.stderr
