"""The expert does the task through the graph, and the same episode as in one process, bit for bit, also disturbed."""

from pathlib import Path

import numpy as np
import pytest

from salus_vla.config.scene import load_scene
from salus_vla.control.controller import make_controller
from salus_vla.control.disturbance import Disturbance
from salus_vla.data.bags.run_info import read_run
from salus_vla.episode.run_episode import EpisodeResult, run_episode
from salus_vla.policies.registry import make_policy
from salus_vla.signals.safety_signals import NAMES
from salus_vla.simulation.mujoco.simulator import Simulator

from .conftest import Collected, salus
from .test_collect import messages_of

pytestmark = [pytest.mark.graph, pytest.mark.timeout(200)]

SEED = 1001


@pytest.fixture(scope="module")
def through_the_graph(tmp_path_factory: pytest.TempPathFactory) -> Collected:
    out: Path = tmp_path_factory.mktemp("runs")
    options = ["--policy", "expert", "--disturb", "--seed", SEED, "--out", out, "--run-id", "run"]
    result = salus("collect", "--episodes", 1, *options)
    log = out / "run" / "graph.log"
    assert result.returncode == 0, result.stdout + result.stderr + (log.read_text() if log.is_file() else "")
    return Collected(read_run(out / "run"), result.stdout)


@pytest.fixture(scope="module")
def in_process() -> EpisodeResult:
    scene = load_scene()
    controller = make_controller(make_policy("expert", scene=scene), scene, filters=[Disturbance()])
    with Simulator(scene) as simulator:
        return run_episode(simulator, controller, SEED, images=False)


def test_the_graph_repeats_the_episode_of_one_process(through_the_graph: Collected, in_process: EpisodeResult) -> None:
    found, here = messages_of(through_the_graph, 0), in_process
    recorded = through_the_graph.run.record.episodes[0]
    assert (recorded.outcome, recorded.decisions) == ("SUCCESS", here.decisions)
    joints = np.array([message.position for message in found["/joint_states"]])
    assert np.array_equal(joints, np.array([frame.joint_position for frame in here.frames]))
    commands = np.array([message.position for message in found["/joint_command"]])[: len(here.commands)]
    assert np.array_equal(commands, np.array([command.position for command in here.commands]))
    signals = np.array([[getattr(message, name) for name in NAMES] for message in found["/salus/safety_signals"]])
    expected = np.array([decision.signals.values for decision in here.decided])
    assert np.array_equal(signals.astype(np.float32), expected, equal_nan=True)


def test_the_bag_says_who_acted_and_that_it_was_disturbed(through_the_graph: Collected) -> None:
    run = through_the_graph.run.record
    assert run.arguments["policy"] == run.episodes[0].policy_source == "expert"
    assert run.arguments["disturb"] == "true"
    assert '"policy.param.disturb"' in (through_the_graph.bag(0) / "audit.json").read_text()
