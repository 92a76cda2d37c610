"""Interventions that nobody chose: as messages of a bag, and as what is read of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from salus_vla.contract import INTERVENTION
from salus_vla.safety.intervention.candidates import HAND_OVER, PLAN
from salus_vla.safety.intervention.told_motion import ToldMotion
from samples import cdr, header, make

RISKS = {PLAN: 0.5, "careful": 0.25, "careful_0.35": 0.125}
STUCK = "stuck: 3 closings on nothing"


def told(
    decision: int,
    chosen: str = PLAN,
    *,
    acted: bool = True,
    stamp_ns: int = 0,
    failure: Mapping[str, float] = RISKS,
    reason: str | None = None,
) -> ToldMotion:
    """What was told of a decision."""
    words = {PLAN: "nothing held", HAND_OVER: STUCK}.get(chosen, "best") if reason is None else reason
    return ToldMotion(stamp_ns, decision, failure, chosen, words, acted=acted, manifold_distance=0.75)


def episode_of(chosen: Sequence[str], start_ns: int = 0, period_ns: int = 100_000_000) -> list[ToldMotion]:
    """One of each decision."""
    return [told(number, name, stamp_ns=start_ns + number * period_ns) for number, name in enumerate(chosen)]


def intervention(said: ToldMotion, **changes: Any) -> bytes:
    """The same as a message."""
    fields: dict[str, Any] = {
        "header": header(said.stamp_ns),
        "schema_version": 1,
        "decision": said.decision,
        "mode": "act" if said.acted else "advise",
        "candidates": list(said.failure),
        "failure": np.array(list(said.failure.values()), dtype=np.float32),
        "chosen": said.chosen,
        "reason": said.reason,
        "probability": said.probability,
        "acted": said.acted,
        "manifold_distance": said.manifold_distance,
        "model": "beefbeefbeef",
    }
    return cdr(INTERVENTION, make(INTERVENTION.type, **(fields | changes)))
