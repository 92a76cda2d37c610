"""How the status stands in rviz's 3D view: few short lines beside the arm, in letters that rviz's font has.

`views/trail.py` says the words. Sizes are rviz's own (its source, rviz_rendering/objects/movable_text.cpp, 14.1, and
measured in a picture of it): a line is as high as the marker's scale.z, a space half as wide as its scale.x.
"""

from __future__ import annotations

import math
import textwrap
from typing import Final

from salus_vla.views.graph_monitor import Snapshot

# Middle of the largest block in the world [m]: beside the table, on the left in salus.rviz.
POSITION: Final = (0.755, -0.86, 0.76)
HEIGHT_M: Final = 0.046
SPACE_M: Final = 0.03
WIDTH: Final = 42  # letters of a line
LINES: Final = 10
_CUT = "..."
_LETTER_M = 0.5 * HEIGHT_M  # a letter's width: by measure 0.45 of a line's height
_SPACING_M = 0.005  # between two lines


def text_block(text: str) -> str:
    """The text in at most `LINES` lines of at most `WIDTH` letters; what is cut off ends with three dots.

    A long line goes on below, indented. rviz's font has ASCII only: another letter would be an empty box.
    """
    plain = "".join(letter if letter == "\n" or " " <= letter <= "~" else "?" for letter in text)
    lines = [part for line in plain.splitlines() for part in textwrap.wrap(line, WIDTH, subsequent_indent="  ")]
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], lines[LINES - 1][: WIDTH - len(_CUT)] + _CUT]
    return "\n".join(lines)


def anchored(block: str) -> str:
    """The block filled up to the largest one: rviz centres a text, and the first letter is to stand still."""
    lines = block.split("\n")
    below = [""] * (LINES - len(lines))
    return "\n".join([*lines, *below, " " * math.ceil(WIDTH * _LETTER_M / (SPACE_M / 2.0))])


def block_size(text: str) -> tuple[float, float]:
    """Width and height of a block in the world [m], for rules of layout."""
    lines = text.split("\n")
    widths = [sum(SPACE_M / 2.0 if letter == " " else _LETTER_M for letter in line) for line in lines]
    return max(widths), len(lines) * (HEIGHT_M + _SPACING_M)


def wants_a_person(snapshot: Snapshot) -> bool:
    """Whether somebody should look: an alarm, an arm that was handed over, a node that failed."""
    alarm = snapshot.risk is not None and bool(snapshot.risk.alarm)
    return alarm or bool(snapshot.handed_over) or any(line.state == "FAILED" for line in snapshot.roles)
