"""Each graph claims a ROS domain of its own."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from salus_vla.contract.errors import RecordingError, SalusError
from salus_vla.ros.environment import domains
from salus_vla.ros.environment.claims import claimed_run
from salus_vla.ros.environment.domains import DOMAINS, claimed_domain, private_graph


def test_graphs_that_run_at_once_have_different_domains() -> None:
    with private_graph({}) as one, private_graph({}) as two:
        assert one["ROS_DOMAIN_ID"] != two["ROS_DOMAIN_ID"]
        assert int(one["ROS_DOMAIN_ID"]) in DOMAINS


def test_a_domain_is_free_again_when_its_graph_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    with private_graph({}) as environment:
        only = int(environment["ROS_DOMAIN_ID"])
        monkeypatch.setattr(domains, "DOMAINS", (only,))
        with pytest.raises(SalusError, match="are in use"), private_graph({}):
            pass
    with private_graph({}) as again:
        assert int(again["ROS_DOMAIN_ID"]) == only


def test_what_the_user_has_set_is_kept() -> None:
    mine = {
        "ROS_DOMAIN_ID": "150",
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET",
        "FASTRTPS_DEFAULT_PROFILES_FILE": "/mine.xml",
    }
    with private_graph(dict(mine)) as environment:
        assert environment.items() >= mine.items()


def test_a_domain_that_is_set_has_one_graph() -> None:
    mine = {"ROS_DOMAIN_ID": "151"}
    with private_graph(dict(mine)) as environment:
        with pytest.raises(SalusError, match="ROS domain 151 is in use by a SALUS graph"), private_graph(dict(mine)):
            pass
        with private_graph(dict(mine), joins=True) as watcher:
            assert watcher["ROS_DOMAIN_ID"] == "151"
        with private_graph(dict(environment)) as part, claimed_domain(dict(environment)):  # what this graph starts
            assert part["ROS_DOMAIN_ID"] == "151"
    # What a process was told of a claim that is over says nothing.
    with private_graph(dict(environment)), pytest.raises(SalusError, match="in use"), private_graph(dict(mine)):
        pass


def test_a_set_domain_that_is_empty_is_none() -> None:
    with private_graph({"ROS_DOMAIN_ID": " "}) as environment:
        assert int(environment["ROS_DOMAIN_ID"]) in DOMAINS


def test_two_that_would_record_the_same_run_are_told_before_they_share_a_log(tmp_path: Path) -> None:
    with claimed_run(tmp_path / "run"):
        with claimed_run(tmp_path / "other"):
            pass
        with pytest.raises(RecordingError, match="run: another `salus collect`"), claimed_run(tmp_path / "x/../run"):
            pass
    with claimed_run(tmp_path / "run"):
        pass


def test_a_graph_stays_on_this_machine_by_default() -> None:
    with private_graph({}) as environment:
        assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SYSTEM_DEFAULT"  # what the profile says, nothing more
        profile = environment["FASTRTPS_DEFAULT_PROFILES_FILE"]
    assert profile.endswith("config/fastdds.xml")
    root = ElementTree.parse(profile).getroot()
    assert {item.text for item in root.iterfind(".//{*}address")} == {"127.0.0.1"}
    assert [item.text for item in root.iterfind(".//{*}useBuiltinTransports")] == ["false"]


@pytest.mark.parametrize(
    "mine",
    [
        {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"},
        {"FASTRTPS_DEFAULT_PROFILES_FILE": "/mine.xml"},
        {"FASTDDS_DEFAULT_PROFILES_FILE": "/mine.xml"},
    ],
)
def test_without_our_profile_the_middleware_is_told_to_stay_local(mine: dict[str, str]) -> None:
    with private_graph(dict(mine)) as environment:
        assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"


def test_a_profile_that_cannot_be_read_is_an_error_and_no_open_graph(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(domains, "config_dir", lambda: tmp_path)
    with pytest.raises(SalusError, match=r"fastdds\.xml: cannot be read"), private_graph({}):
        pass
