"""A recorded run is read by what other people use: rosbags, rerun and the example, none of which knows SALUS."""

import subprocess
import sys
from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader

from salus_vla import contract
from salus_vla.views import rerun_viewer

from .conftest import Collected
from .test_collect import messages_of

pytestmark = [pytest.mark.graph, pytest.mark.timeout(200)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "uncertainty_vs_outcome.py"


def test_rosbags_reads_every_message_with_the_definitions_in_the_bag(collected: Collected) -> None:
    """What mcap-ros2-support reads is checked in test_collect; rosbags finds the same."""
    expected = {topic: len(found) for topic, found in messages_of(collected, 0).items()}
    counts = dict.fromkeys(expected, 0)
    with AnyReader([collected.bag(0)]) as reader:
        for connection, _, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            assert message.__msgtype__ == connection.msgtype
            counts[connection.topic] += 1
    assert counts == expected
    assert counts[contract.SAFETY_SIGNALS.name] > 0


def test_rerun_reads_the_mcap_file(collected: Collected, tmp_path: Path) -> None:
    (file,) = collected.bag(0).glob("*.mcap")
    converted = tmp_path / "bag.rrd"
    for arguments in (["check", file], ["convert", file, "-o", converted]):
        result = subprocess.run(
            [rerun_viewer.program(), "mcap", *map(str, arguments)], capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr
    shown = subprocess.run(
        [rerun_viewer.program(), "rrd", "print", str(converted)], capture_output=True, text=True, check=True
    ).stdout
    for topic in (contract.JOINT_STATES, contract.SAFETY_SIGNALS, contract.image_topic("front")):
        assert topic.name in shown


def test_the_example_draws_a_run_without_ros_or_salus(collected: Collected, tmp_path: Path) -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 30
    picture = tmp_path / "picture.png"
    # Without PYTHONPATH and AMENT_PREFIX_PATH neither our packages nor the messages' are found.
    environment = {"HOME": str(tmp_path), "MPLBACKEND": "Agg"}
    guard = "import sys, runpy; [sys.modules.__setitem__(n, None) for n in ('rclpy', 'salus_vla', 'salus_msgs')]; "
    program = f"{guard}sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", program, str(EXAMPLE), str(collected.run.path), str(picture)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
