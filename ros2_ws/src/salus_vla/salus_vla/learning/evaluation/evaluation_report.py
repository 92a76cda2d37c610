"""The evaluation as Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from salus_vla.contract import RESERVED_FROM
from salus_vla.contract.errors import ConfigError
from salus_vla.data.bags.run_records import write_atomically
from salus_vla.learning.evaluation.evaluation import Evaluation
from salus_vla.learning.evaluation.tables import Table, sections

FORMAT = "salus-evaluation-1"


def write_report(path: Path, evaluation: Evaluation, command: str) -> None:
    """Writes a report; what the file held before is replaced.

    Args:
        path: a name that ends in .md or .json.
        evaluation: what to report.
        command: that made it, quoted in the report.

    Raises:
        ConfigError: the name has another ending.
        RecordingError: the file cannot be written.
    """
    writers: dict[str, Callable[[Evaluation, str], str]] = {".md": to_markdown, ".json": to_json}
    if path.suffix not in writers:
        raise ConfigError(f"{path}: expected a name that ends in {' or '.join(writers)}")
    write_atomically(path, writers[path.suffix](evaluation, command).encode())


def to_json(evaluation: Evaluation, command: str) -> str:
    """Every number as it is, not rounded; null where there is none."""
    content = {"format": FORMAT, "command": command, **asdict(evaluation)}
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def to_markdown(evaluation: Evaluation, command: str) -> str:
    """Sections with tables, the commands that made the runs, and what to know of both."""
    blocks = ["# Evaluation", f"```bash\n{command}\n```"]
    if evaluation.reserved_seeds:
        blocks.append(f"**Acceptance:** seeds from {RESERVED_FROM} on are among the episodes.")
    for section in sections(evaluation):
        blocks += [f"## {section.title}", *section.text]
        for table in section.tables:
            blocks += [f"**{_escaped(table.title)}**", markdown_table(table)]
    blocks += ["## Runs", "What made the runs, from their settings:"]
    blocks.append("```bash\n" + "\n".join(run.command for run in evaluation.runs) + "\n```")
    head = ("run", "created", "evaluated as", "profile", "episodes", "scene")
    rows = tuple(
        (run.path, run.created, run.subject, run.profile, str(run.episodes), run.scene_hash or "-")
        for run in evaluation.runs
    )
    blocks.append(markdown_table(Table("", head, rows)))
    members = {run.subject: run.members for run in evaluation.runs if run.members}
    blocks += [f"Members of {_escaped(name)}: {', '.join(hashes)}" for name, hashes in members.items()]
    if evaluation.notes:
        blocks += ["## Notes", "\n".join(f"- {_escaped(note)}" for note in evaluation.notes)]
    return "\n\n".join(blocks) + "\n"


def markdown_table(table: Table) -> str:
    """A table; lines of a cell are joined with <br>, which GitHub renders."""
    rule = ("---", *("---:" for _ in table.head[1:]))
    return "\n".join(
        "| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in (table.head, rule, *table.rows)
    )


def _escaped(text: str) -> str:
    for character in ("\\", "|", "_", "*", "<", "`"):
        text = text.replace(character, "\\" + character)
    return text.replace("\n", "<br>")
