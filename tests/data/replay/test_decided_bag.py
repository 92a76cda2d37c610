"""A bag with what a policy decided on it: everything of the first, and what is added, where it belongs."""

from __future__ import annotations

from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader

from episodes import START_NS, decision, messages, observations, write_bag
from salus_vla.contract import EPISODE, SAFETY_SIGNALS
from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.foreign_bag import node_facts
from salus_vla.data.replay.decided_bag import write_decided
from salus_vla.data.replay.recorded_inputs import read_frames, read_story
from samples import FRAME_NS, episode, message_types

UNDECIDED = [item for item in messages(observations(3)) if item[0] not in (EPISODE, SAFETY_SIGNALS)]


def content(bag: Path) -> list[tuple[str, int, bytes]]:
    with AnyReader([bag]) as reader:
        return [(connection.topic, time_ns, bytes(raw)) for connection, time_ns, raw in reader.messages()]


def test_everything_is_kept_and_decisions_stand_behind_their_images(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", UNDECIDED)
    decided = [frame for frame in read_frames(bag) if frame.decided]
    assert len(decided) == 3
    added = [(EPISODE, episode(START_NS, 0), decided[0].log_ns)]
    added += [(SAFETY_SIGNALS, decision(item.stamp_ns, n), item.log_ns) for n, item in enumerate(decided)]
    out = write_decided(bag, tmp_path / "out", added, {"members": "5"}, message_types())
    assert out == tmp_path / "out"
    before, after = content(bag), content(out)
    new = {EPISODE.name, SAFETY_SIGNALS.name}
    assert [item for item in after if item[0] not in new] == before
    story = read_story(out)
    stamps = [START_NS + 5 * n * FRAME_NS for n in range(3)]
    assert (story.start_ns, [item.stamp_ns for item in story.decisions]) == (START_NS, stamps)
    for number, item in enumerate(decided):
        place = after.index((SAFETY_SIGNALS.name, item.log_ns, decision(item.stamp_ns, number)))
        images = [index for index, (topic, _, raw) in enumerate(after) if (topic, raw) in item.messages]
        assert place > max(images)
    facts = node_facts(out)
    assert (facts["policy.members"], facts["decided_on"]) == ("5", "bag")
    assert list(read_frames(out)) == list(read_frames(bag))


def test_nothing_is_overwritten_and_nothing_half_written_stays(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", UNDECIDED)
    with pytest.raises(RecordingError, match="exists already, it is never overwritten"):
        write_decided(bag, bag, [], {}, message_types())
    with pytest.raises(RecordingError, match="there is no folder"):
        write_decided(bag, tmp_path / "no" / "out", [], {}, message_types())
    with pytest.raises(RecordingError):
        write_decided(tmp_path / "nothing", tmp_path / "out", [], {}, message_types())
    assert sorted(item.name for item in tmp_path.iterdir() if not item.name.startswith(".")) == ["bag"]
