"""`salus`, and `python -m salus_vla.cli`: imports within reach of Ctrl-C, which is no traceback at any moment."""

import sys


def run() -> int:
    """Runs `salus` and returns its exit code."""
    try:
        from salus_vla.cli.main import main
    except KeyboardInterrupt:
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(run())
