"""Leftover shared memory of dead processes is removed, and nothing else."""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path

import pytest

from salus_vla.ros.environment.shared_memory import remove_dead_segments, segments

SEGMENT, PORT = "fastrtps_0cfb11811e5c4f4d", "fastrtps_port7410"


def make(folder: Path, name: str, kind: str = "el") -> Path:
    """The files of a segment or port."""
    for file in (name, f"sem.{name}_mutex", f"{name}_{kind}"):
        (folder / file).write_bytes(b"x")
    return folder / f"{name}_{kind}"


def test_what_nobody_holds_is_removed(tmp_path: Path) -> None:
    make(tmp_path, SEGMENT)
    make(tmp_path, PORT, "sl")
    assert segments(tmp_path) == (SEGMENT, PORT)
    assert remove_dead_segments(tmp_path, youngest_s=0.0) == (SEGMENT, PORT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lock", [fcntl.LOCK_EX, fcntl.LOCK_SH])
@pytest.mark.parametrize("kind", ["el", "sl"])
def test_what_a_living_process_holds_stays(tmp_path: Path, kind: str, lock: int) -> None:
    with make(tmp_path, PORT, kind).open("rb") as held:
        fcntl.flock(held, lock)
        before = sorted(tmp_path.iterdir())
        assert remove_dead_segments(tmp_path, youngest_s=0.0) == ()
        assert sorted(tmp_path.iterdir()) == before
    assert remove_dead_segments(tmp_path, youngest_s=0.0) == (PORT,)


def test_one_of_two_locks_is_enough_to_be_alive(tmp_path: Path) -> None:
    make(tmp_path, PORT)
    with make(tmp_path, PORT, "sl").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        assert remove_dead_segments(tmp_path, youngest_s=0.0) == ()


def test_what_is_being_made_stays(tmp_path: Path) -> None:
    make(tmp_path, SEGMENT)
    assert remove_dead_segments(tmp_path) == ()
    assert remove_dead_segments(tmp_path, youngest_s=60.0) == ()
    assert remove_dead_segments(tmp_path, youngest_s=0.0) == (SEGMENT,)


def test_a_port_without_a_lock_goes_when_nobody_maps_it(tmp_path: Path) -> None:
    make(tmp_path, PORT).unlink()
    with (tmp_path / PORT).open("rb+") as file, mmap.mmap(file.fileno(), 1):
        assert segments(tmp_path) == (PORT,)
        assert remove_dead_segments(tmp_path, youngest_s=0.0) == ()
    assert remove_dead_segments(tmp_path) == ()  # too young
    assert remove_dead_segments(tmp_path, youngest_s=0.0) == (PORT,)
    assert list(tmp_path.iterdir()) == []


def test_other_files_stay(tmp_path: Path) -> None:
    others = (
        "fastrtps_notes_el",
        "psm_12345",
        "my_fastrtps_port7410_el",
        "sem.other",
        "fastrtps_12",
        "sem.fastrtps_mutex",
    )
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / f"{SEGMENT}_el").symlink_to(tmp_path / "psm_12345")
    (tmp_path / f"{PORT}_el").mkdir()
    assert remove_dead_segments(tmp_path, youngest_s=0.0) == ()
    assert {path.name for path in tmp_path.iterdir()} == {*others, f"{SEGMENT}_el", f"{PORT}_el"}


def test_what_belongs_to_another_user_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, SEGMENT)
    someone_else = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: someone_else)
    assert segments(tmp_path) == ()
    assert remove_dead_segments(tmp_path, youngest_s=0.0) == ()
    assert len(list(tmp_path.iterdir())) == 3


def test_without_a_folder_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert remove_dead_segments(tmp_path / "missing") == ()
