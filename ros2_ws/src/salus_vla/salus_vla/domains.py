"""A ROS_DOMAIN_ID that no other SALUS graph on this machine uses.

A claim is an abstract Unix socket named after the domain: the kernel gives it to one process only, across users, and
takes it back when the process ends, however it ends.
"""

from __future__ import annotations

import errno
import os
import random
import socket
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from salus_vla.errors import SalusError
from salus_vla.paths import config_dir

# On Linux the DDS ports of these domains lie clear of the ephemeral ports; 0 is everybody's default.
DOMAINS = tuple(domain for domain in range(1, 102) if domain != 73)  # 73 is the launch file's own default


@contextmanager
def private_graph(environment: MutableMapping[str, str]) -> Iterator[MutableMapping[str, str]]:
    """Sets what keeps a graph on this machine and to itself, unless the user did; the claim ends with the context.

    Args:
        environment: gets ROS_DOMAIN_ID, ROS_AUTOMATIC_DISCOVERY_RANGE and FASTRTPS_DEFAULT_PROFILES_FILE.

    Raises:
        SalusError: every domain is in use.
    """
    environment.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    environment.setdefault("FASTRTPS_DEFAULT_PROFILES_FILE", str(Path(config_dir()) / "fastdds.xml"))
    if "ROS_DOMAIN_ID" in environment:
        yield environment
        return
    domain, claim = _claim()
    with claim:
        environment["ROS_DOMAIN_ID"] = str(domain)
        yield environment


def _claim() -> tuple[int, socket.socket]:
    for domain in random.sample(DOMAINS, len(DOMAINS)):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0salus-ros-domain-{domain}")
        except OSError as error:
            claim.close()
            if error.errno != errno.EADDRINUSE:
                raise SalusError(f"cannot claim ROS domain {domain}: {os.strerror(error.errno or 0)}") from error
            continue
        return domain, claim
    raise SalusError(f"all ROS domains {min(DOMAINS)}..{max(DOMAINS)} are in use by SALUS graphs; set ROS_DOMAIN_ID")
