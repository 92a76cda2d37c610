"""`salus model init`: builds an untrained ensemble without a network."""

from __future__ import annotations

import argparse
from pathlib import Path

from salus_vla.policy.vlm_sizes import SIZES

_INIT = """\
Builds real LeRobot SmolVLA policies from local configuration and a locally trained tokenizer, without a network:
members with action experts of their own over one VLM. Same size, members and seed give the same weights.
They are not trained; their actions spread around the home pose.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `model` with its commands."""
    model = subparsers.add_parser("model", help="make policy checkpoints")
    commands = model.add_subparsers(title="commands", metavar="COMMAND", required=True)
    init = commands.add_parser(
        "init",
        help="build an untrained ensemble",
        description=_INIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    init.add_argument("folder", metavar="DIR", type=Path, help="new folder of the model")
    init.add_argument("--size", choices=tuple(SIZES), default="tiny", help="tiny: 0.35 M parameters; full: 450 M")
    init.add_argument("--members", metavar="K", type=int, default=5, help="number of members (default: 5)")
    init.add_argument("--seed", metavar="S", type=int, default=0, help="seed of all weights (default: 0)")
    init.set_defaults(run=run_init)


def run_init(arguments: argparse.Namespace) -> int:
    """Builds the model and prints its members.

    Raises:
        ModelError: the folder is in use, or the number of members is below one.
    """
    from salus_vla.policy.model_init import init_model  # torch and lerobot: seconds

    for folder in init_model(arguments.folder, size=arguments.size, members=arguments.members, seed=arguments.seed):
        print(folder)
    return 0
