"""`salus bag info` and `salus bag recover` for bags, runs, and bags of real rosbag2."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from episodes import TOPICS, observations, record, recording
from intervened import STUCK, intervention, told
from predicted import prediction
from salus_vla.cli.bag import add_parser
from salus_vla.contract import CLOCK, EPISODE, FAILURE_PREDICTION, INTERVENTION, JOINT_STATES
from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.episode_recorder import EpisodeRecorder
from salus_vla.data.bags.open_episode import EpisodeEnd, EpisodeMeta
from salus_vla.data.bags.open_writer import open_writer
from salus_vla.data.bags.run_folder import RunFolder
from salus_vla.data.bags.run_info import read_bag, read_run
from salus_vla.learning.evaluation.intervals import wilson
from salus_vla.safety.intervention.candidates import HAND_OVER, PLAN
from samples import FRAME_NS, clock, episode, joints, message_types

START = 1_000_000_000

# What `ros2 bag record` of an older rosbag2 wrote: metadata version 5, no custom data, QoS as text.
OLD_METADATA = """\
rosbag2_bagfile_information:
  version: 5
  storage_identifier: sqlite3
  duration: {nanoseconds: 2000000000}
  starting_time: {nanoseconds_since_epoch: 1600000000000000000}
  message_count: 21
  topics_with_message_count:
    - topic_metadata: {name: /chatter, type: std_msgs/msg/String, serialization_format: cdr, offered_qos_profiles: ""}
      message_count: 21
  compression_format: ""
  compression_mode: ""
  relative_file_paths: [chatter_0.db3]
  files: []
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with one finished episode, in which a joint state is missing, and one interrupted."""
    types = message_types()
    folder = RunFolder.create(tmp_path, "run1", provenance={"git": "abc"}, arguments={"episodes": "2"})
    recorder = EpisodeRecorder(
        folder, (CLOCK, JOINT_STATES, EPISODE), types, partial(open_writer, backend="mcap", types=types)
    )
    for number in (0, 1):
        recorder.start(EpisodeMeta(number, 1234, "lift", "hold"), {"host": "[robot]"})
        recorder.begin(START)
        for index in range(26):
            recorder.on_message(CLOCK.name, clock(START + index * FRAME_NS), index)
            if index != 9:
                recorder.on_message(JOINT_STATES.name, joints(START + index * FRAME_NS), index)
        if number == 0:
            end = START + 25 * FRAME_NS
            recorder.on_message(EPISODE.name, episode(end, 2, 0, outcome=3), 0)
            recorder.stop(EpisodeEnd(end, "DROP", end, 2, "red_cube fell"))
            recorder.close()
    recorder.abandon()
    folder.close()
    return folder.path


def salus(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    parsed = parser.parse_args(arguments)
    code: int = parsed.run(parsed)
    return code


def output(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_info_of_a_bag_shows_topics_gaps_outcome_and_provenance(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert salus("bag", "info", str(run / "episode_000000")) == 0
    text = output(capsys)
    assert "DROP: red_cube fell" in text
    assert "1234" in text
    assert "[robot]" in text  # not taken for markup
    row = next(line for line in text.splitlines() if JOINT_STATES.name in line)
    assert row.split()[1:] == ["sensor_msgs/JointState", "25", "48", "50", "1", "1"]


def test_info_of_a_run_shows_its_episodes_and_what_was_interrupted(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert salus("bag", "info", str(run)) == 0
    text = output(capsys)
    assert "1 episodes" in text
    assert "DROP" in text
    assert f"interrupted: {run / '.episode_000001.recording' / 'episode_000001'}" in text


def test_recover_lists_what_it_made(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert salus("bag", "recover", str(run)) == 0
    assert f"{run / 'episode_000001'}: " in output(capsys)
    assert [entry.recovered for entry in read_run(run).record.episodes] == [False, True]
    assert salus("bag", "recover", str(run)) == 0
    assert "nothing to recover" in output(capsys)


def test_info_reads_bags_that_salus_did_not_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "metadata.yaml").write_text(OLD_METADATA)
    bag = read_bag(tmp_path)
    assert (bag.storage, bag.duration_s, bag.record, bag.custom_data) == ("sqlite3", 2.0, None, {})
    (topic,) = bag.topics
    assert (topic.count, topic.rate_hz, topic.gaps) == (21, 10.0, None)
    assert salus("bag", "info", str(tmp_path)) == 0
    assert "/chatter" in output(capsys)


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "rosbag2_bagfile_information: {duration: 3}", "\x00"])
def test_wrong_metadata_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "metadata.yaml").write_text(text)
    with pytest.raises(RecordingError, match=r"metadata\.yaml: is not the metadata of a rosbag2 bag"):
        read_bag(tmp_path)


def test_an_interrupted_bag_points_to_recover(run: Path) -> None:
    with pytest.raises(RecordingError, match="it was interrupted, see `salus bag recover`"):
        read_bag(run / ".episode_000001.recording")


@pytest.mark.parametrize("command", [["bag"], ["bag", "info"], ["bag", "recover"]])
def test_every_command_explains_itself(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        salus(*command, "--help")
    assert exit_.value.code == 0
    assert len(output(capsys).splitlines()) > 5


def test_info_of_a_bag_says_its_largest_risk_and_first_alarm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    run = foreseen_run(tmp_path, "", "miss")
    assert salus("bag", "info", str(run / "episode_000001")) == 0
    lines = [" ".join(line.split()) for line in output(capsys).splitlines()]
    assert "risk up to 60% that the episode fails" in lines
    assert "first alarm miss at 0.10 s, decision 1, 0.20 s before the end: miss: 60%, threshold 50%" in lines
    assert salus("bag", "info", str(run / "episode_000000")) == 0
    assert "first alarm none" in [" ".join(line.split()) for line in output(capsys).splitlines()]


def test_info_of_a_run_sets_alarms_against_outcomes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run = foreseen_run(tmp_path, "", "miss", "drop")
    assert salus("bag", "info", str(run)) == 0
    text = output(capsys)
    low, high = wilson(2, 3)
    failures = f"2 of 3 failures ({low:.0%} to {high:.0%}), median lead 0.20 s (0.20 to 0.20 s)"
    assert f"alarms: 0 of 0 successes, {failures}" in text
    assert "not shown: bag" in text  # the number of the episode says it, too
    row = next(line for line in text.splitlines() if " drop " in line)
    assert row.replace("│", " ").split() == ["2", "-3", "TIMEOUT", "3", "0.3", "0", "drop"]


def test_a_bag_that_cannot_be_read_does_not_hide_the_episodes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = foreseen_run(tmp_path, "", "miss")
    (file,) = (run / "episode_000001").glob("*.mcap")
    file.write_bytes(file.read_bytes()[:1000])
    assert salus("bag", "info", str(run)) == 0
    text = output(capsys)
    assert "2 episodes" in text
    assert f"alarms are not known: {run / 'episode_000001'}: " in text


def test_info_says_the_motions_of_a_bag_and_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    run = intervened_run(tmp_path, [PLAN] * 4, [PLAN, "careful", HAND_OVER, HAND_OVER])
    assert salus("bag", "info", str(run / "episode_000001")) == 0
    lines = [" ".join(line.split()) for line in output(capsys).splitlines()]
    assert "motions plan 1 (50%), careful 1 (50%)" in lines
    assert "at 0.10 s INTERVENTION: careful: best, failure 25%, with the plan 50%" in lines
    assert f"at 0.20 s HANDED_OVER: {STUCK}" in lines
    assert salus("bag", "info", str(run)) == 0
    lines = output(capsys).splitlines()
    assert "motions: plan 4 (80%), careful 1 (20%); other than the plan in 1 of 2 episodes" in lines
    assert "handed over, counted apart: 1 of 2 episodes" in lines


def test_info_of_a_bag_without_interventions_is_silent_about_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = foreseen_run(tmp_path, "")
    assert salus("bag", "info", str(run)) == salus("bag", "info", str(run / "episode_000000")) == 0
    assert "motions" not in output(capsys)


def intervened_run(out: Path, *episodes: Sequence[str]) -> Path:
    """Episodes of three decisions and the terminal one in which these motions were in force."""
    with recording(out, topics=(*TOPICS, INTERVENTION)) as recorder:
        for number, chosen in enumerate(episodes):
            seen = observations(4)
            said = [told(index, name, stamp_ns=seen[index].stamp_ns) for index, name in enumerate(chosen)]
            record(recorder, number, seen, more=[(INTERVENTION, intervention(item)) for item in said])
    return out / "run1"


def foreseen_run(out: Path, *alarms: str) -> Path:
    """Episodes that time out after three decisions, with this alarm at decision 1."""
    with recording(out, topics=(*TOPICS, FAILURE_PREDICTION)) as recorder:
        for number, alarm in enumerate(alarms):
            seen = observations(4)
            said = [
                (FAILURE_PREDICTION, prediction(item.stamp_ns, index, 0.6 if index else 0.1, alarm if index else ""))
                for index, item in enumerate(seen)
            ]
            record(recorder, number, seen, more=said)
    return out / "run1"
