"""`salus dagger`: rounds of rolling out, taking over, exporting and training on."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path

from rich.console import Console

from salus_vla.cli.commands import SUMMARIES
from salus_vla.cli.options import at_least, check_can_be_folder, number_above, some_text
from salus_vla.contract.errors import TrainingError
from salus_vla.learning.dagger.rounds import SETTINGS_FILE, DaggerSettings, check_same, final_model, steps
from salus_vla.policies.registry import expand_members

_DESCRIPTION = """\
Lets an ensemble learn from its own failures (DAgger). In each round it acts, disturbed, until a grasp goes wrong, and
undisturbed until a random decision; then the scripted expert takes over. What the expert did is learned from, beside
demonstrations of its own, from the weights of the round before; the vision-language model stays as it is.

Seeds and profile of training only. Every step is a command of `salus`, which is printed; Ctrl-C at any point, and the
same command goes on where it was.
"""
_EPILOG = """\
OUT/runs/             episodes
OUT/round_K/data      LeRobotDataset of all episodes so far; lerobot-train reads it too
OUT/round_K/trained   training, with the model

examples:
  salus dagger --out dagger
  salus dagger --out dagger --from builtin:compact --rounds 3 --faults 300 --steps 1500 --device cuda:0
"""
_HELP = {
    "rounds": "how many",
    "demos": "episodes of the disturbed expert, once",
    "faults": "episodes of a round until a grasp goes wrong",
    "random": "episodes of a round until a random decision",
    "steps": "of the training of a round",
    "rate": "learning rate",
    "batch": "observations in a step",
    "draws": "noise draws for each observation",
    "average": "decay of the weights' running average",
    "decay": "share of the steps over which the rate falls at the end",
    "weight": "of the recoveries' frames against the demonstrations'",
    "seed": "of the first episode",
    "image_size": "side of the images that are learned from [px]",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `dagger`."""
    parser = subparsers.add_parser(
        "dagger",
        help=SUMMARIES["dagger"],
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--out", metavar="DIR", type=Path, required=True, help="folder of everything; given again, it is continued")
    defaults = DaggerSettings()
    add(
        "--from", dest="base", metavar="MODEL", type=some_text, default=defaults.base, help="model folder to go on from"
    )
    for item in fields(DaggerSettings):
        if item.name in _HELP:
            value = getattr(defaults, item.name)
            kind = at_least(0) if isinstance(value, int) else number_above(0.0)
            words = f"{_HELP[item.name]} (default: {value:g})"
            add(f"--{item.name.replace('_', '-')}", metavar="N", type=kind, default=value, help=words)
    add("--workers", metavar="W", type=at_least(1), help="processes that make episodes (default: the CPUs)")
    add("--device", type=some_text, default="cpu", help="of policy and training (default: cpu)")
    parser.set_defaults(run=run, makes=True)


def run(arguments: argparse.Namespace) -> int:
    """Runs what is not done.

    Raises:
        SalusError: the arguments do not go together, or not with what OUT was begun with.
    """
    check_can_be_folder(arguments.out)
    out: Path = arguments.out.expanduser().resolve()
    given = {name: getattr(arguments, name) for name in ("base", *_HELP)}
    settings = DaggerSettings(**given, base_hash=_hash(arguments.base))
    _begin(out, settings)
    cores = os.cpu_count() or 1
    console = Console(highlight=False, soft_wrap=True)
    made = steps(out, settings, workers=arguments.workers or cores, threads=cores, device=arguments.device)
    for number, step in enumerate(made, 1):
        command = step.command()
        if command is None:
            continue
        console.print(f"[bold]{number} of {len(made)}: {step.name}[/bold]\n+ salus {shlex.join(command)}", markup=True)
        code = subprocess.run([sys.executable, "-m", "salus_vla.cli", *command], check=False).returncode
        if code:
            console.print(f"{step.name} ended with {code}; the same command goes on from here")
            return code
    model = final_model(out, settings)
    evaluate = ["salus", "rollout", "--model", str(model), "--episodes", "200", "--seed", "500000", "--no-images"]
    console.print(f"model: {model}\nnext: {shlex.join(evaluate)}")
    return 0


def _begin(out: Path, settings: DaggerSettings) -> None:
    path = out / SETTINGS_FILE
    if path.exists():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"{path}: cannot be read ({error})") from error
        if not isinstance(before, dict):
            raise TrainingError(f"{path}: is {before!r:.80}, expected a JSON object")
        check_same(settings, before, path)
        return
    if out.exists() and any(out.iterdir()):
        raise TrainingError(f"--out {out}: is not empty and has no {SETTINGS_FILE}; give another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(settings), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"--out {out}: cannot be written ({error})") from error


def _hash(model: str) -> str:
    """Of the weights of a model's members: 16 hex digits.

    Raises:
        TrainingError: it is no model folder with several members.
    """
    folders = [Path(name) for name in expand_members([model])]
    if len(folders) < 2 or not all((folder / "model.safetensors").is_file() for folder in folders):
        raise TrainingError(f"--from {model}: expected a model folder with several members")
    digest = hashlib.sha256()
    for folder in folders:
        digest.update((folder / "model.safetensors").read_bytes())
    return digest.hexdigest()[:16]
