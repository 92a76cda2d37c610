"""Fixtures for all tests: a private ROS domain, so that no other graph on this machine is seen."""

import os

import pytest

_DOMAINS = 101  # Linux keeps the DDS ports of the domains 1..101 clear of its ephemeral ports


@pytest.fixture(scope="session", autouse=True)
def private_ros_domain() -> int:
    """ROS_DOMAIN_ID of this test run and everything it starts, on the loopback only."""
    domain = 1 + os.getpid() % _DOMAINS
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    return domain
