"""Bags of other recorders, which begin early and end late, read as an episode from STARTED to ENDED."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from episodes import START_NS, TASK, decision, joints, messages, observations, write_bag
from predicted import prediction
from salus_vla.cli.main import main
from salus_vla.contract import EPISODE, FAILURE_PREDICTION, JOINT_COMMAND, JOINT_STATES, SAFETY_SIGNALS, Topic
from salus_vla.contract.errors import DatasetError, RecordingError
from salus_vla.contract.message_readers import stamp_of
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.assumed import Assumed
from salus_vla.data.bags.recorded_observations import read_episode
from salus_vla.data.bags.table_export import export_tables
from salus_vla.data.episodes import open_run
from salus_vla.data.lerobot.dataset_export import export
from salus_vla.data.lerobot.sources import find_sources
from salus_vla.data.recording import Part
from salus_vla.data.replay.recorded_inputs import read_story
from salus_vla.data.replay.schedule import Schedule
from salus_vla.views.report import episode_figure
from samples import FRAME_NS, cdr, episode, header, message_types

FRAMES = 11  # of three observations
END_NS = START_NS + (FRAMES - 1) * FRAME_NS


def content(number: int = 0, outcome: int = 5) -> list[tuple[Topic, bytes]]:
    commands = [(JOINT_COMMAND, joints(START_NS + n * FRAME_NS, np.full(9, n / 7))) for n in range(FRAMES)]
    return messages(observations(3), number, outcome) + commands


def longer(made: list[tuple[Topic, bytes]]) -> list[tuple[Topic, bytes]]:
    """With what comes before and after an episode."""
    before = [(JOINT_STATES, joints(START_NS - n * FRAME_NS, np.zeros(9))) for n in range(40, 1, -1)]
    after = [(JOINT_STATES, joints(END_NS + n * FRAME_NS, np.zeros(9))) for n in range(2, 300)]
    said = [
        (FAILURE_PREDICTION, prediction(stamp_ns, 0, 0.5, "miss")) for stamp_ns in (START_NS, END_NS + 5 * FRAME_NS)
    ]
    return [*before, *made, *after, (SAFETY_SIGNALS, decision(END_NS + 5 * FRAME_NS, 3)), *said]


def test_a_bag_is_a_run_of_one_episode(tmp_path: Path) -> None:
    run = open_run(write_bag(tmp_path / "mine", longer(content(outcome=1))))
    (source,) = pickle.loads(pickle.dumps(run.episodes))  # it goes to other processes
    summary = source.summary
    assert (run.run_id, source.name, run.policy) == ("mine", "episode_000000", summary.policy)
    assert (summary.outcome, summary.task) == (Outcome.SUCCESS, TASK)
    assert (summary.start_ns, summary.end_ns, summary.surplus) == (START_NS, END_NS, 0)
    recording = source.open()
    recording.require(Part.IMAGES, Part.SIGNALS, Part.COMMANDS)
    assert recording.measured().stamps_ns.tolist() == [START_NS + n * FRAME_NS for n in range(FRAMES)]
    assert recording.decisions().numbers.tolist() == [0, 1, 2]
    assert [number for number, _ in recording.observations()] == [0, 1, 2]
    assert len(recording.commanded().stamps_ns) == FRAMES
    foreseen = recording.predictions()
    assert foreseen is not None
    assert foreseen.stamps_ns.tolist() == [START_NS]
    assert [event.kind for event in recording.events()] == ["ALARM"]
    counts = {topic.name: (topic.count, len(topic.gaps)) for topic in recording.audit().topics}
    assert counts[JOINT_STATES.name] == (FRAMES, 0)


def test_a_folder_of_bags_is_a_run(tmp_path: Path) -> None:
    for number in range(2):
        write_bag(tmp_path / f"rosbag2_{number}", content(number))
    (tmp_path / ".hidden").mkdir()
    run = open_run(tmp_path)
    assert [source.path.name for source in run.episodes] == ["rosbag2_0", "rosbag2_1"]
    assert [source.name for source in run.counted] == ["episode_000000", "episode_000001"]


def test_an_end_that_is_not_recorded_is_no_outcome(tmp_path: Path) -> None:
    made = [item for index, item in enumerate(content()) if item[0] is not EPISODE or index == 0]
    (source,) = open_run(write_bag(tmp_path / "bag", made)).episodes
    assert (source.summary.outcome, source.summary.decisions) == (Outcome.RUNNING, 2)
    assert source.summary.detail == "its end is not recorded"


def shifted(made: list[tuple[Topic, bytes]], by_ns: int) -> list[tuple[Topic, bytes]]:
    """The same later: another episode of the same bag."""
    store = message_types().store
    moved = []
    for topic, raw in made:
        message: Any = store.deserialize_cdr(raw, topic.type)
        moved.append(
            (topic, cdr(topic, replace(message, header=header(stamp_of(message) + by_ns, message.header.frame_id))))
        )
    return moved


def test_a_bag_of_several_episodes_is_a_run_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    later_ns = 2 * (END_NS - START_NS)
    bag = write_bag(tmp_path / "bag", content(0, outcome=1) + shifted(content(1, outcome=3), later_ns))
    run = open_run(bag)
    assert [(source.name, source.summary.outcome.name) for source in run.episodes] == [
        ("episode_000000", "SUCCESS"),
        ("episode_000001", "DROP"),
    ]
    for number, source in enumerate(run.episodes):
        recording = source.open()
        recording.require(Part.IMAGES, Part.SIGNALS, Part.COMMANDS)
        expected = [START_NS + number * later_ns + n * FRAME_NS for n in range(FRAMES)]
        assert recording.measured().stamps_ns.tolist() == expected
        assert recording.decisions().numbers.tolist() == [0, 1, 2]
        assert [observation.task for _, observation in recording.observations()] == [TASK] * 3
    with pytest.raises(RecordingError, match=r"holds messages of 2 episodes .* --episode N takes one of 0, 1"):
        read_episode(bag)
    assert read_episode(bag, 1).outcome is Outcome.DROP
    with pytest.raises(RecordingError, match="--episode 2 is there 0 times; it has 0, 1"):
        read_episode(bag, 2)
    assert (read_story(bag, 1).start_ns, len(read_story(bag, 1).decisions)) == (START_NS + later_ns, 3)
    with pytest.raises(RecordingError, match="starts 2 episodes, expected one; --episode N takes one of them"):
        read_story(bag)
    drawn = episode_figure._read(bag, 1)
    assert drawn.image_times["front"] == pytest.approx([0.0, 0.1, 0.2])
    assert drawn.signal_times == pytest.approx([0.0, 0.1, 0.2])
    assert "DROP" in drawn.title
    with pytest.raises(RecordingError, match="--episode N takes one of 0, 1"):
        episode_figure._read(bag)
    assert main(["bag", "info", str(bag)]) == 0
    shown = capsys.readouterr().out
    assert "SUCCESS, seed" in shown
    assert "DROP, seed" in shown
    rows = export_tables([bag], tmp_path / "tables", "csv", episode=1)
    assert sorted(rows.values()) == [3, FRAMES, FRAMES]
    played = [item for item in Schedule(bag, episode=1).messages() if item.topic == JOINT_STATES.name]
    assert len(played) == FRAMES
    assert played[0].due_s == 0.0


UNSAID = [item for item in content() if item[0] is not EPISODE]


def test_a_bag_that_says_nothing_of_its_episode_is_one_with_an_unknown_end(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", longer(UNSAID))
    (source,) = open_run(bag).episodes
    summary = source.summary
    assert (summary.outcome, summary.task, summary.policy) == (Outcome.RUNNING, "", "unknown")
    assert summary.detail == "its end is not recorded"
    assert (summary.start_ns, summary.end_ns) == (START_NS, END_NS)
    assert summary.seed < 0
    assert [item.seed for item in open_run(bag).episodes] == [summary.seed]
    with pytest.raises(DatasetError, match="no episode with outcome SUCCESS"):
        export([bag], tmp_path / "set", repo_id="a/b")


def test_outcome_and_instruction_can_be_given(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", longer(UNSAID))
    assumed = Assumed(Outcome.SUCCESS, "tidy up")
    (source,) = pickle.loads(pickle.dumps(open_run(bag, assumed).episodes))
    assert (source.summary.outcome, source.summary.task) == (Outcome.SUCCESS, "tidy up")
    assert source.summary.detail == "its end is not recorded, the outcome was given"
    recording = source.open()
    recording.require(Part.IMAGES, Part.SIGNALS, Part.COMMANDS)
    assert [observation.task for _, observation in recording.observations()] == ["tidy up"] * 3
    made = export([bag], tmp_path / "set", repo_id="a/b", assumed=assumed)
    assert (made.episodes, made.frames) == (1, 2)
    with pytest.raises(DatasetError, match="its instruction is not recorded; --assume-task says it"):
        find_sources([bag], [Outcome.SUCCESS], assumed=Assumed(Outcome.SUCCESS))


def test_what_is_recorded_is_not_replaced(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", content(outcome=3))
    (source,) = open_run(bag, Assumed(Outcome.SUCCESS, "tidy up")).episodes
    assert (source.summary.outcome, source.summary.task) == (Outcome.DROP, TASK)


def test_two_graphs_in_one_bag_are_a_surplus(tmp_path: Path) -> None:
    twice = [item for item in content() for _ in range(1 + (item[0] is JOINT_COMMAND))]
    (source,) = open_run(write_bag(tmp_path / "bag", twice)).episodes
    assert source.summary.surplus == FRAMES


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ([item for item in content() if item[0] is not EPISODE] + [(EPISODE, episode(END_NS, 2))], "does not start"),
        ([*content(), (EPISODE, episode(START_NS - 10**9, 2))], "ends before it starts"),
    ],
    ids=["no start", "backwards"],
)
def test_what_is_no_episode_is_named(tmp_path: Path, made: list[tuple[Topic, bytes]], words: str) -> None:
    with pytest.raises(RecordingError, match=words):
        open_run(write_bag(tmp_path / "bag", made))


def test_a_folder_without_bags_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="nor a bag, or a folder of bags"):
        open_run(tmp_path)
