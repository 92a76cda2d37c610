"""`salus launch` keeps a graph on this machine unless the user says otherwise."""

import os
from pathlib import Path

import pytest

from salus_vla.cli import launch
from salus_vla.cli.main import main
from salus_vla.ros.environment.domains import PROFILE_FILE

RANGE, PROFILES = "ROS_AUTOMATIC_DISCOVERY_RANGE", "FASTRTPS_DEFAULT_PROFILES_FILE"


@pytest.mark.parametrize(("chosen", "expected"), [(None, "SYSTEM_DEFAULT"), ("SUBNET", "SUBNET")])
def test_a_launched_graph_binds_the_loopback_only(
    chosen: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (RANGE, PROFILES):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    if chosen is not None:
        monkeypatch.setenv(RANGE, chosen)
    seen: dict[str, str] = {}

    def instead_of_a_graph(path: Path, arguments: dict[str, str]) -> int:
        seen.update(os.environ)
        return 0

    monkeypatch.setattr(launch, "launch", instead_of_a_graph)
    assert main(["launch", "--builtin", "salus.launch.xml"]) == 0
    assert seen[RANGE] == expected
    assert Path(seen[PROFILES]).name == PROFILE_FILE
