"""Rounds of a training: which commands, in which order, on which seeds, and what is done is not done again."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from salus_vla.cli.main import build_parser, main
from salus_vla.contract.errors import TrainingError
from salus_vla.learning.dagger.rounds import PROFILE, DaggerSettings, check_same, final_model, steps

SETTINGS = DaggerSettings(rounds=2, demos=10, faults=6, random=4, steps=8)
OUT = Path("/out")


def arguments(settings: DaggerSettings = SETTINGS, out: Path = OUT) -> list[list[str]]:
    return [list(step.arguments) for step in steps(out, settings, workers=2, threads=2, device="cpu")]


def value(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


def test_a_round_is_episodes_data_and_training() -> None:
    names = [step.name for step in steps(OUT, SETTINGS, workers=2, threads=2, device="cpu")]
    assert names == [
        "episodes demos",
        "episodes round_1_faults",
        "episodes round_1_random",
        "data of round_1",
        "training of round_1",
        "episodes round_2_faults",
        "episodes round_2_random",
        "data of round_2",
        "training of round_2",
    ]


def test_every_command_is_one_that_salus_takes() -> None:
    parser = build_parser()
    for command in arguments():
        parser.parse_args(command)


def test_each_round_goes_on_from_the_last_ones_model_and_learns_from_all_data() -> None:
    commands = arguments()
    assert value(commands[1], "--model") == value(commands[4], "--from") == "builtin:compact"
    first = "/out/round_1/trained/model"
    assert value(commands[5], "--model") == value(commands[8], "--from") == first
    assert commands[7][2:7] == [
        f"/out/runs/{name}"
        for name in ("demos", "round_1_faults", "round_1_random", "round_2_faults", "round_2_random")
    ]
    assert value(commands[7], "--weights") == "1,2,2,2,2"
    assert str(final_model(OUT, SETTINGS)) == "/out/round_2/trained/model"


def test_only_seeds_and_profile_of_training_are_used_and_none_twice() -> None:
    seen: set[int] = set()
    for command in arguments(replace(SETTINGS, demos=10_000, faults=10_000, random=10_000)):
        if command[0] != "rollout":
            continue
        assert value(command, "--profile") == PROFILE == "train"
        first = int(value(command, "--seed"))
        seeds = set(range(first, first + int(value(command, "--episodes"))))
        assert not seeds & seen
        seen |= seeds
    assert max(seen) < 500_000


def test_what_is_done_is_not_done_again_and_what_was_begun_goes_on(tmp_path: Path) -> None:
    made = steps(tmp_path, SETTINGS, workers=2, threads=2, device="cpu")
    assert made[0].command() == made[0].arguments
    (tmp_path / "runs" / "demos").mkdir(parents=True)
    assert made[0].command() == (*made[0].arguments, "--resume")
    (tmp_path / "round_1" / "trained").mkdir(parents=True)
    assert made[4].command() == (*made[4].arguments, "--resume")
    (tmp_path / "round_1" / "trained" / "model").mkdir()
    (tmp_path / "round_1" / "data").mkdir()
    assert made[3].command() is made[4].command() is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": 0}, "--rounds 0"),
        ({"faults": 0, "random": 0}, "an episode in each round"),
        ({"seed": 890_000}, "reserved for acceptance"),
        ({"demos": 20_000}, "the same seeds"),
    ],
)
def test_settings_that_make_no_sense_are_named(changes: dict[str, int], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        replace(SETTINGS, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_hash": "ffff"}, "was begun with the weights of --from ffff"),
        ({"base": "other"}, "was begun with --from other"),
        ({"demos": 11}, "was begun with --demos 11"),
    ],
)
def test_another_ensemble_or_other_data_are_refused(changes: dict[str, object], message: str) -> None:
    before = {**asdict(SETTINGS), **changes}
    with pytest.raises(TrainingError, match=f"dagger.json: {message}, asked for now is .*give another --out"):
        check_same(SETTINGS, before, OUT / "dagger.json")
    check_same(SETTINGS, asdict(SETTINGS), OUT / "dagger.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [("[]", "expected a JSON object"), ("{", "cannot be read"), (None, "is not empty and has no dagger.json")],
)
def test_a_folder_of_something_else_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    (tmp_path / "other").mkdir()
    if content is not None:
        (tmp_path / "dagger.json").write_text(content)
    assert main(["dagger", "--out", str(tmp_path)]) == 1
    assert message in capsys.readouterr().err


def test_a_model_without_members_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dagger", "--out", str(tmp_path / "out"), "--from", str(tmp_path)]) == 1
    assert "expected a model folder with several members" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_settings_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []

    class Ended:
        returncode = 7

    def run(command: list[str], *, check: bool) -> Ended:
        called.append(command)
        return Ended()

    monkeypatch.setattr("subprocess.run", run)
    assert main(["dagger", "--out", str(tmp_path / "out"), "--demos", "12"]) == 7
    assert called[0][2:4] == ["salus_vla.cli", "rollout"]
    kept = json.loads((tmp_path / "out" / "dagger.json").read_text())
    assert (kept["demos"], kept["base"], len(kept["base_hash"])) == (12, "builtin:compact", 16)
