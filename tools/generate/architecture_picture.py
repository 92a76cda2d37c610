"""The picture in docs/architecture.md: who publishes, hears, serves and calls what.

Made from the launch file (which nodes there are) and the contract (`security_policy.node_access`: what each may do), so
it cannot tell anything else than they do: `python tools/generate/architecture_picture.py docs/images/architecture.svg`.
"""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from salus_vla.contract import CLOCK, DIAGNOSTICS, STATUS_TOPIC, TOPICS, Topic
from salus_vla.contract.errors import ConfigError, SalusError
from salus_vla.ros.launch.launch_document import Element, read_launch_file
from security_policy import SERVICES, TOOLS, NodeAccess, node_access

LAUNCH = Path("launch") / "salus.launch.xml"
# What has the ends of nearly every node would be lines across the whole picture: it is said in words below.
_SAID_BELOW = (CLOCK, STATUS_TOPIC, DIAGNOSTICS)
_CHOICE = "$(var sim)"  # in the condition of a node that is one of several simulators
_EVERY_TOPIC = frozenset(topic.name for topic in TOPICS)
_LEFT, _COLUMN, _TOP, _ROW, _BOTTOM = 330, 152, 96, 34, 112  # px
_BOX = (132, 46)
_STYLE = """\
    text { font: 13px system-ui, sans-serif; fill: #1f2328 }
    .name { font: 13px ui-monospace, monospace }
    .note { font-size: 11px; fill: #59636e }
    .head { text-anchor: middle; font-weight: 600 }
    .middle { text-anchor: middle }
    .box { fill: #ddf4ff; stroke: #0969da }
    .life { stroke: #d1d9e0; stroke-width: 1 }
    .topic { stroke: #0969da; fill: #0969da }
    .service { stroke: #8250df; fill: #8250df; stroke-dasharray: 5 3 }
    .mark { stroke-dasharray: none }
    .page { fill: #ffffff }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc } .note { fill: #9198a1 } .page { fill: #0d1117 } .life { stroke: #3d444d }
      .box { fill: #121d2f; stroke: #4493f8 } .topic { stroke: #4493f8; fill: #4493f8 }
      .service { stroke: #ab7df8; fill: #ab7df8 }
    }"""


@dataclass(frozen=True)
class Node:
    """A column: a process of the launch file, and who may stand in for it (another simulator)."""

    name: str
    instead: tuple[str, ...]


@dataclass(frozen=True)
class Wire:
    """A row: from one node to others.

    Attributes:
        label: name of the topics or of the service; several that go the same way share a row.
        note: type and rate.
        start: node that publishes, or calls.
        ends: nodes that hear, or serve.
        service: whether it is a service.
    """

    label: str
    note: str
    start: str
    ends: tuple[str, ...]
    service: bool


def nodes_of(launch: Path) -> tuple[Node, ...]:
    """The columns: nodes of the launch file in its order; simulators are alternatives of one column.

    Who hears every topic stands last, so that the lines between the others are short.

    Raises:
        LaunchError: the file cannot be read.
        ConfigError: a node is not known to the contract.
    """
    access = {node.name: node for node in node_access()}
    started = list(_nodes(read_launch_file(launch)))
    choices = [name for name, condition in started if _CHOICE in condition]
    simulator = [name for name in choices if name in access]
    unknown = [name for name, condition in started if name not in access and _CHOICE not in condition]
    if unknown or len(simulator) != 1:
        raise ConfigError(f"{launch}: nodes {unknown or choices} are not those of security_policy.node_access")
    others = tuple(name for name in choices if name not in access)
    nodes = [Node(name, others if name in simulator else ()) for name, _ in started if name in access]
    return tuple(sorted(nodes, key=lambda node: access[node.name].subscribes >= _EVERY_TOPIC))


def wires() -> tuple[Wire, ...]:
    """The rows: topics, then services, those with the same ends together."""
    access = [node for node in node_access() if node.name != TOOLS]
    rows: list[Wire] = []
    for topic in (topic for topic in TOPICS if topic not in _SAID_BELOW):
        (start,) = (node.name for node in access if topic.name in node.publishes)
        ends = tuple(node.name for node in access if topic.name in node.subscribes)
        wire = Wire(topic.name, _note(topic), start, ends, service=False)
        if rows and (joint := _joined(rows[-1], wire)) is not None:
            rows[-1] = joint
        else:
            rows.append(wire)
    for service in SERVICES:
        callers = _who(access, service.name, "calls")
        if callers:  # others are for people
            ends = _who(access, service.name, "serves")
            rows.append(Wire(service.name, service.type.replace("/srv/", "/"), callers[0], ends, service=True))
    return tuple(rows)


def picture(launch: Path) -> str:
    """The SVG.

    Raises:
        SalusError: as `nodes_of`.
    """
    columns, rows = nodes_of(launch), wires()
    at = {node.name: _LEFT + _COLUMN * i + _COLUMN // 2 for i, node in enumerate(columns)}
    width, foot = _LEFT + _COLUMN * len(columns), _TOP + _ROW * len(rows)
    height = foot + _BOTTOM
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"  <title>Nodes, topics and services of SALUS</title>\n  <style>\n{_STYLE}\n  </style>",
        f'  <rect class="page" width="{width}" height="{height}"/>',
    ]
    for node in columns:
        lines += _column(node, at[node.name], foot)
    for i, wire in enumerate(rows):
        lines += _row(wire, _TOP + _ROW * i + _ROW // 2, at)
    people = ", ".join(service.name for service in SERVICES if service.name not in {wire.label for wire in rows})
    notes = (
        "● publishes or calls, ▶ hears or serves, dashed: services",
        *(f"Not drawn: {_in_words(topic)}" for topic in _SAID_BELOW),
        f"For people: {people}",
    )
    lines += [_text(16, foot + 24 + 18 * i, "note", words) for i, words in enumerate(notes)]
    return "\n".join([*lines, "</svg>", ""])


def _nodes(element: Element) -> Iterator[tuple[str, str]]:
    """Executables of our package below an element, with the condition under which they are started."""
    for child in element.children:
        if child.tag == "node" and child.attributes["pkg"] == "salus_vla":
            yield child.attributes["exec"], child.attributes.get("if", "")
        yield from _nodes(child)


def _note(topic: Topic) -> str:
    rate = "on event" if topic.rate_hz is None else f"{topic.rate_hz:g} Hz"
    return f"{topic.type.replace('/msg/', '/')}, {rate}" + (", optional" if topic.optional else "")


def _in_words(topic: Topic) -> str:
    """`/diagnostics, from every node to bag_recorder`."""
    access = [node for node in node_access() if node.name != TOOLS]

    def names(what: str) -> str:
        having = [node.name for node in access if topic.name in getattr(node, what)]
        lacking = [node.name for node in access if node.name not in having]
        if len(having) <= len(lacking):
            return " and ".join(having)
        return "every node" + (f" but {' and '.join(lacking)}" if lacking else "")

    return f"{topic.name}, from {names('publishes')} to {names('subscribes')}"


def _joined(above: Wire, wire: Wire) -> Wire | None:
    """One row for topics that differ in one part of their name: `/camera_{front,side}/image_raw`."""
    same = (above.note, above.start, above.ends, above.service) == (wire.note, wire.start, wire.ends, wire.service)
    if not same:
        return None
    known = re.fullmatch(r"(.*)\{(.*)\}(.*)", above.label)
    if known:
        head, parts, tail = known.groups()
        inside = wire.label.removeprefix(head).removesuffix(tail)
        fits = wire.label == head + inside + tail and "/" not in inside
        return Wire(f"{head}{{{parts},{inside}}}{tail}", *_rest(wire)) if fits else None
    head = _common(above.label, wire.label)
    tail = _common(above.label[len(head) :][::-1], wire.label[len(head) :][::-1])[::-1]
    parts = [name[len(head) : len(name) - len(tail)] for name in (above.label, wire.label)]
    if not all(parts) or any("/" in part for part in parts) or len(head) < 2:
        return None
    return Wire(f"{head}{{{','.join(parts)}}}{tail}", *_rest(wire))


def _rest(wire: Wire) -> tuple[str, str, tuple[str, ...], bool]:
    return wire.note, wire.start, wire.ends, wire.service


def _common(a: str, b: str) -> str:
    """The common beginning of two names, in whole words."""
    length = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    while length and a[length - 1].isalnum():
        length -= 1
    return a[:length]


def _who(access: Iterable[NodeAccess], service: str, what: str) -> tuple[str, ...]:
    return tuple(node.name for node in access if service in getattr(node, what))


def _column(node: Node, x: int, foot: int) -> list[str]:
    wide, high = _BOX
    lines = [
        f'  <line class="life" x1="{x}" y1="{_TOP - 26}" x2="{x}" y2="{foot}"/>',
        f'  <rect class="box" x="{x - wide // 2}" y="24" width="{wide}" height="{high}" rx="6"/>',
        _text(x, 52 if not node.instead else 44, "name head", node.name),
    ]
    if node.instead:
        lines.append(_text(x, 60, "note middle", f"or {', '.join(node.instead)}"))
    return lines


def _row(wire: Wire, y: int, at: dict[str, int]) -> list[str]:
    kind = "service" if wire.service else "topic"
    start, ends = at[wire.start], [at[end] for end in wire.ends]
    lines = [_text(16, y - 2, "name", wire.label), _text(16, y + 12, "note", wire.note)]
    left, right = min(start, *ends), max(start, *ends)
    lines.append(f'  <line class="{kind}" stroke-width="1.5" x1="{left}" y1="{y}" x2="{right}" y2="{y}"/>')
    for end in ends:
        side = -1 if end > start else 1  # the arrow comes from where the publisher is
        tip = f"M {end} {y} l {9 * side} -5 v 10 z"
        lines.append(f'  <path class="{kind} mark" d="{tip}"/>')
    lines.append(f'  <circle class="{kind} mark" cx="{start}" cy="{y}" r="5"/>')
    return lines


def _text(x: int, y: int, style: str, words: str) -> str:
    return f'  <text x="{x}" y="{y}" class="{style}">{html.escape(words, quote=False)}</text>'


def main(words: Sequence[str]) -> int:
    """Writes the picture to the file named; 2 without one."""
    if len(words) != 1:
        print("usage: python tools/generate/architecture_picture.py FILE.svg", file=sys.stderr)
        return 2
    try:
        Path(words[0]).write_text(picture(LAUNCH), encoding="utf-8")
    except OSError as error:
        print(f"error: {words[0]}: cannot be written ({error.strerror or error})", file=sys.stderr)
        return 1
    except SalusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
