"""A graph that nobody runs, as the window hears it: episodes with signals, predictions and interventions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from intervened import RISKS
from predicted import risk
from salus_vla.contract import CAMERAS, image_topic
from salus_vla.contract.message_readers import EpisodeEvent, EventKind
from salus_vla.contract.reasons import NodeState
from salus_vla.contract.types import ImageArray
from salus_vla.safety.intervention.candidates import PLAN
from salus_vla.safety.intervention.told_motion import ToldMotion
from salus_vla.signals.safety_signals import NAMES
from salus_vla.views.window.watched_graph import WatchedGraph

DECISION_NS = 100_000_000
RUN = "watched"
TASK = "pick up the red cube and place it in the blue bin"
# Of the size that the shipped ensemble has.
SIZES = (3e-5, 1e-4, 0.012, 0.015, 0.15, 0.08, 0.05, 0.03, 0.07, 0.25, 0.02, 150.0)


def event(
    kind: EventKind, episode: int, stamp_ns: int, outcome: str = "RUNNING", detail: str = "", decisions: int = 0
) -> EpisodeEvent:
    """What /salus/episode says."""
    name = outcome if kind is EventKind.ENDED and outcome in ("SUCCESS", "DROP", "MISS", "COLLISION") else ""
    at = stamp_ns if name else None
    return EpisodeEvent(
        kind, stamp_ns, RUN, episode, 500 + episode, TASK, "ensemble", outcome, name, at, decisions, detail
    )


def signals(decision: int) -> list[float]:
    """Values of a decision; those that need earlier ones are NaN at first, as they are."""
    waves = [size * (1.3 + np.sin(0.37 * decision + index)) for index, size in enumerate(SIZES)]
    unknown = {0: ("action_smoothness", "action_jerk", "plan_inconsistency", "activation_drift"), 1: ("action_jerk",)}
    return [float("nan") if name in unknown.get(decision, ()) else v for name, v in zip(NAMES, waves, strict=True)]


def motion(decision: int, stamp_ns: int, chosen: str = PLAN, reason: str = "", *, acted: bool = True) -> ToldMotion:
    """A choice among the plan and two careful motions."""
    return ToldMotion(stamp_ns, decision, RISKS if chosen != PLAN else {PLAN: 0.1}, chosen, reason, acted=acted)


def picture(seed: int) -> ImageArray:
    """Something that a camera could have seen."""
    grid = np.indices((256, 256)).sum(axis=0)
    return np.stack([(grid * (seed + 1)) % 256, grid // 2, np.full_like(grid, 90)], axis=-1).astype(np.uint8)


def play(
    graph: WatchedGraph,
    episode: int,
    start_ns: int,
    decisions: int,
    *,
    alarms: Sequence[str] = (),
    chosen: Sequence[tuple[str, str]] = (),
    predicted: bool = True,
    intervenes: bool = True,
    acted: bool = True,
    wall_s: float = 1.0,
) -> int:
    """An episode that goes on, everything in order; gives the stamp of its newest decision.

    Args:
        graph: hears it.
        episode, start_ns, decisions: which, from when, how long.
        alarms: kinds from the first decision on, empty ones where there is none.
        chosen: motions with their reasons from the first decision on, the plan behind them.
        predicted, intervenes, acted: who runs.
        wall_s: when it is heard.
    """
    for camera in CAMERAS:
        graph.message(image_topic(camera).name, wall_s)
    graph.clock(start_ns * 1e-9, wall_s)
    graph.episode(event(EventKind.STARTED, episode, start_ns))
    stamp_ns = start_ns
    for decision in range(decisions):
        stamp_ns = start_ns + decision * DECISION_NS
        graph.clock(stamp_ns * 1e-9, wall_s)
        graph.decision(decision, 80.0, signals(decision), stamp_ns)
        if predicted:
            alarm = alarms[decision] if decision < len(alarms) else ""
            graph.prediction(risk(decision, 0.7 if alarm else 0.1 + 0.002 * decision, alarm, stamp_ns=stamp_ns))
        if intervenes:
            name, reason = chosen[decision] if decision < len(chosen) else (PLAN, "")
            graph.intervention(motion(decision, stamp_ns, name, reason, acted=acted))
    return stamp_ns


def runs(graph: WatchedGraph, *, policy: tuple[NodeState, str, str] = (NodeState.RUNNING, "", "")) -> None:
    """What the nodes say of themselves."""
    for role in ("gate", "recorder", "episode", "predictor"):
        graph.status(role, NodeState.RUNNING, "", "")
    graph.status("policy", *policy)
