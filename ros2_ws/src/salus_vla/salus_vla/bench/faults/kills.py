"""Kill -9 of one node or of everything at random moments of one run that is resumed each time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from salus_vla.bench.faults.bag_checks import RunChecker
from salus_vla.bench.faults.fault_results import Injection
from salus_vla.bench.faults.running_graph import (
    EPISODE,
    GATE,
    POLICY,
    RECORDER,
    SIMULATOR,
    STARTS_WITHIN_S,
    Collecting,
    Seen,
    Watch,
)
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.recover_bag import recover
from salus_vla.data.bags.run_folder import RunFolder
from salus_vla.data.bags.run_info import read_run

TARGETS = {
    "recorder": RECORDER,
    "simulator": SIMULATOR,
    "policy": POLICY,
    "gate": GATE,
    "episode node": EPISODE,
    "whole graph": "graph",
}
# What records and what makes up the world are killed most: that is where something could be lost.
_MOST = ("recorder", "simulator", "whole graph")
IN_TURN = (*_MOST * 5, *(name for name in TARGETS if name not in _MOST))
_NAMED = {RECORDER, SIMULATOR, POLICY, GATE}  # by the episode node, which cannot miss itself
SEED = 5
DECISIONS = 12
_PERIOD_S = 2.0  # wall time in which each phase of an episode of that length comes by, on a slow machine too [s]
_RUN = "run"


def kill_at_random(folder: Path, targets: Sequence[str], seed: int, watch: Watch) -> Iterator[Injection]:
    """Kills, recovers and resumes one run, once for each of `targets`; then resumes it to a normal end.

    Args:
        folder: empty folder for the run.
        targets: keys of `TARGETS`, in order.
        seed: of the moments.
        watch: in the ROS domain of this process.

    Yields:
        What each kill did; the last one includes what was wrong after the end.
    """
    moments = random.Random(seed)
    out = folder / "runs"
    out.mkdir()
    run = out / _RUN
    checker = RunChecker(run, SEED)
    for index, name in enumerate(targets):
        result = _kill_once(out, name, index > 0, moments.uniform(0.0, _PERIOD_S), watch, checker)
        if index + 1 == len(targets):
            ends_well = _resume_to_the_end(out, checker)
            result = Injection(result.fault, result.outcome, result.loss_s, (*result.problems, *ends_well))
        yield result


def _kill_once(out: Path, name: str, resume: bool, after_s: float, watch: Watch, checker: RunChecker) -> Injection:
    fault = f"kill -9 of the {name}"
    watch.forget()
    collecting = Collecting(out, _options(1000, resume))
    try:
        if not watch.spin(STARTS_WITHIN_S, lambda: watch.seen.recorded_until_ns is not None or collecting.ended):
            return Injection(fault, "not started", None, (f"no episode began: {collecting.output}",))
        watch.spin(after_s, lambda: collecting.ended)
        if collecting.ended:
            return Injection(fault, "ended by itself", None, (collecting.output,))
        collecting.kill(TARGETS[name], watch)
        code = collecting.wait()
    finally:
        collecting.kill_all()
    seen = watch.seen
    problems = [f"exit code {code}"] if code == 0 else []
    if TARGETS[name] in _NAMED and f"node_lost: /{TARGETS[name]} " not in collecting.output:
        problems.append(f"nothing said that {TARGETS[name]} was lost: {collecting.output}")
    run = out / _RUN
    before = _next_episode(run)
    interrupted = read_run(run).interrupted
    made = recover(run)
    problems += checker.problems()
    if recover(run):
        problems.append("recovered twice")
    if interrupted and not made and _next_episode(run) != before:
        problems.append("nothing was recovered, and yet an episode was added")
    closed = any(entry.number == seen.episode for entry in read_run(run).record.episodes)
    outcome = "recovered" if made else "already closed" if closed else "nothing to recover yet"
    return Injection(fault, outcome, _loss_s(run, seen), tuple(problems))


def _loss_s(run: Path, seen: Seen) -> float | None:
    """Sim time of the current episode that is in no bag [s]; None without an episode."""
    until_ns = seen.recorded_until_ns
    if until_ns is None:
        return None
    ends = [entry.end_ns for entry in read_run(run).record.episodes if entry.number == seen.episode]
    return max(0, until_ns - max(ends, default=seen.start_ns)) / 1e9


def _resume_to_the_end(out: Path, checker: RunChecker) -> list[str]:
    run = out / _RUN
    first = _next_episode(run)
    completed = sum(entry.outcome != Outcome.ABORTED.name for entry in read_run(run).record.episodes)
    collecting = Collecting(out, _options(completed + 1, True))
    try:
        code = collecting.wait()
    finally:
        collecting.kill_all()
    problems = [f"--resume ended with {code}: {collecting.output}"] if code else []
    numbers = [entry.number for entry in read_run(run).record.episodes]
    if numbers != list(range(first + 1)):
        problems.append(f"expected the episodes 0 to {first}, found {numbers}")
    return problems + checker.problems()


def _next_episode(run: Path) -> int:
    folder = RunFolder.open_existing(run)
    try:
        return folder.next_episode
    finally:
        folder.close()


def _options(episodes: int, resume: bool) -> list[str]:
    options = ["--episodes", str(episodes), "--run-id", _RUN]
    if resume:
        return [*options, "--resume"]
    return [*options, "--seed", str(SEED), "--policy", "hold", "--max-decisions", str(DECISIONS)]
