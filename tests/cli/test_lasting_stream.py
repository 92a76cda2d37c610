"""What is shown may fail; what it shows goes on."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from salus_vla.cli.lasting_stream import LastingStream


def test_a_stream_that_fails_once_is_left_alone() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        stream = LastingStream(full)
        stream.write("a")  # in the buffer
        assert not stream.gone
        stream.flush()
        assert stream.gone
        assert stream.write("more") == 4
        stream.flush()
        assert not stream.isatty()


def test_one_that_works_gets_everything() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as out:
        stream = LastingStream(out)
        stream.write("text")
        stream.flush()
    with os.fdopen(reader) as found:
        assert found.read() == "text"


def test_output_that_cannot_be_written_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "salus_vla.cli", "completion", "bash"]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (1, "salus: error: output: No space left on device\n")


def test_weights_that_cannot_be_written_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors import SafetensorError

    def write(arguments: object) -> int:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    cli = importlib.import_module("salus_vla.cli.main")  # the package has a function of that name
    parser = cli.build_parser()
    monkeypatch.setattr(cli, "build_parser", lambda: parser)
    monkeypatch.setattr(parser, "parse_args", lambda words: SimpleNamespace(run=write))
    assert cli.main([]) == 1
    assert "weights cannot be written or read: I/O error: No space left" in capsys.readouterr().err
