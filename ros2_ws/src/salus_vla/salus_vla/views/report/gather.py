"""From a recorded episode to what its page shows: plain values for JSON, rounded to what can be seen."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from salus_vla.contract import ARM_DOF, CAMERAS, JOINTS
from salus_vla.contract.foreseen_risk import PREDICTED
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import FloatArray
from salus_vla.data.episodes import Run
from salus_vla.data.motion_counts import MotionCounts, motion_counts
from salus_vla.gate.gate_limits import joint_limits
from salus_vla.learning.evaluation.alarm_outcomes import ForeseenEpisode
from salus_vla.learning.evaluation.evaluated_episodes import EvaluatedEpisode
from salus_vla.signals.safety_signals import SIGNALS
from salus_vla.views.report.image_strip import MIME, make_sheet, make_thumbnail
from salus_vla.views.report.motions_shown import episode_motions
from salus_vla.views.report.recorded import Facts, Joints, Recorded

RISKS = {
    "failure": "the episode fails",
    "collision": "collision within 1 s",
    "drop": "drop within 1 s",
    "miss": "closes on nothing within 1 s",
    "slip": "what is held slips",
}

Json = dict[str, Any]
_DIGITS = 4  # of a signal; a chart cannot show more
_LATENCY_QUANTILES = (0.5, 0.95, 1.0)


@dataclass(frozen=True, eq=False)
class Summary:
    """What the page of the run needs of an episode after the episode is forgotten.

    Attributes:
        facts: in a line.
        evaluated: as the evaluation counts it.
        latency_ms: of its decisions, (D,) [ms]; NaN where it is not recorded.
        lowest, highest: measured positions, (9,) [rad, m]; NaN where they are not recorded.
        speed: largest commanded one, (9,) [rad/s, m/s]; NaN where commands are not recorded.
        topics: of its audit, as in the page.
        thumbnail: what the first camera saw last, WebP; empty without images.
        provenance: of its bag.
        foreseen: what the failure predictor said; None where nothing was foreseen.
        motions: how often each was in force; None where nobody could intervene.
    """

    facts: Facts
    evaluated: EvaluatedEpisode
    latency_ms: FloatArray
    lowest: FloatArray
    highest: FloatArray
    speed: FloatArray
    topics: tuple[Json, ...]
    thumbnail: bytes
    provenance: dict[str, str]
    foreseen: ForeseenEpisode | None = None
    motions: MotionCounts | None = None


def page_name(name: str) -> str:
    """File of an episode's page, from the name of its bag or file."""
    return f"{name}.html"


def summary_of(recorded: Recorded) -> Summary:
    """Keeps of an episode what the page of the run shows."""
    facts, decisions = recorded.facts, recorded.decisions
    positions = recorded.measured.positions
    unknown = np.full(len(JOINTS), np.nan)
    cameras = [name for name in CAMERAS if len(recorded.pictures.get(name, ()))]
    return Summary(
        facts=facts,
        evaluated=recorded.evaluated,
        latency_ms=decisions.latency_ms,
        lowest=positions.min(axis=0) if len(positions) else unknown,
        highest=positions.max(axis=0) if len(positions) else unknown,
        speed=_top_speed(recorded.commanded),
        topics=_topics(recorded),
        thumbnail=make_thumbnail(recorded.pictures[cameras[0]][-1]) if cameras else b"",
        provenance=dict(recorded.provenance),
        foreseen=recorded.foreseen,
        motions=None
        if recorded.interventions is None
        else motion_counts(recorded.interventions, Outcome[facts.outcome], facts.decisions),
    )


def episode_page(run: Run, recorded: Recorded, before: str | None, after: str | None) -> Json:
    """What the page of an episode shows.

    Args:
        run: of the episode.
        recorded: the episode.
        before: name of the episode before it in the run.
        after: of the one after it.
    """
    facts, decisions = recorded.facts, recorded.decisions
    return {
        "run": run.run_id,
        "facts": asdict(facts),
        "before": page_name(before) if before else None,
        "after": page_name(after) if after else None,
        "events": [asdict(event) | {"time_s": rounded(event.time_s)} for event in recorded.events],
        "signals": [
            signal_facts(index) | {"values": numbers(decisions.signals[:, index])} for index in range(len(SIGNALS))
        ],
        "risk": _risk(recorded),
        "interventions": episode_motions(recorded.interventions, recorded.intervention_times_s, facts.duration_s),
        "decisions": {
            "times": numbers(recorded.decision_times_s, decimals=3),
            "numbers": decisions.numbers.tolist(),
            "latency": numbers(decisions.latency_ms),
        },
        "latency": latency_facts(decisions.latency_ms),
        "joints": _joints(recorded),
        "pictures": {
            "times": numbers(recorded.picture_times_s, decimals=3),
            "cameras": [_sheet(name, pictures) for name, pictures in recorded.pictures.items() if len(pictures)],
        },
        "topics": list(_topics(recorded)),
        "gaps": _gaps(recorded),
        "provenance": sorted(recorded.provenance.items()),
    }


def _risk(recorded: Recorded) -> list[Json]:
    """Probabilities that were foreseen, each with its threshold; empty where none was."""
    found = recorded.predictions
    if found is None:
        return []
    times = numbers(recorded.prediction_times_s, decimals=3)
    return [
        {
            "name": RISKS[name],
            "times": times,
            "values": numbers(found.values[name]),
            "thresholds": numbers(found.thresholds[name]),
        }
        for name in PREDICTED
    ]


def numbers(values: FloatArray, *, decimals: int | None = None) -> list[float | None]:
    """Values for JSON, None for those that are not finite: to 4 digits, or to so many decimals."""
    if decimals is not None:
        values = np.round(values, decimals)
        return [value if np.isfinite(value) else None for value in values.tolist()]
    return [rounded(value) for value in values.tolist()]


def rounded(value: float | None) -> float | None:
    """To 4 digits; None for a value that is not known or not finite."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.{_DIGITS}g}")


def signal_facts(index: int) -> Json:
    """Name, unit and group of a signal; a signal without a unit has an empty one."""
    signal = SIGNALS[index]
    return {"name": signal.name, "unit": "" if signal.unit == "1" else signal.unit, "group": signal.group}


def _joints(recorded: Recorded) -> Json:
    limits = joint_limits()
    return {
        "measured_times": numbers(recorded.measured.times_s, decimals=3),
        "commanded_times": numbers(recorded.commanded.times_s, decimals=3),
        "joints": [
            {
                "name": name,
                "unit": joint_unit(index),
                "lower": limits.lower[index],
                "upper": limits.upper[index],
                "measured": numbers(recorded.measured.positions[:, index], decimals=4),
                "commanded": numbers(recorded.commanded.positions[:, index], decimals=4),
            }
            for index, name in enumerate(JOINTS)
        ],
    }


def joint_unit(joint: int) -> str:
    """Unit of the position of a joint."""
    return "rad" if joint < ARM_DOF else "m"


def _sheet(camera: str, pictures: Any) -> Json:
    sheet = make_sheet(pictures)
    size = {"columns": sheet.columns, "width": sheet.width, "height": sheet.height}
    return {"name": camera, "image": data_uri(sheet.data), **size}


def data_uri(webp: bytes) -> str:
    """A WebP image as the address of an image in a page."""
    return f"data:{MIME};base64,{b64encode(webp).decode()}"


def latency_facts(latency_ms: FloatArray) -> Json | None:
    """Median, 95th percentile and maximum [ms], and of how many decisions; None where none is recorded."""
    known = latency_ms[np.isfinite(latency_ms)]
    if not len(known):
        return None
    values = [rounded(value) for value in np.quantile(known, _LATENCY_QUANTILES).tolist()]
    return dict(zip(("median", "p95", "max"), values, strict=True)) | {"count": len(known)}


def _topics(recorded: Recorded) -> tuple[Json, ...]:
    """Topics of the audit; the longest interval in seconds."""
    if recorded.audit is None:
        return ()
    return tuple(
        {
            "name": topic.name,
            "count": topic.count,
            "rate": topic.rate_hz,
            "expected": topic.expected_hz,
            "longest": topic.longest_ns * 1e-9,
            "gaps": len(topic.gaps),
            "missing": topic.missing,
            "duplicates": topic.duplicates,
            "backward": topic.backward,
        }
        for topic in recorded.audit.topics
    )


def _gaps(recorded: Recorded) -> list[Json]:
    """Where messages are missing, from the start of the episode [s]."""
    if recorded.audit is None:
        return []
    start_ns = recorded.audit.start_ns
    return [
        {
            "topic": topic.name,
            "from": (gap.after_ns - start_ns) * 1e-9,
            "to": (gap.before_ns - start_ns) * 1e-9,
            "missing": gap.missing,
        }
        for topic in recorded.audit.topics
        for gap in topic.gaps
    ]


def _top_speed(commanded: Joints) -> FloatArray:
    """Largest change from one command to the next over the time between them, (9,) [rad/s, m/s]."""
    steps = np.diff(commanded.times_s)
    known = steps > 0.0
    if not known.any():
        return np.full(len(JOINTS), np.nan)
    speeds: FloatArray = np.abs(np.diff(commanded.positions, axis=0)[known] / steps[known, None]).max(axis=0)
    return speeds
