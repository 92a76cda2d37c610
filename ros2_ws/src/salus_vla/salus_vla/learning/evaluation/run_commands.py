"""The commands that made runs, from the settings in their run.json."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from salus_vla.config.parameters import parameter_texts
from salus_vla.config.policy_options import DEFAULT_MODEL
from salus_vla.config.policy_settings import DEFAULTS, SETTINGS, PolicySettings
from salus_vla.contract import DEFAULT_TASK
from salus_vla.data.episodes import ROLLOUT, Run

# Settings whose usual value is not worth a word, as run.json writes them.
_USUAL = {
    "sim": "mujoco",
    "model": DEFAULT_MODEL,
    "device": "cpu",
    "task": DEFAULT_TASK,
    "cameras": "",
    "cut_task": "false",
    "disturb": "false",
    "images": "true",
    "pacing": "lockstep",
    "max_decisions": "0",
}
_FLAGS = {"cut_task": "--cut-task", "disturb": "--disturb", "images": "--no-images"}


def command_of(run: Run) -> str:
    """The shell command that makes this run again: its settings, and seeds from the first to the last finished one."""
    first = _first_seed(run.arguments, min(run.seeds))
    parts = [*run.made_by.split(), "--policy", run.policy, "--profile", run.profile]
    parts += ["--episodes", str(max(run.seeds) - first + 1), "--seed", str(first)]
    for name, usual in _USUAL.items():
        value = run.arguments.get(name, usual)
        # Only the ensemble has a model.
        if value == usual or (name in ("model", "device", "cameras") and run.policy != "ensemble"):
            continue
        parts += [_FLAGS[name]] if name in _FLAGS else ["--" + name.replace("_", "-"), value]
    if run.made_by == ROLLOUT:
        parts += ["--workers", "$(nproc)"]
    command = shlex.join([*parts, "--run-id", run.run_id]).replace("'$(nproc)'", "$(nproc)")
    return command + _other_parameters(run)


def _other_parameters(run: Run) -> str:
    """A comment of the shell's on parameters of a file that was given, which no option repeats."""
    text = run.arguments.get(SETTINGS)
    if text is None:
        return ""
    given, usual = parameter_texts(PolicySettings.from_json(text, f"{run.path}: run.json")), parameter_texts(DEFAULTS)
    named = (
        "policy",
        "model.members",
        "model.device",
        "model.devices",
        "model.mode",
        "model.cameras",
        "model.cut_task",
        "disturb",
    )
    other = [f"{name}={value}" for name, value in given.items() if name not in named and value != usual[name]]
    return f"  # with a --params-file that sets {' '.join(other)}" if other else ""


def _first_seed(arguments: Mapping[str, str], fallback: int) -> int:
    text = arguments.get("seed", "")
    return min(int(text), fallback) if text.isdecimal() else fallback
