import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from salus_vla.config.scene import load_scene
from salus_vla.contract import CAMERAS, JOINTS
from salus_vla.contract.bodies import ROBOT_BODIES
from salus_vla.contract.errors import SimulatorError
from salus_vla.contract.types import ImageArray, Pose, SimStep
from salus_vla.simulation.contact_changes import DEADBAND
from salus_vla.simulation.mujoco import assets
from salus_vla.simulation.mujoco.simulator import Simulator

SCENE = load_scene()
HOME = SCENE.robot.home_position
DT = SCENE.rates.frame_dt_ns


@pytest.fixture(scope="module")
def shared() -> Iterator[Simulator]:
    with Simulator(SCENE) as simulator:
        yield simulator


@pytest.fixture
def simulator(shared: Simulator) -> Simulator:
    shared.reset(0)
    return shared


def wander(simulator: Simulator, seed: int, frames: int = 60) -> list[SimStep]:
    """Random targets around home, the same for the same seed: arm, fingers and cube move and touch."""
    random = np.random.default_rng(seed)
    rows = []
    for i in range(frames):
        if i % 10 == 0:
            offset = random.uniform(-0.5, 0.5, 9)
            simulator.set_command(JOINTS, np.clip(HOME + offset, [-3.0] * 7 + [0.0] * 2, [3.7] * 7 + [0.04] * 2))
        rows.append(simulator.step())
    return rows


def episode(simulator: Simulator, seed: int) -> tuple[str, dict[str, ImageArray]]:
    """Everything of an episode but its stamps, exactly, with the last pictures."""
    frames = [simulator.reset(seed), *wander(simulator, seed)]
    exact = [
        [
            frame.joint_position.tolist(),
            frame.joint_velocity.tolist(),
            frame.joint_effort.tolist(),
            [[pose.position.tolist(), pose.quaternion.tolist()] for pose in frame.poses.values()],
            [[contact.body_a, contact.body_b, contact.force] for contact in frame.contacts],
            frame.camera_due,
        ]
        for frame in frames
    ]
    exact.append(simulator.data.qpos.tolist())  # not rounded
    return json.dumps(exact), simulator.render()


# -- determinism -------------------------------------------------------------------------------------------------------


def test_same_seed_and_commands_give_the_same_bits(simulator: Simulator) -> None:
    first, pictures = episode(simulator, 5)
    episode(simulator, 6)
    again, pictures_again = episode(simulator, 5)
    assert again == first
    with Simulator(SCENE, seed=99) as fresh:
        other, pictures_other = episode(fresh, 5)
    assert other == first
    for camera in CAMERAS:
        np.testing.assert_array_equal(pictures_again[camera], pictures[camera])
        np.testing.assert_array_equal(pictures_other[camera], pictures[camera])


def test_another_seed_gives_another_episode(simulator: Simulator) -> None:
    assert episode(simulator, 5)[0] != episode(simulator, 6)[0]


def test_seed_draws_the_cube_from_the_spawn_range(simulator: Simulator) -> None:
    cube = SCENE.objects.red_cube
    positions = []
    for seed in range(40):
        pose = simulator.reset(seed).poses["red_cube"]
        positions.append(pose.position)
        assert cube.spawn.x[0] - 1e-3 <= pose.position[0] <= cube.spawn.x[1] + 1e-3
        assert cube.spawn.y[0] - 1e-3 <= pose.position[1] <= cube.spawn.y[1] + 1e-3
        assert pose.position[2] == pytest.approx(cube.edge / 2, abs=5e-4)
        yaw = 2.0 * np.degrees(np.arctan2(pose.quaternion[2], pose.quaternion[3]))
        assert cube.spawn.yaw_deg[0] - 0.5 <= yaw <= cube.spawn.yaw_deg[1] + 0.5
    spread = np.ptp(positions, axis=0)[:2]
    assert (spread > 0.7 * np.array([np.ptp(cube.spawn.x), np.ptp(cube.spawn.y)])).all()


# -- frames ------------------------------------------------------------------------------------------------------------


def test_stamps_go_on_across_resets(simulator: Simulator) -> None:
    stamps = [simulator.frame.stamp_ns]
    for frames in (1, 7, 3):
        stamps += [simulator.step().stamp_ns for _ in range(frames)]
        stamps.append(simulator.reset(1).stamp_ns)
    assert set(np.diff(stamps)) == {DT}
    assert all(isinstance(stamp, int) for stamp in stamps)


def test_first_frame_comes_with_the_simulator() -> None:
    with Simulator(SCENE) as fresh:
        assert fresh.frame.stamp_ns == DT
        assert fresh.frame.camera_due


def test_cameras_are_due_every_fifth_frame_from_the_reset(simulator: Simulator) -> None:
    for before in (0, 3):
        for _ in range(before):
            simulator.step()
        due = [simulator.reset(2).camera_due, *(simulator.step().camera_due for _ in range(10))]
        assert due == [True, *[False] * 4] * 2 + [True]


def test_joints_are_rounded_and_without_negative_zeros(simulator: Simulator) -> None:
    for frame in wander(simulator, 3, 30):
        for values in (frame.joint_position, frame.joint_velocity, frame.joint_effort):
            assert values.shape == (9,)
            np.testing.assert_array_equal(values, np.round(values, 4))
            assert not np.signbit(values[values == 0.0]).any()
    assert np.abs(simulator.frame.joint_velocity).max() > 0.1


def test_reset_restores_home_after_motion(simulator: Simulator) -> None:
    wander(simulator, 4)
    frame = simulator.reset(0)
    np.testing.assert_allclose(frame.joint_position, HOME, atol=1e-4)
    np.testing.assert_allclose(frame.joint_velocity, 0.0, atol=1e-3)
    for _ in range(50):
        frame = simulator.step()
    np.testing.assert_allclose(frame.joint_position, HOME, atol=1e-4)


def test_frames_do_not_change_afterwards(simulator: Simulator) -> None:
    frame = simulator.frame
    position, cube = frame.joint_position.copy(), frame.poses["red_cube"].position.copy()
    simulator.set_command(["panda_joint1"], [0.5])
    for _ in range(10):
        simulator.step()
    np.testing.assert_array_equal(frame.joint_position, position)
    np.testing.assert_array_equal(frame.poses["red_cube"].position, cube)
    assert simulator.frame is not frame


def test_reset_takes_entity_poses(simulator: Simulator) -> None:
    identity = np.array([0.0, 0.0, 0.0, 1.0])
    poses = {
        "red_cube": Pose(np.array([0.5, 0.25, 0.035]), identity),
        "blue_bin": Pose(np.array([0.5, 0.25, 0.0]), identity),
    }
    frame = simulator.reset(0, poses=poses)
    np.testing.assert_allclose(frame.poses["blue_bin"].position, [0.5, 0.25, 0.0])
    assert [(contact.body_a, contact.body_b) for contact in frame.contacts] == [("blue_bin", "red_cube")]
    frame = simulator.reset(0)
    np.testing.assert_allclose(frame.poses["blue_bin"].position[:2], SCENE.objects.blue_bin.position)


@pytest.mark.parametrize(
    ("poses", "expected"),
    [
        ({"green_ball": Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))}, "unknown entity 'green_ball'"),
        ({"red_cube": Pose(np.array([0.5, np.nan, 0.1]), np.array([0.0, 0.0, 0.0, 1.0]))}, "finite"),
        ({"red_cube": Pose(np.zeros(3), np.zeros(4))}, "quaternion"),
    ],
)
def test_reset_refuses_wrong_poses_and_goes_on(simulator: Simulator, poses: dict[str, Pose], expected: str) -> None:
    before = simulator.frame
    with pytest.raises(SimulatorError, match=expected):
        simulator.reset(0, poses=poses)
    assert simulator.frame is before
    assert simulator.step().stamp_ns == before.stamp_ns + DT


def test_body_poses_cover_the_robot_and_the_objects(simulator: Simulator) -> None:
    poses = simulator.body_poses()
    assert set(poses) == {*ROBOT_BODIES, "red_cube", "blue_bin", "table"}
    np.testing.assert_allclose(poses["panda_link0"].position, 0.0)
    np.testing.assert_array_equal(poses["red_cube"].position, simulator.frame.poses["red_cube"].position)
    # Franka's home: the flange 0.307 m before the base and 0.590 m up (DH parameters of the FER).
    np.testing.assert_allclose(poses["panda_link8"].position, [0.307, 0.0, 0.590], atol=1e-3)
    for pose in poses.values():
        assert np.linalg.norm(pose.quaternion) == pytest.approx(1.0)


# -- commands ----------------------------------------------------------------------------------------------------------


def test_subset_in_any_order_moves_only_those_joints(simulator: Simulator) -> None:
    simulator.set_command(["panda_finger_joint2", "panda_joint1"], [0.01, 0.3])
    for _ in range(100):
        frame = simulator.step()
    expected = HOME.copy()
    expected[0], expected[8] = 0.3, 0.01
    np.testing.assert_allclose(frame.joint_position, expected, atol=2e-3)


def test_last_target_is_held_and_nan_keeps_it(simulator: Simulator) -> None:
    simulator.set_command(["panda_joint1", "panda_joint7"], [0.2, 1.0])
    simulator.set_command(["panda_joint1", "panda_joint7"], [float("nan"), 0.9])
    for _ in range(100):
        frame = simulator.step()
    np.testing.assert_allclose(frame.joint_position[[0, 6]], [0.2, 0.9], atol=2e-3)


def test_reset_forgets_the_targets(simulator: Simulator) -> None:
    simulator.set_command(["panda_joint1"], [0.5])
    simulator.reset(0)
    for _ in range(20):
        frame = simulator.step()
    assert frame.joint_position[0] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    ("names", "positions", "expected"),
    [
        (["panda_joint1", "panda_joint9"], [0.5, 0.5], "unknown joint 'panda_joint9'"),
        (["panda_joint1", "panda_joint1"], [0.5, 0.5], "'panda_joint1' twice"),
        (["panda_joint1", "panda_joint2"], [0.5], "2 names and 1 positions"),
        (["panda_joint1", "panda_joint2"], [0.5, float("-inf")], "'panda_joint2' is infinite"),
    ],
)
def test_wrong_commands_change_nothing(
    simulator: Simulator, names: list[str], positions: list[float], expected: str
) -> None:
    before = simulator.data.ctrl.copy()
    with pytest.raises(SimulatorError, match=expected):
        simulator.set_command(names, positions)
    np.testing.assert_array_equal(simulator.data.ctrl, before)


# -- contacts ----------------------------------------------------------------------------------------------------------


def test_reset_reports_the_cube_on_the_table_with_its_weight(simulator: Simulator) -> None:
    for _ in range(2):
        (contact,) = simulator.reset(0).contacts
        assert (contact.body_a, contact.body_b) == ("red_cube", "table")
        assert contact.force == pytest.approx(SCENE.objects.red_cube.mass * 9.81, rel=0.01)
        assert all(simulator.step().contacts == () for _ in range(20))


def test_contacts_begin_change_and_end(simulator: Simulator) -> None:
    simulator.data.qpos[simulator.model.joint("red_cube").qposadr[0] + 2] = 0.1  # lift it and let it fall
    forces = [contact.force for _ in range(40) for contact in simulator.step().contacts]
    assert forces[0] == 0.0
    assert max(forces) > SCENE.objects.red_cube.mass * 9.81 + DEADBAND  # the impact
    for before, force in itertools.pairwise(forces):
        assert force == 0.0 or before == 0.0 or abs(force - before) > DEADBAND
    assert forces[-1] > 0.0


def test_free_fingers_do_not_count_as_a_grasp(simulator: Simulator) -> None:
    simulator.set_command(JOINTS[7:], [0.0, 0.0])
    frames = [simulator.step() for _ in range(40)]
    assert all(contact.body_a == "red_cube" for frame in frames for contact in frame.contacts)


def test_divergence_is_an_error_and_a_reset_helps(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings into the working folder
    simulator.data.qvel[0] = 1e12
    with pytest.raises(SimulatorError, match="diverged"):
        simulator.step()
    np.testing.assert_allclose(simulator.reset(0).joint_position, HOME, atol=1e-4)


# -- model and assets --------------------------------------------------------------------------------------------------


def test_model_keeps_the_contract(simulator: Simulator) -> None:
    model = simulator.model
    assert tuple(model.actuator(i).name for i in range(model.nu)) == JOINTS
    assert model.opt.timestep == SCENE.rates.physics_dt.mujoco
    assert model.ntendon == model.neq == model.nsensor == 0
    for name in JOINTS[:7]:
        actuator = model.actuator(name)
        assert actuator.biasprm[2] == pytest.approx(actuator.biasprm[1] / 10.0)  # kv = kp / 10
    assert (model.dof_armature[[model.joint(name).dofadr[0] for name in JOINTS]] == 0.1).all()
    drawn = model.geom_group <= 2
    faces = sum(model.mesh_facenum[model.geom_dataid[i]] for i in np.flatnonzero(drawn & (model.geom_dataid >= 0)))
    assert faces < 15_000
    mass = model.body("red_cube").mass[0]
    assert mass == pytest.approx(SCENE.objects.red_cube.mass)


def test_meshes_are_cached_and_a_damaged_cache_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALUS_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(assets, "TRIANGLES", {"finger": 200, "link7": 300})
    made = assets.load_meshes()
    written = assets.cache_file().stat().st_mtime_ns
    assert [path.name for path in assets.cache_file().parent.iterdir()] == [assets.cache_file().name]
    again = assets.load_meshes()
    assert assets.cache_file().stat().st_mtime_ns == written
    for name, mesh in made.items():
        np.testing.assert_array_equal(again[name].vertices, mesh.vertices)
        np.testing.assert_array_equal(again[name].faces, mesh.faces)
        assert len(mesh.faces) <= assets.TRIANGLES[name] + 24
        assert mesh.faces.max() < len(mesh.vertices)
    assets.cache_file().write_bytes(b"cut off")
    np.testing.assert_array_equal(assets.load_meshes()["link7"].vertices, made["link7"].vertices)
    assert assets.cache_file().stat().st_size > 1000


def test_unwritable_cache_is_a_named_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    monkeypatch.setenv("SALUS_CACHE_DIR", str(blocked))
    monkeypatch.setattr(assets, "TRIANGLES", {"finger": 200})
    with pytest.raises(SimulatorError, match="SALUS_CACHE_DIR"):
        assets.load_meshes()
