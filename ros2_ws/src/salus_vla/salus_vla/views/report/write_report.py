"""Writes the report of a run: a page of the run, and a page of each episode beside it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.run_records import write_atomically
from salus_vla.data.episodes import Run
from salus_vla.views.report.gather import episode_page, page_name, summary_of
from salus_vla.views.report.html_page import render
from salus_vla.views.report.recorded import recorded_of
from salus_vla.views.report.run_overview import run_page

INDEX = "index.html"


def write_run(run: Run, folder: Path, *, advanced: Callable[[], None] = lambda: None) -> Path:
    """Writes all pages and returns that of the run; one episode is in memory at a time.

    Args:
        run: opened.
        folder: for the pages; made if it does not exist. Pages of the same names are replaced.
        advanced: called after each episode.

    Raises:
        RecordingError: an episode cannot be read or is damaged, or a page cannot be written; names the file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordingError(f"{folder}: cannot be written ({error.strerror or error})") from error
    summaries = []
    names = [None, *(episode.name for episode in run.episodes), None]
    neighbours = zip(pairwise(names[:-1]), pairwise(names[1:]), strict=True)
    for ((before, name), (_, after)), episode in zip(neighbours, run.episodes, strict=True):
        recorded = recorded_of(episode)
        title = f"{run.run_id}: {name}"
        page = render("episode.js", title, episode_page(run, recorded, before, after))
        write_atomically(folder / page_name(recorded.facts.name), page)
        summaries.append(summary_of(recorded))
        advanced()
    index = folder / INDEX
    write_atomically(index, render("run.js", f"{run.run_id}: run report", run_page(run, summaries)))
    return index
