"""The evaluation of a predictor as tables, Markdown and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from salus_vla.data.bags.run_records import write_atomically
from salus_vla.learning.evaluation.auroc import Auroc
from salus_vla.learning.evaluation.evaluation_report import markdown_table
from salus_vla.learning.evaluation.intervals import Share, wilson
from salus_vla.learning.evaluation.tables import DASH, Table, auroc_text, share_text
from salus_vla.learning.prediction.baselines.method import OURS, PUBLISHED, RULE
from salus_vla.learning.prediction.detection import Detection, Foreseen
from salus_vla.learning.prediction.prediction_evaluation import (
    ALPHA,
    EARLY,
    OUR_NAME,
    SINCE_GRASP,
    Contest,
    PredictionEvaluation,
    Row,
)
from salus_vla.learning.prediction.questions import AT_DECISIONS, PHASES_S, SLIP_WINDOWS_S

FORMAT = "salus-prediction-1"
_TEXT = """\
Trained on the training and validation seeds, thresholds from successes of the calibration seeds, every figure from the
test seeds. Each cell is an AUROC, its 95 % interval (DeLong's with seeds as clusters), and successes : failures where
they differ from the head's. The best rule and the best published method are chosen on the test seeds, which favours
them; differences have a paired bootstrap over seeds."""
_KINDS = {OURS: "", RULE: "rule of one line", PUBLISHED: "published", "signal": "signal alone"}


def prediction_tables(found: PredictionEvaluation) -> list[Table]:
    """In the order in which they are read."""
    tables = [
        _counts(found),
        _areas(f"Early: will the episode fail? At decision 5, over {', '.join(EARLY)}", found.early, ("all", *EARLY)),
        _areas(
            "Any moment: will the episode fail? At decisions, among those that still run, all profiles",
            found.seen,
            [f"at_{decision}" for decision in AT_DECISIONS],
        ),
        _areas(
            "Misses: before the hand first closes, on nothing or on the cube", found.miss, list(_columns(found.miss))
        ),
        _areas(
            "Slip: has the cube moved by more than 5 mm in the hand? Windows after the first grasp [s], with eval",
            found.slips,
            [f"{name} {low:g}-{high:g}" for name in ("heavy", "slippery") for low, high in SLIP_WINDOWS_S],
        ),
        _areas(
            "Physical failures at a matched phase: so long after the last grasp [s]",
            found.phase,
            [f"{phase:g}" for phase in PHASES_S],
        ),
    ]
    if found.left_out:
        means = [column for column in _columns(found.left_out) if column.startswith("mean ")]
        profiles = [column for column in _columns(found.left_out) if column.endswith(" at_30") and column not in means]
        tables.append(_areas("Profiles that were not learned from: mean over them", found.left_out, means))
        tables.append(_areas("Profiles that were not learned from: each at decision 30", found.left_out, profiles))
    tables.append(_contests(found.contests))
    tables.append(
        _foreseen(f"Misses foreseen before the hand closes, threshold at {ALPHA:.0%} of successes", found.misses)
    )
    tables.append(_foreseen(f"Losses foreseen before what is held is lost, at {ALPHA:.0%}", found.losses))
    tables.append(_detections(found.detections))
    if found.conformal:
        tables.append(_conformal(found))
    tables.append(_calibration(found))
    if found.ablation:
        tables.append(_ablation(found))
    return [table for table in tables if table.rows]


def to_markdown(found: PredictionEvaluation, command: str) -> str:
    """What `salus predictor evaluate --out` writes."""
    parts = ["# Evaluation of the failure predictor", f"```bash\n{command}\n```", _TEXT]
    for table in prediction_tables(found):
        parts += [f"## {table.title}", markdown_table(Table("", table.head, table.rows))]
    return "\n\n".join(parts) + "\n"


def to_json(found: PredictionEvaluation, command: str) -> str:
    """Every number, and the main ones also under names of one line; null where there is none."""
    main = main_figures(found)
    content: dict[str, Any] = {"format": FORMAT, "command": command, **main, **_nested(main), "tables": asdict(found)}
    return json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"


def write_prediction(file: Path, found: PredictionEvaluation, command: str) -> None:
    """Writes Markdown (.md) or JSON (.json); an existing file is replaced.

    Raises:
        RecordingError: it cannot be written.
    """
    made = to_json(found, command) if file.suffix == ".json" else to_markdown(found, command)
    write_atomically(file, made.encode())


def main_figures(found: PredictionEvaluation) -> dict[str, Any]:
    """The figures that decide whether the predictor is worth something, by name."""
    figures: dict[str, Any] = {
        "early.auroc_at_decision.5": _area(found.early, OUR_NAME, "all"),
        "miss.auroc_1s_before": _area(found.miss, OUR_NAME, "1 s before"),
        "slip.heavy": _area(found.slips, OUR_NAME, "heavy 0.24-0.6"),
        "slip.slippery": _area(found.slips, OUR_NAME, "slippery 0.24-0.6"),
    }
    misses, losses = found.misses.get(OUR_NAME), found.losses.get(OUR_NAME)
    figures["miss.recall_before_at_5_percent"] = misses.seen.share if misses else None
    figures["loss.recall_at_5_percent"] = losses.seen.share if losses else None
    figures["loss.median_lead_s"] = losses.lead_s if losses else None
    for decision in AT_DECISIONS:
        figures[f"seen.auroc_at_decision.{decision}"] = _area(found.seen, OUR_NAME, f"at_{decision}")
        figures[f"seen.best_rule_at_decision.{decision}"] = _best(found.seen, RULE, f"at_{decision}")
        figures[f"seen.best_published_at_decision.{decision}"] = _best(found.seen, PUBLISHED, f"at_{decision}")
        if found.left_out:
            for name, kind in (("auroc", OURS), ("best_rule", RULE), ("best_published", PUBLISHED)):
                key = f"left_out.{name}_at_decision.{decision}"
                figures[key] = _best(found.left_out, kind, f"mean at_{decision}")
    for phase in PHASES_S:
        figures[f"matched_phase.auroc.{phase:g}"] = _area(found.phase, OUR_NAME, f"{phase:g}")
        figures[f"matched_phase.time_alone.{phase:g}"] = _area(found.phase, SINCE_GRASP, f"{phase:g}")
    for item in found.conformal:
        figures[f"conformal.{item.alpha:.2f}.false_alarm_rate"] = item.alarms.share if item.alarms else None
        figures[f"conformal.{item.alpha:.2f}.n"] = item.alarms.total if item.alarms else None
    return figures


def _nested(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The same in objects: a.b.c is found at ["a"]["b"]["c"]; a number with a point is one name."""
    tree: dict[str, Any] = {}
    for key, value in figures.items():
        first, rest = key.split(".", 1)
        second, third = (rest.rsplit(".", 1) if first == "conformal" else (*rest.split(".", 1), ""))[:2]
        branch = tree.setdefault(first, {})
        if third:
            branch.setdefault(second, {})[third] = value
        else:
            branch[second] = value
    return tree


def _area(rows: Sequence[Row], method: str, column: str) -> float | None:
    return next((row.areas[column].value for row in rows if row.method == method and column in row.areas), None)


def _best(rows: Sequence[Row], kind: str, column: str) -> float | None:
    values = [row.areas[column].value for row in rows if row.kind == kind and column in row.areas]
    return max((value for value in values if value is not None), default=None)


def _columns(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(rows[0].areas) if rows else ()


def _areas(title: str, rows: Sequence[Row], columns: Sequence[str]) -> Table:
    """Ours first, then the rest by kind, the best first in the first column that has a value."""
    shown = [
        column for column in columns if any(column in row.areas and row.areas[column].value is not None for row in rows)
    ]
    if not shown:
        return Table(title, (), ())
    sizes = {column: (rows[0].areas[column].first, rows[0].areas[column].second) for column in shown}
    head = ["method", "kind"]
    for column in shown:
        name = column.replace("at_", "decision ")
        head.append(
            f"{name}\n{sizes[column][0]} : {sizes[column][1]}" if sizes[column][1] and "mean" not in column else name
        )
    order = list(_KINDS)
    middle = shown[len(shown) // 2]

    def place(row: Row) -> tuple[int, float]:
        value = row.areas[middle].value
        return order.index(row.kind), -(value if value is not None else 0.0)

    cells = tuple(
        (row.method, _KINDS[row.kind], *(_cell(row.areas[column], sizes[column]) for column in shown))
        for row in sorted(rows, key=place)
    )
    return Table(title, tuple(head), cells)


def _cell(area: Auroc, size: tuple[int, int]) -> str:
    if area.value is not None and area.low is None:
        return f"{area.value:.2f}\n{area.first} profiles"
    return auroc_text(area, size)


def _counts(found: PredictionEvaluation) -> Table:
    rows = []
    for part, profiles in found.counts.items():
        for profile, outcomes in profiles.items():
            if outcomes:
                total = sum(outcomes.values())
                failed = total - outcomes.get("SUCCESS", 0)
                named = ", ".join(f"{count} {name}" for name, count in outcomes.items() if name != "SUCCESS")
                rows.append(
                    (part, profile, str(total), share_text(Share(failed, total)).replace("\n", " "), named or DASH)
                )
    return Table("Episodes", ("part", "profile", "episodes", "fail", "how"), tuple(rows))


def _contests(contests: Mapping[str, Sequence[Contest]]) -> Table:
    rows = []
    for question, items in contests.items():
        for item in items:
            difference = item.difference
            if difference is None:
                continue
            verdict = "above" if difference.above else ("below" if difference.high < 0.0 else "not told apart")
            interval = f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"
            rows.append((question, item.column.replace("at_", "decision "), item.best, interval, verdict))
    head = ("question", "where", "best other", "ours minus it", "")
    return Table("Ours against the best rule and the best published method, paired", head, tuple(rows))


def _foreseen(title: str, items: Mapping[str, Foreseen]) -> Table:
    def place(entry: tuple[str, Foreseen]) -> float:
        return -(entry[1].seen.share or 0.0)

    ours = [(name, item) for name, item in items.items() if name.startswith(OUR_NAME)]
    rest = sorted(((name, item) for name, item in items.items() if not name.startswith(OUR_NAME)), key=place)[:12]
    rows = tuple(
        (name, share_text(item.seen), share_text(item.false_alarms), _number(item.lead_s, " s"))
        for name, item in ours + rest
    )
    return Table(title, ("method", "foreseen", "false alarms", "median lead"), rows)


def _detections(items: Mapping[str, Detection]) -> Table:
    rows = tuple(
        (
            name,
            share_text(item.false_alarms),
            share_text(item.seen),
            _number(item.balanced_accuracy),
            _number(item.time_weighted_accuracy),
            _number(item.lead_s, " s"),
        )
        for name, item in items.items()
    )
    head = ("method", "false alarms", "failures seen", "balanced accuracy", "time-weighted", "median lead")
    return Table(f"Detection: the threshold is what {ALPHA:.0%} of the calibration successes ever pass", head, rows)


def _conformal(found: PredictionEvaluation) -> Table:
    rows = []
    for item in found.conformal:
        if item.alarms is None:
            rows.append((f"{item.alpha:g}", "not supported by so few successes", DASH, DASH))
            continue
        low, high = wilson(item.alarms.count, item.alarms.total)
        profiles = ", ".join(f"{name} {s.share:.0%}" for name, s in item.by_profile.items() if s.share is not None)
        inside = "inside" if low <= item.alpha <= high else ("below" if high < item.alpha else "above")
        rows.append((f"{item.alpha:g}", share_text(item.alarms), inside, profiles))
    head = ("alpha", "false alarms of held-out successes", "alpha within their interval", "by profile")
    return Table("The promise about false alarms", head, tuple(rows))


def _calibration(found: PredictionEvaluation) -> Table:
    rows = tuple(
        (
            name,
            str(item.n),
            f"{item.base_rate:.3f}",
            f"{item.brier:.4f}",
            f"{item.brier_of_base_rate:.4f}",
            f"{item.ece:.3f}",
        )
        for name, item in found.calibration.items()
    )
    return Table("Probabilities", ("of", "n", "base rate", "Brier", "Brier of the base rate", "ECE"), rows)


def _ablation(found: PredictionEvaluation) -> Table:
    columns = tuple(next(iter(found.ablation.values())))
    rows = tuple((name, *(_number(values[column]) for column in columns)) for name, values in found.ablation.items())
    return Table("Fewer inputs, AUROC", ("inputs", *columns), rows)


def _number(value: float | None, unit: str = "") -> str:
    return DASH if value is None or math.isnan(value) else f"{value:.2f}{unit}"


def _plain(value: Any) -> Any:
    """For JSON: no NaN, no tuples as keys."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
