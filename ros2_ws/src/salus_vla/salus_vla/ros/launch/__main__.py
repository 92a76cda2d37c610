"""`python -m salus_vla.ros.launch FILE [name:=value ...]`: run a launch file with the built-in runner."""

import sys
from pathlib import Path

from salus_vla.contract.errors import LaunchError
from salus_vla.ros.launch import launch, parse_arguments


def main(words: list[str]) -> int:
    """Runs the launch file named first with the arguments that follow; 2 if it cannot be launched."""
    if not words:
        print("usage: python -m salus_vla.ros.launch FILE [name:=value ...]", file=sys.stderr)
        return 2
    try:
        return launch(Path(words[0]), parse_arguments(words[1:]))
    except LaunchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
