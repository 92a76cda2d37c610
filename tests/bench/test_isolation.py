"""Graphs side by side, of one user or of two, do not see each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from salus_vla.ros.environment.shared_memory import SHM, segments_of
from waiting import wait_until

pytestmark = [pytest.mark.graph, pytest.mark.safety, pytest.mark.timeout(60)]

NODE = Path(__file__).with_name("lonely_node.py")
LISTENS_S = 4.5  # longer than the time between two announcements of Fast DDS, 3 s
NOBODY = 65534


def start(name: str, domain: str, home: Path, user: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(NODE), name, domain, str(LISTENS_S), str(user)]
    environment = os.environ | {"ROS_LOG_DIR": str(home), "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)


@pytest.fixture
def homes() -> Iterator[list[Path]]:
    """Folders for the logs of four graphs, open to every user; pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        paths = [Path(folder) / name for name in "abcd"]
        for path in paths:
            path.mkdir()
            path.chmod(0o777)
        yield paths


def test_four_graphs_hear_only_themselves(homes: list[Path]) -> None:
    me = os.geteuid()
    other = NOBODY if me == 0 else me  # only root can start graphs of two users
    graphs = [start(home.name, "own", home, other if home.name in "cd" else me) for home in homes]
    domains = [graph.stdout.readline().strip() for graph in graphs if graph.stdout is not None]
    # Shows that one who is in the same domain is heard: without it the test would pass in silence too.
    friend = start("friend_of_a", domains[0], homes[0], me)
    shared = [wait_until(partial(segments_of, graph.pid), "segment in shared memory", LISTENS_S) for graph in graphs]
    # Discovery may take seconds in one direction: these two listen until each has heard the other.
    for process in (graphs[0], friend):
        _wait_for_line(process, "a friend_of_a")
    heard = {name: _ended(graph) for name, graph in zip("abcd", graphs, strict=True)}
    friends = _ended(friend)
    assert len(set(domains)) == 4
    assert heard == {"a": ["a", "friend_of_a"], "b": ["b"], "c": ["c"], "d": ["d"]}
    assert friends == ["a", "friend_of_a"]
    # What ends in order leaves nothing in shared memory.
    assert all(len(names) == 1 for names in shared)
    assert not any((SHM / name).exists() for names in shared for name in names)
    assert all(process.returncode == 0 for process in (*graphs, friend))


def _wait_for_line(process: subprocess.Popen[str], expected: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:  # pytest's own time limit ends it
        if line.strip() == expected:
            return
    pytest.fail(f"it ended before it said {expected!r}")


def _ended(process: subprocess.Popen[str]) -> list[str]:
    """What it heard; closing its standard input ends it."""
    return list(json.loads(process.communicate()[0].splitlines()[-1]))
