"""The pages in Chromium: they open, filter, sort and scrub, without an error and without asking for anything."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from reported import BIN_POSE, HOSTILE, MIXED, bag_run, rollouts
from test_report_page import EPISODES, many

from salus_vla.data.episodes import open_run
from salus_vla.views.report.write_report import write_run
from synthetic import rollout_run, stored

# Through a canvas that is made to be read: reading the page's own often is worth a warning to Chromium.
BRIGHTNESS = """() => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  context.drawImage(document.querySelector("canvas"), 0, 0);
  return context.getImageData(5, 5, 1, 1).data[0];
}"""


@contextmanager
def opened(browser: Browser, file: Path, width: int = 1600, scheme: str = "light") -> Iterator[Page]:
    """A page whose every error, warning and request that is not a file or in the page itself fails the test."""
    wrong: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.on("console", lambda message: wrong.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda sent: None if sent.url.startswith(("file:", "data:")) else wrong.append(sent.url))
    page.goto(file.as_uri())
    yield page
    context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def rolled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = rollouts(tmp_path_factory.mktemp("runs"))
    return write_run(open_run(run), run / "report").parent


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = bag_run(tmp_path_factory.mktemp("runs"))
    return write_run(open_run(run), run / "report").parent


def episode_numbers(page: Page) -> list[int]:
    rows = page.get_by_role("region", name="episodes").locator("tbody tr")
    return [int(text) for text in rows.locator("a").all_inner_texts()]


def test_the_run_filters_by_outcome_and_words_and_sorts(browser: Browser, rolled: Path) -> None:
    with opened(browser, rolled / "index.html") as page:
        assert episode_numbers(page) == [0, 1, 2, 3, 4, 5]
        page.get_by_role("checkbox", name="SUCCESS").uncheck()
        assert episode_numbers(page) == [1, 3, 4]
        expect(page.locator(".controls output")).to_have_text("3 of 6 episodes")
        page.get_by_role("button", name="episode").click()
        assert episode_numbers(page) == [4, 3, 1]
        assert page.locator("th[aria-sort=descending]").inner_text().startswith("episode")
        page.get_by_role("checkbox", name="SUCCESS").check()
        page.get_by_role("button", name="outcome").click()
        assert [MIXED[number].name for number in episode_numbers(page)] == sorted(outcome.name for outcome in MIXED)
        page.get_by_role("searchbox").fill("3")
        assert episode_numbers(page) == [3]
        page.get_by_role("searchbox").fill("ONERROR")
        assert len(episode_numbers(page)) == 6
        page.get_by_role("searchbox").fill("nothing has this")
        assert episode_numbers(page) == []


def test_links_and_dots_lead_to_the_episode_and_back(browser: Browser, rolled: Path) -> None:
    with opened(browser, rolled / "index.html") as page:
        page.get_by_role("link", name="4", exact=True).first.click()
        expect(page.locator("h1")).to_have_text("Episode 4 MISS")
        page.get_by_role("link", name="episode after").click()
        expect(page.locator("h1")).to_have_text("Episode 5 SUCCESS")
        page.get_by_role("link", name="run rolled").click()
        page.locator("circle.dot[data-page='seed_000001.html']").first.click()
        expect(page.locator("h1")).to_have_text("Episode 1 DROP")


def test_the_scrubber_moves_pictures_cursor_and_values(browser: Browser, rolled: Path) -> None:
    with opened(browser, rolled / "seed_000001.html") as page:
        page.locator("html[data-pictures=shown]").wait_for()
        slider = page.get_by_role("slider")
        at_start = page.evaluate(BRIGHTNESS)
        value, cursor = (
            page.locator(".chart", has_text="action_jerk").locator("output"),
            page.locator("line.cursor").first,
        )
        expect(cursor).to_be_attached()
        x = float(cursor.get_attribute("x1") or "nan")
        slider.focus()
        for _ in range(12):
            page.keyboard.press("ArrowRight")
        assert slider.get_attribute("aria-valuetext") == "decision 12, 1.20 s of 2.00 s"
        assert abs(page.evaluate(BRIGHTNESS) - 120) <= 6
        assert at_start <= 6
        assert value.inner_text() == "12"
        assert float(cursor.get_attribute("x1") or "nan") > x
        page.keyboard.press("End")
        assert (slider.get_attribute("aria-valuetext") or "").endswith("terminal observation")
        page.get_by_role("button", name="2.00 s").first.click()
        page.get_by_role("button", name="front at 0.00 s").click()
        assert slider.input_value() == "0"


def test_a_click_in_a_chart_goes_there(browser: Browser, rolled: Path) -> None:
    with opened(browser, rolled / "seed_000001.html") as page:
        chart = page.locator("svg.seekable").first
        box = chart.bounding_box()
        assert box is not None
        left, right = 52, 8  # of charts.js
        chart.click(position={"x": left + 0.5 * (box["width"] - left - right), "y": 30})
        assert page.get_by_role("slider").input_value() == "10"


def test_play_goes_to_the_end_and_stops(browser: Browser, rolled: Path) -> None:
    with opened(browser, rolled / "seed_000001.html") as page:
        page.get_by_role("slider").fill("17")
        page.get_by_role("button", name="play").click()
        expect(page.get_by_role("slider")).to_have_value("20")
        expect(page.get_by_role("button", name="play")).to_be_visible()


def test_the_part_that_another_policy_acted_is_shaded(browser: Browser, tmp_path: Path) -> None:
    taken = stored(1, taken_over_ns=500_000_000, taken_over_by="expert", taken_over_when="stuck")
    run = rollout_run(tmp_path, "run1", [stored(0), taken])
    pages = write_run(open_run(run), run / "report").parent
    with opened(browser, pages / "seed_000001.html") as page:
        expect(page.get_by_role("heading", name="taken over")).to_be_visible()
        expect(page.get_by_text("Shaded: expert acts, from 0.50 s on (stuck).")).to_be_visible()
        shaded = page.locator(".chart .taken-over")
        frame = page.locator(".chart .frame").first.bounding_box()
        part = shaded.first.bounding_box()
        assert frame is not None
        assert part is not None
        assert part["width"] / frame["width"] == pytest.approx(0.75, abs=0.01)  # of 2 s
    with opened(browser, pages / "seed_000000.html") as page:
        expect(page.locator(".chart .taken-over")).to_have_count(0)
    with opened(browser, pages / "index.html") as page:
        expect(page.get_by_text("expert took over at 0.50 s (stuck), counted apart")).to_be_visible()


def test_limits_appear_with_the_whole_range(browser: Browser, bags: Path) -> None:
    with opened(browser, bags / "episode_000000.html") as page:
        joint = page.locator(".chart", has_text="joint1").first
        expect(joint.locator("path.curve")).to_have_count(2)
        assert joint.locator("line.limit").count() == 0
        page.get_by_role("checkbox", name="show the whole range").check()
        assert joint.locator("line.limit").count() == 2


def test_events_gaps_and_latency_of_a_bag_are_told(browser: Browser, bags: Path) -> None:
    with opened(browser, bags / "episode_000000.html") as page:
        events = page.get_by_role("list", name="events").locator("b").all_inner_texts()
        assert sorted(events) == ["DROP", "grasped", "holding", "released"]
        gap = page.get_by_role("region", name="gaps").locator("tr", has_text=BIN_POSE.name)
        assert gap.locator("td").all_inner_texts() == [BIN_POSE.name, "0.18", "0.24", "2"]
        expect(page.locator(".facts", has_text="median")).to_contain_text("ms")


def test_text_of_the_run_is_shown_as_text(browser: Browser, bags: Path) -> None:
    with opened(browser, bags / "index.html") as page:
        shown = HOSTILE.split("&")[0]
        assert page.get_by_role("region", name="episodes").inner_text().count(shown) == 1
        assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("width", [1600, 420])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", "episode_000000.html"])
def test_no_window_makes_a_page_scroll_sideways(
    browser: Browser, bags: Path, name: str, scheme: str, width: int
) -> None:
    with opened(browser, bags / name, width, scheme) as page:
        expect(page.locator("svg").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert (red + green + blue > 3 * 128) == (scheme == "light")


def test_500_episodes_open_and_filter(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "index.html"
    file.write_bytes(many())
    begun = time.perf_counter()
    with opened(browser, file) as page:
        page.locator("circle.dot").first.wait_for(state="attached")
        print(f"{EPISODES} episodes: {file.stat().st_size / 2**20:.1f} MiB open in {time.perf_counter() - begun:.2f} s")
        assert len(episode_numbers(page)) == EPISODES
        page.get_by_role("checkbox", name="SUCCESS").uncheck()
        expect(page.locator(".controls output")).to_have_text("250 of 500 episodes")
