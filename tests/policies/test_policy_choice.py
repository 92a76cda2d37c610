"""What `make_policy` chooses from, and that a choice loads only what it needs."""

import subprocess
import sys

import pytest

from salus_vla.config.policy_options import POLICIES
from salus_vla.config.scene import load_scene
from salus_vla.contract.errors import ModelError
from salus_vla.policies.registry import make_policy


def test_the_expert_needs_the_scene() -> None:
    with pytest.raises(ModelError, match="'expert' needs the scene"):
        make_policy("expert")


def test_an_unknown_policy_names_the_known_ones() -> None:
    with pytest.raises(ModelError, match=f"'expret' is not known; expected one of {', '.join(POLICIES)}"):
        make_policy("expret", scene=load_scene())


def test_what_the_policies_read() -> None:
    hold, expert = make_policy("hold"), make_policy("expert", scene=load_scene())
    assert (hold.needs_images, hold.needs_poses) == (False, False)
    assert (expert.needs_images, expert.needs_poses) == (False, True)
    assert (expert.source, expert.provenance()["policy"]) == ("expert", "expert")


def test_choosing_a_policy_loads_only_what_it_needs() -> None:
    program = "\n".join(
        [
            "import sys",
            "sys.modules['torch'] = sys.modules['lerobot'] = None",
            "from salus_vla.policies.registry import make_policy",
            "from salus_vla.config.scene import load_scene",
            "make_policy('hold')",
            "assert 'mujoco' not in sys.modules, 'hold loads mujoco'",
            "make_policy('expert', scene=load_scene())",
        ]
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
