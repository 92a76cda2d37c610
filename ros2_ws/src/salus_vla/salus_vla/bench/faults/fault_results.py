"""What one injected fault did, and the table of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from salus_vla.contract.errors import ConfigError

BEGIN, END = "<!-- faults -->", "<!-- /faults -->"
LOSS_ALLOWED_S = 0.5


@dataclass(frozen=True)
class Injection:
    """One injected fault.

    Attributes:
        fault: its name, the same for every repetition.
        outcome: what became of the run, in a few words.
        loss_s: sim time missing between the moment of the fault and the last message that was kept [s]; None where
            nothing was being recorded.
        problems: what is not as it should be; empty when the fault did no harm.
    """

    fault: str
    outcome: str
    loss_s: float | None
    problems: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Nothing is wrong and no more was lost than is allowed."""
        return not self.problems and (self.loss_s is None or self.loss_s <= LOSS_ALLOWED_S)


def table(injections: Iterable[Injection]) -> str:
    """A Markdown table with one row per fault: times injected, outcomes, worst loss, verdict."""
    faults: dict[str, list[Injection]] = {}
    for injection in injections:
        faults.setdefault(injection.fault, []).append(injection)
    lines = ["| fault | times | outcome | worst loss [s] | verdict |", "|---|---|---|---|---|"]
    for fault, items in faults.items():
        losses = [item.loss_s for item in items if item.loss_s is not None]
        worst = f"{max(losses):.2f}" if losses else "-"
        failed = sum(not item.passed for item in items)
        lines.append(table_row(fault, [item.outcome for item in items], worst, failed))
    return "\n".join(lines)


def table_row(fault: str, outcomes: Sequence[str], worst: str, failed: int) -> str:
    """A fault's row: how often it was injected, what became of it, the worst measured value and the verdict."""
    counted = ", ".join(f"{count} {outcome}" for outcome, count in Counter(outcomes).most_common())
    verdict = f"**{failed} failed**" if failed else "passed"
    return f"| {fault} | {len(outcomes)} | {counted} | {worst} | {verdict} |"


def write_table(file: Path, injections: Sequence[Injection], heading: str) -> None:
    """Replaces the table of faults in a Markdown file; `heading`, a line about the command, goes above it.

    Raises:
        ConfigError: as `replace_marked`.
    """
    replace_marked(file, BEGIN, END, f"{heading}\n\n{table(injections)}")


def replace_marked(file: Path, begin: str, end: str, text: str) -> None:
    """Replaces what is between two marker lines of a Markdown file.

    Raises:
        ConfigError: the file cannot be read or written, or lacks the markers.
    """
    try:
        content = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({error})") from error
    before, found_begin, rest = content.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ConfigError(f"{file}: expected the lines {begin} and {end}, the table goes between them")
    try:
        file.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written ({error})") from error
