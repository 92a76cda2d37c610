"""Where the processes of a graph listen."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from socket import SOCK_STREAM

import psutil


@dataclass(frozen=True)
class BoundSocket:
    """A TCP or UDP socket of a process, with the address that it is bound to."""

    pid: int
    protocol: str
    address: str
    port: int

    @property
    def is_local(self) -> bool:
        """Nothing from another machine can arrive there."""
        address = ipaddress.ip_address(self.address.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return address.is_loopback


def bound_sockets(pids: Iterable[int]) -> tuple[BoundSocket, ...]:
    """TCP and UDP sockets, of IPv4 and IPv6, that the processes have bound.

    Raises:
        psutil.Error: a process has ended, or belongs to another user.
    """
    found = []
    for pid in pids:
        for item in psutil.Process(pid).net_connections(kind="inet"):
            if item.laddr:
                protocol = "tcp" if item.type == SOCK_STREAM else "udp"
                found.append(BoundSocket(pid, protocol, item.laddr.ip, item.laddr.port))
    return tuple(found)
