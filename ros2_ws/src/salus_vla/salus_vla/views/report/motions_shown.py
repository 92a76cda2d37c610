"""What the report shows of interventions: of an episode on its time axis, and over a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from salus_vla.contract.types import FloatArray
from salus_vla.data.motion_counts import MotionCounts, add_up
from salus_vla.data.recording import Interventions
from salus_vla.safety.intervention.candidates import CHOICES, HAND_OVER
from salus_vla.safety.intervention.told_motion import stretches

Json = dict[str, Any]
_DIGITS = 4  # of a probability


def motion_style(name: str) -> str:
    """Class of a motion in `charts.css`; one class for all that are not known here."""
    return f"motion-{CHOICES.index(name) if name in CHOICES else len(CHOICES)}"


def episode_motions(found: Interventions | None, times_s: FloatArray, end_s: float) -> Json | None:
    """What the page of an episode shows; None where nobody could intervene.

    Args:
        found: of the episode.
        times_s: of its observations from the start of the episode, (D,) [s].
        end_s: end of the episode [s].
    """
    if found is None:
        return None
    times = np.round(times_s, 3).tolist()
    ends = [*times, max(end_s, times[-1])]
    parts = [
        {
            "name": stretch.first.chosen,
            "style": motion_style(stretch.first.chosen),
            "from": times[stretch.begin],
            "to": ends[stretch.end],
            "words": _words(stretch.first.name, stretch.first.reason),
            "acted": stretch.first.acted or not stretch.first.intervenes,
        }
        for stretch in stretches(found.told)
    ]
    risks = [
        {"name": name, "style": motion_style(name), "values": [_rounded(value) for value in values.tolist()]}
        for name, values in found.failure.items()
    ]
    return {
        "times": times,
        "chosen": list(found.chosen),
        "parts": parts,
        "risks": risks,
        "distances": [_rounded(item.manifold_distance) for item in found.told],
        "motions": [_named(name) for name in _in_order({*found.chosen, *found.failure})],
        "acted": all(part["acted"] for part in parts),
    }


def run_motions(counts: Sequence[MotionCounts]) -> Json | None:
    """What the page of a run shows of its episodes; None of a run in which nobody could intervene."""
    if not counts:
        return None
    whole = add_up(counts)
    total = max(sum(whole.decisions.values()), 1)
    episodes = Counter(name for item in counts for name in item.decisions)
    return {
        "total": whole.episodes,
        "intervened": whole.intervened,
        "handed_over": whole.handed_over,
        "advised": whole.advised,
        "motions": [
            _named(name)
            | {
                "decisions": whole.decisions[name],
                "share": _rounded(whole.decisions[name] / total),
                "episodes": episodes[name],
            }
            for name in _in_order(set(whole.decisions))
        ],
    }


def _named(name: str) -> Json:
    return {"name": "hand over" if name == HAND_OVER else name, "style": motion_style(name)}


def _in_order(names: set[str]) -> list[str]:
    return [*(name for name in CHOICES if name in names), *sorted(names - set(CHOICES))]


def _words(name: str, reason: str) -> str:
    return f"{name}: {reason}" if reason else name


def _rounded(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None
