"""How long somebody waits for a graph: from the command to the first decision of the first episode."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from salus_msgs.msg import SafetySignals
from salus_vla import contract
from salus_vla.bench.faults.running_graph import STARTS_WITHIN_S, Collecting, Watch
from salus_vla.contract.errors import SalusError
from salus_vla.ros.adapters.qos_profiles import qos_profile


@dataclass(frozen=True)
class StartUp:
    """Wall times from the command to the first decision, one of each start [s]."""

    what: str
    seconds: list[float]


def start_up(what: str, options: Sequence[str], starts: int) -> StartUp:
    """Starts `salus collect` with some options again and again, in this process's ROS domain.

    Args:
        what: name of the result.
        options: of `salus collect`.
        starts: how often; the first one, which may find a cold disk, counts like the others.

    Raises:
        SalusError: no decision within a minute.
    """
    return StartUp(what, [_once(options) for _ in range(starts)])


def _once(options: Sequence[str]) -> float:
    decided: list[float] = []
    topic = contract.SAFETY_SIGNALS
    with tempfile.TemporaryDirectory() as folder, Watch() as watch:
        watch.node.create_subscription(
            SafetySignals, topic.name, lambda _: decided.append(time.monotonic()), qos_profile(topic.qos)
        )
        began = time.monotonic()
        collecting = Collecting(Path(folder) / "runs", ["--episodes", "1", "--max-decisions", "5", *options])
        try:
            if not watch.spin(STARTS_WITHIN_S, lambda: decided or collecting.ended) or not decided:
                raise SalusError(f"no decision within {STARTS_WITHIN_S:g} s: {collecting.output}")
            collecting.wait()
        finally:
            collecting.kill_all()
    return decided[0] - began
