"""A recovered bag reads like one that was closed: info, observations, an independent reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rosbags.highlevel import AnyReader

from episodes import SEED, TASK, messages, observations, record, recording
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.open_episode import EpisodeMeta
from salus_vla.data.bags.recorded_observations import read_episode, read_observations
from salus_vla.data.bags.recover_bag import recover
from salus_vla.data.bags.run_info import read_bag, read_run

NUMBER = 1


def test_a_recovered_bag_reads_like_a_normal_one(tmp_path: Path) -> None:
    seen = observations(8)
    with recording(tmp_path) as recorder:
        normal = record(recorder, 0, seen)
        recorder.start(EpisodeMeta(NUMBER, SEED, TASK, "hold"), {})
        recorder.begin(seen[0].stamp_ns)
        for topic, data in messages(seen, NUMBER)[:-1]:  # no ENDED
            recorder.on_message(topic.name, data, 0)
        recorder.abandon()
    (recovered,) = recover(tmp_path / "run1")
    told = read_episode(recovered.path)
    assert (told.seed, told.task, told.outcome) == (SEED, TASK, Outcome.RUNNING)
    read = list(read_observations(recovered.path))
    assert len(read) >= len(seen) - 1  # the last, unfinished chunk is lost
    assert [number for number, _ in read] == list(range(len(read)))
    for (_, again), original, (_, closed) in zip(read, seen, read_observations(normal), strict=False):
        assert again.stamp_ns == original.stamp_ns
        np.testing.assert_array_equal(again.joint_position, original.joint_position)
        for camera, pixels in original.images.items():
            np.testing.assert_array_equal(again.images[camera], pixels)
            np.testing.assert_array_equal(closed.images[camera], pixels)
    info = read_bag(recovered.path)
    with AnyReader([recovered.path]) as reader:
        assert reader.message_count == info.messages == recovered.messages
        assert {topic.name for topic in info.topics} == {connection.topic for connection in reader.connections}
    assert {topic.name: topic.type for topic in info.topics} == {
        topic.name: topic.type for topic in read_bag(normal).topics
    }
    assert [entry.outcome for entry in read_run(tmp_path / "run1").record.episodes] == ["TIMEOUT", "ABORTED"]
