"""Which graph is looked at: the chosen one, that of the environment, or the only one there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from salus_vla.contract.errors import SalusError
from salus_vla.ros.environment import domains
from salus_vla.ros.environment.domains import claimed_domains, private_graph, watched_domain

SOCKETS = """\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00000000 0002 01 11111 @salus-ros-domain-{}
0000000000000000: 00000003 00000000 00000000 0001 03 22222 /run/salus-ros-domain-9
0000000000000000: 00000002 00000000 00000000 0002 01 33333 @other-ros-domain-5
0000000000000000: 00000002 00000000 00000000 0002 01 44444 @salus-ros-domain-x
"""


def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sockets: str) -> None:
    (tmp_path / "unix").write_text(sockets)
    monkeypatch.setattr(domains, "_UNIX_SOCKETS", tmp_path / "unix")


def test_a_choice_wins_over_the_environment() -> None:
    assert watched_domain(7, {"ROS_DOMAIN_ID": "5"}) == "7"
    assert watched_domain(0, {}) == "0"
    assert watched_domain(None, {"ROS_DOMAIN_ID": "5"}) == "5"


def test_the_only_graph_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, SOCKETS.format(31))
    assert watched_domain(None, {}) == "31"


def test_of_several_graphs_one_must_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, SOCKETS.format(31) + SOCKETS.format(4))
    with pytest.raises(SalusError, match="ROS domains 4, 31; choose one with --domain"):
        watched_domain(None, {})


def test_without_a_graph_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, "")
    with pytest.raises(SalusError, match="no graph of `salus collect` runs on this machine"):
        watched_domain(None, {})


def test_the_kernel_lists_a_claim_as_long_as_it_lasts() -> None:
    listed = Path("/proc/net/unix")
    with private_graph({}) as environment:
        claimed = int(environment["ROS_DOMAIN_ID"])
        assert claimed in claimed_domains(listed.read_text())
    assert claimed not in claimed_domains(listed.read_text())
