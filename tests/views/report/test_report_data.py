"""What the pages are made of: from bags, from rollouts, and over a run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from reported import BIN_POSE, HOSTILE, bag_run, rollouts, unwritten, unwritten_run

from salus_vla.contract import ARM_JOINTS, CAMERAS, JOINTS, RESERVED_FROM
from salus_vla.contract.errors import ConfigError, RecordingError
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.robot_limits import PANDA
from salus_vla.data.bags.run_records import RUN_FILE, RunRecord, read_record, write_record
from salus_vla.data.episodes import Run
from salus_vla.data.rollouts.rollout_store import StoredEvent
from salus_vla.learning.evaluation.evaluated_runs import open_runs
from salus_vla.learning.evaluation.intervals import wilson
from salus_vla.signals.safety_signals import NAMES
from salus_vla.views.report.gather import Json, episode_page, numbers, summary_of
from salus_vla.views.report.recorded import Joints, Recorded, recorded_of
from salus_vla.views.report.run_overview import run_page
from synthetic import rollout_run, stored


def open_run(path: Path, *, acceptance: bool) -> Run:
    (run,) = open_runs([path], acceptance=acceptance)
    return run


def read(run: Run, name: str) -> Recorded:
    (found,) = (episode for episode in run.episodes if episode.name == name)
    return recorded_of(found)


def page_of_run(run: Run) -> Json:
    return run_page(run, [summary_of(recorded_of(episode)) for episode in run.episodes])


def test_a_bag_gives_everything_on_one_time_axis(tmp_path: Path) -> None:
    run = open_run(bag_run(tmp_path), acceptance=False)
    recorded = read(run, "episode_000000")
    page = episode_page(run, recorded, None, "episode_000001")
    assert (page["before"], page["after"]) == (None, "episode_000001.html")
    assert page["decisions"]["times"] == page["pictures"]["times"] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert page["decisions"]["numbers"] == [0, 1, 2, 3, 4, 5]
    assert page["joints"]["measured_times"] == page["joints"]["commanded_times"] == [i / 50 for i in range(26)]
    assert [joint["name"] for joint in page["joints"]["joints"]] == list(JOINTS)
    assert page["joints"]["joints"][0]["commanded"][:3] == [0.0, 0.02, 0.04]
    assert page["joints"]["joints"][0]["measured"][1] == 0.125
    assert [camera["name"] for camera in page["pictures"]["cameras"]] == list(CAMERAS)
    assert [signal["name"] for signal in page["signals"]] == list(NAMES)
    assert page["signals"][0]["values"] == [None] * 6  # NaN in the message, whatever its valid bit says
    assert page["signals"][1]["unit"] == "rad^2"
    assert page["signals"][11]["unit"] == ""


def test_a_bag_tells_what_happened_in_order_and_leaves_out_usual_holds(tmp_path: Path) -> None:
    recorded = read(open_run(bag_run(tmp_path), acceptance=False), "episode_000000")
    found = [(round(event.time_s, 3), event.kind) for event in recorded.events]
    assert sorted(found) == [(0.1, "grasped"), (0.1, "holding"), (0.24, "DROP"), (0.3, "released")]
    assert [time for time, _ in found] == sorted(time for time, _ in found)
    (hold,) = (event for event in recorded.events if event.kind == "holding")
    assert hold.text == "policy: stale_camera: camera_front"


def test_gaps_of_the_audit_are_told_from_the_start_of_the_episode(tmp_path: Path) -> None:
    run = open_run(bag_run(tmp_path), acceptance=False)
    page = episode_page(run, read(run, "episode_000000"), None, None)
    (gap,) = (gap for gap in page["gaps"] if gap["topic"] == BIN_POSE.name)
    assert gap == {"topic": BIN_POSE.name, "from": pytest.approx(0.18), "to": pytest.approx(0.24), "missing": 2}
    (topic,) = (topic for topic in page["topics"] if topic["name"] == BIN_POSE.name)
    assert (topic["count"], topic["gaps"], topic["missing"]) == (24, 1, 2)


def test_a_bag_without_a_topic_has_an_empty_part(tmp_path: Path) -> None:
    from episodes import observations, record, recording

    with recording(tmp_path) as recorder:
        record(recorder, 0, observations(3))
    run = open_run(tmp_path / "run1", acceptance=False)
    page = episode_page(run, read(run, "episode_000000"), None, None)
    assert page["joints"]["commanded_times"] == []
    assert page["joints"]["joints"][0]["commanded"] == []
    assert page["events"] == []
    assert len(page["pictures"]["times"]) == 3


def test_rollouts_have_no_messages_and_no_latency(tmp_path: Path) -> None:
    run = open_run(rollouts(tmp_path), acceptance=False)
    page = episode_page(run, read(run, "seed_000001"), "seed_000000", "seed_000002")
    assert (page["topics"], page["gaps"], page["latency"]) == ([], [], None)
    assert page["facts"]["outcome"] == "DROP"
    assert page["events"] == [{"time_s": 2.0, "kind": "DROP", "text": HOSTILE}]
    assert len(page["decisions"]["times"]) == 21
    assert len(page["joints"]["commanded_times"]) == 100
    assert len(page["joints"]["measured_times"]) == 101


def test_outcomes_have_wilson_intervals(tmp_path: Path) -> None:
    page = page_of_run(open_run(rollouts(tmp_path), acceptance=False))
    shares = {share["name"]: share for share in page["outcomes"]}
    assert {name: share["count"] for name, share in shares.items()} == {
        "SUCCESS": 3,
        "COLLISION": 0,
        "DROP": 1,
        "MISS": 1,
        "TIMEOUT": 1,
        "physical failures": 2,
    }
    assert (shares["DROP"]["low"], shares["DROP"]["high"]) == wilson(1, 6)


def test_who_took_over_when_is_told_and_the_episode_counts_apart(tmp_path: Path) -> None:
    taken = stored(
        1,
        taken_over_ns=500_000_000,
        taken_over_by="expert",
        taken_over_when="stuck",
        events=(StoredEvent(300_000_000, "EMPTY_CLOSING", "gripper closed on nothing at 0.0 s"),),
    )
    run = open_run(rollout_run(tmp_path, "run1", [stored(0), taken]), acceptance=False)
    page = episode_page(run, read(run, "seed_000001"), None, None)
    facts = page["facts"]
    assert (facts["taken_over_s"], facts["taken_over_by"], facts["taken_over_when"]) == (0.5, "expert", "stuck")
    assert [event["kind"] for event in page["events"]] == ["EMPTY_CLOSING", "TAKEOVER", "SUCCESS"]
    whole = page_of_run(run)
    assert whole["complete"] == 1
    assert whole["apart"] == {"SUCCESS taken over": 1}
    own = whole["signals"][0]["outcomes"]["SUCCESS"]
    assert own[0] == own[-1]  # of one episode


def test_signals_by_outcome_are_of_the_episodes_means_without_the_terminal_decision(tmp_path: Path) -> None:
    page = page_of_run(open_run(rollouts(tmp_path), acceptance=False))
    # Level seed + 1 to seed + 1.1; the terminal decision has 1e6. DROP is seed 1 alone.
    spread = page["signals"][0]["outcomes"]["DROP"]
    assert len(spread) == 5
    assert spread == [page["episodes"][1]["means"][0]] * 5
    assert 2.0 <= spread[2] <= 2.1
    low, first, middle, third, high = page["signals"][0]["outcomes"]["SUCCESS"]
    assert low < first < middle < third < high
    assert middle == page["episodes"][2]["means"][0]
    assert page["signals"][11]["outcomes"]["DROP"] is None  # never valid
    assert list(page["signals"][0]["outcomes"]) == ["SUCCESS", "DROP", "MISS", "TIMEOUT"]


def test_an_aborted_episode_is_shown_and_not_counted() -> None:
    made = [unwritten(number) for number in range(4)]
    aborted = dataclasses.replace(
        made[1],
        facts=dataclasses.replace(made[1].facts, outcome="ABORTED"),
        evaluated=dataclasses.replace(made[1].evaluated, outcome=Outcome.ABORTED),
    )
    again = dataclasses.replace(made[2], facts=dataclasses.replace(made[2].facts, counted=False))
    page = run_page(unwritten_run(), [summary_of(item) for item in (made[0], aborted, again, made[3])])
    assert page["complete"] == 2
    assert page["apart"] == {"ABORTED": 1}
    assert [row["outcome"] for row in page["episodes"]] == ["SUCCESS", "ABORTED", "SUCCESS", "TIMEOUT"]
    assert page["throughput"]["episodes"] == 3


def test_throughput_is_of_the_episodes_whose_wall_time_is_known() -> None:
    made = [unwritten(number) for number in range(3)]
    unknown = dataclasses.replace(made[2], facts=dataclasses.replace(made[2].facts, wall_s=None))
    total = run_page(unwritten_run(), [summary_of(item) for item in (*made[:2], unknown)])["throughput"]
    assert (total["decisions"], total["timed"], total["wall_s"]) == (600, 2, 80.0)
    assert (total["decisions_per_s"], total["episodes_per_h"], total["real_time"]) == (5.0, 90.0, 0.5)
    assert total["latency"] == {"median": 100.0, "p95": 100.0, "max": 100.0, "count": 603}
    none = run_page(unwritten_run(), [summary_of(unknown)])["throughput"]
    assert (none["timed"], none["wall_s"], none["decisions_per_s"]) == (0, None, None)


def test_joint_margins_name_the_episode_that_came_nearest() -> None:
    near = np.zeros((3, 9))
    near[:, 3] = -1.0  # joint 4 has no zero in its range
    far = near.copy()
    near[1, 1] = PANDA.upper[1] - 0.01
    times = np.array([0.0, 0.02, 0.04])
    made = [
        unwritten(number, measured=Joints(times, positions), commanded=Joints(times, positions))
        for number, positions in enumerate((far, near, far))
    ]
    rows = run_page(unwritten_run(), [summary_of(item) for item in made])["joints"]
    assert [row["name"] for row in rows] == list(ARM_JOINTS)
    row = rows[1]
    assert (row["episode"], row["page"]) == (1, "episode_000001.html")
    assert row["margin"] == 0.01
    assert row["share"] == pytest.approx(0.01 / (PANDA.upper[1] - PANDA.lower[1]), rel=1e-3)
    assert row["speed"] == pytest.approx((PANDA.upper[1] - 0.01) / 0.02, rel=1e-3)


def test_numbers_keep_what_can_be_seen_and_hide_nothing() -> None:
    assert numbers(np.array([1.23456, np.nan, 1.23456e-7, np.inf, -0.0])) == [1.235, None, 1.235e-07, None, 0.0]
    assert numbers(np.array([1.23456, np.nan]), decimals=3) == [1.235, None]


def test_every_page_is_json(tmp_path: Path) -> None:
    for run in (open_run(rollouts(tmp_path), acceptance=False), open_run(bag_run(tmp_path), acceptance=False)):
        json.dumps(page_of_run(run), allow_nan=False)
        for episode in run.episodes:
            json.dumps(episode_page(run, recorded_of(episode), None, None), allow_nan=False)


def test_reserved_seeds_are_refused_unless_asked_for(tmp_path: Path) -> None:
    path = rollout_run(tmp_path, "reserved", [stored(RESERVED_FROM)])
    with pytest.raises(ConfigError, match="reserved for acceptance"):
        open_run(path, acceptance=False)
    assert len(open_run(path, acceptance=True).episodes) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "../elsewhere"}, "path '../elsewhere' of episode 0: expected the name of a folder"),
        ({"path": "index"}, "path 'index' of episode 0"),
        ({"outcome": "LOST"}, "has outcome 'LOST', not one of SALUS"),
    ],
)
def test_a_run_file_cannot_lead_pages_elsewhere(tmp_path: Path, change: dict[str, str], message: str) -> None:
    path = bag_run(tmp_path)
    record = read_record(path / RUN_FILE, RunRecord)
    entry = dataclasses.replace(record.episodes[0], **change)
    if "path" in change:  # so that everything else of it is in order
        (path / "episode_000000").rename((path / change["path"]).resolve())
    write_record(path / RUN_FILE, dataclasses.replace(record, episodes=(entry,)))
    with pytest.raises(RecordingError, match=message):
        open_run(path, acceptance=False)
