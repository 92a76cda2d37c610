"""What was foreseen, against how it ended: in the page of the run, and in the browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser
from reported import bag_run, rollouts, unwritten, unwritten_run
from test_report_in_browser import opened

from predicted import episode_of
from salus_vla.data.episodes import open_run
from salus_vla.data.recording import Predictions
from salus_vla.learning.evaluation.alarm_outcomes import ForeseenEpisode, foreseen_episode
from salus_vla.learning.evaluation.intervals import wilson
from salus_vla.views.report.gather import Json, summary_of
from salus_vla.views.report.recorded import Recorded, recorded_of
from salus_vla.views.report.run_overview import run_page
from salus_vla.views.report.write_report import write_run

ALARMS = ("", "drop", "drop", "", "", "failure")


def foreseen(number: int, alarm: str) -> ForeseenEpisode:
    """Of an episode of `unwritten`, with one alarm at 10 s."""
    alarms = ["" if index != 100 else alarm for index in range(201)]
    predictions = Predictions.of(episode_of(0, 100_000_000, alarms))
    assert predictions is not None
    outcome = unwritten(number).evaluated.outcome
    return foreseen_episode(predictions, outcome, start_ns=0, end_ns=20_000_000_000, event_ns=19_960_000_000)


def page_of(recorded: list[Recorded]) -> Json:
    return run_page(unwritten_run(), [summary_of(item) for item in recorded])


def test_a_bag_gives_its_first_alarm_and_its_largest_risk(tmp_path: Path) -> None:
    run = open_run(bag_run(tmp_path, alarms=ALARMS))
    recorded = recorded_of(run.episodes[0])
    assert recorded.foreseen is not None
    assert recorded.foreseen.alarm is not None
    assert (recorded.foreseen.alarm.decision, recorded.foreseen.alarm.kind) == (1, "drop")
    assert recorded.foreseen.largest == pytest.approx(0.6)
    page = run_page(run, [summary_of(recorded)])
    failures = page["alarms"]["outcomes"][1]
    assert (failures["count"], failures["total"]) == (1, 1)
    assert page["alarms"]["leads"] == [0.14, 0.14, 0.14]
    assert (page["episodes"][0]["alarm"], page["episodes"][0]["alarm_s"]) == ("drop", 0.1)


def test_the_run_counts_alarms_of_successes_and_failures() -> None:
    # Outcomes are SUCCESS, DROP, SUCCESS, TIMEOUT, MISS, SUCCESS.
    alarms = ("miss", "drop", "", "miss", "", "")
    recorded = [unwritten(number, foreseen=foreseen(number, alarm)) for number, alarm in enumerate(alarms)]
    found = page_of([*recorded, unwritten(6)])["alarms"]
    (success, failure) = found["outcomes"]
    low, high = wilson(1, 3)
    assert success == {"name": "success", "count": 1, "total": 3, "share": 1 / 3, "low": low, "high": high}
    assert (failure["count"], failure["total"]) == (2, 3)
    assert found["kinds"] == [
        {"name": "closes on nothing within 1 s", "successes": 1, "failures": 1, "leads": [9.96, 9.96, 9.96]},
        {"name": "drop within 1 s", "successes": 0, "failures": 1, "leads": [9.96, 9.96, 9.96]},
    ]
    assert (found["unforeseen"], found["uncalibrated"], found["alphas"]) == (1, 0, [0.05])


def test_a_run_in_which_nothing_was_foreseen_has_no_table(tmp_path: Path) -> None:
    run = open_run(rollouts(tmp_path))
    assert run_page(run, [summary_of(recorded_of(episode)) for episode in run.episodes])["alarms"] is None


def test_the_pages_show_alarms_and_risk(browser: Browser, tmp_path: Path) -> None:
    run = bag_run(tmp_path, alarms=ALARMS)
    index = write_run(open_run(run), run / "report")
    with opened(browser, index) as page:
        cells = page.get_by_role("region", name="alarms against outcomes").locator("tbody td").all_inner_texts()
        assert np.array(cells).reshape(2, 7)[:, :5].tolist() == [
            ["success", "0", "0", "0", "\u2013"],
            ["failure", "1", "0", "1", "100.0 %"],
        ]
        assert "0.14 s" in page.get_by_role("region", name="alarms by kind").inner_text()
        assert "drop, 0.10 s" in page.get_by_role("region", name="episodes").inner_text()
        page.get_by_role("link", name="0", exact=True).first.click()
        assert page.locator(".chart", has_text="the episode fails").count() == 1


def test_an_uncalibrated_predictor_is_said(browser: Browser, tmp_path: Path) -> None:
    limits = dict.fromkeys((f"{kind}_threshold" for kind in ("failure", "collision", "drop", "miss", "slip")), np.nan)
    run = bag_run(tmp_path, alarms=[""] * 6, alpha=0.0, **limits)
    with opened(browser, write_run(open_run(run), run / "report")) as page:
        assert "1 complete episode left out: the predictor was not calibrated" in page.locator("main").inner_text()
