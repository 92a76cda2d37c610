"""A child ends with its parent, however that ends, and what runs is the program itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from salus_vla.processes import start_with_parent

PACKAGE = Path(__file__).resolve().parents[1] / "ros2_ws" / "src" / "salus_vla" / "salus_vla"
PARENT = """
import subprocess, sys
from salus_vla.processes import start_with_parent
child = start_with_parent([sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_a_killed_parent_takes_its_child_along() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        handle = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.kill()
            parent.wait()
            import select

            assert select.select([handle], [], [], 20.0)[0], "the child lives on"
        finally:
            os.close(handle)


def test_the_process_is_the_program_with_its_arguments_files_and_environment() -> None:
    ours, theirs = os.pipe()
    code = f"import os, sys; os.write({theirs}, (sys.argv[1] + os.environ['WORD']).encode())"
    command = [sys.executable, "-c", code, "a b;"]
    with start_with_parent(command, env={**os.environ, "WORD": "c"}, pass_fds=[theirs]) as process:
        assert process.wait(20.0) == 0
    assert os.read(ours, 100) == b"a b;c"
    os.close(ours)
    os.close(theirs)


def test_exit_codes_are_those_of_the_program() -> None:
    assert start_with_parent(["false"]).wait(20.0) == 1


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no_such_program"):
        start_with_parent(["no_such_program"])


def test_a_program_that_cannot_be_run_is_an_error_at_the_start(tmp_path: Path) -> None:
    program = tmp_path / "broken"
    program.write_text("#!/nonexistent/interpreter\n")
    program.chmod(0o755)
    with pytest.raises(FileNotFoundError, match="broken"):
        start_with_parent([str(program)])


def test_nothing_runs_between_fork_and_exec() -> None:
    """Processes with DDS threads start others: a lock that such a thread holds would never be given back there."""
    users = [file for file in PACKAGE.rglob("*.py") if "preexec_fn=" in file.read_text(encoding="utf-8")]
    assert users == []
