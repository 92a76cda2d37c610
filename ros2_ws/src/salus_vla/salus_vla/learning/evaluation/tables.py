"""The evaluation as text and tables, in the form that terminal and Markdown share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from salus_vla.learning.evaluation.auroc import FEWEST, Auroc
from salus_vla.learning.evaluation.evaluation import Evaluation
from salus_vla.learning.evaluation.intervals import Share
from salus_vla.learning.evaluation.outcome_rates import OUTCOMES, Outcomes
from salus_vla.learning.evaluation.shift import DISAGREEMENT, FIRST, WHOLE, Disagreement, ShiftDetection
from salus_vla.learning.evaluation.signal_prediction import AHEAD_S, FailurePrediction
from salus_vla.learning.evaluation.subjects import ALL_SHIFTS
from salus_vla.signals.safety_signals import NAMES

DASH = "-"
TIME_ALONE = "time alone"

_OUTCOMES_TEXT = """\
Count and share of the complete episodes, below it the 95 % Wilson interval. Physical failures are COLLISION, DROP and
MISS together; TIMEOUT is censoring, not an event. Median decisions are those of the successes; decisions/s of wall time
only where the run records it, which `salus rollout` does not."""
_POOLED_TEXT = f'The row "{ALL_SHIFTS}" counts every shifted profile; the same seed in two profiles is two episodes.'
_MEMBERS_TEXT = "Each member of the ensemble run by itself, in the same way."
_AUROC_TEXT = f"""\
Each cell is an AUROC (Mann-Whitney, ties count half) and its 95 % interval: DeLong's on the logit scale, with episodes
of one seed as a cluster, or Newcombe's score interval where DeLong's variance is 0. Values that are not valid are left
out; the number of episodes stands in a cell where it is smaller than in the head. A dash: fewer than {FEWEST} episodes
of a side."""
_SHIFT_TEXT = """\
An episode's value is the mean of the signal over its {decisions}. Above 0.5: larger under shift. Below 0.5 is shown as
it is; joint_limit_margin becomes smaller when it warns."""
_DISAGREEMENT_TEXT = """\
Median over the episodes of each episode's median over its {decisions}, below it the ratio to {reference}."""
_PREDICTION_TEXT = f"""\
Failed against succeeded episodes of one profile; an episode's value is the mean of the signal over its decisions up to
{AHEAD_S:g} s before the event that ended it. Above 0.5: larger before a failure. Timeouts are left out. The row
"{TIME_ALONE}" is how late the event comes, without any signal: what a mean over this time can owe to the time."""


@dataclass(frozen=True)
class Table:
    """A table; the first column names the rows. Cells may have several lines.

    Attributes:
        title: over it; empty for none.
        head: of the columns.
        rows: as many cells each.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A heading, what the numbers mean, tables, and what is not in them for a reason."""

    title: str
    text: tuple[str, ...]
    tables: tuple[Table, ...]
    missing: tuple[str, ...] = ()


def sections(evaluation: Evaluation) -> list[Section]:
    """Everything there is to show: no section without a table or a reason why there is none, no text twice."""
    found = [_outcomes(evaluation), _members(evaluation), *_shift(evaluation), *_disagreement(evaluation)]
    found.append(_prediction(evaluation))
    said: set[str] = set()
    shown = []
    for section in (item for item in found if item.tables or item.missing):
        text = section.text if section.tables else ()
        shown.append(replace(section, text=(*(item for item in text if item not in said), *section.missing)))
        said.update(text)
    return shown


def share_text(share: Share) -> str:
    """`92 (95.8 %)` and on the next line `89.8-98.4 %`."""
    if share.share is None:
        return DASH
    return f"{share.count} ({share.share:.1%})\n{100 * share.low:.1f}-{share.high:.1%}".replace("%", " %")


def auroc_text(auroc: Auroc, full: tuple[int, int]) -> str:
    """`0.97`, on the next line `0.93-0.99`, and the number of episodes where it is not `full`."""
    if auroc.value is None or auroc.low is None or auroc.high is None:
        return DASH
    text = f"{auroc.value:.2f}\n{auroc.low:.2f}-{auroc.high:.2f}"
    return text if (auroc.first, auroc.second) == full else f"{text}\n{auroc.first} : {auroc.second}"


def _outcomes(evaluation: Evaluation) -> Section:
    tables = []
    for subject in _subjects(evaluation.outcomes):
        rows = [item for item in evaluation.outcomes if item.subject == subject]
        head = ["profile", "episodes", *(outcome.name for outcome in OUTCOMES), "physical\nfailures", "apart"]
        head += ["median\ndecisions", "decisions\n/s", "seeds"]
        tables.append(Table(subject, tuple(head), tuple(_outcome_row(item) for item in rows)))
    text = [_OUTCOMES_TEXT]
    if any(item.profile == ALL_SHIFTS for item in evaluation.outcomes):
        text.append(_POOLED_TEXT)
    return Section("Outcomes", tuple(text), tuple(tables))


def _outcome_row(item: Outcomes) -> tuple[str, ...]:
    return (
        item.profile,
        str(item.episodes),
        *(share_text(share) for share in item.shares.values()),
        share_text(item.physical_failures),
        "\n".join(f"{count} {name}" for name, count in item.apart.items()) or "0",
        _number(item.median_decisions),
        DASH if item.decisions_per_s is None else f"{item.decisions_per_s:.1f}",
        seeds_text(item),
    )


def seeds_text(item: Outcomes) -> str:
    """First and last seed, and how many different ones where some are missing."""
    if item.first_seed is None or item.last_seed is None:
        return DASH
    span = f"{item.first_seed} to {item.last_seed}"
    return span if item.seeds == item.last_seed - item.first_seed + 1 else f"{span}\n({item.seeds} of them)"


def _members(evaluation: Evaluation) -> Section:
    tables = []
    for subject in dict.fromkeys(item.ensemble for item in evaluation.members):
        rows = []
        for item in evaluation.members:
            if item.ensemble != subject:
                continue
            rows.append((item.profile, f"ensemble of {item.members}", *_rates(item.whole)))
            rows += [(item.profile, f"member {number}", *_rates(single)) for number, single in item.single.items()]
        head = ("profile", "policy", "episodes", "SUCCESS", "physical failures", "seeds")
        tables.append(Table(subject, head, tuple(rows)))
    text = [_MEMBERS_TEXT]
    if any(not item.same_seeds for item in evaluation.members):
        text.append("Not all of them ran the same seeds.")
    return Section("Members beside their ensemble", tuple(text), tuple(tables))


def _rates(item: Outcomes) -> tuple[str, ...]:
    return str(item.episodes), share_text(item.success), share_text(item.physical_failures), seeds_text(item)


def _shift(evaluation: Evaluation) -> list[Section]:
    found = []
    for window in (FIRST, WHOLE):
        tables, without = [], []
        for subject in _subjects(evaluation.shift):
            columns = [item for item in evaluation.shift if (item.subject, item.window) == (subject, window)]
            shown = [item for item in columns if any(auroc.value is not None for auroc in item.signals.values())]
            without += [
                f"{item.subject}, {item.profile} {item.reference_episodes} : {item.episodes}"
                for item in columns
                if item not in shown
            ]
            if shown:
                head = (f"signal, against\n{shown[0].reference}", *(_shift_head(item) for item in shown))
                tables.append(Table(subject, head, _auroc_rows(shown)))
        text = _SHIFT_TEXT.format(decisions=decisions_text(window, evaluation))
        texts = (text, _AUROC_TEXT, *_seeds(evaluation))
        found.append(
            Section(f"Shift detection, {window}", texts, tuple(tables), _too_few("reference : shifted", without))
        )
    return found


def _seeds(evaluation: Evaluation) -> list[str]:
    """Whether shift is all that differs."""
    texts = []
    for subject in _subjects(evaluation.shift):
        own = [item for item in evaluation.shift if (item.subject, item.window) == (subject, WHOLE)]
        counts = ", ".join(f"{item.profile} {item.common_seeds}" for item in own)
        texts.append(
            f"{subject}: seeds in common with the {own[0].reference_episodes} of {own[0].reference}: {counts}. With "
            "equal seeds, scene and noise are equal but for the shift."
        )
    return texts


def decisions_text(window: str, evaluation: Evaluation) -> str:
    """`first 10 decisions` or `decisions`."""
    return f"first {evaluation.options.first} decisions" if window == FIRST else "decisions"


def _shift_head(item: ShiftDetection) -> str:
    return f"{item.profile}\n{item.reference_episodes} : {item.episodes}"


def _auroc_rows(columns: Sequence[ShiftDetection]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (name, *(auroc_text(item.signals[name], (item.reference_episodes, item.episodes)) for item in columns))
        for name in NAMES
    )


def _disagreement(evaluation: Evaluation) -> list[Section]:
    found = []
    for window in (FIRST, WHOLE):
        tables = [
            Table(
                subject,
                ("profile", *DISAGREEMENT),
                tuple(
                    _levels(item)
                    for item in evaluation.disagreement
                    if (item.subject, item.window) == (subject, window)
                ),
            )
            for subject in _subjects(evaluation.disagreement)
        ]
        text = _DISAGREEMENT_TEXT.format(
            decisions=decisions_text(window, evaluation), reference=evaluation.options.reference
        )
        found.append(Section(f"Disagreement of the members, {window}", (text,), tuple(tables)))
    return found


def _levels(item: Disagreement) -> tuple[str, ...]:
    cells = []
    for level in item.signals.values():
        ratio = DASH if level.ratio is None else f"x {level.ratio:.2f}"
        cells.append(DASH if level.median is None else f"{level.median:.3g}\n{ratio}")
    return item.profile, *cells


def _prediction(evaluation: Evaluation) -> Section:
    tables, without = [], []
    for subject in _subjects(evaluation.failure_prediction):
        columns = [item for item in evaluation.failure_prediction if item.subject == subject]
        shown = [item for item in columns if item.time_alone.value is not None]
        without += [
            f"{item.subject}, {item.profile} {item.succeeded} : {item.failed}"
            for item in columns
            if item.time_alone.value is None
        ]
        if shown:
            head = ("signal, failed against\nsucceeded", *(_prediction_head(item) for item in shown))
            rows = [
                (name, *(auroc_text(item.signals[name], (item.succeeded, item.failed)) for item in shown))
                for name in NAMES
            ]
            rows.append((TIME_ALONE, *(auroc_text(item.time_alone, (item.succeeded, item.failed)) for item in shown)))
            tables.append(Table(subject, head, tuple(rows)))
    texts = (_PREDICTION_TEXT, _AUROC_TEXT)
    return Section("Failure prediction", texts, tuple(tables), _too_few("succeeded : failed", without))


def _too_few(what: str, conditions: Sequence[str]) -> tuple[str, ...]:
    if not conditions:
        return ()
    return (f"Too few episodes to compare, fewer than {FEWEST} of a side ({what}): {'; '.join(conditions)}.",)


def _prediction_head(item: FailurePrediction) -> str:
    return f"{item.profile}\n{item.succeeded} : {item.failed}"


def _subjects(items: Sequence[Outcomes | ShiftDetection | Disagreement | FailurePrediction]) -> list[str]:
    return list(dict.fromkeys(item.subject for item in items))


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:g}"
