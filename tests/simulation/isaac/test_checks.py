"""What is missing before Isaac Sim is started, each with its own words."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import salus_vla
from salus_vla.config.scene import load_scene
from salus_vla.contract.errors import ConfigError, SimulatorError
from salus_vla.simulation.isaac.host import installation
from salus_vla.simulation.isaac.host.scene_spec_builder import SceneSpecBuilder

from .conftest import Isaac


def test_an_installation_is_found(make_isaac: Callable[..., Isaac]) -> None:
    isaac = make_isaac("6.0.1")
    install = installation.find_install(isaac.environment)
    assert (install.python, install.folder) == (isaac.python, isaac.folder)
    assert install.version == "6.0.1-rc.7+main.1"
    assert install.release.name == "6.0"
    assert not (isaac.folder / "calls.jsonl").exists(), "looking it up has started something"


def test_the_variable_must_be_set() -> None:
    with pytest.raises(SimulatorError, match="ISAAC_PYTHON is not set; expected the Python that has Isaac Sim"):
        installation.find_install({})


def test_the_variable_must_name_a_program(tmp_path: Path) -> None:
    for named in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(SimulatorError, match=rf"ISAAC_PYTHON={named}: expected an executable file"):
            installation.find_install({"ISAAC_PYTHON": str(named)})


def test_a_python_without_isaac_sim_is_said() -> None:
    with pytest.raises(SimulatorError, match=r"Python 3.12 without the package isaacsim"):
        installation.find_install({"ISAAC_PYTHON": sys.executable, "PATH": os.environ["PATH"]})


def test_a_program_that_is_no_python_is_said(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho 'what?' >&2\nexit 3\n", encoding="utf-8")
    program.chmod(0o755)
    with pytest.raises(SimulatorError, match=r"expected a Python, but it ended with exit code 3 and said: what\?"):
        installation.find_install({"ISAAC_PYTHON": str(program), "PATH": os.environ["PATH"]})


def test_a_wrong_python_is_said(make_isaac: Callable[..., Isaac]) -> None:
    with pytest.raises(SimulatorError, match=r"is Python 3\.12, but Isaac Sim 5\.1\.0-rc\.7\+main\.1 needs 3\.11"):
        installation.find_install(make_isaac("5.1.0").environment)


def test_a_gpu_is_found(make_isaac: Callable[..., Isaac]) -> None:
    installation.check_gpu(make_isaac("6.0.1").environment)


def test_no_driver_is_no_gpu(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match="no NVIDIA GPU: nvidia-smi is not on PATH"):
        installation.check_gpu({"PATH": str(tmp_path)})


def test_a_driver_without_a_gpu_is_no_gpu(make_isaac: Callable[..., Isaac]) -> None:
    isaac = make_isaac("6.0.1")
    (isaac.folder / "bin" / "nvidia-smi").write_text("#!/bin/sh\necho 'No devices were found'\nexit 6\n")
    with pytest.raises(SimulatorError, match="no NVIDIA GPU: nvidia-smi says No devices were found"):
        installation.check_gpu(isaac.environment)


def test_a_licence_that_was_accepted_is_fine(make_isaac: Callable[..., Isaac]) -> None:
    isaac = make_isaac("6.0.1")
    installation.check_eula(installation.find_install(isaac.environment), isaac.environment)


def test_a_licence_that_was_not_accepted_is_left_to_the_user(make_isaac: Callable[..., Isaac]) -> None:
    isaac = make_isaac("6.0.1", STAND_IN_NO_LICENCE="1")
    with pytest.raises(SimulatorError) as refused:
        installation.check_eula(installation.find_install(isaac.environment), isaac.environment)
    assert "licence was not accepted (EULA)" in str(refused.value)
    assert f'{isaac.python} -c "import isaacsim"' in str(refused.value)


def test_nothing_of_ours_accepts_the_licence() -> None:
    package = Path(salus_vla.__file__).parent
    sources = [path for path in package.rglob("*.py") if "ACCEPT_EULA" in path.read_text(encoding="utf-8").upper()]
    assert sources == []


def test_a_package_that_cannot_be_imported_is_said(make_isaac: Callable[..., Isaac]) -> None:
    isaac = make_isaac("6.0.1")
    install = installation.find_install(isaac.environment)
    (isaac.folder / "python_packages" / "isaacsim").unlink()
    with pytest.raises(SimulatorError, match="cannot import isaacsim: ModuleNotFoundError"):
        installation.check_eula(install, isaac.environment)


@pytest.mark.parametrize(("profile", "what"), [("miscalibrated", "joint_offset_deg"), ("pushed", "push")])
def test_a_profile_that_only_the_embedded_simulator_can_do_is_refused_by_name(profile: str, what: str) -> None:
    with pytest.raises(ConfigError, match=f"profile '{profile}': {what} is done by the embedded simulator only"):
        SceneSpecBuilder(load_scene(), profile)
