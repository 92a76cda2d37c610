"""One HTML page: a template with its style, its scripts and its data inside, so that it needs nothing else."""

from __future__ import annotations

import json
from base64 import b64encode
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template

from salus_vla.views.report.gather import Json

_STATIC = files("salus_vla.views.report") / "static"
# In JSON these can only be in strings. Escaped, no text of a run can end the element that the data is in.
_ESCAPES = {character: f"\\u{ord(character):04x}" for character in "<>&"}


def render(script: str, title: str, data: Json) -> bytes:
    """A page, UTF-8.

    Its content security policy lets the browser run its own scripts only, and fetch nothing at all.

    Args:
        script: file of `static/` that shows the data: `run.js` or `episode.js`.
        title: of the window.
        data: what the page shows; numbers must be finite.
    """
    style = _static("page.css") + _static("charts.css")
    scripts = [_static("dom.js"), _static("charts.js"), _static("motions.js"), _static(script)]
    text = Template(_static("page.html")).substitute(
        title=escape(title),
        policy=f"default-src 'none'; img-src data:; style-src {_hash(style)}; "
        f"script-src {' '.join(map(_hash, scripts))}",
        style=style,
        data=_embedded(data),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )
    # The text of a task may hold what is not a character: half of a surrogate pair.
    return text.encode("utf-8", "backslashreplace")


def _embedded(data: Json) -> str:
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character, escaped in _ESCAPES.items():
        text = text.replace(character, escaped)
    return text


def _hash(source: str) -> str:
    return f"'sha256-{b64encode(sha256(source.encode()).digest()).decode()}'"


@cache
def _static(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")
