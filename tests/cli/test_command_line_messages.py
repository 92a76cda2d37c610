"""What a user reads after a mistake: one line that names what was given and what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from salus_vla.cli.collect import reason_of_failure
from salus_vla.cli.main import main
from salus_vla.cli.options import MOST_DOMAINS

NO_FOLDER = "salus: error: {}; expected the folder of a run or of a bag"
# Command lines, and the end of what is said: `run` is the folder of a run, `file` a file, `nothing` is not there.
REFUSED = {
    "collect --episodes many": "argument --episodes: 'many': expected a whole number",
    "replay run --rate fast": "argument --rate: 'fast': expected a number",
    f"watch --domain {MOST_DOMAINS + 1}": f"argument --domain: {MOST_DOMAINS + 1} is above {MOST_DOMAINS}",
    "launch": "the following arguments are required: file",
    "bag picture run picture.xyz": "argument FILE: 'picture.xyz': expected a name that ends in .png or .svg",
    "bag picture run picture.png": "run: is a run; give the folder of one of its episodes",
    "replay run": "run: is a run; give the folder of one of its episodes",
    "bag info nothing": NO_FOLDER.format("nothing: does not exist"),
    "bag info file": NO_FOLDER.format("file: is not a folder"),
    "bag picture nothing picture.png": NO_FOLDER.format("nothing: does not exist"),
    "bag export run nothing --csv out": NO_FOLDER.format("nothing: does not exist"),
    "replay nothing": NO_FOLDER.format("nothing: does not exist"),
    "replay --recompute file": NO_FOLDER.format("file: is not a folder"),
    "model init file/new": "salus: error: file/new: file is a file, expected a folder",
    "train --data nothing --out file": "salus: error: file: file is a file, expected a folder",
    "view nothing": NO_FOLDER.format("nothing: does not exist"),
}


@pytest.mark.parametrize("line", REFUSED)
def test_a_mistake_is_named(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("text")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    try:
        code: object = main(line.split())
    except SystemExit as end:
        code = end.code
    assert code in (1, 2)
    assert capsys.readouterr().err.splitlines()[-1].endswith(REFUSED[line])
    assert not (tmp_path / "out").exists()


def test_a_run_ends_for_what_the_first_node_said_that_could_not_start() -> None:
    lines = [
        "[INFO] [vla_ensemble-4]: process started with pid [3]",
        "[episode-5] [ERROR] [1795440845.3] [episode]: simulator_lost: first",
        "[episode-5] [ERROR] [1795440846.3] [episode]: simulator_lost: last",
        "[vla_ensemble-4] [ERROR] [1795440845.1] [vla_ensemble]: no_valid_policy: of one node",
    ]
    assert reason_of_failure(lines[:1]) is None
    assert reason_of_failure(lines) == "simulator_lost: last"
    died = ["[bag_recorder-3] error: no room", "[episode-5] error: later"]
    assert reason_of_failure([*lines, *died]) == "no room"
