"""Bags of other recorders, which begin early and end late, read as an episode from STARTED to ENDED."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from episodes import START_NS, TASK, decision, joints, messages, observations, write_bag
from predicted import prediction
from salus_vla.contract import EPISODE, FAILURE_PREDICTION, JOINT_COMMAND, JOINT_STATES, SAFETY_SIGNALS, Topic
from salus_vla.contract.errors import RecordingError
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.episodes import open_run
from salus_vla.data.recording import Part
from samples import FRAME_NS, episode

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


def test_two_graphs_in_one_bag_are_a_surplus(tmp_path: Path) -> None:
    twice = [item for item in content() for _ in range(1 + (item[0] is JOINT_COMMAND))]
    (source,) = open_run(write_bag(tmp_path / "bag", twice)).episodes
    assert source.summary.surplus == FRAMES


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ([item for item in content() if item[0] is not EPISODE], "holds no messages on /salus/episode"),
        (content(0) + content(1), "holds messages of 2 episodes"),
        ([item for item in content() if item[0] is not EPISODE] + [(EPISODE, episode(END_NS, 2))], "does not start"),
        ([*content(), (EPISODE, episode(START_NS - 10**9, 2))], "ends before it starts"),
    ],
    ids=["nothing said", "two episodes", "no start", "backwards"],
)
def test_what_is_no_episode_is_named(tmp_path: Path, made: list[tuple[Topic, bytes]], words: str) -> None:
    with pytest.raises(RecordingError, match=words):
        open_run(write_bag(tmp_path / "bag", made))


def test_a_folder_without_bags_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="nor a bag, or a folder of bags"):
        open_run(tmp_path)
