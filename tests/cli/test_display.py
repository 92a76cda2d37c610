"""A full disk or device is one line, and what is being made outlives its display."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from salus_vla.cli import model
from salus_vla.cli.display import Display, outlived_display
from salus_vla.cli.main import build_parser, main
from salus_vla.contract.errors import TrainingError
from salus_vla.learning.training.training_settings import TrainSettings
from salus_vla.learning.training.training_state import write_state

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a full disk: what is written beyond it fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_model_that_does_not_fit_on_the_disk_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with files_of_at_most(60_000):
        assert main(["model", "init", "--size", "tiny", "--members", "1", str(tmp_path / "model")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_does_not_fit_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    with files_of_at_most(1000), pytest.raises(TrainingError, match=r"state.safetensors: cannot be written"):
        write_state(path, {"weight": torch.zeros(10_000)}, 1, TrainSettings(stage="vlm"))
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_system_without_a_file_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def full(_: object) -> int:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(model, "run_init", full)
    assert main(["model", "init", str(tmp_path / "model")]) == 1
    assert capsys.readouterr().err == (
        "salus: error: a file or standard output cannot be written or read: No space left on device\n"
    )


def test_weights_that_cannot_be_written_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def full(_: object) -> int:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(model, "run_init", full)
    assert main(["model", "init", str(tmp_path / "model")]) == 1
    assert capsys.readouterr().err == (
        "salus: error: weights cannot be written or read: I/O error: No space left on device (os error 28)\n"
    )


@needs_full
def test_output_onto_a_full_device_is_one_line() -> None:
    with FULL.open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "salus_vla.cli", "completion", "bash"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "salus: error: a file or standard output cannot be written or read: No space left on device"
    ]


@needs_full
def test_what_is_made_goes_on_without_its_display(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = []
    with FULL.open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stdout", full)
        with outlived_display():
            for number in range(3):
                print(f"episode {number}", flush=True)
                done.append(number)
        assert sys.stdout is full
        monkeypatch.undo()
    assert done == [0, 1, 2]
    assert "standard output failed (No space left on device); the work went on" in capsys.readouterr().err


def test_a_reader_that_has_gone_ends_nothing() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        os.close(reader)
        display = Display(stream)
        assert display.write("a line\n") == 7
        display.flush()
        assert isinstance(display.error, BrokenPipeError)
        display.write("another\n")
        display.flush()


@pytest.mark.parametrize(
    "command", [["collect", "--episodes", "1"], ["rollout", "--episodes", "1"], ["launch", "f.xml"]]
)
def test_recordings_outlive_their_display(command: list[str]) -> None:
    parser = build_parser()
    assert parser.parse_args(command).makes
    assert not parser.parse_args(["bag", "info", "bag"]).makes
