"""rqt runs in the system's Python: the plugin may import what apt installs, and nothing of .venv."""

from __future__ import annotations

import subprocess
import sys

# Packages of .venv that a node of SALUS may import.
BLOCKED = (
    "torch",
    "lerobot",
    "mujoco",
    "pydantic",
    "rich",
    "psutil",
    "safetensors",
    "ruckig",
    "mcap",
    "rosbags",
    "scipy",
)
QT = ("PyQt5", "pyqtgraph")
MODEL = "salus_vla.views.window.watched_graph"
PLUGIN = "salus_vla.ros.clients.rqt_plugin"


def imported(module: str, blocked: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    program = f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\nimport {module}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_the_plugin_needs_only_what_apt_installs() -> None:
    result = imported(PLUGIN, BLOCKED)
    assert result.returncode == 0, result.stderr


def test_the_model_needs_no_qt_and_no_ros() -> None:
    result = imported(MODEL, (*BLOCKED, *QT, "rclpy", "salus_msgs", "sensor_msgs"))
    assert result.returncode == 0, result.stderr


def test_what_is_blocked_is_missed() -> None:
    assert "ModuleNotFoundError" in imported(PLUGIN, ("pyqtgraph",)).stderr
