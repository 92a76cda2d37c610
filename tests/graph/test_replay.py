"""A recorded run once more: played byte for byte, and decided on again bit for bit."""

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rosbags.highlevel import AnyReader

from episodes import write_bag
from salus_vla.config.policy_options import BUILTIN_TINY
from salus_vla.contract import CAMERAS, CLOCK, JOINT_STATES, SAFETY_SIGNALS, Topic, image_topic
from salus_vla.data.replay.comparison import EVIDENCE, compare
from salus_vla.data.replay.recorded_inputs import read_story
from salus_vla.data.replay.schedule import Schedule
from salus_vla.policies.smolvla.init.model_init import init_model
from salus_vla.ros.adapters.qos_profiles import interface_class
from salus_vla.ros.clients.live_listener import LiveListener

from .conftest import DECISIONS, Collected, salus

pytestmark = [pytest.mark.graph, pytest.mark.safety, pytest.mark.timeout(200)]

LIMIT_S = 60.0


# -- recomputing -------------------------------------------------------------------------------------------------------


def test_the_same_policy_decides_the_same_bit_for_bit(collected: Collected) -> None:
    heard: list[str] = []
    with LiveListener("eavesdropper", lambda topic, message: heard.append(topic.name)) as listener:
        result = salus("replay", "--recompute", collected.bag(0))
        listener.spin(0.5)
    assert result.returncode == 0, result.stdout + result.stderr
    assert heard == []  # it decides in a domain of its own, whatever the user's is
    decisions = collected.run.record.episodes[0].decisions + 1  # the one on the terminal observation
    for what in ("decisions", "predictions"):
        assert f"{decisions} {what}, all equal" in " ".join(result.stdout.split())


def test_another_policy_is_shown_as_different_with_the_fields_that_differ(collected: Collected, tmp_path: Path) -> None:
    model = tmp_path / "other"
    init_model(model, size="tiny", members=5, seed=5)
    result = salus("replay", "--recompute", collected.bag(0), "--model", model)
    assert result.returncode == 1, result.stdout + result.stderr
    rows = {line.split("│")[1].strip() for line in result.stdout.splitlines() if line.startswith("│")}
    assert {"epistemic_uncertainty", "action_magnitude", EVIDENCE, "member_0_hash"} <= rows
    assert "not made again" in result.stdout


def test_a_policy_that_cannot_be_loaded_is_an_error_with_its_reason(collected: Collected, tmp_path: Path) -> None:
    result = salus("replay", "--recompute", collected.bag(0), "--model", tmp_path / "nothing")
    assert result.returncode == 1
    assert "nothing is not a folder" in result.stderr


def test_on_a_robots_bag_a_policy_decides_as_if_it_had_been_there(collected: Collected, tmp_path: Path) -> None:
    """Cameras and joints alone, without clock, episode and poses: the decisions are those of the run itself."""
    bag, entry = collected.bag(0), collected.run.record.episodes[0]
    inputs = {topic.name: topic for topic in (JOINT_STATES, *map(image_topic, CAMERAS))}
    with AnyReader([bag]) as reader:
        taken = [(inputs[c.topic], bytes(raw)) for c, _, raw in reader.messages() if c.topic in inputs]
    robot, out = write_bag(tmp_path / "robot", taken), tmp_path / "decided"
    told = ("--model", BUILTIN_TINY, "--seed", entry.seed, "--task", entry.task)
    result = salus("replay", "--decide", robot, "--out", out, *told)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{entry.decisions + 1} decisions added" in " ".join(result.stdout.split())
    assert compare(read_story(bag).decisions, read_story(out).decisions).equal
    again = salus("replay", "--decide", out, "--out", tmp_path / "twice")
    assert again.returncode == 1
    assert "--recompute compares with it" in again.stderr


# -- playing -----------------------------------------------------------------------------------------------------------


@contextmanager
def replaying(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """`salus replay` with the built-in player."""
    command = [sys.executable, "-m", "salus_vla.cli", "replay", "--builtin", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def padded(raw: bytes) -> bytes:
    """DDS fills the last four bytes of what is published as bytes with zeros."""
    return raw.rstrip(b"\0")


def test_every_recorded_byte_is_played(collected: Collected) -> None:
    expected: dict[str, list[bytes]] = defaultdict(list)
    for message in Schedule(collected.bag(0), commands=True).messages():
        expected[message.topic].append(message.raw)
    found: dict[str, list[bytes]] = defaultdict(list)

    def take(topic: Topic, raw: bytes) -> None:
        found[topic.name].append(raw)

    replay = replaying(
        collected.bag(0), "--rate", 2, "--delay", 3, "--commands"
    )  # nothing is published before it is heard
    with LiveListener("listener", take, read=()) as listener, replay as process:
        deadline = time.monotonic() + LIMIT_S
        while any(len(found[name]) < len(expected[name]) for name in expected):
            assert time.monotonic() < deadline, {name: (len(found[name]), len(expected[name])) for name in expected}
            listener.spin(0.2)
        output, errors = process.communicate(timeout=LIMIT_S)
    assert found.keys() == expected.keys()
    assert process.returncode == 0, errors
    assert f"{sum(map(len, expected.values()))} messages" in output
    for name in expected:
        assert [padded(raw) for raw in found[name]] == [padded(raw) for raw in expected[name]], name


def test_a_filter_and_a_loop_that_ends_with_ctrl_c(collected: Collected) -> None:
    found: dict[str, int] = defaultdict(int)

    def count(topic: Topic, raw: bytes) -> None:
        found[topic.name] += 1

    options = ["--loop", "--rate", 10, "--topics", SAFETY_SIGNALS.name]
    with LiveListener("listener", count, read=()) as listener, replaying(collected.bag(0), *options) as process:
        deadline = time.monotonic() + LIMIT_S
        while found[SAFETY_SIGNALS.name] <= 2 * (DECISIONS + 1):  # the third pass
            assert time.monotonic() < deadline
            listener.spin(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, errors
    assert found.keys() == {SAFETY_SIGNALS.name, CLOCK.name}


@pytest.mark.parametrize("player", ["builtin", "rosbag2"])
def test_it_does_not_play_into_a_running_graph(collected: Collected, tmp_path: Path, player: str) -> None:
    played, program = tmp_path / "played", tmp_path / "ros2"
    program.write_text(f'#!/bin/sh\ncase "$*" in *--help*) exit 0;; esac\necho "$*" > {played}\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    context = Context()
    rclpy.init(context=context)
    node = Node("real_robot", context=context)
    try:
        node.create_publisher(interface_class(JOINT_STATES), JOINT_STATES.name, 10)
        words = ["--builtin"] if player == "builtin" else []
        result = subprocess.run(
            [sys.executable, "-m", "salus_vla.cli", "replay", *words, str(collected.bag(0))],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert result.returncode == 1
    assert "/joint_states is published by real_robot in this ROS domain already" in result.stderr
    assert not played.exists()
