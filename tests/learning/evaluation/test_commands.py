"""The command that a report quotes makes the same run again."""

import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from salus_vla.cli.main import build_parser
from salus_vla.data.episodes import COLLECT, Run
from salus_vla.data.rollouts.recorded_rollout import RolloutEpisode
from salus_vla.data.rollouts.rollout_settings import BASE, RolloutSettings
from salus_vla.learning.evaluation.evaluated_runs import open_runs
from salus_vla.learning.evaluation.run_commands import command_of
from synthetic import rollout_run, stored

SETTINGS = {
    "usual": {},
    "unusual": {
        "task": "pick up the cube; don't $(drop) it",
        "disturb": True,
        "images": False,
        "max_decisions": 50,
        "model": "models/my model,models/other",
        "device": "cuda:0",
    },
    "expert": {"policy": "expert", "images": True},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_command_of_a_rollout(tmp_path: Path, name: str) -> None:
    path = rollout_run(tmp_path, name, [stored(70, profile="dark"), stored(74, profile="dark")], **SETTINGS[name])
    (run,) = open_runs([path], acceptance=False)
    program, *words = shlex.split(command_of(run).replace("$(nproc)", "2", 1))
    parsed = build_parser().parse_args(words)
    given = {item.name: getattr(parsed, item.name) for item in fields(RolloutSettings) if item.name != BASE}
    again = RolloutSettings(**{key: value for key, value in given.items() if value is not None})
    stored_settings = RolloutSettings.from_arguments(run.arguments, "run.json")
    if stored_settings.policy == "expert":
        again = RolloutSettings(**(vars(again) | {"model": stored_settings.model}))
    assert program == "salus"
    assert again == stored_settings
    assert (parsed.seed, parsed.episodes, parsed.run_id) == (70, 5, name)


def test_the_command_of_a_collected_run() -> None:
    arguments = {"seed": "3", "policy": "ensemble", "profile": "heavy", "pacing": "realtime", "sim": "external"}
    episodes = tuple(RolloutEpisode(Path("x"), "x", "x", 0, seed, counted=True) for seed in (4, 5))
    run = Run(Path("runs/x"), "x", "", COLLECT, "ensemble", "heavy", arguments, {}, episodes)
    parsed = build_parser().parse_args(shlex.split(command_of(run))[1:])
    assert (parsed.seed, parsed.episodes, parsed.policy, parsed.profile) == (3, 3, "ensemble", "heavy")
    assert (parsed.pacing, parsed.sim, parsed.model) == ("realtime", "external", None)
