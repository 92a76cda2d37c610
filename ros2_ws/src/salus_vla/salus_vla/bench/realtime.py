"""How the graph keeps up with an arm that does not wait: from what a run with `--pacing realtime` says of itself."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rosbags.highlevel import AnyReader

from salus_vla import contract
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
        trips: of the watchdog, by reason.
        react_p50_ms, react_p99_ms: from the first image of a camera set to the first command that follows from it [ms];
            NaN where there was none.
    """

    model: str
    episodes: int
    decisions: int
    overtaken: int
    trips: dict[str, int]
    react_p50_ms: float
    react_p99_ms: float


def realtime_pace(model: str, episodes: int, decisions: int) -> RealtimePace:
    """Records episodes in realtime and reads the policy's diagnostics out of their bags."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "salus_vla.cli", "collect", "--episodes", str(episodes), "--run-id", "pace"]
        command += ["--model", model, "--max-decisions", str(decisions), "--pacing", "realtime", "--out", out]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)  # a run that the arm's hold ended says it below
        run = Path(out) / "pace"
        entries = read_run(run).record.episodes
        values: dict[str, float] = {}
        for bag in sorted(run.glob("episode_*")):
            values |= _newest_values(bag)
    trips = Counter({key.removeprefix("trips_"): int(value) for key, value in values.items() if "trips_" in key})
    return RealtimePace(
        model,
        len(entries),
        sum(entry.decisions for entry in entries),
        int(values.get("decisions_overtaken", 0.0)),
        dict(trips),
        values.get("react_ms_p50", float("nan")),
        values.get("react_ms_p99", float("nan")),
    )


def _newest_values(bag: Path) -> dict[str, float]:
    """What the policy said last of its decisions and its watchdog."""
    found: dict[str, float] = {}
    with AnyReader([bag]) as reader:
        connections = [item for item in reader.connections if item.topic == contract.DIAGNOSTICS.name]
        for connection, _, data in reader.messages(connections):
            for status in reader.deserialize(data, connection.msgtype).status:  # type: ignore[attr-defined]
                if status.name in (_PART, _WATCHDOG):
                    found |= {item.key: float(item.value) for item in status.values}
    return found
