"""Fixtures for all tests: a private ROS domain, so that no other graph on this machine is seen."""

import os
from collections.abc import Iterator

import pytest

from salus_vla.domains import private_graph


@pytest.fixture(scope="session", autouse=True)
def private_ros_domain() -> Iterator[int]:
    """ROS_DOMAIN_ID of this test run and everything it starts, on the loopback only."""
    os.environ.pop("ROS_DOMAIN_ID", None)
    os.environ.pop("ROS_AUTOMATIC_DISCOVERY_RANGE", None)
    with private_graph(os.environ) as environment:
        yield int(environment["ROS_DOMAIN_ID"])
