"""The ensemble is imported without what only others need, and LeRobot stays what it is for whoever asks for more."""

import importlib
import json
import subprocess
import sys
from typing import Final

import pytest

from salus_vla.policies.smolvla.loading import lean_imports

LEAN: Final = "from salus_vla.policies.smolvla.loading.lean_imports import import_ensemble; import_ensemble()"


def said(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def after() -> dict[str, str]:
    """What a Python says after the import, by name."""
    questions = {
        "heavy": "[m for m in ('sklearn','pandas','datasets','cv2','lerobot.policies.pi0') if m in sys.modules]",
        "class": "sys.modules['lerobot.policies'].SmolVLAConfig is __import__("
        "'lerobot.policies.smolvla.configuration_smolvla', fromlist=['x']).SmolVLAConfig",
        "missing": "hasattr(__import__('lerobot.policies', fromlist=['x']), 'no_such_name')",
        "all": "set(lerobot.policies.__all__) <= set(vars(lerobot.policies))",
        "factory": "lerobot.policies.make_policy.__module__",
        "sklearn": "__import__('sklearn.metrics', fromlist=['x']).roc_curve.__name__",
        "finders": "[f for f in sys.meta_path if 'salus' in type(f).__module__]",
    }
    shown = "\n".join(f"print({name!r}, {code}, sep='=')" for name, code in questions.items())
    lines = said(f"import sys\n{LEAN}\nimport lerobot.policies\n{shown}").splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_what_only_others_need_is_not_imported(after: dict[str, str]) -> None:
    assert after["heavy"] == "[]"


def test_names_of_the_package_are_its_own(after: dict[str, str]) -> None:
    assert after["class"] == "True"
    assert after["missing"] == "False"
    assert after["all"] == "True"  # asked for a name that it has not, its own code has run
    assert after["factory"] == "lerobot.policies.factory"


def test_nothing_stays_behind(after: dict[str, str]) -> None:
    assert after["sklearn"] == "roc_curve"
    assert after["finders"] == "[]"


def test_a_package_that_is_imported_already_stays_as_it_is() -> None:
    with lean_imports._absent("json"), lean_imports._deferring("json"):
        assert importlib.import_module("json") is json
    assert sys.modules["json"] is json
