"""The commands that a newcomer types first are run as they stand in the documents, those below `<!-- run -->`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from salus_vla.cli.main import main

pytestmark = [pytest.mark.graph, pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
# Pages with such a block: how many commands it has, and a file that they write.
PAGES = {
    "quickstart": (6, "runs/first/report/index.html"),
    "record_and_train": (6, "results.md"),
    "checkpoint": (2, "runs/mine/run.json"),
    "robot": (1, None),
    "concepts": (3, "tables/signals.csv"),
    "troubleshooting": (3, "runs/broken/run.json"),
    "prediction": (1, None),
    "manifold": (1, None),
}


def marked(text: str) -> list[str]:
    """The lines of the blocks below the mark, without comments."""
    found = re.findall(r"^<!-- run -->\n```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [line for block in found for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = marked((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))
    count, written = PAGES[page]
    assert len(lines) == count
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for line in lines:
        program, *words = shlex.split(line, comments=True)
        assert program == "salus"
        assert main(words) == 0, line
    assert written is None or (tmp_path / written).stat().st_size > 100


def test_every_page_with_a_mark_is_run() -> None:
    pages = sorted((ROOT / "docs").glob("**/*.md"))
    assert {page.stem for page in pages if marked(page.read_text(encoding="utf-8"))} == set(PAGES)
