"""The evaluation of a manifold as tables, Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from salus_vla.data.bags.run_records import write_atomically
from salus_vla.learning.evaluation.evaluation_report import markdown_table
from salus_vla.learning.evaluation.tables import DASH, Table
from salus_vla.learning.manifold.executed_bends import BendGroup, ExecutedBend
from salus_vla.learning.manifold.manifold_evaluation import SIZES_RAD, Inside, ManifoldEvaluation
from salus_vla.learning.manifold.matched_cases import MatchedArea

FORMAT = "salus-manifold-evaluation-1"
BENDS = "salus-executed-bends-1"
_TEXT = """\
Fitted on the training seeds, settings chosen on the validation seeds, levels from successes of the calibration seeds,
every figure from the test seeds. An AUROC tells decisions 1 to 0.5 s before a failure from decisions of successes
at the same phase (tenths of a second since the gripper was told to close); intervals are of 95 %, by a bootstrap over
seeds. The chunk is the one that was executed, which knows half a second of what came: that favours whatever looks at
it."""


def manifold_tables(found: ManifoldEvaluation) -> list[Table]:
    """In the order in which they are read."""
    return [_areas(found), _perturbations(found), _inside(found)]


def write_evaluation(file: Path, found: ManifoldEvaluation, command: str) -> None:
    """Writes Markdown (.md) or JSON (.json); an existing file is replaced.

    Raises:
        RecordingError: it cannot be written.
    """
    if file.suffix == ".json":
        content = {"format": FORMAT, "command": command, **asdict(found)}
        made = json.dumps(content, indent=1, allow_nan=False) + "\n"
    else:
        parts = ["# Evaluation of the action manifold", f"```bash\n{command}\n```", _TEXT]
        for table in manifold_tables(found):
            parts += [f"## {table.title}", markdown_table(Table("", table.head, table.rows))]
        made = "\n\n".join(parts) + "\n"
    write_atomically(file, made.encode())


def bend_table(groups: Sequence[BendGroup], succeeded: int, episodes: int) -> Table:
    """Successes among episodes whose plan was bent."""
    rows = []
    for group in groups:
        cells = [group.name, *(_rate(item) for item in (group.inside, group.outside, group.all))]
        rows.append(tuple(cells))
    title = f"Plans of {succeeded} episodes that succeed (of {episodes}), bent once: share that succeeds"
    return Table(title, ("bends", "the manifold calls safe", "it calls not", "all (chance)"), tuple(rows))


def write_bends(
    file: Path, groups: Sequence[BendGroup], bends: Sequence[ExecutedBend], table: Table, command: str
) -> None:
    """Writes Markdown (.md) or JSON (.json) with each bend; an existing file is replaced.

    Raises:
        RecordingError: it cannot be written.
    """
    if file.suffix == ".json":
        found = {"groups": [asdict(group) for group in groups], "bends": [asdict(item) for item in bends]}
        made = json.dumps({"format": BENDS, "command": command, **found}, indent=1, allow_nan=False) + "\n"
    else:
        parts = [f"# {table.title}", f"```bash\n{command}\n```", markdown_table(Table("", table.head, table.rows))]
        made = "\n\n".join(parts) + "\n"
    write_atomically(file, made.encode())


def _rate(item: Inside) -> str:
    if item.share is None:
        return DASH
    return f"{item.share:.0%} ({item.low:.0%} to {item.high:.0%}) of {item.decisions}"


def _areas(found: ManifoldEvaluation) -> Table:
    head = ["score", "kind"]
    for question, (fail, succeed, before, others) in found.cases.items():
        head += [
            f"{question}\n{before} decisions of {fail} failures : {others} of {succeed} successes",
            "this manifold minus it",
        ]
    rows = []
    for item in found.judged:
        name = f"{item.name} ({item.setting})" if item.setting else item.name
        cells = [name, item.kind]
        for question in found.cases:
            cells += [_area(item.areas[question]), DASH if item.less is None else _area(item.less[question], "+.2f")]
        rows.append(tuple(cells))
    return Table("Is a failure near? AUROC at a matched phase", tuple(head), tuple(rows))


def _perturbations(found: ManifoldEvaluation) -> Table:
    head = ("score", *(f"bent by {size:g} rad" for size in SIZES_RAD))
    rows = [
        (item.name, *(f"{item.perturbed[size]:.1%}" for size in SIZES_RAD)) for item in found.judged if item.perturbed
    ]
    brought = (f"{found.projected[size]:.1%}" if size in found.projected else DASH for size in SIZES_RAD)
    rows.append(("of those outside this manifold, brought inside by projection", *brought))
    return Table(f"Chunks of successes bent at random: share inside the level of {found.share:.0%}", head, tuple(rows))


def _inside(found: ManifoldEvaluation) -> Table:
    rows = []
    for name, item in found.inside.items():
        if item.share is not None:
            share = f"{item.share:.1%} ({item.low:.1%} to {item.high:.1%})"
            rows.append((name, str(item.episodes), str(item.decisions), share))
    title = f"Decisions inside the level {found.level:.3f}, which holds {found.share:.0%} of the calibration successes"
    return Table(title, ("of", "episodes", "decisions", "inside"), tuple(rows))


def _area(area: MatchedArea, form: str = ".2f") -> str:
    if area.value is None:
        return DASH
    return f"{area.value:{form}}\n{area.low:{form}} to {area.high:{form}}"
