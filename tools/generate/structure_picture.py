"""The picture in docs/architecture.md: the rooms of the package, and which imports which.

Made from the imports themselves, those inside functions included, and from the order of rooms that import-linter keeps
(`pyproject.toml`): `python tools/generate/structure_picture.py docs/images/structure.svg`. A room imports what stands
below it, so every mark is left of the diagonal.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections import Counter
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "ros2_ws" / "src" / "salus_vla" / "salus_vla"
_LEFT, _TOP, _CELL, _MARGIN, _WORDS = 120, 130, 34, 16, 760
_STYLE = """\
    text { font: 13px sans-serif; fill: #1c2733; }
    .note { font-size: 12px; fill: #52606d; }
    .count { font-size: 11px; text-anchor: middle; }
    .name { font-weight: 600; }
    .page { fill: #ffffff; }
    .line { stroke: #d5dbe1; stroke-width: 1; }
    .self { fill: #1c2733; }
    .down { fill: #9db8d6; }
    .up { fill: #d64545; }"""


def modules() -> dict[str, Path]:
    """Every module of the package, by its dotted name below `salus_vla`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        if name:
            found[name] = path
    return found


def imports() -> dict[str, set[str]]:
    """Module -> modules of the package that it imports, inside functions too, but not for type checkers only."""
    known = modules()
    found: dict[str, set[str]] = {}
    for name, path in known.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "salus_vla":
                parent = node.module.removeprefix("salus_vla").lstrip(".")
                inner = {f"{parent}.{alias.name}".lstrip(".") for alias in node.names}
                names |= {item if item in known else parent for item in inner}
            elif isinstance(node, ast.Import):
                names |= {alias.name.removeprefix("salus_vla.") for alias in node.names}
        found[name] = {item for item in names if item in known and item != name}
    return found


def rooms() -> list[str]:
    """The rooms from the lowest to the highest, as import-linter keeps them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [room.strip() for layer in reversed(layers) for room in reversed(layer.split("|"))]


def between_rooms() -> Counter[tuple[str, str]]:
    """How many modules of the first room import something of the second."""
    counts: Counter[tuple[str, str]] = Counter()
    for name, found in imports().items():
        room = name.split(".")[0]
        counts.update((room, other) for other in {item.split(".")[0] for item in found} if other != room)
    return counts


def picture() -> str:
    """The SVG."""
    order, counts = rooms(), between_rooms()
    side = _CELL * len(order)
    width, height = _LEFT + side + _MARGIN + _WORDS, _TOP + side + 60
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"  <title>Rooms of salus_vla, and which imports which</title>\n  <style>\n{_STYLE}\n  </style>",
        f'  <rect class="page" width="{width}" height="{height}"/>',
    ]
    for i, room in enumerate(order):
        x, y = _LEFT + _CELL * i, _TOP + _CELL * i
        lines += [
            f'  <line class="line" x1="{_LEFT}" y1="{y}" x2="{_LEFT + side}" y2="{y}"/>',
            f'  <line class="line" x1="{x}" y1="{_TOP}" x2="{x}" y2="{_TOP + side}"/>',
            f'  <text class="name" x="{_MARGIN}" y="{y + 21}">{room}</text>',
            f'  <text transform="translate({x + 21} {_TOP - 8}) rotate(-60)">{room}</text>',
            f'  <rect class="self" x="{x + 10}" y="{y + 10}" width="{_CELL - 20}" height="{_CELL - 20}"/>',
            f'  <text class="note" x="{_LEFT + side + _MARGIN}" y="{y + 21}">{escape(_words(room))}</text>',
        ]
        for j, other in enumerate(order):
            if counts[room, other]:
                kind = "down" if j < i else "up"
                at, size = _LEFT + _CELL * j, _CELL - 6
                lines += [
                    f'  <rect class="{kind}" x="{at + 3}" y="{y + 3}" width="{size}" height="{size}" rx="4"/>',
                    f'  <text class="count" x="{at + _CELL // 2}" y="{y + 21}">{counts[room, other]}</text>',
                ]
    foot = (
        "A number: how many files of the room on the left import something of the room above. Nothing is right of the "
        "diagonal: a room imports only what stands above it in this picture.",
        "import-linter keeps the order (make lint).",
    )
    lines += [
        f'  <text class="note" x="{_MARGIN}" y="{_TOP + side + 24 + 18 * i}">{escape(t)}</text>'
        for i, t in enumerate(foot)
    ]
    return "\n".join([*lines, "</svg>", ""])


def _words(room: str) -> str:
    """First line of the room's docstring."""
    path = PACKAGE / room / "__init__.py"
    text = ast.get_docstring(
        ast.parse((path if path.is_file() else PACKAGE / f"{room}.py").read_text(encoding="utf-8"))
    )
    return (text or "").splitlines()[0].rstrip(".").replace("`", "")


def main(words: list[str]) -> int:
    """Writes the picture; 2 for wrong arguments."""
    if len(words) != 1:
        print("usage: python tools/generate/structure_picture.py FILE.svg", file=sys.stderr)
        return 2
    Path(words[0]).write_text(picture(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
