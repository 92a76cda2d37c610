"""Pages as files: nothing of a run becomes markup, pictures are the pictures, and 500 episodes are not too much."""

from __future__ import annotations

import argparse
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from reported import HOSTILE, bag_run, rollouts, unwritten, unwritten_run

from salus_vla.cli.report import add_parser
from salus_vla.contract.errors import RecordingError
from salus_vla.views.report.gather import episode_page, summary_of
from salus_vla.views.report.html_page import render
from salus_vla.views.report.image_strip import make_sheet, make_thumbnail
from salus_vla.views.report.run_overview import run_page

EPISODES = 500
LARGEST = 30 * 2**20  # bytes


def salus(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    parsed = parser.parse_args(arguments)
    code: int = parsed.run(parsed)
    return code


def data_of(page: str) -> dict[str, object]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    found: dict[str, object] = json.loads(text)
    return found


@given(st.text(), st.text(st.sampled_from("<>&/\"'!-script\u2028\ud800")))
def test_no_text_of_a_run_becomes_markup(title: str, text: str) -> None:
    data = {"run": text, "episodes": [text]}
    page = render("run.js", title + text, data).decode("utf-8")
    assert page.count("<") == render("run.js", "", {}).decode().count("<")
    if "\ud800" not in text:  # JSON has it as \ud800, which Python's reader gives back as well
        assert data_of(page) == data


def test_report_writes_a_page_for_each_episode_and_one_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = rollouts(tmp_path)
    assert salus("report", str(run)) == 0
    pages = sorted(path.name for path in (run / "report").iterdir())
    assert pages == ["index.html", *(f"seed_{seed:06d}.html" for seed in range(6))]
    assert f"written: {run / 'report' / 'index.html'}" in capsys.readouterr().out
    neighbours = data_of((run / "report" / "seed_000003.html").read_text())
    assert (neighbours["before"], neighbours["after"]) == ("seed_000002.html", "seed_000004.html")
    assert data_of((run / "report" / "seed_000000.html").read_text())["before"] is None
    assert data_of((run / "report" / "seed_000005.html").read_text())["after"] is None


def test_report_goes_where_it_is_told_and_replaces_what_it_wrote(tmp_path: Path) -> None:
    run = bag_run(tmp_path)
    out = tmp_path / "new" / "folder"
    assert salus("report", str(run), "--out", str(out)) == 0
    (out / "index.html").write_text("old")
    assert salus("report", str(run), "--out", str(out)) == 0
    assert data_of((out / "index.html").read_text())["run"] == "run1"
    assert not (run / "report").exists()


def test_what_cannot_be_written_or_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(RecordingError, match="file: cannot be written"):
        salus("report", str(rollouts(tmp_path)), "--out", str(file))
    with pytest.raises(RecordingError, match="is not a run"):
        salus("report", str(tmp_path))


def test_a_sheet_holds_the_pictures_row_by_row() -> None:
    pictures = [np.full((8, 16, 3), 20 * index, dtype=np.uint8) for index in range(7)]
    sheet = make_sheet(pictures)
    with Image.open(io.BytesIO(sheet.data)) as opened:
        pixels = np.asarray(opened.convert("RGB")).astype(int)
    assert (sheet.count, sheet.width, sheet.height, sheet.columns) == (7, 16, 8, 2)
    assert pixels.shape == (4 * 8, 2 * 16, 3)
    for index in range(7):
        y, x = divmod(index, sheet.columns)
        tile = pixels[y * 8 : y * 8 + 8, x * 16 : x * 16 + 16]
        assert abs(tile - 20 * index).max() <= 8


def test_a_sheet_makes_large_pictures_smaller_and_keeps_their_shape() -> None:
    sheet = make_sheet([np.zeros((480, 640, 3), dtype=np.uint8)])
    assert (sheet.width, sheet.height) == (256, 192)
    with Image.open(io.BytesIO(make_thumbnail(np.zeros((480, 640, 3), dtype=np.uint8)))) as opened:
        assert opened.size == (64, 48)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ([], "has none"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((5, 4, 3), np.uint8)], r"picture 1 has shape \(5, 4, 3\)"),
        ([np.zeros((1, 1, 3), np.uint8)] * 2, None),
        ([np.zeros((256, 256, 3), np.uint8)] * 4097, "4097 pictures of 256 x 256: too many"),
    ],
)
def test_what_is_no_sheet_is_refused(pictures: list[np.ndarray], message: str | None) -> None:
    if message is None:
        assert make_sheet(pictures).count == 2
        return
    with pytest.raises(RecordingError, match=message):
        make_sheet(pictures)


def many() -> bytes:
    """The page of a run of 500 long episodes whose pictures are noise."""
    return render("run.js", "many", run_page(unwritten_run(), [summary_of(unwritten(n)) for n in range(EPISODES)]))


def test_the_page_of_500_long_episodes_is_small_enough() -> None:
    page = many()
    assert 500_000 < len(page) < LARGEST
    rows = data_of(page.decode())["episodes"]
    assert isinstance(rows, list)
    assert len(rows) == EPISODES


def test_the_page_of_a_long_episode_is_small_enough() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    pictures = [np.roll(noise, 7 * index, axis=0) for index in range(201)]
    recorded = unwritten(0, pictures={"front": pictures}, picture_times_s=np.arange(201) * 0.1)
    page = render("episode.js", HOSTILE, episode_page(unwritten_run(), recorded, None, None))
    assert len(page) < LARGEST
