"""What a command or a node does not need is not imported: a terminal answers at once, a graph is up in seconds."""

import subprocess
import sys

import pytest

HEAVY = (
    "torch", "lerobot", "transformers", "datasets", "huggingface_hub", "pandas", "pyarrow", "scipy", "mujoco",
    "matplotlib", "cv2", "rich",
)  # fmt: skip


def imported(code: str, *modules: str) -> set[str]:
    """Those of the modules that a Python has after some code."""
    show = f"import sys; print(*(name for name in {modules!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_help_imports_no_command_and_no_library() -> None:
    code = "from salus_vla.cli.main import build_parser; build_parser(['--help']).format_help()"
    assert imported(code, *HEAVY, "numpy", "pydantic", "yaml", "rclpy", "shtab", "salus_vla.cli.collect") == set()


def test_a_command_imports_no_other_one() -> None:
    code = "from salus_vla.cli.main import build_parser; build_parser(['launch', 'salus.launch.xml'])"
    assert imported(code, "salus_vla.cli.collect", "salus_vla.cli.dataset", "salus_vla.cli.launch") == {
        "salus_vla.cli.launch"
    }


@pytest.mark.parametrize(
    ("node", "needs"),
    [
        ("command_gate", set()),
        ("bag_recorder", set()),
        ("episode", set()),
        ("failure_predictor", set()),
        ("vla_ensemble", set()),  # torch and LeRobot come when it loads an ensemble
        ("mujoco_sim", {"mujoco"}),
    ],
)
def test_a_node_imports_what_it_needs(node: str, needs: set[str]) -> None:
    assert imported(f"import salus_vla.ros.nodes.{node}_node", *HEAVY) == needs
