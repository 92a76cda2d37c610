"""The graph in lockstep and one process give the same episode: joints, outcome and signals, bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from salus_vla import contract
from salus_vla.config.policy_options import BUILTIN_TINY
from salus_vla.config.policy_settings import PolicySettings
from salus_vla.config.scene import load_scene
from salus_vla.contract.message_readers import stamp_of
from salus_vla.control.controller import make_controller
from salus_vla.control.safety_filter import build_safety_filter
from salus_vla.data.episodes import open_run
from salus_vla.data.failures.failure_table import read_tables
from salus_vla.data.failures.make_table import make_failure_table
from salus_vla.episode.run_episode import EpisodeResult, run_episode
from salus_vla.learning.prediction.samples import make_samples
from salus_vla.policies.registry import make_policy
from salus_vla.safety.prediction.predictor_file import load_predictor
from salus_vla.signals.safety_signals import NAMES
from salus_vla.simulation.mujoco.simulator import Simulator

from .conftest import DECISIONS, EPISODES, SEED, Collected
from .test_collect import messages_of

pytestmark = [pytest.mark.graph, pytest.mark.timeout(200)]


@pytest.fixture(scope="module")
def in_process(predictor: Path, interventions: Path) -> list[EpisodeResult]:
    scene = load_scene()
    torch.set_num_threads(1)  # model.threads of config/salus.yaml: the number of threads changes the last digits
    policy = make_policy("ensemble", members=[BUILTIN_TINY])
    settings = PolicySettings(
        intervention="act", intervention_predictor=str(predictor), intervention_model=str(interventions)
    )
    controller = make_controller(policy, scene, filters=[build_safety_filter(settings, policy.provenance())])
    with Simulator(scene) as simulator:
        return [
            run_episode(simulator, controller, SEED + number, max_decisions=DECISIONS) for number in range(EPISODES)
        ]


@pytest.mark.parametrize("number", range(EPISODES))
def test_the_graph_repeats_the_episode_of_one_process(
    number: int, collected: Collected, in_process: list[EpisodeResult]
) -> None:
    here, found = in_process[number], messages_of(collected, number)
    recorded = collected.run.record.episodes[number]
    assert (recorded.outcome, recorded.decisions) == (here.outcome.name, here.decisions)
    joints = np.array([message.position for message in found["/joint_states"]])
    assert np.array_equal(joints, np.array([frame.joint_position for frame in here.frames]))
    commands = np.array([message.position for message in found["/joint_command"]])[: len(here.commands)]
    assert np.array_equal(commands, np.array([command.position for command in here.commands]))
    signals = np.array([[getattr(message, name) for name in NAMES] for message in found["/salus/safety_signals"]])
    expected = np.array([decision.signals.values for decision in here.decided])
    assert np.array_equal(signals.astype(np.float32), expected, equal_nan=True)
    recording = open_run(collected.run.path).episodes[number].open()
    decisions, measured, held = recording.decisions(), recording.measured(), recording.held()
    for name in ("expert_state", "prefix_parts"):
        states = np.array([getattr(decision, name) for decision in here.decided])
        assert np.array_equal(getattr(decisions, name), states)
    assert measured.efforts is not None
    assert np.array_equal(measured.efforts, np.array([frame.joint_effort for frame in here.frames]))
    assert held is not None
    assert held.held.tolist() == here.holding[: len(held.held)]
    assert len(here.holding) - len(held.held) <= 1  # a frame is complete once its successor is


@pytest.mark.parametrize("number", range(EPISODES))
def test_each_decision_has_one_intervention_and_it_is_that_of_one_process(
    number: int, collected: Collected, in_process: list[EpisodeResult]
) -> None:
    here, found = in_process[number].interventions, messages_of(collected, number)[contract.INTERVENTION.name]
    assert len(found) - len(here) in (0, 1)  # the terminal observation's plan is followed by nobody
    for message, done in zip(found, here, strict=False):
        assert (message.decision, message.chosen, message.acted) == (done.decision, done.chosen, True)
        assert tuple(message.candidates) == done.candidates
        np.testing.assert_array_equal(message.failure, done.failure.astype(np.float32))
    recording = open_run(collected.run.path).episodes[number].open()
    read = recording.interventions()
    assert read is not None
    assert read.chosen[: len(here)] == tuple(done.chosen for done in here)


@pytest.mark.parametrize("number", range(EPISODES))
def test_each_decision_has_one_prediction_and_it_is_that_of_the_failure_table(
    number: int, collected: Collected, predictor: Path, tmp_path: Path
) -> None:
    found = messages_of(collected, number)
    decided, predicted = (found[topic.name] for topic in (contract.SAFETY_SIGNALS, contract.FAILURE_PREDICTION))
    assert [message.decision for message in predicted] == [message.decision for message in decided]
    assert [stamp_of(message) for message in predicted] == [stamp_of(message) for message in decided]
    loaded = load_predictor(predictor)
    table = make_failure_table([collected.run.path], tmp_path / "F.parquet", basis=loaded.basis)
    samples = make_samples(read_tables(table.files))
    rows = np.flatnonzero(samples.episode == number)  # without the terminal observation
    expected = loaded.foresee(samples.features[rows])
    for name, values in (
        ("failure", expected.failure),
        ("spread", expected.spread),
        ("collision_0_25s", expected.events[:, 0, 0]),
        ("drop_1s", expected.events[:, 1, 2]),
        ("miss_0_5s", expected.events[:, 2, 1]),
    ):
        said = np.array([getattr(message, name) for message in predicted])[: len(rows)]
        np.testing.assert_allclose(said, values, atol=1e-6, err_msg=name)
    alarms = [message.alarm_kind for message in predicted]
    changes = [kind for kind, before in zip(alarms, [None, *alarms], strict=False) if kind != before]
    latched = [message.alarm_kind for message in found[contract.FAILURE_ALARM.name]]
    assert latched[-len(changes) :] == changes  # before them that of the episode before
