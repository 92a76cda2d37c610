"""Pairs of runs as a table, for the terminal, Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from salus_vla.data.bags.run_records import write_atomically
from salus_vla.learning.evaluation.evaluation_report import markdown_table
from salus_vla.learning.evaluation.paired import Change, PairedRow
from salus_vla.learning.evaluation.tables import DASH, Table

PAIRED_TEXT = """\
Each seed once with both policies. base -> run: episodes that ended so. Behind SUCCESS, gained: base did not succeed and
run did; lost: the other way round. Behind physical (COLLISION, DROP, MISS), avoided: base failed so and run did not;
caused: the other way round. Handed over to a person, which is neither success nor failure: of those that ended in MISS
or TIMEOUT without (stuck), within 5 s of their last progress, and how many of them ended so again; and of those that
succeeded without (good). Differences and the ratio of times with their 95 % bootstrap intervals over pairs; p of the
exact two-sided McNemar test. Time: mean decisions of the pairs that both deliver. Apart: aborted, or taken over."""
_HEAD = (
    "profile",
    "pairs",
    "SUCCESS",
    "gained",
    "lost",
    "difference",
    "p",
    "TIMEOUT",
    "p",
    "physical",
    "avoided",
    "caused",
    "p",
    "handed over",
    "time",
)


def paired_tables(rows: Sequence[PairedRow]) -> list[Table]:
    """One table, a row for each profile."""
    return [Table("Pairs, base -> run", _HEAD, tuple(_row(row) for row in rows))]


def write_paired(file: Path, rows: Sequence[PairedRow], command: str) -> None:
    """Writes Markdown (.md) or every number (.json).

    Raises:
        RecordingError: the file cannot be written.
    """
    if file.suffix == ".json":
        text = json.dumps({"command": command, "rows": [asdict(row) for row in rows]}, indent=2, allow_nan=False) + "\n"
    else:
        tables = [markdown_table(table) for table in paired_tables(rows)]
        text = "\n\n".join(["# Pairs", f"```bash\n{command}\n```", PAIRED_TEXT, *tables]) + "\n"
    write_atomically(file, text.encode())


def _row(row: PairedRow) -> tuple[str, ...]:
    success = row.success
    low, high = (100 * value for value in success.difference[1:])
    pairs = str(row.pairs) + (f"\n{row.apart} apart" if row.apart else "")
    time = DASH if row.time_ratio is None else "x {:.2f}\n{:.2f}-{:.2f}".format(*row.time_ratio)
    return (
        row.profile,
        pairs,
        _counts(success),
        str(success.only_other),
        str(success.only_base),
        f"{100 * success.difference[0]:+.1f} %\n{low:+.1f} to {high:+.1f}",
        _p(success),
        _counts(row.timeout),
        _p(row.timeout),
        _counts(row.physical),
        str(row.physical.only_base),
        str(row.physical.only_other),
        _p(row.physical),
        _hand_overs(row),
        time,
    )


def _hand_overs(row: PairedRow) -> str:
    if not row.handed_over.base + row.handed_over.other:
        return DASH
    found = row.hand_overs
    left = f"\n{found.stuck_left} stuck again" if found.stuck_left else ""
    stuck = f"{found.stuck_in_time} of {found.stuck} stuck{left}"
    return f"{_counts(row.handed_over)}\n{stuck}\n{found.successes_handed_over} of {found.successes} good"


def _counts(change: Change) -> str:
    return f"{change.base} -> {change.other}"


def _p(change: Change) -> str:
    return f"{change.p:.3g}" if change.p >= 0.001 else "< 0.001"
