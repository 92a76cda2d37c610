"""The arguments of `salus replay`, what becomes of them, and what is refused before anything starts."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from episodes import START_NS, joints, messages, observations, record, recording, write_bag
from salus_vla.cli import replay
from salus_vla.contract import JOINT_COMMAND, JOINT_TARGET
from salus_vla.contract.errors import RecordingError
from salus_vla.data.replay.schedule import Schedule
from salus_vla.ros.clients.recompute import recorded_parameters


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    replay.add_parser(parser.add_subparsers())
    return parser.parse_args(["replay", *words])


@pytest.mark.parametrize("option", [["--rate", "0"], ["--rate", "nan"], ["--start-offset", "-1"], ["--delay", "x"]])
def test_numbers_out_of_range_are_wrong_arguments(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse("bag", *option)
    assert ended.value.code == 2
    assert option[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "use"),
    [("--model", "--recompute and --decide use a model"), ("--predictor", "--recompute uses a predictor")],
)
def test_what_playing_does_not_use_is_refused(option: str, use: str) -> None:
    with pytest.raises(RecordingError, match=f"^{option}: only {use}; without it the bag is played as it is$"):
        replay.run(parse("bag", option, "builtin:tiny"))


def test_a_run_is_not_played(tmp_path: Path) -> None:
    with recording(tmp_path) as recorder:
        bag = record(recorder, 0, observations(2))
    with pytest.raises(RecordingError, match="give the folder of one of its episodes"):
        replay.run(parse(str(bag.parent)))


def test_rosbag2_gets_the_same_replay(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", messages(observations(2)))
    arguments = parse(str(bag), "--rate", "2", "--loop", "--start-offset", "0.00001", "--topics", "/joint_states")
    command = replay.rosbag2_command("ros2", arguments, Schedule(bag, topics=arguments.topics))
    assert command[:4] == ["ros2", "bag", "play", str(bag)]
    words = " ".join(command[4:])
    assert words == "--rate 2 --start-offset 1e-05 --delay 3.5 --loop --topics /joint_states"


# -- what moves an arm -------------------------------------------------------------------------------------------------


@pytest.fixture
def commanding(tmp_path: Path) -> Path:
    """A bag with commands."""
    command = joints(START_NS, np.zeros(9))
    return write_bag(tmp_path / "bag", [*messages(observations(2)), (JOINT_TARGET, command), (JOINT_COMMAND, command)])


def test_commands_are_played_only_when_they_are_asked_for(commanding: Path) -> None:
    names = {topic.name for topic in Schedule(commanding).topics}
    assert not names & {JOINT_COMMAND.name, JOINT_TARGET.name}
    assert Schedule(commanding).left_out == (JOINT_COMMAND.name, JOINT_TARGET.name)
    both = Schedule(commanding, commands=True)
    assert {topic.name for topic in both.topics} == names | {JOINT_COMMAND.name, JOINT_TARGET.name}
    with pytest.raises(RecordingError, match="--topics /joint_command: it commands an arm"):
        Schedule(commanding, topics=[JOINT_COMMAND.name])


def test_rosbag2_is_told_to_leave_commands_out(commanding: Path) -> None:
    command = replay.rosbag2_command("ros2", parse(str(commanding)), Schedule(commanding))
    assert "--topics" in command
    assert not set(command) & {JOINT_COMMAND.name, JOINT_TARGET.name}
    command = replay.rosbag2_command("ros2", parse(str(commanding), "--commands"), Schedule(commanding, commands=True))
    assert "--topics" not in command


def ros2(folder: Path, body: str) -> None:
    program = folder / "ros2"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(("body", "found"), [("exit 0", True), ("exit 2", False), ("kill -SEGV $$", False)])
def test_a_ros2_without_its_bag_command_means_the_builtin_player(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, found: bool
) -> None:
    ros2(tmp_path, body)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert (replay.find_rosbag2() == str(tmp_path / "ros2")) == found


def test_without_ros2_there_is_the_builtin_player(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert replay.find_rosbag2() is None


# -- parameters of a recording -----------------------------------------------------------------------------------------

PROVENANCE = {
    "policy.param.policy": "ensemble",
    "policy.param.pacing": "realtime",
    "policy.param.model.members": "('one', 'two')",
    "policy.param.model.devices": "('',)",
    "policy.param.model.noise_samples": "3",
    "policy.param.plan.blend_s": "0.1",
    "policy.param.disturb": "True",
    "policy.torch": "2.11.0",
}


def test_the_parameters_of_the_recording_are_used_in_lockstep() -> None:
    found = recorded_parameters(PROVENANCE, None)
    assert (found["model.members"], found["model.noise_samples"]) == (["one", "two"], 3)
    assert (found["plan.blend_s"], found["disturb"]) == (0.1, True)
    assert (found["pacing"], found["autostart"], found["use_sim_time"]) == ("lockstep", False, True)
    assert "model.devices" not in found  # an empty list has no type


def test_parameters_recorded_as_json_are_the_same() -> None:
    as_json = {
        "policy.param_format": "json",
        "policy.param.policy": '"ensemble"',
        "policy.param.pacing": '"realtime"',
        "policy.param.model.members": '["one", "two"]',
        "policy.param.model.devices": '[""]',
        "policy.param.model.noise_samples": "3",
        "policy.param.plan.blend_s": "0.1",
        "policy.param.disturb": "true",
    }
    assert recorded_parameters(as_json, None) == recorded_parameters(PROVENANCE, None)


def test_another_model_replaces_the_recorded_policy() -> None:
    found = recorded_parameters(PROVENANCE | {"policy.param.policy": "hold"}, "other")
    assert (found["policy"], found["model.members"]) == ("ensemble", ["other"])


@pytest.mark.parametrize("text", ["", "1 +", "__import__('os')"])
def test_a_recorded_value_that_is_none_is_named(text: str) -> None:
    with pytest.raises(RecordingError, match=r"policy\.param\.model\.noise_samples is recorded as"):
        recorded_parameters({"policy.param.model.noise_samples": text}, None)


def test_facts_that_say_nothing_about_the_policy_are_not_shown() -> None:
    before = {"member_0": "a", "member_0_hash": "1", "load_s": "0.3", "torch": "2", "gone": "x"}
    now = {"member_0": "b", "member_0_hash": "2", "load_s": "0.4", "torch": "2", "new": "y"}
    assert replay.changed_facts(before, now) == [("member_0_hash", "1", "2")]


def test_a_parameter_of_a_bag_from_before_is_compared_by_its_value() -> None:
    before = {"param.policy": "ensemble", "param.disturb": "True", "param.model.noise_samples": "2"}
    now = {
        "param_format": "json",
        "param.policy": '"ensemble"',
        "param.disturb": "true",
        "param.model.noise_samples": "4",
    }
    assert replay.changed_facts(before, now) == [("param.model.noise_samples", "2", "4")]
