"""A recorder that is told to end where it stands: the outcome is what was said of the episode, or ABORTED."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from salus_vla.contract import CLOCK, EPISODE, JOINT_STATES
from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.episode_recorder import EpisodeRecorder, FinishedEpisode
from samples import FRAME_NS, clock, episode, joints, recorder_of_an_episode

START = 1_000_000_000


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[EpisodeRecorder]:
    with recorder_of_an_episode(tmp_path, START, CLOCK, JOINT_STATES, EPISODE) as recorder:
        yield recorder


def feed(recorder: EpisodeRecorder, frames: int) -> None:
    for stamp in range(START, START + (frames + 1) * FRAME_NS, FRAME_NS):
        recorder.on_message(CLOCK.name, clock(stamp), 0)
        recorder.on_message(JOINT_STATES.name, joints(stamp), 0)


def stopped(recorder: EpisodeRecorder) -> FinishedEpisode:
    recorder.stop_now("the recorder was stopped")
    return recorder.close()


@pytest.mark.parametrize(("frames", "decisions"), [(0, 0), (1, 1), (5, 1), (6, 2), (50, 10)])
def test_an_episode_of_which_no_end_was_said_is_aborted(recorder: EpisodeRecorder, frames: int, decisions: int) -> None:
    feed(recorder, frames)
    finished = stopped(recorder)
    assert (finished.entry.outcome, finished.entry.detail) == ("ABORTED", "the recorder was stopped")
    assert finished.entry.decisions == decisions  # one per 100 ms, the one that was begun included
    assert finished.audit.gaps == 0
    assert finished.audit.messages == 2 * (frames + 1) + 1


def test_an_end_that_was_said_is_kept_although_nobody_came_to_stop_the_recording(recorder: EpisodeRecorder) -> None:
    feed(recorder, 20)
    recorder.on_message(EPISODE.name, episode(START + 10 * FRAME_NS, 2, outcome=3), 0)
    finished = stopped(recorder)
    assert (finished.entry.outcome, finished.entry.detail, finished.entry.decisions) == ("DROP", "", 12)
    assert finished.entry.event_stamp_ns == START + 10 * FRAME_NS
    assert finished.audit.end_ns == START + 10 * FRAME_NS


def test_a_recorder_that_records_nothing_has_nothing_to_end(recorder: EpisodeRecorder) -> None:
    feed(recorder, 1)
    stopped(recorder)
    with pytest.raises(RecordingError, match="the recorder is idle, expected recording"):
        recorder.stop_now("again")
