"""What a run leaves behind: every topic of the contract at its rate, without gaps, readable without our packages."""

import json
from collections import defaultdict

import numpy as np
import pytest
import yaml
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from salus_vla import contract
from salus_vla.contract import CAMERAS, Source
from salus_vla.contract.outcomes import Outcome

from .conftest import DECISIONS, EPISODES, SEED, Collected

pytestmark = [pytest.mark.graph, pytest.mark.timeout(200)]


def messages_of(collected: Collected, episode: int) -> dict[str, list]:
    """Every message of a bag by topic, decoded with mcap-ros2-support alone."""
    bag = collected.bag(episode)
    found = defaultdict(list)
    with (bag / f"{bag.name}_0.mcap").open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        for _, channel, _, message in reader.iter_decoded_messages():
            found[channel.topic].append(message)
    return found


def stamp_ns(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


@pytest.fixture(scope="module", params=range(EPISODES))
def episode(request: pytest.FixtureRequest, collected: Collected) -> tuple[int, dict[str, list]]:
    return request.param, messages_of(collected, request.param)


def test_every_topic_of_the_contract_is_in_the_bag_at_its_rate(episode) -> None:
    _, found = episode
    seconds = (stamp_ns(found["/salus/episode"][-1]) - stamp_ns(found["/salus/episode"][0])) * 1e-9
    for topic in contract.TOPICS:
        if topic.optional:
            continue
        assert found[topic.name], f"{topic.name} is empty"
        if topic.rate_hz is None or topic.source is Source.NODES:
            continue
        expected = seconds * topic.rate_hz + 1
        # A command answers the terminal frame only if it comes before the policy hears of the end.
        slack = 1 if topic in (contract.JOINT_TARGET, contract.JOINT_COMMAND) else 0
        assert abs(len(found[topic.name]) - expected) <= slack, topic.name


def test_the_audit_finds_no_gaps(collected: Collected) -> None:
    for number in range(EPISODES):
        audit = json.loads((collected.bag(number) / "audit.json").read_text())["audit"]
        gaps = {topic["name"]: topic["gaps"] for topic in audit["topics"] if topic["gaps"]}
        assert gaps == {}
        assert all(topic["backward"] == 0 for topic in audit["topics"])


def test_each_camera_set_has_one_stamp_and_one_set_of_signals(episode) -> None:
    _, found = episode
    signals = [stamp_ns(message) for message in found["/salus/safety_signals"]]
    for camera in CAMERAS:
        assert [stamp_ns(message) for message in found[contract.image_topic(camera).name]] == signals
        assert [stamp_ns(message) for message in found[contract.camera_info_topic(camera).name]] == signals
    assert [message.decision for message in found["/salus/safety_signals"]] == list(range(len(signals)))


def test_signals_say_which_of_them_are_valid(episode) -> None:
    _, found = episode
    first, *later = found["/salus/safety_signals"]
    unset = {5, 6, 7, 8, 10, 11}  # the first decision has no earlier one, and no reference is fitted yet
    assert first.valid == sum(1 << bit for bit in range(12) if bit not in unset)
    assert first.members == 5
    assert len(first.member_actions) == 5 * 7
    assert later[-1].valid == sum(1 << bit for bit in range(11))
    assert np.isnan(later[-1].activation_novelty)


def test_the_episode_starts_and_ends_with_its_outcome(episode, collected: Collected) -> None:
    number, found = episode
    started, *_, ended = found["/salus/episode"]
    entry = collected.run.record.episodes[number]
    assert (started.kind, ended.kind) == (0, 2)
    assert started.seed == ended.seed == SEED + number
    assert started.policy_source == "ensemble"
    assert Outcome(ended.outcome).name == entry.outcome
    assert ended.decisions == entry.decisions <= DECISIONS
    assert stamp_ns(ended) - stamp_ns(started) == entry.decisions * 10**8


def test_the_terminal_observation_is_recorded(episode) -> None:
    _, found = episode
    end = stamp_ns(found["/salus/episode"][-1])
    for name in ("/joint_states", "/camera_top/image_raw", "/salus/safety_signals", "/ground_truth/red_cube/pose"):
        assert stamp_ns(found[name][-1]) == end, name


def test_commands_are_stamped_with_the_observation_they_answer(episode) -> None:
    _, found = episode
    states = [stamp_ns(message) for message in found["/joint_states"]]
    commands = [stamp_ns(message) for message in found["/joint_command"]]
    assert commands == states[: len(commands)]
    assert list(found["/joint_command"][0].name) == list(contract.JOINTS)


def test_metadata_carries_the_provenance(collected: Collected) -> None:
    metadata = yaml.safe_load((collected.bag(0) / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    custom = metadata["custom_data"]
    assert metadata["storage_identifier"] == "mcap"
    assert custom["policy_source"] == "ensemble"
    assert custom["seed"] == str(SEED)
    assert len({custom[f"policy.member_{k}_hash"] for k in range(5)}) == 5
    assert custom["policy.shared_vlm"] == "true"
    assert custom["policy.param.model.noise_samples"] == "2"
    assert custom["version.lerobot"] == "0.6.1"


def test_run_json_lists_the_episodes(collected: Collected) -> None:
    record = collected.run.record
    assert [entry.number for entry in record.episodes] == list(range(EPISODES))
    assert all(entry.gaps == 0 for entry in record.episodes)
    assert f"bags in {collected.run.path}" in collected.output
