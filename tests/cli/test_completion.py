"""`salus completion`: a real bash completes what the parser knows."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from salus_vla.cli.main import main

SCRIPT_LIMIT_S = 30.0


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("completion") / "salus.bash"
    with pytest.MonkeyPatch.context() as patch, file.open("w") as stream:
        patch.setattr("sys.stdout", stream)
        assert main(["completion", "bash"]) == 0
    return file


def completed(script: Path, line: str, folder: Path) -> set[str]:
    """What bash offers for the last word of a line."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    program = f"""
        source '{script}'
        function_name=$(complete -p salus | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}
        "$function_name" salus '{words[-1]}' '{words[-2]}'
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    result = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", program],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=SCRIPT_LIMIT_S,
        check=True,
    )
    assert result.stderr == ""
    return set(result.stdout.split())


def test_commands_options_choices_and_paths(bash_script: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "run.yaml").write_text("")
    assert completed(bash_script, "salus re", tmp_path) == {"replay", "report"}
    assert completed(bash_script, "salus bag ex", tmp_path) == {"export"}
    assert completed(bash_script, "salus collect --poli", tmp_path) == {"--policy"}
    assert completed(bash_script, "salus collect --policy e", tmp_path) == {"ensemble", "expert"}
    assert completed(bash_script, "salus train --size t", tmp_path) == {"tiny"}
    assert {word.rstrip("/") for word in completed(bash_script, "salus bag info ru", tmp_path)} == {"runs", "run.yaml"}
    assert "runs" in {word.rstrip("/") for word in completed(bash_script, "salus collect --out ru", tmp_path)}


def test_the_script_for_zsh_names_every_command_and_holds_no_path_of_this_machine(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["completion", "zsh"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("#compdef salus")
    for command in ("collect", "completion", "fit-reference", "export"):
        assert re.search(rf"^ *{command}:'[a-z].+'$", text, re.MULTILINE), command
    assert str(Path.home()) not in text
    assert str(Path(__file__).parents[2]) not in text
    zsh = shutil.which("zsh")
    if zsh is not None:
        file = tmp_path / "_salus"
        file.write_text(text)
        subprocess.run([zsh, "-n", str(file)], check=True, timeout=SCRIPT_LIMIT_S)


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["completion", "fish"])
    assert end.value.code == 2
    assert "argument shell: invalid choice: 'fish'" in capsys.readouterr().err
