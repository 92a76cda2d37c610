"""The ensemble is imported without what only others need, and LeRobot stays what it is for whoever asks for more."""

import gc
import importlib
import json
import subprocess
import sys
from typing import Final

import pytest

from salus_vla.policies.smolvla.loading import lean_imports

LEAN: Final = "from salus_vla.policies.smolvla.loading.lean_imports import import_ensemble; import_ensemble()"

AFTER: Final = """
imported = set(sys.modules)
import gc
import lerobot.policies
from transformers.utils import import_utils
from importlib.metadata import packages_distributions, version
"""


def said(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def after() -> dict[str, str]:
    """What a Python says after the import, by name."""
    questions = {
        "heavy": "[m for m in ('sklearn','scipy','pandas','datasets','cv2','lerobot.policies.pi0') if m in imported]",
        "class": "sys.modules['lerobot.policies'].SmolVLAConfig is __import__("
        "'lerobot.policies.smolvla.configuration_smolvla', fromlist=['x']).SmolVLAConfig",
        "missing": "hasattr(__import__('lerobot.policies', fromlist=['x']), 'no_such_name')",
        "all": "set(lerobot.policies.__all__) <= set(vars(lerobot.policies))",
        "factory": "lerobot.policies.make_policy.__module__",
        "sklearn": "__import__('sklearn.metrics', fromlist=['x']).roc_curve.__name__",
        "versions": "[import_utils.is_torch_available(), import_utils.get_torch_version() == version('torch')]",
        "distributions": "dict(import_utils.PACKAGE_DISTRIBUTION_MAPPING) == packages_distributions()",
        "collecting": "gc.isenabled()",
        "finders": "[f for f in sys.meta_path if 'salus' in type(f).__module__]",
    }
    shown = "\n".join(f"print({name!r}, {code}, sep='=')" for name, code in questions.items())
    lines = said(f"import sys\n{LEAN}\n{AFTER}\n{shown}").splitlines()
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
    assert after["collecting"] == "True"


def test_transformers_knows_the_distributions(after: dict[str, str]) -> None:
    assert after["versions"] == "[True, True]"
    assert after["distributions"] == "True"


@pytest.mark.parametrize(
    ("package", "quick", "expected", "looked"),
    [
        ("hypothesis", True, ["hypothesis"], 0),  # its own name
        ("PIL", True, ["pillow"], 1),
        ("hypothesis", False, ["another"], 1),  # later everything counts
    ],
)
def test_distributions_are_looked_through_only_where_a_name_does_not_do(
    package: str, quick: bool, expected: list[str], looked: int
) -> None:
    calls: list[int] = []

    def look_through() -> dict[str, list[str]]:
        calls.append(1)
        return {"PIL": ["pillow"], "hypothesis": ["another"]}

    found = lean_imports.Distributions(look_through)
    found.quick = quick
    assert found[package] == expected
    assert len(calls) == looked
    with pytest.raises(KeyError):
        found["no_such_package"]
    assert "no_such_package" not in found
    assert (sorted(found), len(found)) == (["PIL", "hypothesis"], 2)
    assert len(calls) == 1  # once


@pytest.mark.parametrize("collecting", [True, False])
def test_garbage_is_collected_again_where_it_was(collecting: bool) -> None:
    try:
        (gc.enable if collecting else gc.disable)()
        with lean_imports._without_collection():
            assert not gc.isenabled()
        assert gc.isenabled() is collecting
    finally:
        gc.enable()


def test_a_package_that_is_imported_already_stays_as_it_is() -> None:
    with lean_imports._absent("json"), lean_imports._deferring("json"):
        assert importlib.import_module("json") is json
    assert sys.modules["json"] is json
