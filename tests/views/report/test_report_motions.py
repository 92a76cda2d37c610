"""Interventions in the pages: the motion in force on the time axis, its risks, and decisions by motion over the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect
from reported import unwritten, unwritten_run
from test_report_in_browser import opened

from intervened import episode_of, told
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.episodes import open_run
from salus_vla.data.motion_counts import MotionCounts, add_up, motion_counts
from salus_vla.data.recording import Interventions
from salus_vla.data.rollouts.rollout_store import StoredEpisode
from salus_vla.safety.intervention.candidates import CHOICES, HAND_OVER, MOTIONS, PLAN
from salus_vla.views.report.gather import Json, episode_page, summary_of
from salus_vla.views.report.motions_shown import motion_style
from salus_vla.views.report.recorded import recorded_of
from salus_vla.views.report.run_overview import run_page
from salus_vla.views.report.write_report import write_run
from synthetic import rollout_run, stored

CHOSEN = [PLAN] * 5 + ["careful_0.35"] * 10 + [PLAN] * 5


def intervened(seed: int, chosen: list[str], outcome: Outcome = Outcome.SUCCESS) -> StoredEpisode:
    """A rollout of 20 decisions; each motion's risk is its place in percent."""
    count = len(chosen) + 1
    risks = np.tile(np.arange(len(MOTIONS), dtype=np.float32) / 100, (count, 1))
    numbers = np.array([*map(CHOICES.index, chosen), 255], dtype=np.uint8)
    return stored(
        seed, outcome, chosen=numbers, chosen_probability=np.ones(count, dtype=np.float32), motion_failure=risks
    )


def counts(*chosen: str, outcome: Outcome = Outcome.SUCCESS, acted: bool = True) -> MotionCounts:
    return motion_counts(Interventions(tuple(told(n, name, acted=acted) for n, name in enumerate(chosen))), outcome)


def page_of(run: Path) -> tuple[Json, list[Json]]:
    opened_run = open_run(run)
    recorded = [recorded_of(episode) for episode in opened_run.episodes]
    pages = [episode_page(opened_run, item, None, None) for item in recorded]
    return run_page(opened_run, [summary_of(item) for item in recorded]), pages


def test_decisions_are_counted_by_motion_and_what_is_handed_over_apart() -> None:
    one, two = counts(PLAN, "careful", "careful"), counts(PLAN, HAND_OVER, HAND_OVER)
    assert (one.intervened, one.handed_over, one.in_words) == (1, 0, "plan 1, careful 2")
    assert (two.intervened, two.handed_over, two.in_words) == (1, 1, "plan 1")
    assert counts(PLAN, outcome=Outcome.HANDED_OVER).handed_over == 1
    assert counts(PLAN, "careful", acted=False).advised == 1
    assert counts(PLAN, acted=False).advised == counts(PLAN).intervened == 0
    found = Interventions(tuple(episode_of([PLAN, "careful"])))
    assert motion_counts(found, Outcome.SUCCESS, 1).in_words == "plan 1"  # the other is on the terminal observation
    whole = add_up([one, two, counts(PLAN)])
    assert whole == MotionCounts({PLAN: 3, "careful": 2}, episodes=3, intervened=2, handed_over=1)


def test_an_episode_has_its_motions_over_time_with_their_risks(tmp_path: Path) -> None:
    _, (page,) = page_of(rollout_run(tmp_path, "run1", [intervened(0, CHOSEN)]))
    found = page["interventions"]
    assert [(part["name"], part["from"], part["to"]) for part in found["parts"]] == [
        (PLAN, 0.0, 0.5),
        ("careful_0.35", 0.5, 1.5),
        (PLAN, 1.5, 2.0),
    ]
    assert [(risk["name"], risk["values"][0]) for risk in found["risks"]] == [
        (name, pytest.approx(place / 100)) for place, name in enumerate(MOTIONS)
    ]
    assert found["acted"]


def test_a_rollout_that_was_only_advised_says_so(tmp_path: Path) -> None:
    run, (page,) = page_of(rollout_run(tmp_path, "run1", [intervened(0, CHOSEN)], intervention="advise"))
    assert not page["interventions"]["acted"]
    assert page["interventions"]["parts"][1]["words"] == "advised careful_0.35"
    assert (run["interventions"]["intervened"], run["interventions"]["advised"]) == (1, 1)


def test_nothing_is_shown_where_nobody_could_intervene() -> None:
    recorded = unwritten(0)
    assert episode_page(unwritten_run(), recorded, None, None)["interventions"] is None
    assert run_page(unwritten_run(), [summary_of(recorded)])["interventions"] is None


def test_each_motion_has_a_style_of_its_own() -> None:
    assert len({*map(motion_style, CHOICES), motion_style("of another version")}) == len(CHOICES) + 1


def test_the_pages_show_them(browser: Browser, tmp_path: Path) -> None:
    handed = [*[PLAN] * 10, *[HAND_OVER] * 10]
    episodes = [intervened(0, CHOSEN), intervened(1, handed, Outcome.HANDED_OVER)]
    run = rollout_run(tmp_path, "run1", episodes)
    index = write_run(open_run(run), run / "report")
    with opened(browser, index) as page:
        cells = page.get_by_role("region", name="interventions").locator("tbody td").all_inner_texts()
        assert np.array(cells).reshape(2, 5)[:, :4].tolist() == [
            ["plan", "20", "66.7 %", "2"],
            ["careful_0.35", "10", "33.3 %", "1"],
        ]
        expect(page.get_by_text("handed over 1 of 2")).to_be_visible()
        expect(page.get_by_role("checkbox", name="HANDED_OVER")).to_be_checked()
        page.get_by_role("link", name="0", exact=True).first.click()
        band, risks = (page.locator(".chart", has_text=words) for words in ("motion in force", "with each motion"))
        expect(band.locator("rect.motion")).to_have_count(3)
        expect(risks.locator("path.curve")).to_have_count(len(MOTIONS))
        box = band.locator("svg").bounding_box()
        assert box is not None
        left, right = 52, 8  # of charts.js
        band.locator("svg").click(position={"x": left + 0.5 * (box["width"] - left - right), "y": 15})
        assert page.get_by_role("slider").input_value() == "10"
        assert band.locator("output").inner_text() == "careful_0.35"
        assert risks.locator("output").inner_text() == "plan 0.0 % / careful_0.35 6.0 %"
        page.get_by_role("link", name="episode after").click()
        events = page.get_by_role("list", name="events").locator("b").all_inner_texts()
        assert events == ["HANDED_OVER"]
