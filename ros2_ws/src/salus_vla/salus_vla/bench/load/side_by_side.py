"""Several graphs at once on one machine: each records its own episodes and nothing of the others."""

from __future__ import annotations

import re
from pathlib import Path

from salus_vla.bench.faults.bag_checks import RunChecker
from salus_vla.bench.faults.running_graph import Collecting
from salus_vla.bench.load.load_results import Result
from salus_vla.data.bags.run_info import read_run

SEEDS = 30_000  # of the first graph; each further one begins a thousand later, so that a stray episode is seen
EPISODES = 3
DECISIONS = 10
_RUN = "run"


def run_graphs(folder: Path, graphs: int) -> Result:
    """Collects `EPISODES` episodes with each of so many graphs at the same time."""
    started = []
    problems: list[str] = []
    domains, messages, gaps = set(), 0, 0
    try:
        for index in range(graphs):
            options = ["--episodes", str(EPISODES), "--run-id", _RUN, "--seed", str(SEEDS + 1000 * index)]
            options += ["--policy", "hold", "--max-decisions", str(DECISIONS)]
            started.append(Collecting(folder / f"graph_{index}", options, own_domain=True))
        for index, collecting in enumerate(started):
            code = collecting.wait()
            run = folder / f"graph_{index}" / _RUN
            problems += [f"graph {index} ended with {code}: {collecting.output}"] if code else []
            domains |= set(re.findall(r"ROS_DOMAIN_ID=(\d+)", collecting.output))
            problems += [f"graph {index}: {line}" for line in RunChecker(run, SEEDS + 1000 * index).problems()]
            entries = read_run(run).record.episodes
            messages += sum(entry.messages for entry in entries)
            gaps += sum(entry.gaps for entry in entries)
            if len(entries) != EPISODES:
                problems.append(f"graph {index} has {len(entries)} episodes of {EPISODES}")
    finally:
        for collecting in started:
            collecting.kill_all()
    if len(domains) != graphs:
        problems.append(f"the graphs are in the domains {sorted(domains)}")
    if gaps:
        problems.append(f"{gaps} gaps")
    seen = f"{len(domains)} domains, {messages} messages, {gaps} gaps, each bag with its own seeds only"
    return Result(f"{graphs} graphs side by side, {EPISODES} episodes each", seen, tuple(problems))
