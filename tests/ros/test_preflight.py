"""What ROS would answer with a traceback, or an exit code of its own, is one line before it starts."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus_vla.contract.errors import ConfigError
from salus_vla.ros.environment.preflight import MOST, domain_number, prepare


@given(st.text())
def test_a_domain_is_a_whole_number_that_has_ports(text: str) -> None:
    with suppress(ConfigError):
        assert 0 <= domain_number(text) == int(text) <= MOST


@pytest.mark.parametrize("text", ["abc", "233", "-1", "1.5", "0x10", "1_0", "\u0663"])
def test_what_ros_would_not_take_is_no_domain(text: str) -> None:
    with pytest.raises(ConfigError, match="is no ROS domain"):
        prepare({"ROS_DOMAIN_ID": text, "HOME": "/tmp"})


def test_an_empty_domain_is_none() -> None:
    environment = {"ROS_DOMAIN_ID": ""}
    prepare(environment)
    assert "ROS_DOMAIN_ID" not in environment


def test_a_middleware_that_is_not_installed_is_named_with_those_that_are(tmp_path: Path) -> None:
    index = tmp_path / "share/ament_index/resource_index/rmw_typesupport"
    index.mkdir(parents=True)
    for name in ("rmw_fastrtps_cpp", "rmw_implementation"):
        (index / name).touch()
    environment = {"AMENT_PREFIX_PATH": f"/nowhere:{tmp_path}", "RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}
    with pytest.raises(ConfigError, match=r"rmw_cyclonedds_cpp: is not installed; installed are rmw_fastrtps_cpp$"):
        prepare(environment)
    prepare(environment | {"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"})
    prepare(environment | {"AMENT_PREFIX_PATH": ""})  # nothing is known


@pytest.mark.parametrize("home", [None, "", "/proc/nobody"])
def test_without_a_home_the_logs_of_nodes_go_elsewhere(home: str | None) -> None:
    environment = {} if home is None else {"HOME": home}
    prepare(environment)
    assert "salus_ros_log" in environment["ROS_LOG_DIR"]


def test_a_home_and_a_chosen_folder_are_kept(tmp_path: Path) -> None:
    for environment in ({"HOME": str(tmp_path)}, {"ROS_LOG_DIR": str(tmp_path / "x")}, {"ROS_HOME": str(tmp_path)}):
        before = dict(environment)
        prepare(environment)
        assert environment == before
    with pytest.raises(ConfigError, match="ROS_LOG_DIR=/proc/x: cannot be written"):
        prepare({"ROS_LOG_DIR": "/proc/x"})
