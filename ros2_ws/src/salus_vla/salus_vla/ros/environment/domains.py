"""A ROS_DOMAIN_ID that no other SALUS graph on this machine uses.

A claim is an abstract Unix socket named after the domain: the kernel gives it to one process only, across users, and
takes it back when the process ends, however it ends.
"""

from __future__ import annotations

import errno
import os
import random
import re
import socket
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from salus_vla.config.paths import config_dir
from salus_vla.contract.errors import SalusError
from salus_vla.ros.environment.shared_memory import remove_dead_segments

# On Linux the DDS ports of these domains lie clear of the ephemeral ports; 0 is everybody's default.
PROFILE_FILE = "fastdds.xml"
_UNIX_SOCKETS = Path("/proc/net/unix")
_PROFILES = "FASTRTPS_DEFAULT_PROFILES_FILE"
_PROFILES_NEW_NAME = "FASTDDS_DEFAULT_PROFILES_FILE"  # read as well, and first, by newer releases of Fast DDS
_RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
_CLAIM = "salus-ros-domain-"  # name of the socket that claims a domain
DOMAINS = tuple(domain for domain in range(1, 102) if domain != 73)  # 73 is the launch file's own default


@contextmanager
def private_graph(environment: MutableMapping[str, str]) -> Iterator[MutableMapping[str, str]]:
    """Sets what keeps a graph on this machine and to itself, unless the user did; the claim ends with the context.

    Shared memory that this user's dead processes left behind is given back first.

    Args:
        environment: gets ROS_DOMAIN_ID, ROS_AUTOMATIC_DISCOVERY_RANGE and FASTRTPS_DEFAULT_PROFILES_FILE.

    Raises:
        SalusError: every domain is in use, or our Fast DDS profile cannot be read.
    """
    keep_on_this_machine(environment)
    remove_dead_segments()
    if "ROS_DOMAIN_ID" in environment:
        yield environment
        return
    domain, claim = _claim()
    with claim:
        environment["ROS_DOMAIN_ID"] = str(domain)
        yield environment


def watched_domain(chosen: int | None, environment: Mapping[str, str]) -> str:
    """The ROS domain to look at: the chosen one, else $ROS_DOMAIN_ID, else that of the one graph on this machine.

    Raises:
        SalusError: nothing was chosen, and there is no graph with a domain of its own, or more than one.
    """
    if chosen is not None:
        return str(chosen)
    if environment.get("ROS_DOMAIN_ID"):
        return environment["ROS_DOMAIN_ID"]
    claimed = sorted(claimed_domains(_UNIX_SOCKETS.read_text(encoding="utf-8", errors="replace")))
    if len(claimed) == 1:
        return str(claimed[0])
    if claimed:
        raise SalusError(f"graphs run on the ROS domains {', '.join(map(str, claimed))}; choose one with --domain")
    raise SalusError(
        "no graph of `salus collect` runs on this machine; for one that was started otherwise give --domain "
        "(the launch file's own default is 73)"
    )


def claimed_domains(sockets: str) -> set[int]:
    """ROS domains that SALUS graphs have claimed, from the content of /proc/net/unix."""
    return {int(number) for number in re.findall(rf"@{_CLAIM}(\d+)$", sockets, re.MULTILINE)}


def keep_on_this_machine(environment: MutableMapping[str, str]) -> None:
    """Sets what keeps the sockets of a graph on the loopback, as far as nothing else was chosen.

    Raises:
        SalusError: our Fast DDS profile cannot be read.
    """
    rmw = environment.get("RMW_IMPLEMENTATION") or "rmw_fastrtps_cpp"
    chosen = environment.get(_PROFILES) or environment.get(_PROFILES_NEW_NAME)
    profile = Path(config_dir()) / PROFILE_FILE
    if chosen not in (None, "", str(profile)) or not rmw.startswith("rmw_fastrtps"):
        # What another profile or another middleware opens by default is not known here.
        environment.setdefault(_RANGE, "LOCALHOST")
        return
    try:
        profile.read_bytes()
    except OSError as error:  # Fast DDS would only log it, and open every interface
        raise SalusError(f"{profile}: cannot be read ({error.strerror or error})") from error
    environment[_PROFILES] = str(profile)
    # The profile binds everything to the loopback; LOCALHOST would add sender sockets on the other interfaces.
    environment.setdefault(_RANGE, "SYSTEM_DEFAULT")


def _claim() -> tuple[int, socket.socket]:
    for domain in random.sample(DOMAINS, len(DOMAINS)):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0{_CLAIM}{domain}")
        except OSError as error:
            claim.close()
            if error.errno != errno.EADDRINUSE:
                raise SalusError(f"cannot claim ROS domain {domain}: {os.strerror(error.errno or 0)}") from error
            continue
        return domain, claim
    raise SalusError(f"all ROS domains {min(DOMAINS)}..{max(DOMAINS)} are in use by SALUS graphs; set ROS_DOMAIN_ID")
