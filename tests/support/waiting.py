"""Waiting for what another process does and no message tells: a file, a socket, an entry in /proc."""

import time
from collections.abc import Callable
from typing import Any

_LOOKS_EVERY_S = 0.05


def wait_until(condition: Callable[[], Any], what: str, limit_s: float) -> Any:
    """Looks again and again until the condition holds, and returns what it gave; fails after `limit_s` of wall time."""
    deadline = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"no {what} within {limit_s:g} s"
        time.sleep(_LOOKS_EVERY_S)
    return found
