"""Whatever the documents point at exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    paths = re.findall(r"`((?:docs|tests|config|launch|tools|ros2_ws)/[\w./-]+)`", text)
    missing = [link for link in links if not (document.parent / link).exists()]
    missing += [path for path in paths if not (ROOT / path).exists()]
    assert missing == []


def test_the_index_has_every_page() -> None:
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\((\w+\.md)\)", index)) == pages


def test_design_notes_are_numbered_short_and_have_three_parts() -> None:
    notes = sorted((ROOT / "docs" / "design").glob("*.md"))
    assert len(notes) >= 9
    for number, note in enumerate(notes, start=1):
        text = note.read_text(encoding="utf-8")
        assert re.fullmatch(rf"{number:04d}-[a-z-]+\.md", note.name)
        assert text.startswith(f"# {number}. ")
        assert len(text.splitlines()) < 40
        places = [text.index(f"**{part}.**") for part in ("Context", "Decision", "Consequences")]
        assert places == sorted(places)
