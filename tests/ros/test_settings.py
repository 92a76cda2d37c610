"""A value that a user changes in the YAML is the same in the graph's node and in `salus rollout`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from salus_vla.cli import collect
from salus_vla.cli.main import build_parser
from salus_vla.config.parameters import parameter_names
from salus_vla.config.policy_settings import DEFAULTS, NODE, PolicySettings, read_settings
from salus_vla.contract.errors import ConfigError
from salus_vla.data.rollouts import episode_maker
from salus_vla.data.rollouts.rollout_settings import RolloutSettings
from salus_vla.ros.adapters.node_parameters import make_node, read_parameters
from salus_vla.ros.nodes.vla_ensemble_node import EnsembleParameters

StartRos = Callable[..., None]
# What `salus collect` gives to the launch file, whose arguments win over the file: they must be the file's, then.
ARGUMENTS = {
    "policy": "policy",
    "model.members": "model",
    "model.device": "device",
    "model.devices": "devices",
    "model.mode": "mode",
    "disturb": "disturb",
}


def another(value: Any, field: Any) -> Any:
    """A value that is not the default."""
    if field.metadata["choices"]:
        return next(choice for choice in field.metadata["choices"] if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return ["cuda:0"]
    if isinstance(value, str):
        return f"{value}:1"
    return value + 1 if isinstance(value, int) else value * 1.5


@pytest.mark.parametrize("name", sorted(parameter_names(PolicySettings)))
def test_a_changed_value_reaches_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_ros: StartRos, name: str
) -> None:
    field = parameter_names(PolicySettings)[name]
    value = another(getattr(DEFAULTS, field.name), field)
    file = tmp_path / "parameters.yaml"
    file.write_text(yaml.safe_dump({NODE: {"ros__parameters": {name: value}}}))
    start_ros("--params-file", str(file))
    node = make_node(NODE)
    try:
        in_graph = read_parameters(node, EnsembleParameters)
    finally:
        node.destroy_node()
    changed = tuple(value) if isinstance(value, list) else value
    assert getattr(in_graph, field.name) == changed
    built: list[PolicySettings] = []

    def build(settings: PolicySettings, scene: object, **takeover: object) -> None:
        built.append(settings)
        raise InterruptedError

    monkeypatch.setattr(episode_maker, "build_controller", build)
    with pytest.raises(InterruptedError):
        episode_maker.EpisodeMaker(RolloutSettings.of(read_settings(file)))
    assert getattr(built[0], field.name) == changed
    assert built[0] == PolicySettings(**{item.name: getattr(in_graph, item.name) for item in _fields()})


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_changed_value_is_what_collect_gives_to_the_launch_file(tmp_path: Path, name: str) -> None:
    field = parameter_names(PolicySettings)[name]
    value = another(getattr(DEFAULTS, field.name), field)
    file = tmp_path / "parameters.yaml"
    file.write_text(yaml.safe_dump({NODE: {"ros__parameters": {name: value}}}))
    arguments = build_parser().parse_args(["collect", "--episodes", "1", "--params-file", str(file)])
    given = collect._settings(arguments, {}, read_settings(file))[ARGUMENTS[name]]
    assert given == (",".join(value) if isinstance(value, list) else str(value).lower() if value is True else value)


def _fields() -> list[Any]:
    return list(parameter_names(PolicySettings).values())


def test_the_settings_of_a_rollout_are_kept_in_its_run_and_older_runs_have_the_defaults_of_their_time() -> None:
    settings = RolloutSettings(policy="hold", base=PolicySettings(blend_s=0.5, noise_samples=4))
    stored = settings.to_arguments()
    assert RolloutSettings.from_arguments(stored, "run.json") == settings
    del stored["policy_settings"]
    assert RolloutSettings.from_arguments(stored, "run.json") == RolloutSettings(policy="hold")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[1]", "expected a JSON object"),
        ('{"plan.blend_s": "soon"}', "'plan.blend_s' is 'soon'"),
        ('{"plan.blend": 1.0}', "unknown parameter 'plan.blend'"),
    ],
)
def test_settings_that_cannot_be_read_are_named(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        PolicySettings.from_json(text, "run.json: arguments.policy_settings")
    assert str(caught.value).startswith("run.json: arguments.policy_settings")
