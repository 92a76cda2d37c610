"""An episode of `salus rollout` for the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from salus_vla.contract.errors import RecordingError
from salus_vla.data.rollouts import rollout_store
from salus_vla.learning.evaluation.evaluated_episodes import known_values
from salus_vla.views.report.recorded import Decisions, Event, Facts, Joints, Recorded, seconds


def read_rollout(path: Path, seed: int, number: int) -> Recorded:
    """Reads a file of `salus rollout`; its pictures are decoded when they are asked for.

    Args:
        path: the file.
        seed: that its name says.
        number: place in the run.

    Raises:
        RecordingError: it cannot be read, is damaged, or is the episode of another seed; names it.
    """
    stored = rollout_store.read_episode(path)
    if stored.seed != seed:
        raise RecordingError(f"{path}: is the episode of seed {stored.seed}, its name says {seed}")
    event_s = None if stored.event_stamp_ns is None else float(seconds(stored.event_stamp_ns))
    times_s = seconds(stored.stamps_ns)
    facts = Facts(
        name=path.stem,
        number=number,
        seed=seed,
        task=stored.task,
        policy=stored.policy,
        outcome=stored.outcome.name,
        decisions=stored.decisions,
        duration_s=float(times_s[-1]),
        wall_s=None,
        event_s=event_s,
        detail=stored.event,
        gaps=None,
    )
    return Recorded(
        facts=facts,
        events=() if event_s is None else (Event(event_s, stored.outcome.name, stored.event),),
        decisions=Decisions(
            times_s=times_s,
            numbers=np.arange(len(times_s)),
            signals=known_values(stored.signals, stored.valid),
            latency_ms=np.full(len(times_s), np.nan),
        ),
        measured=Joints(seconds(stored.frame_stamps_ns), stored.frame_position),
        commanded=Joints(seconds(stored.command_stamps_ns), stored.commands),
        picture_times_s=times_s if stored.images else np.zeros(0),
        pictures=stored.images,
        audit=None,
        provenance={},
    )
