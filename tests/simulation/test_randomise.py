"""Each profile changes in the simulator what it says, and nothing else."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import mujoco
import numpy as np
import pytest
from PIL import Image
from scripted import CLOSED, Script

import profiles_picture
from salus_vla.config.scene import Scene, load_scene
from salus_vla.contract import CAMERAS, JOINTS
from salus_vla.contract.bodies import CUBE
from salus_vla.contract.errors import ConfigError
from salus_vla.contract.geometry import rotate
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import ImageArray
from salus_vla.episode.outcome_monitor import TaskMonitor
from salus_vla.simulation.mujoco.mujoco_model import build_model
from salus_vla.simulation.mujoco.simulator import Simulator

SCENE = load_scene()
HOME = SCENE.robot.home_position
SMALL = (80, 80)
Open = Callable[[str], Simulator]


@pytest.fixture(scope="module")
def simulators() -> Iterator[Open]:
    """A simulator of each profile, made when first asked for."""
    made: dict[str, Simulator] = {}

    def open_one(profile: str) -> Simulator:
        if profile not in made:
            made[profile] = Simulator(SCENE, profile=profile, camera_size=SMALL)
        return made[profile]

    yield open_one
    for simulator in made.values():
        simulator.close()


def physics(simulator: Simulator, seed: int, frames: int = 30) -> str:
    """Everything that moves or touches in an episode of random targets, exactly; without what distractors do."""
    random = np.random.default_rng(seed)
    rows = []
    for i in range(frames):
        frame = simulator.step() if i else simulator.reset(seed)
        if i % 10 == 0:
            simulator.set_command(JOINTS[:7], HOME[:7] + random.uniform(-0.5, 0.5, 7))
        poses = [[*pose.position, *pose.quaternion] for pose in frame.poses.values()]
        rows.append([frame.joint_position.tolist(), poses, [[c.body_a, c.body_b, c.force] for c in frame.contacts]])
    return json.dumps([rows, simulator.data.qpos.tolist()])


def seen(simulator: Simulator, camera: str, body: str) -> int:
    """Pixels of a body in a camera."""
    return int((simulator.segment(camera) == simulator.body_names.index(body)).sum())


def brightness(pictures: dict[str, ImageArray]) -> np.ndarray:
    return np.array([picture.mean() for picture in pictures.values()])


def seed_that_draws(simulator: Simulator, quantity: str, low: float, high: float) -> int:
    return next(s for s in range(1000) if simulator.reset(s) and low < getattr(simulator.variation, quantity) < high)


def scene_with(**cube: object) -> Scene:
    """The scene with another cube, as a file would describe it."""
    red_cube = SCENE.objects.red_cube.model_copy(update=cube)
    return SCENE.model_copy(update={"objects": SCENE.objects.model_copy(update={"red_cube": red_cube})})


def arrays(model: mujoco.MjModel) -> dict[str, np.ndarray]:
    """Every number of a model that a cube can have to do with."""
    found = {}
    for prefix, owner in (("", model), ("stat.", model.stat)):
        for name in dir(owner):
            if not name.startswith("_") and isinstance(value := getattr(owner, name), (np.ndarray, float, int)):
                found[prefix + name] = np.asarray(value)
    return found


# -- every profile -----------------------------------------------------------------------------------------------------


def test_the_profile_is_eval_unless_said_and_must_be_known() -> None:
    with pytest.raises(ConfigError, match="unknown profile 'nothing'; expected one of eval, "):
        Simulator(SCENE, profile="nothing")


@pytest.mark.parametrize("name", SCENE.profiles)
def test_a_seed_is_the_same_episode_whatever_ran_before(simulators: Open, name: str) -> None:
    simulator = simulators(name)
    first, pictures, variation = physics(simulator, 11), simulator.render(), simulator.variation
    physics(simulator, 12, frames=3)
    simulator.render(["front"])
    assert physics(simulator, 11) == first
    assert repr(simulator.variation) == repr(variation)
    for camera, again in simulator.render().items():
        np.testing.assert_array_equal(again, pictures[camera])


@pytest.mark.parametrize("name", ["train", "dark", "camera_moved", "distractor", "heavy"])
def test_a_new_simulator_shows_the_same_as_one_with_a_past(simulators: Open, name: str) -> None:
    used = simulators(name)
    used.reset(3)
    used.render()
    used.reset(4)
    with Simulator(SCENE, profile=name, camera_size=SMALL, seed=4) as fresh:
        np.testing.assert_array_equal(fresh.data.qpos, used.data.qpos)
        for camera, picture in fresh.render().items():
            np.testing.assert_array_equal(used.render([camera])[camera], picture)


@pytest.mark.parametrize("name", ["dark", "camera_moved", "other_color"])
def test_what_only_looks_different_moves_alike(simulators: Open, name: str) -> None:
    usual, changed = simulators("eval"), simulators(name)
    for seed in range(3):
        assert physics(changed, seed) == physics(usual, seed)
        for camera, picture in changed.render().items():
            assert (picture != usual.render([camera])[camera]).any(), (seed, camera)


@pytest.mark.parametrize("name", ["slippery", "heavy"])
def test_what_only_moves_differently_looks_alike_at_the_start(simulators: Open, name: str) -> None:
    for seed in range(3):
        simulators("eval").reset(seed)
        simulators(name).reset(seed)
        usual = simulators("eval").render()
        for camera, picture in simulators(name).render().items():
            # A heavy cube settles a hair deeper: a pixel of its outline may flip.
            assert (picture != usual[camera]).any(axis=2).mean() < 2e-3


# -- light, cameras, colours -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "tolerance"), [("dark", 0.01), ("train", 0.04)])
def test_light_scales_the_whole_picture(simulators: Open, name: str, tolerance: float) -> None:
    """A light above 1 saturates the brightest pixels, so `train` scales less exactly."""
    usual, changed = simulators("eval"), simulators(name)
    for seed in range(6):
        usual.reset(seed)
        changed.reset(seed)
        assert changed.variation.light is not None
        ratio = brightness(changed.render()) / brightness(usual.render())
        np.testing.assert_allclose(ratio, changed.variation.light, atol=tolerance)


def test_moved_cameras_still_see_everything(simulators: Open) -> None:
    simulator = simulators("camera_moved")
    for seed in range(10):
        simulator.reset(seed)
        for camera in CAMERAS:
            assert seen(simulator, camera, "red_cube") >= 6, (seed, camera)
            assert seen(simulator, camera, "blue_bin") >= 60, (seed, camera)


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_cube_appears_where_the_moved_camera_must_see_it(simulators: Open, camera: str) -> None:
    simulator = simulators("camera_moved")
    errors = []
    for seed in range(5):
        simulator.reset(seed)
        mask = simulator.segment(camera) == simulator.body_names.index("red_cube")
        row, column = (np.argwhere(mask).mean(axis=0) + 0.5) * SCENE.cameras.height / SMALL[1]
        places = []
        for view in (simulator.variation.views[camera], SCENE.cameras.views[camera]):
            optical = view.optical_pose()
            inverse = optical.quaternion * np.array([-1.0, -1.0, -1.0, 1.0])
            point = rotate(inverse, simulator.frame.poses["red_cube"].position - optical.position)
            places.append((SCENE.cameras.intrinsics() @ (point / point[2]))[:2])
        errors.append(np.linalg.norm(np.array([column, row]) - places, axis=1))
    moved, nominal = np.max(errors, axis=0)
    assert moved < 3.0  # pixels of 256
    assert nominal > 2.0 * moved


def test_another_colour_is_the_cubes_alone(simulators: Open) -> None:
    usual, changed = simulators("eval"), simulators("other_color")
    for seed in range(4):
        usual.reset(seed)
        changed.reset(seed)
        differs = (usual.render(["top"])["top"] != changed.render(["top"])["top"]).any(axis=2)
        cube = changed.segment("top") == changed.body_names.index("red_cube")
        np.testing.assert_array_equal(differs, cube)
        color = changed.render(["top"])["top"][cube].mean(axis=0)
        assert color[0] < 3.0 * color[1:].max()  # not the red of the task
        assert changed.variation.color in (SCENE.profile("other_color").red_cube.colors or ())


# -- the cube's physics ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "quantity"), [("slippery", "friction"), ("heavy", "mass")])
def test_the_model_is_the_one_that_such_a_cube_compiles_to(simulators: Open, name: str, quantity: str) -> None:
    simulator = simulators(name)
    for seed in (0, 1):
        simulator.reset(seed)
        value = getattr(simulator.variation, quantity)
        compiled = arrays(build_model(scene_with(**{quantity: value}), SMALL))
        usual = arrays(build_model(SCENE, SMALL))
        own = arrays(simulator.model)
        assert own.keys() == compiled.keys()
        changed = [key for key in own if not np.array_equal(own[key], usual[key], equal_nan=True)]
        assert {"friction": "geom_friction", "mass": "body_mass"}[quantity] in changed
        for key, array in own.items():
            np.testing.assert_allclose(array, compiled[key], rtol=1e-12, atol=1e-15, err_msg=key)


def lift(simulator: Simulator, seed: int) -> Script:
    """Picks the cube up and holds it in the air."""
    simulator.reset(seed)
    script = Script(simulator, TaskMonitor(SCENE))
    script.pick()
    script.wait(2.0)
    return script


def test_a_slippery_cube_slips_out_of_a_grasp_that_holds_the_usual_one(simulators: Open) -> None:
    seed = seed_that_draws(simulators("slippery"), "friction", 0.0133, 0.0138)
    slipped = lift(simulators("slippery"), seed)
    assert [event.outcome for event in slipped.events] == [Outcome.DROP]
    held = lift(simulators("eval"), seed)
    assert held.events == []
    assert held.monitor.holding
    assert held.cube[2] > 0.15


def test_a_heavy_cube_is_too_much_for_the_grip_or_makes_the_arm_sag(simulators: Open) -> None:
    heavy = simulators("heavy")
    lightest, heaviest = (seed_that_draws(heavy, "mass", low, low + 0.05) for low in (3.0, 3.6))
    dropped = lift(heavy, heaviest)
    assert [event.outcome for event in dropped.events] == [Outcome.DROP]
    sagging = lift(heavy, lightest)
    height = sagging.kinematics.tool(heavy.frame.joint_position[:7])[0][2]
    usual = lift(simulators("eval"), lightest)
    usual_height = usual.kinematics.tool(simulators("eval").frame.joint_position[:7])[0][2]
    assert sagging.monitor.holding
    assert usual_height - height > 0.002


# -- the arm's calibration, and somebody's hand ------------------------------------------------------------------------


def test_an_arm_that_lost_its_calibration_is_elsewhere_than_it_says(simulators: Open) -> None:
    simulator = simulators("miscalibrated")
    joints = [simulator.model.joint(name).qposadr[0] for name in JOINTS]
    for seed in range(3):
        frame = simulator.reset(seed)
        offset = np.append(simulator.variation.joint_offset, [0.0, 0.0])
        home = SCENE.robot.home_position
        for _ in range(50):
            np.testing.assert_allclose(frame.joint_position, simulator.data.qpos[joints] + offset, atol=1e-4)
            np.testing.assert_allclose(frame.joint_position, home, atol=0.01)
            simulator.set_command(JOINTS, home.tolist())
            frame = simulator.step()
        said = simulator.body_poses()["panda_hand"].position
        simulators("eval").reset(seed)
        usual = simulators("eval").body_poses()["panda_hand"].position
        assert 0.002 < np.linalg.norm(said - usual) < 0.06
        goal = home.copy()
        goal[0] += 0.2
        simulator.set_command(JOINTS, goal.tolist())
        for _ in range(100):
            frame = simulator.step()
        np.testing.assert_allclose(frame.joint_position, goal, atol=0.01)  # it believes that it is there


def test_until_the_push_everything_is_as_usual_and_then_the_cube_goes(simulators: Open) -> None:
    usual, pushed = simulators("eval"), simulators("pushed")
    for seed in range(3):
        usual.reset(seed)
        before = pushed.reset(seed).poses["red_cube"].position
        push = pushed.variation.push
        assert push is not None
        frames = int(push.begin / 0.02)
        for _ in range(frames):
            one, other = usual.step(), pushed.step()
            np.testing.assert_array_equal(one.poses["red_cube"].position, other.poses["red_cube"].position)
        for _ in range(round((push.end - push.begin) / 0.02) + 10):
            moved = pushed.step().poses["red_cube"].position - before
        way = np.array(push.velocity) * (push.end - push.begin)
        np.testing.assert_allclose(moved[:2], way, atol=0.35 * np.linalg.norm(way) + 0.01)
        assert np.linalg.norm(moved[:2]) > 0.8 * np.linalg.norm(way)


def test_a_push_takes_the_cube_out_of_a_grip(simulators: Open) -> None:
    pushed = simulators("pushed")
    for seed in range(40):
        pushed.reset(seed)
        push = pushed.variation.push
        assert push is not None
        if push.begin > 4.0 and np.hypot(*push.velocity) > 0.5:
            break
    script = lift(pushed, seed)
    assert not script.monitor.holding


@pytest.mark.parametrize("camera", CAMERAS)
def test_far_cubes_are_in_every_picture(simulators: Open, camera: str) -> None:
    simulator = simulators("far_cube")
    for seed in range(12):
        simulator.reset(seed)
        assert seen(simulator, camera, "red_cube") >= 6, seed


# -- distractors -------------------------------------------------------------------------------------------------------


def test_only_a_profile_with_distractors_has_their_bodies(simulators: Open) -> None:
    own = [f"distractor_{i}" for i in range(3)]
    for name in SCENE.profiles:
        found = [body for body in simulators(name).body_names if body.startswith("distractor")]
        assert found == (own if name == "distractor" else [])


def test_drawn_distractors_stand_in_the_pictures_and_the_others_nowhere(simulators: Open) -> None:
    simulator = simulators("distractor")
    for seed in range(10):
        simulator.reset(seed)
        poses = simulator.body_poses()
        for i in range(3):
            pixels = [seen(simulator, camera, f"distractor_{i}") for camera in CAMERAS]
            if i < len(simulator.variation.distractors):
                placed = simulator.variation.distractors[i].pose
                np.testing.assert_allclose(poses[f"distractor_{i}"].position, placed.position, atol=1e-3)
                assert pixels[CAMERAS.index("top")] >= 5, (seed, pixels)
            else:
                assert pixels == [0, 0, 0]
        touching = [pair for pair in simulator._contacts.forces if "distractor" in "".join(pair)]
        assert all({"table", "world"} & set(pair) for pair in touching), touching


def test_a_distractor_is_no_table_for_the_outcome(simulators: Open) -> None:
    simulator = simulators("distractor")
    simulator.reset(3)
    script = Script(simulator, TaskMonitor(SCENE))
    x, y, _ = simulator.variation.distractors[0].pose.position
    script.gripper(CLOSED)
    script.move((x, y, 0.10), 0.0)
    script.move((x, y, 0.03), speed=0.3)  # the box is 45 mm high
    script.wait(0.5)
    hits = {pair: force for pair, force in simulator._contacts.forces.items() if "distractor_0" in pair}
    fingers = [force for pair, force in hits.items() if any("finger" in name for name in pair)]
    assert max(fingers) > SCENE.outcomes.collision_force
    assert not any(event.outcome for event in script.events)


def test_distractors_leave_the_cubes_seed_alone(simulators: Open) -> None:
    for seed in range(5):
        usual = simulators("eval").reset(seed).poses[CUBE]
        beside = simulators("distractor").reset(seed).poses[CUBE]
        np.testing.assert_allclose(beside.position, usual.position, atol=1e-6)
        np.testing.assert_allclose(beside.quaternion, usual.quaternion, atol=1e-6)


# -- the picture -------------------------------------------------------------------------------------------------------


def test_the_picture_of_the_profiles_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = SCENE.model_copy(update={"profiles": {name: SCENE.profiles[name] for name in ("train", "distractor")}})
    profiles_picture.draw_profiles(few, tmp_path / "few.png", seed=4)
    with Image.open(tmp_path / "few.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert pixels.shape[1] > 2 * pixels.shape[0]  # two profiles side by side
    assert pixels.std() > 20.0
    assert profiles_picture.main([str(tmp_path / "x.png"), "four"]) == 2
    assert "usage" in capsys.readouterr().err
