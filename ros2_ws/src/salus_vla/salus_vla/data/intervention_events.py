"""Interventions of an episode among its events."""

from __future__ import annotations

from collections.abc import Iterator

from salus_vla.contract.outcomes import Outcome
from salus_vla.data.recording import Interventions, RecordedEvent
from salus_vla.safety.intervention.told_motion import stretches

INTERVENTION = "INTERVENTION"


def intervention_events(found: Interventions | None, *, start_ns: int, ended_by: Outcome) -> Iterator[RecordedEvent]:
    """Where another motion than the plan begins, and where the arm was handed over.

    Args:
        found: of the episode; None where nobody could intervene.
        start_ns: stamp of the first observation [ns]; what was told before is of another episode.
        ended_by: the outcome; a HANDED_OVER one is an event of the episode already.
    """
    if found is None:
        return
    handed = ended_by is Outcome.HANDED_OVER
    for stretch in stretches(found.told):
        told = stretch.first
        if not told.intervenes or told.stamp_ns < start_ns:
            continue
        if not told.hands_over:
            words = ": ".join(filter(None, (told.name, told.why_in_words)))
            yield RecordedEvent(told.stamp_ns, INTERVENTION, words)
        elif not handed:
            handed = True
            yield RecordedEvent(told.stamp_ns, Outcome.HANDED_OVER.name, told.reason)
