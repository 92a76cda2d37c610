import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from salus_vla.config.scene import load_scene
from salus_vla.contract import CAMERAS
from salus_vla.contract.errors import SimulatorError
from salus_vla.contract.geometry import rotate
from salus_vla.simulation.mujoco import render
from salus_vla.simulation.mujoco.simulator import Simulator

SCENE = load_scene()
SEEDS = range(20)
# Pixels of 256 x 256 that each camera must see of robot, cube and bin at the start of an episode; about half of what it
# sees at the least favourable spawn.
LEAST = {"front": (2000, 130, 2000), "side": (2300, 85, 700), "top": (3000, 60, 1500)}


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(SCENE) as simulator:
        yield simulator


def ids(simulator: Simulator, prefix: str) -> list[int]:
    return [i for i, name in enumerate(simulator.body_names) if name.startswith(prefix)]


def test_each_camera_sees_robot_cube_and_bin(simulator: Simulator) -> None:
    robot, cube, blue_bin = (ids(simulator, prefix) for prefix in ("panda", "red_cube", "blue_bin"))
    for seed in SEEDS:
        simulator.reset(seed)
        for name in CAMERAS:
            seen = simulator.segment(name)
            counts = tuple(int(np.isin(seen, bodies).sum()) for bodies in (robot, cube, blue_bin))
            assert all(count >= least for count, least in zip(counts, LEAST[name], strict=True)), (seed, name, counts)


def test_pictures_are_neither_constant_nor_dark_nor_over_exposed(simulator: Simulator) -> None:
    for seed in range(5):
        simulator.reset(seed)
        for name, image in simulator.render().items():
            grey = image.mean(axis=2)
            assert 70 < grey.mean() < 190, name
            assert grey.std() > 20, name
            assert (image.max(axis=2) < 8).mean() < 0.02, name
            assert (image >= 250).any(axis=2).mean() < 0.02, name


@pytest.mark.parametrize(("body", "channel"), [("red_cube", 0), ("blue_bin", 2)])
def test_objects_have_their_colour(simulator: Simulator, body: str, channel: int) -> None:
    simulator.reset(0)
    pictures = simulator.render()
    for name in CAMERAS:
        seen = np.isin(simulator.segment(name), ids(simulator, body))
        color = pictures[name][seen].mean(axis=0)
        assert color[channel] > 1.5 * np.delete(color, channel).max(), (name, color)


def test_pictures_are_fresh_contiguous_bytes(simulator: Simulator) -> None:
    pictures = simulator.render()
    assert tuple(pictures) == CAMERAS
    for image in pictures.values():
        assert image.shape == (256, 256, 3)
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous
        assert image.nbytes == 196_608
    kept = pictures["top"].copy()
    simulator.set_command(["panda_joint1"], [0.5])
    for _ in range(20):
        simulator.step()
    again = simulator.render(["top"])
    assert tuple(again) == ("top",)
    assert (again["top"] != kept).any()
    np.testing.assert_array_equal(pictures["top"], kept)
    simulator.reset(0)


@pytest.mark.parametrize("name", CAMERAS)
def test_the_cube_appears_where_the_intrinsics_say(simulator: Simulator, name: str) -> None:
    simulator.reset(7)
    seen = np.isin(simulator.segment(name), ids(simulator, "red_cube"))
    row, column = np.argwhere(seen).mean(axis=0) + 0.5
    optical = SCENE.cameras.views[name].optical_pose()
    inverse = optical.quaternion * np.array([-1.0, -1.0, -1.0, 1.0])
    point = rotate(inverse, simulator.frame.poses["red_cube"].position - optical.position)
    expected = SCENE.cameras.intrinsics() @ (point / point[2])
    assert point[2] > 0.0
    np.testing.assert_allclose([column, row], expected[:2], atol=3.0)


def test_two_simulators_share_a_process() -> None:
    with Simulator(SCENE, camera_size=(64, 48)) as small, Simulator(SCENE, seed=3) as large:
        first = small.render()["front"]
        assert large.render()["front"].shape == (256, 256, 3)
        assert first.shape == (48, 64, 3)
        np.testing.assert_array_equal(small.render()["front"], first)
        small.close()
        np.testing.assert_array_equal(large.render()["top"], large.render()["top"])
        np.testing.assert_array_equal(small.render()["front"], first)  # opens again


def test_unknown_camera_is_named(simulator: Simulator) -> None:
    with pytest.raises(SimulatorError, match=r"unknown camera 'back'; expected one of front, side, top"):
        simulator.render(["back"])


def test_a_working_opengl_was_found(simulator: Simulator) -> None:
    simulator.render()
    assert render.gl_backend() in (*render.BACKENDS, "glfw")


def run_python(code: str, **environment: str) -> str:
    code = (
        f"from salus_vla.contract.errors import SimulatorError\nfrom salus_vla.simulation.mujoco import render\n{code}"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_binding_that_fails_is_skipped_for_the_next_one() -> None:
    code = (
        "import os\n"
        "good = render.BACKENDS\n"
        "render.BACKENDS = ('nothing', *good)\n"
        "print(render.gl_backend() in good, os.environ['MUJOCO_GL'] == render.gl_backend())\n"
    )
    assert run_python(code, MUJOCO_GL="").split() == ["True", "True"]


def test_what_was_begun_is_what_is_found() -> None:
    code = (
        "import subprocess\n"
        "render.PROBE = ''\n"  # works on every machine
        "render.begin_to_find_backend()\n"
        "def fail(*_, **__): raise AssertionError('tried twice')\n"
        "subprocess.Popen.__init__ = fail\n"
        "print(render.gl_backend() == render.BACKENDS[0])\n"
    )
    assert run_python(code, MUJOCO_GL="").split() == ["True"]


def test_without_opengl_the_error_says_what_was_tried() -> None:
    code = (
        "render.BACKENDS = ('egl', 'nothing')\n"
        "try:\n"
        "    render.gl_backend()\n"
        "except SimulatorError as error:\n"
        "    print(error)\n"
    )
    # A device number that no machine has stops EGL.
    printed = run_python(code, MUJOCO_GL="", MUJOCO_EGL_DEVICE_ID="9999")
    assert "tried egl: RuntimeError" in printed
    assert "nothing: ModuleNotFoundError" in printed
    assert "libgl1-mesa-dri" in printed


@pytest.fixture
def fresh_choice() -> Iterator[None]:
    render.gl_backend.cache_clear()
    yield
    render.gl_backend.cache_clear()


@pytest.mark.usefixtures("fresh_choice")
def test_a_user_that_switches_opengl_off_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "off")
    with pytest.raises(SimulatorError, match="MUJOCO_GL=off"):
        render.gl_backend()


@pytest.mark.usefixtures("fresh_choice")
def test_a_binding_chosen_by_the_user_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "OSMesa")
    assert render.gl_backend() == "osmesa"
