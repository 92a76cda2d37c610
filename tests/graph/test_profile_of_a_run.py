"""A profile reaches the simulator of the graph, and a bag says which one it was."""

from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from salus_vla.config.scene import load_scene
from salus_vla.data.bags.run_info import read_bag, read_run
from salus_vla.simulation.mujoco.simulator import Simulator

from .conftest import salus

pytestmark = [pytest.mark.graph, pytest.mark.timeout(120)]


def test_a_dark_run_is_dark_and_says_so(tmp_path: Path) -> None:
    options = ["--policy", "hold", "--episodes", 1, "--seed", 5, "--max-decisions", 1, "--out", tmp_path]
    result = salus("collect", *options, "--profile", "dark", "--run-id", "run")
    assert result.returncode == 0, result.stdout + result.stderr
    assert read_run(tmp_path / "run").record.arguments["profile"] == "dark"
    bag = tmp_path / "run" / "episode_000000"
    assert read_bag(bag).custom_data["episode.param.profile"] == '"dark"'
    with Simulator(load_scene(), profile="dark", seed=5) as simulator:
        expected = simulator.render(["side"])["side"]
    with (bag / f"{bag.name}_0.mcap").open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        _, _, _, message = next(reader.iter_decoded_messages(topics=["/camera_side/image_raw"]))
    np.testing.assert_array_equal(np.frombuffer(message.data, np.uint8).reshape(256, 256, 3), expected)


def test_an_unknown_profile_is_refused_before_anything_starts(tmp_path: Path) -> None:
    result = salus("collect", "--episodes", 1, "--profile", "darkk", "--out", tmp_path, timeout=20)
    assert result.returncode == 1
    assert "unknown profile 'darkk'; expected one of eval, train" in result.stderr
    assert list(tmp_path.iterdir()) == []
