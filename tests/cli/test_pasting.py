"""What is printed can be pasted, Ctrl-C at the start is no traceback, and a set-up that cannot run says why."""

from __future__ import annotations

import builtins
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from recorded import make_episode, rollout_run
from salus_vla.cli import __main__ as started
from salus_vla.cli.main import main

ENVIRONMENT = Path(__file__).parents[2] / "tools" / "env.sh"


def test_the_command_for_lerobot_survives_a_space(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = rollout_run(tmp_path, "run", [make_episode(0, decisions=3)])
    out = tmp_path / "b ds"
    assert main(["dataset", "export", str(run), "--out", str(out)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("lerobot-train")]
    assert shlex.split(line) == ["lerobot-train", "--dataset.repo_id=salus/b ds", f"--dataset.root={out}"]


def test_ctrl_c_while_importing_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def interrupted(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "salus_vla.cli.main":
            raise KeyboardInterrupt
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", interrupted)
    assert started.run() == 130


@pytest.mark.parametrize(
    ("linked", "named"),
    [
        (True, ".venv/bin/python is a link to /nobody/bin/python, which "),
        (False, ".venv is missing. Run: make setup"),
    ],
)
def test_a_python_that_this_user_cannot_run_is_named(tmp_path: Path, linked: bool, named: str) -> None:
    (tmp_path / "tools").mkdir()
    shutil.copy(ENVIRONMENT, tmp_path / "tools")
    if linked:
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        (tmp_path / ".venv" / "bin" / "python").symlink_to("/nobody/bin/python")
    ended = subprocess.run(["bash", "-c", ". tools/env.sh"], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 1
    assert named in ended.stderr
    assert ended.stderr.count("\n") == 1
