"""What drawn motions and approaches did, as tables and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from salus_vla.data.bags.run_records import write_atomically
from salus_vla.learning.evaluation.intervals import Share
from salus_vla.learning.evaluation.tables import DASH, Table
from salus_vla.learning.intervention.drawn_trial import STAGES, TrialRow

TRIAL_TEXT = """\
Of each episode the approach that it began with, the first one behind a closing on nothing, and the motion of its first
grasp, where chance chose them. Gain: share of successes more than with the plan (the mean of members, or the plan's own
motion), in the same profiles. Shares with 95 % Wilson intervals, gains with those of Jeffreys posteriors of the shares.
"""
_HEAD = ("drawn", "episodes", "SUCCESS", "physical failures", "gain")


def trial_tables(rows: Sequence[TrialRow]) -> list[Table]:
    """A table for each stage with a draw."""
    return [
        Table(stage, _HEAD, tuple(_row(row) for row in rows if row.stage == stage))
        for stage in STAGES
        if any(row.stage == stage for row in rows)
    ]


def write_trial(file: Path, rows: Sequence[TrialRow], command: str) -> None:
    """Writes every number as JSON.

    Raises:
        RecordingError: the file cannot be written.
    """
    text = json.dumps({"command": command, "rows": [asdict(row) for row in rows]}, indent=2, allow_nan=False) + "\n"
    write_atomically(file, text.encode())


def _row(row: TrialRow) -> tuple[str, ...]:
    gain = DASH if row.gain is None else "{:+.1f} %\n{:+.1f} to {:+.1f}".format(*(100 * value for value in row.gain))
    return row.name, str(row.success.total), _share(row.success), _share(row.physical), gain


def _share(share: Share) -> str:
    return f"{share.count}, {share.count / share.total:.0%}\n{100 * share.low:.0f}-{100 * share.high:.0f} %"
