"""Messages without a stamp belong to the frame in which they were published, in whatever order topics are taken."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader

from salus_vla.contract import CLOCK, CUBE_IN_BIN, EPISODE
from salus_vla.data.bags.episode_recorder import EpisodeRecorder
from salus_vla.data.bags.open_episode import EpisodeEnd
from samples import FRAME_NS, clock, episode, recorder_of_an_episode

START, FRAMES, PER_SET = 1_000_000_000, 50, 5
END = START + FRAMES * FRAME_NS
BOOL = b"\x00\x01\x00\x00\x01"
SENT = 1_700_000_000_000_000_000


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[EpisodeRecorder]:
    with recorder_of_an_episode(tmp_path, START, CLOCK, CUBE_IN_BIN, EPISODE) as recorder:
        yield recorder


def test_a_reader_that_takes_one_topic_after_the_other_misses_none(recorder: EpisodeRecorder) -> None:
    chance, waiting = random.Random(1), {CLOCK.name: [], CUBE_IN_BIN.name: []}
    for frame in range(-PER_SET, FRAMES + 2 * PER_SET):
        sent = SENT + frame * FRAME_NS
        waiting[CLOCK.name].append((clock(START + frame * FRAME_NS), sent))
        if frame % PER_SET == 0:
            waiting[CUBE_IN_BIN.name].append((BOOL, sent + 1000))
        if chance.random() < 0.15:  # a turn, after up to some thirty frames
            take_all(recorder, waiting)
    recorder.on_message(EPISODE.name, episode(END, 2, 0, outcome=5), 0)
    recorder.stop(EpisodeEnd(END, "TIMEOUT", None, 10, ""))
    take_all(recorder, waiting)
    assert recorder.ready_to_close()
    finished = recorder.close()
    assert finished.audit.gaps == 0
    with AnyReader([finished.path]) as reader:
        times = [time for connection, time, _ in reader.messages() if connection.topic == CUBE_IN_BIN.name]
    assert times == list(range(START, END + 1, PER_SET * FRAME_NS))


def test_the_last_one_does_not_wait_for_a_clock_that_never_comes(recorder: EpisodeRecorder) -> None:
    """In lockstep the simulator stands still after the terminal observation until the bag is closed."""
    for frame in range(FRAMES + 1):
        sent = SENT + frame * FRAME_NS
        recorder.on_message(CLOCK.name, clock(START + frame * FRAME_NS), 0, sent)
        if frame % PER_SET == 0:
            recorder.on_message(CUBE_IN_BIN.name, BOOL, 0, sent + 1000)
    recorder.stop(EpisodeEnd(END, "TIMEOUT", None, 10, ""))
    recorder.on_message(EPISODE.name, episode(END, 2, 0, outcome=5), 0)
    assert recorder.ready_to_close()
    assert recorder.close().audit.gaps == 0


def take_all(recorder: EpisodeRecorder, waiting: dict[str, list[tuple[bytes, int]]]) -> None:
    for topic, messages in waiting.items():
        for cdr, sent in messages:
            recorder.on_message(topic, cdr, 0, sent)
        messages.clear()
