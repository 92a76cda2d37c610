"""The example of episodes in a script does what it says, and leaves nothing behind on stderr."""

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "episodes_in_python.py"


def test_the_example_makes_an_episode() -> None:
    done = subprocess.run([sys.executable, EXAMPLE, "expert", "1"], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("seed 0: SUCCESS after ")
