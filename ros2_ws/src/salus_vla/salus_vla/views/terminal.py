"""The terminal's view of a snapshot of the graph."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from salus_vla.contract.foreseen_risk import PREDICTED
from salus_vla.contract.message_readers import EpisodeEvent, EventKind
from salus_vla.signals.safety_signals import SIGNALS
from salus_vla.views.graph_monitor import Pace, RoleLine, Snapshot, TopicLine
from salus_vla.views.terminal_styles import OUTCOME_STYLES

_BARS = "▁▂▃▄▅▆▇█"
_UNSET = "·"
_STATE_STYLES = {"STARTING": "yellow", "READY": "cyan", "RUNNING": "green", "HOLDING": "yellow", "FAILED": "bold red"}
_PACE_STYLES = {Pace.OK: "green", Pace.SLOW: "yellow", Pace.SILENT: "red", Pace.UNHEARD: "dim"}
_NOTHING_S = 2.0  # silence from which the screen says so
_RECORDER = "recorder"
_SMALL = 0.1  # probabilities below have a decimal: an alarm of a collision may begin at 2 %


def sparkline(values: Sequence[float], width: int, bounds: tuple[float, float] | None = None) -> str:
    """The newest `width` values as bars; `·` where a value is not finite.

    Args:
        values: oldest first.
        width: characters.
        bounds: values of the lowest and the highest bar, and beyond; the smallest and the largest value without.
    """
    shown = list(values)[-width:] if width > 0 else []
    finite = [value for value in shown if math.isfinite(value)]
    if not finite:
        return _UNSET * len(shown)
    low, high = bounds or (min(finite), max(finite))
    shown = [min(max(value, low), high) if math.isfinite(value) else value for value in shown]
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] if math.isfinite(value) else _UNSET for value in shown)


def nothing_heard(domain: str, silent_s: float) -> str:
    """What to say, and to do, while a ROS domain is silent."""
    return (
        f"nothing heard on ROS_DOMAIN_ID={domain} for {silent_s:.0f} s; "
        "`salus collect` prints the domain of its graph: give it with --domain"
    )


def render(snapshot: Snapshot, domain: str, width: int) -> RenderableType:
    """The whole screen, `width` characters wide."""
    parts: list[RenderableType] = [_head(snapshot, domain)]
    if not snapshot.heard or snapshot.silent_s > _NOTHING_S:
        parts.append(Text(nothing_heard(domain, snapshot.silent_s), "bold red"))
    if snapshot.heard:
        parts += [
            _episode(snapshot),
            *_risk(snapshot, width),
            *_motion(snapshot),
            _recording(snapshot.roles),
            _roles(snapshot.roles),
        ]
        parts += [_signals(snapshot, width), _topics(snapshot.topics)]
    return Group(*parts)


def _head(snapshot: Snapshot, domain: str) -> Text:
    text = Text.assemble(("SALUS", "bold"), f"  ROS_DOMAIN_ID={domain}")
    if snapshot.sim_s is not None:
        text.append(f"  sim time {snapshot.sim_s:.2f} s")
    if snapshot.speed is not None:
        text.append(f"  {snapshot.speed:.2f} x real time")
    return text


def _episode(snapshot: Snapshot) -> Text:
    event = snapshot.episode
    if event is None:
        return Text("episode: none yet")
    text = Text.assemble(("episode: ", "bold"), f"{event.episode} of run {event.run_id}, seed {event.seed}, ")
    text.append_text(_progress(event, snapshot.decision))
    if snapshot.inference_ms is not None:
        text.append(f", {snapshot.inference_ms:.0f} ms")
    for name, count in snapshot.outcomes.items():
        text.append(f"  {name} {count}", OUTCOME_STYLES.get(name, ""))
    return text


def _progress(event: EpisodeEvent, decision: int | None) -> Text:
    if event.kind is EventKind.ENDED:
        words = f"{event.outcome} after {event.decisions} decisions"
        detail = f": {event.detail}" if event.detail else ""
        return Text(words + detail, OUTCOME_STYLES.get(event.outcome, ""))
    after = f" after {event.event}" if event.kind is EventKind.EVENT else ""
    return Text(f"running{after}, " + ("no decision yet" if decision is None else f"decision {decision}"))


def _risk(snapshot: Snapshot, width: int) -> list[Text]:
    """What the failure predictor foresees, and its alarm in words; nothing without predictions."""
    risk, first = snapshot.risk, snapshot.first_alarm
    if risk is None:
        return []
    lines = [Text.assemble(("risk: ", "bold"), (f"failure {risk.in_words}", "bold red" if risk.alarm else ""))]
    for name in PREDICTED[1:]:
        value = risk.values[name]
        if math.isfinite(value):
            lines[0].append(f", {name} {value:.0%}" if value >= _SMALL else f", {name} {value:.1%}")
    lines[0].append("  " + sparkline(snapshot.risks, max(10, width - 70), (0.0, 1.0)))
    if risk.alarm:
        lines.append(Text.assemble(("alarm: ", "bold"), (risk.detail or risk.alarm, "bold red")))
    if first is not None and first is not risk:
        lines.append(Text(f"first alarm: decision {first.decision}, {first.detail or first.alarm}", "red"))
    return lines


def _motion(snapshot: Snapshot) -> list[Text]:
    """The motion in force, why, and its risk beside the plan's; nothing where nobody can intervene."""
    told = snapshot.motion
    if told is None:
        return []
    if snapshot.handed_over:
        return [Text.assemble(("HANDED OVER: ", "bold bright_magenta"), (snapshot.handed_over, "bright_magenta"))]
    style = "yellow" if told.intervenes and told.acted else ""
    line = Text.assemble(("motion: ", "bold"), (told.name, style))
    lines = [line.append(f" ({told.reason})" if told.reason else "")]
    if told.risks_in_words:
        line.append(f", {told.risks_in_words}")
    if snapshot.interventions and not told.intervenes:
        lines.append(Text(f"interventions: {snapshot.interventions}", "yellow"))
    return lines


def _recording(roles: Sequence[RoleLine]) -> Text:
    recorder = next((line for line in roles if line.role == _RECORDER), None)
    words = {"RUNNING": "a bag is being written", "READY": "waits for an episode"}
    text = Text.assemble(("recording: ", "bold"))
    if recorder is None:
        return text.append("no recorder was heard", "yellow")
    text.append(words.get(recorder.state, recorder.state), _STATE_STYLES.get(recorder.state, ""))
    return text.append(f"  {recorder.detail}" if recorder.detail else "")


def _roles(roles: Sequence[RoleLine]) -> RenderableType:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    for column in ("node", "state", "reason"):
        table.add_column(column, no_wrap=True)
    table.add_column("detail", overflow="fold")
    for line in sorted(roles, key=lambda line: line.role):
        state = Text(line.state, _STATE_STYLES.get(line.state, ""))
        table.add_row(line.role, state, Text(line.reason), Text(line.detail))
    return table


def _signals(snapshot: Snapshot, width: int) -> RenderableType:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    table.add_column("signal", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("now", justify="right", no_wrap=True)
    table.add_column("in this episode", no_wrap=True)
    for signal in SIGNALS:
        values = snapshot.signals[signal.name]
        now = f"{values[-1]:.4g}" if values and math.isfinite(values[-1]) else "-"
        table.add_row(signal.name, signal.unit, now, sparkline(values, max(10, width - 50)))
    return table


def _topics(lines: Sequence[TopicLine]) -> RenderableType:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    table.add_column("topic", no_wrap=True)
    for column in ("Hz", "due", "age s", "count"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for line in lines:
        pace = Text("" if line.pace is Pace.OK else line.pace.value, _PACE_STYLES[line.pace])
        table.add_row(
            Text(line.name, _PACE_STYLES[line.pace] if line.pace is not Pace.OK else ""),
            _number(line.rate_hz, ".1f"),
            _number(line.due_hz, "g"),
            _number(line.age_s, ".1f"),
            str(line.count),
            pace,
        )
    return table


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
