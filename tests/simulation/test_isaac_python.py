"""What runs in Isaac Sim's own Python, which is 3.11, is valid there, and needs nothing that it does not have."""

import ast
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "ros2_ws" / "src" / "salus_vla" / "salus_vla"
VERSION = (3, 11)
# Isaac Sim's Python starts the one and imports the other.
ROOTS = ("ros/nodes/isaac_standalone.py", "ros/nodes/isaac_world_node.py")
# What is not in it, or cannot be imported there without a build of its own.
MISSING = {"pydantic", "salus_msgs", "torch", "lerobot", "mujoco", "rosbags", "mcap", "rich"}


def imported(file: Path) -> set[str]:
    """Modules that a file imports, inside functions too, but for those for type checkers."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def file_of(module: str) -> Path | None:
    path = PACKAGE.parent / Path(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def reached() -> set[Path]:
    files, waiting = set(), [PACKAGE / root for root in ROOTS]
    while waiting:
        file = waiting.pop()
        if file in files:
            continue
        files.add(file)
        ours = [name for name in imported(file) if name.split(".")[0] == "salus_vla"]
        waiting += [found for name in ours if (found := file_of(name)) is not None]
    return files


FILES = sorted(reached())


def test_the_walk_found_the_modules() -> None:
    names = {str(file.relative_to(PACKAGE)) for file in FILES}
    assert {
        *ROOTS,
        "contract/topics.py",
        "ros/adapters/reset_services.py",
        "simulation/isaac/runtime/world.py",
    } <= names


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_it_is_valid_in_isaacs_python(file: Path) -> None:
    ast.parse(file.read_text(encoding="utf-8"), feature_version=VERSION)


def test_a_newer_syntax_would_be_found() -> None:
    with pytest.raises(SyntaxError):
        ast.parse("def first[T](items: list[T]) -> T: ...", feature_version=VERSION)


@pytest.mark.skipif(shutil.which("python3.11") is None, reason="no Python 3.11 on the PATH: the check above is all")
def test_python_3_11_itself_compiles_it() -> None:
    program = "import sys\nfor file in sys.argv[1:]: compile(open(file, encoding='utf-8').read(), file, 'exec')"
    subprocess.run(["python3.11", "-c", program, *map(str, FILES)], check=True)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_it_needs_nothing_that_isaacs_python_lacks(file: Path) -> None:
    assert not {name.split(".")[0] for name in imported(file)} & MISSING
