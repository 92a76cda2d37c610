"""A ROS_DOMAIN_ID that no other SALUS graph on this machine uses: who starts a graph claims its domain.

What a claimant starts is told so in its environment, and takes part instead of claiming again.
"""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from salus_vla.config.paths import config_dir
from salus_vla.contract.errors import SalusError
from salus_vla.ros.environment.claims import claim
from salus_vla.ros.environment.preflight import DOMAIN, domain_number, prepare
from salus_vla.ros.environment.shared_memory import remove_dead_segments

# On Linux the DDS ports of these domains lie clear of the ephemeral ports; 0 is everybody's default.
PROFILE_FILE = "fastdds.xml"
_UNIX_SOCKETS = Path("/proc/net/unix")
_PROFILES = "FASTRTPS_DEFAULT_PROFILES_FILE"
_PROFILES_NEW_NAME = "FASTDDS_DEFAULT_PROFILES_FILE"  # read as well, and first, by newer releases of Fast DDS
_RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
_CLAIM = "salus-ros-domain-"  # name of the socket that claims a domain
_CLAIMED = "SALUS_CLAIMED_DOMAIN"  # tells the processes of a graph that its starter has claimed this domain
LAUNCH_DOMAIN = 73  # the launch file's own default
DOMAINS = tuple(domain for domain in range(1, 102) if domain != LAUNCH_DOMAIN)


@contextmanager
def private_graph(environment: MutableMapping[str, str], *, joins: bool = False) -> Iterator[MutableMapping[str, str]]:
    """Sets what keeps a graph on this machine and to itself, unless the user did; the claim ends with the context.

    Shared memory that this user's dead processes left behind is given back first.

    Args:
        environment: gets ROS_DOMAIN_ID, ROS_AUTOMATIC_DISCOVERY_RANGE and FASTRTPS_DEFAULT_PROFILES_FILE.
        joins: a domain that is set may be that of a graph: somebody looks at it, or plays into it.

    Raises:
        SalusError: another graph has the domain that is set, every domain is in use, ROS would not start with this
            environment, or our Fast DDS profile cannot be read.
    """
    prepare(environment)
    keep_on_this_machine(environment)
    remove_dead_segments()
    if DOMAIN in environment and joins:
        yield environment
        return
    if DOMAIN in environment:
        with claimed_domain(environment):
            yield environment
        return
    domain, held = _free_domain()
    with held:
        environment.update({DOMAIN: str(domain), _CLAIMED: str(domain)})
        yield environment


@contextmanager
def claimed_domain(environment: MutableMapping[str, str]) -> Iterator[None]:
    """Claims the domain that is set, or ROS's own; a part of a graph whose starter has claimed it does not need to.

    Raises:
        SalusError: another graph has it, or it is no domain.
    """
    domain = domain_number(environment.get(DOMAIN) or "0")
    held = claim(f"{_CLAIM}{domain}")
    if held is None and environment.get(_CLAIMED) != str(domain):
        raise SalusError(
            f"ROS domain {domain} is in use by a SALUS graph, and two in one domain would mix their data; "
            f"unset {DOMAIN} to get a free one, or choose another"
        )
    if held is None:
        yield
        return
    with held:
        held.set_inheritable(True)  # this process may become `ros2 launch`
        environment[_CLAIMED] = str(domain)
        yield


def watched_domain(chosen: int | None, environment: Mapping[str, str]) -> str:
    """The ROS domain to look at: the chosen one, else $ROS_DOMAIN_ID, else that of the one graph on this machine.

    Raises:
        SalusError: nothing was chosen, and there is no graph with a domain of its own, or more than one; or what is
            set is no domain.
    """
    if chosen is not None:
        return str(chosen)
    if environment.get(DOMAIN):
        return str(domain_number(environment[DOMAIN]))
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


def _free_domain() -> tuple[int, socket.socket]:
    for domain in random.sample(DOMAINS, len(DOMAINS)):
        held = claim(f"{_CLAIM}{domain}")
        if held is not None:
            return domain, held
    raise SalusError(f"all ROS domains {min(DOMAINS)}..{max(DOMAINS)} are in use by SALUS graphs; set ROS_DOMAIN_ID")
