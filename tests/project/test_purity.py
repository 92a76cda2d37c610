"""What may import ROS and what may not, and that every module can be imported at all."""

import importlib
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import salus_vla

ROOT = Path(salus_vla.__file__).resolve().parent
ROS_PACKAGES = (
    "builtin_interfaces",
    "diagnostic_msgs",
    "geometry_msgs",
    "lifecycle_msgs",
    "rcl_interfaces",
    "rclpy",
    "rosbag2_py",
    "rosgraph_msgs",
    "salus_msgs",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
    "tf2_msgs",
    "visualization_msgs",
)
# `ros.launch` and `ros.environment` start graphs where this process has no ROS.
NEEDS_ROS = tuple(f"salus_vla.{room}." for room in ("ros.nodes", "ros.adapters", "ros.clients", "bench"))


def modules() -> list[str]:
    """Every module of the package but `__main__`, from the files and not from what happens to be importable."""
    files = [path.relative_to(ROOT.parent).with_suffix("") for path in ROOT.rglob("*.py")]
    return sorted(".".join(path.parts).removesuffix(".__init__") for path in files if path.name != "__main__")


def test_the_walk_finds_the_package() -> None:
    found = modules()
    assert {
        "salus_vla",
        "salus_vla.signals.safety_signals",
        "salus_vla.simulation.mujoco.simulator",
        "salus_vla.ros.adapters.run_node",
    } <= set(found)
    assert "salus_vla.cli.__main__" not in found


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for path in ROOT.rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_everything_but_the_nodes_imports_without_ros() -> None:
    pure = [name for name in modules() if not name.startswith(NEEDS_ROS)]
    program = "\n".join(
        [
            "import importlib, sys",
            f"for name in {ROS_PACKAGES!r}: sys.modules[name] = None",
            "broken = {}",
            f"for name in {pure!r}:",
            "    try: importlib.import_module(name)",
            "    except Exception as error: broken[name] = repr(error)",
            "sys.exit(str(broken) if broken else 0)",
        ]
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["rclpy", "sensor_msgs.msg"])
def test_the_nodes_do_need_ros(name: str) -> None:
    """The check above blocks what it says it blocks."""
    adapters = "from salus_vla.ros.adapters import image_messages, qos_profiles"
    program = f"import sys; sys.modules[{name.split('.')[0]!r}] = None; {adapters}"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in result.stderr


@pytest.mark.parametrize("name", modules())
def test_every_module_imports(name: str) -> None:
    importlib.import_module(name)


def test_the_command_runs_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["salus", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("salus_vla.cli", run_name="__main__")
    assert ended.value.code == 0
    assert salus_vla.__version__ in capsys.readouterr().out
