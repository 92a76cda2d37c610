"""The rooms of the package: no circle, no import of a room above, no file name twice, and the picture says so."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from structure_picture import PACKAGE, ROOT, between_rooms, imports, main, modules, picture, rooms

PICTURE = ROOT / "docs" / "images" / "structure.svg"


def test_no_module_imports_itself_by_way_of_others() -> None:
    TopologicalSorter(imports()).prepare()


def test_a_circle_would_be_found() -> None:
    with pytest.raises(CycleError):
        TopologicalSorter({**imports(), "contract.pacing": {"cli.collect"}}).prepare()


def test_every_folder_is_a_room_with_a_place() -> None:
    assert {name.split(".")[0] for name in modules()} == set(rooms())


def test_no_room_imports_one_above_it() -> None:
    order = rooms()
    assert not {(room, other) for room, other in between_rooms() if order.index(other) > order.index(room)}


def test_import_linter_agrees() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    command = [str(linter), "--no-cache", "--config", str(ROOT / "pyproject.toml")]
    result = subprocess.run(
        command, env={"PYTHONPATH": str(PACKAGE.parent), "PATH": ""}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout


def test_no_file_name_stands_twice() -> None:
    names = Counter(path.name for path in PACKAGE.rglob("*.py"))
    assert {name for name, count in names.items() if count > 1} == {"__init__.py", "__main__.py"}


def test_the_picture_is_up_to_date() -> None:
    remedy = "run: python tools/generate/structure_picture.py docs/images/structure.svg"
    assert PICTURE.read_text(encoding="utf-8") == picture(), remedy


def test_the_command_says_what_it_wants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage:" in capsys.readouterr().err
    assert main([str(tmp_path / "a.svg")]) == 0
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == picture()
