"""From the episodes of a run to what its page shows: plain values for JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median

import numpy as np

from salus_vla.contract import ARM_DOF, JOINTS
from salus_vla.contract.outcomes import ended_as
from salus_vla.contract.types import FloatArray
from salus_vla.data.episodes import Run
from salus_vla.gate.gate_limits import JointLimits, joint_limits
from salus_vla.learning.evaluation.alarm_outcomes import alarm_outcomes
from salus_vla.learning.evaluation.evaluated_episodes import APART
from salus_vla.learning.evaluation.outcome_rates import OUTCOMES, summarise
from salus_vla.learning.evaluation.run_commands import command_of
from salus_vla.learning.evaluation.subjects import Condition
from salus_vla.learning.evaluation.windows import means, whole
from salus_vla.signals.safety_signals import NAMES
from salus_vla.views.report.gather import (
    RISKS,
    Json,
    Summary,
    data_uri,
    joint_unit,
    latency_facts,
    numbers,
    page_name,
    rounded,
    signal_facts,
)
from salus_vla.views.report.motions_shown import run_motions

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_PHYSICAL_FAILURES = "physical failures"


def run_page(run: Run, summaries: Sequence[Summary]) -> Json:
    """What the page of the run shows: `summaries` are of its episodes, in their order."""
    counted = [item for item in summaries if item.facts.counted]
    complete = tuple(item.evaluated for item in counted if item.evaluated.complete)
    apart = Counter(
        ended_as(item.evaluated.outcome, taken_over=item.evaluated.taken_over)
        for item in counted
        if not item.evaluated.complete
    )
    outcomes = summarise(run.policy, Condition(run.profile, (run,), complete, apart))
    shares = [{"name": name} | asdict(share) for name, share in outcomes.shares.items()]
    averages = means([item.evaluated for item in summaries], whole)
    return {
        "run": run.run_id,
        "created": run.created,
        "made_by": run.made_by,
        "policy": run.policy,
        "profile": run.profile,
        "command": command_of(run),
        "complete": outcomes.episodes,
        "outcomes": [*shares, {"name": _PHYSICAL_FAILURES} | asdict(outcomes.physical_failures)],
        "apart": outcomes.apart,
        "alarms": _alarms(counted),
        "interventions": run_motions([item.motions for item in counted if item.motions is not None]),
        "interrupted": list(run.interrupted),
        "episodes": [_row(item, row) for item, row in zip(summaries, averages, strict=True)],
        "signals": _distributions(summaries, averages),
        "joints": _margins(counted, joint_limits()),
        "throughput": _throughput(counted),
        "topics": _all_topics(counted),
        "arguments": sorted(run.arguments.items()),
        "provenance": sorted({**(summaries[0].provenance if summaries else {}), **run.provenance}.items()),
    }


def _row(item: Summary, averages: FloatArray) -> Json:
    facts = item.facts
    wall = facts.wall_s
    alarm = item.foreseen.alarm if item.foreseen else None
    return asdict(facts) | {
        "page": page_name(facts.name),
        "means": numbers(averages),
        "rate": rounded(facts.decisions / wall) if wall else None,
        "thumbnail": data_uri(item.thumbnail) if item.thumbnail else "",
        "event_s": rounded(facts.event_s),
        "alarm_s": rounded(alarm.time_s) if alarm else None,
        "alarm": alarm.kind if alarm else "",
        "interventions": item.motions.in_words if item.motions else "",
        "duration_s": rounded(facts.duration_s),
    }


def _alarms(counted: Sequence[Summary]) -> Json | None:
    """Alarms against outcomes; None of a run in which nothing was foreseen."""
    foreseen = [item.foreseen for item in counted if item.foreseen is not None]
    if not foreseen:
        return None
    found = alarm_outcomes(foreseen, sum(item.evaluated.complete and item.foreseen is None for item in counted))
    return {
        "outcomes": [{"name": "success"} | asdict(found.successes), {"name": "failure"} | asdict(found.failures)],
        "leads": _lead(found.leads_s),
        "kinds": [
            {
                "name": RISKS.get(item.kind, item.kind),
                "successes": item.successes,
                "failures": item.failures,
                "leads": _lead(item.leads_s),
            }
            for item in found.kinds
        ],
        "apart": {name: list(counts) for name, counts in found.apart.items()},
        "unforeseen": found.unforeseen,
        "uncalibrated": found.uncalibrated,
        "alphas": [rounded(alpha) for alpha in found.alphas],
    }


def _lead(leads_s: Sequence[float]) -> list[float | None] | None:
    """Smallest, median and largest lead [s]; None without any."""
    return [rounded(lead) for lead in (min(leads_s), median(leads_s), max(leads_s))] if leads_s else None


def _distributions(summaries: Sequence[Summary], averages: FloatArray) -> list[Json]:
    """For each signal, how the episodes' means are distributed, by outcome."""
    # How an episode ended says nothing of the policy that another one took over from.
    counts = [item.facts.counted and not item.evaluated.taken_over for item in summaries]
    names = [item.facts.outcome if own else "" for item, own in zip(summaries, counts, strict=True)]
    order = [outcome.name for outcome in (*OUTCOMES, *APART) if outcome.name in names]
    groups = {name: np.array([other == name for other in names]) for name in order}
    return [
        signal_facts(index) | {"outcomes": {name: _spread(averages[rows, index]) for name, rows in groups.items()}}
        for index in range(len(NAMES))
    ]


def _spread(values: FloatArray) -> list[float | None] | None:
    known = values[np.isfinite(values)]
    return numbers(np.quantile(known, _QUANTILES)) if len(known) else None


def _margins(counted: Sequence[Summary], limits: JointLimits) -> list[Json]:
    """Of each arm joint: range used, smallest distance to a limit, largest commanded speed, and in which episodes."""
    rows = []
    for index, name in enumerate(JOINTS[:ARM_DOF]):
        lower, upper = limits.lower[index], limits.upper[index]
        lowest = np.array([item.lowest[index] for item in counted])
        highest = np.array([item.highest[index] for item in counted])
        speeds = np.array([item.speed[index] for item in counted])
        margins = np.minimum(lowest - lower, upper - highest)
        if not np.isfinite(margins).any():
            continue
        worst = int(np.nanargmin(margins))
        rows.append(
            {
                "name": name,
                "unit": joint_unit(index),
                "lower": lower,
                "upper": upper,
                "lowest": rounded(float(np.nanmin(lowest))),
                "highest": rounded(float(np.nanmax(highest))),
                "margin": rounded(float(margins[worst])),
                "share": rounded(float(margins[worst]) / (upper - lower)),
                "episode": counted[worst].facts.number,
                "page": page_name(counted[worst].facts.name),
                "speed": rounded(float(np.nanmax(speeds))) if np.isfinite(speeds).any() else None,
                "speed_limit": limits.velocity[index],
            }
        )
    return rows


def _throughput(counted: Sequence[Summary]) -> Json:
    """Totals; what needs the wall time is of the episodes that have it, None where none has."""
    timed = [(item.facts, item.facts.wall_s) for item in counted if item.facts.wall_s]
    wall_s = sum(wall for _, wall in timed)
    sim_s = sum(facts.duration_s for facts, _ in timed)
    decisions = sum(facts.decisions for facts, _ in timed)
    latencies = [item.latency_ms for item in counted]
    return {
        "episodes": len(counted),
        "decisions": sum(item.facts.decisions for item in counted),
        "sim_s": rounded(sum(item.facts.duration_s for item in counted)),
        "timed": len(timed),
        "wall_s": rounded(wall_s) if timed else None,
        "decisions_per_s": rounded(decisions / wall_s) if timed else None,
        "episodes_per_h": rounded(3600.0 * len(timed) / wall_s) if timed else None,
        "real_time": rounded(sim_s / wall_s) if timed else None,
        "latency": latency_facts(np.concatenate(latencies) if latencies else np.zeros(0)),
    }


def _all_topics(counted: Sequence[Summary]) -> list[Json]:
    """The audits of all episodes together; empty where there are none."""
    found: dict[str, Json] = {}
    for item in counted:
        for topic in item.topics:
            total = found.setdefault(
                topic["name"],
                {"name": topic["name"], "expected": topic["expected"], "longest": 0.0, "episodes": 0}
                | dict.fromkeys(("count", "gaps", "missing", "duplicates", "backward"), 0),
            )
            total["longest"] = max(total["longest"], topic["longest"])
            total["episodes"] += bool(topic["gaps"])
            for key in ("count", "gaps", "missing", "duplicates", "backward"):
                total[key] += topic[key]
    return list(found.values())
