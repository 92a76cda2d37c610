"""How the graph keeps up with an arm that does not wait: from what a run with `--pacing realtime` says of itself."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader

from salus_vla import contract
from salus_vla.contract.reasons import WATCHDOG
from salus_vla.data.bags.run_info import read_run

_PART = "salus/vla_ensemble: decisions"
_WATCHDOG = "salus/vla_ensemble: watchdog"


@dataclass(frozen=True)
class RealtimePace:
    """What came of a run in realtime.

    Attributes:
        model: that decided.
        episodes: finished; fewer than asked for where the arm was held.
        decisions: made in them.
        overtaken: observations that a newer one replaced before they were decided on.
        trips: of the watchdog, by reason: also one that ended the run before any diagnostics came.
        react_p50_ms, react_p99_ms: from the first image of a camera set to the first command that follows from it [ms];
            None where the run ended before the policy said it.
    """

    model: str
    episodes: int
    decisions: int
    overtaken: int
    trips: dict[str, int]
    react_p50_ms: float | None
    react_p99_ms: float | None


def realtime_pace(model: str, episodes: int, decisions: int) -> RealtimePace:
    """Records episodes in realtime and reads the policy's diagnostics out of their bags."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "salus_vla.cli", "collect", "--episodes", str(episodes), "--run-id", "pace"]
        command += ["--model", model, "--max-decisions", str(decisions), "--pacing", "realtime", "--out", out]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)  # a run that the arm's hold ended says it below
        run = Path(out) / "pace"
        entries = read_run(run).record.episodes
        values: dict[str, float] = {}
        trips: Counter[str] = Counter()
        for bag in sorted(run.glob("episode_*")):
            said, tripped = said_by_the_policy(bag)
            values |= said
            trips.update(tripped)
    return RealtimePace(
        model,
        len(entries),
        sum(entry.decisions for entry in entries),
        int(values.get("decisions_overtaken", 0.0)),
        dict(trips),
        values.get("react_ms_p50"),
        values.get("react_ms_p99"),
    )


def said_by_the_policy(bag: Path) -> tuple[dict[str, float], list[str]]:
    """What it said last of its decisions and its watchdog, and the reasons for which that stopped the arm, in order."""
    values: dict[str, float] = {}
    trips: list[str] = []
    before = ""
    with AnyReader([bag]) as reader:
        topics = (contract.DIAGNOSTICS.name, contract.STATUS_TOPIC.name)
        connections = [item for item in reader.connections if item.topic in topics]
        for connection, _, data in reader.messages(connections):
            message: Any = reader.deserialize(data, connection.msgtype)
            if connection.topic == contract.DIAGNOSTICS.name:
                for part in message.status:
                    if part.name in (_PART, _WATCHDOG):
                        values |= {item.key: float(item.value) for item in part.values}
            elif message.role == "policy":
                if message.reason in WATCHDOG and message.reason != before:
                    trips.append(message.reason)
                before = message.reason
    return values, trips
