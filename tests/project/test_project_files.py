"""Licence, changelog, versions and hooks agree with each other."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import yaml

import salus_vla

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "ros2_ws" / "src"


def test_every_package_says_apache_2_and_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text[:200]
    assert "END OF TERMS AND CONDITIONS" in text
    for package in sorted(PACKAGES.glob("*/package.xml")):
        assert ElementTree.parse(package).findtext("license") == "Apache-2.0", package
    assert 'license="Apache-2.0"' in (PACKAGES / "salus_vla" / "setup.py").read_text(encoding="utf-8")


def test_versions_agree_and_the_changelog_has_them() -> None:
    versions = {ElementTree.parse(package).findtext("version") for package in PACKAGES.glob("*/package.xml")}
    assert versions == {salus_vla.__version__}
    assert f'version="{salus_vla.__version__}"' in (PACKAGES / "salus_vla" / "setup.py").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    titles = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert titles[0] == "Unreleased"
    assert salus_vla.__version__ in titles
    kinds = set(re.findall(r"^### (.+)$", changelog, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_hooks_are_local_and_those_of_make_lint() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}  # nothing is downloaded
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert lint is not None
    commands = [line.partition("$(IN_ENV) ")[2] for line in lint[1].splitlines()]
    run = [hook["entry"].removeprefix(".venv/bin/").removesuffix(" --force-exclude") for hook in hooks]
    assert run == commands
    tools = [word for hook in hooks for word in hook["entry"].split() if word.startswith(".venv/bin/")]
    assert len(tools) == len(hooks)
    assert all((ROOT / tool).is_file() for tool in tools)
