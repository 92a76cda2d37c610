"""Lets a real `vla_ensemble` process decide on the recorded inputs of an episode, again or for the first time.

It is fed as a simulator in lockstep feeds it: the next frame goes out when the last one has its command and, where it
has a camera set, its decision. What was commanded then and what is commanded now is the same as long as the decisions
are.
"""

from __future__ import annotations

import ast
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.serialization import serialize_message

from salus_msgs.msg import Episode
from salus_vla import contract
from salus_vla.config.parameters import PARAMETER_FORMAT, parameter_names
from salus_vla.contract import Topic
from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.foreign_bag import node_facts
from salus_vla.data.bags.recorded_observations import HALF_FRAME_NS, holds, opened_bag
from salus_vla.data.replay.comparison import RecordedDecision
from salus_vla.data.replay.recorded_inputs import (
    FACTS,
    EpisodeStory,
    read_frames,
    read_story,
)
from salus_vla.ros.adapters.messages import header
from salus_vla.ros.clients.policy_feeder import PolicyFeeder, policy_process
from salus_vla.ros.environment.domains import private_graph
from salus_vla.ros.nodes.ensemble_parameters import EnsembleParameters

_PARAMETERS = f"{FACTS}param."
_NEEDS_POSES = "expert"
_STATUS = contract.STATUS_TOPIC.name


@dataclass(frozen=True)
class Repeated:
    """What a policy decided on recorded observations.

    Attributes:
        decisions: in order.
        facts: what its node says of itself: parameters, hashes, versions.
    """

    decisions: tuple[RecordedDecision, ...]
    facts: dict[str, str]


@dataclass(frozen=True)
class Decided:
    """What a policy decided on observations that nobody had decided on.

    Attributes:
        added: topic, serialized message, and when it belongs into the recording [ns]: the decisions, and before them
            the start of the episode where the bag does not say it.
        decisions: how many.
        facts: what the policy's node says of itself.
    """

    added: tuple[tuple[Topic, bytes, int], ...]
    decisions: int
    facts: dict[str, str]


def decide_again(
    bag: Path, model: str | None, on_decision: Callable[[int], None], episode: int | None = None
) -> Repeated:
    """Decides on the observations of a bag with the parameters of its recording, in a private ROS domain.

    Args:
        bag: folder of a finished bag.
        model: as `salus collect --model`; None for the recorded one.
        on_decision: called with the number of decisions made so far.
        episode: its number, of a bag that holds several.

    Raises:
        RecordingError: the bag cannot be read, or does not hold the inputs of the policy.
        ModelError: the policy cannot be loaded or fails on an observation.
        SimulatorError: the node does not answer.
    """
    story = read_story(bag, episode)
    provenance = node_facts(bag)
    if model is None and not any(name.startswith(_PARAMETERS) for name in provenance):
        raise RecordingError(f"{bag}: says nothing of the policy that decided, not on {_STATUS} either; give --model")
    feeder, _ = _decided(bag, story, recorded_parameters(provenance, model), on_decision)
    return Repeated(tuple(feeder.decisions), feeder.facts)


def decide_first(
    bag: Path, model: str, task: str, seed: int, on_decision: Callable[[int], None], episode: int | None = None
) -> Decided:
    """Lets a policy decide on cameras and joints that nobody decided on, in a private ROS domain.

    Args:
        bag: folder of a finished bag; it may begin and end anywhere where it has no /salus/episode.
        model: as `salus collect --model`.
        task: the instruction, where the bag does not have it.
        seed: of the policy's noise, likewise.
        on_decision: called with the number of decisions made so far.
        episode: its number, of a bag that holds several.

    Raises:
        RecordingError: the bag cannot be read, does not hold the inputs of the policy, or has decisions already.
        ModelError: the policy cannot be loaded or fails on an observation.
        SimulatorError: the node does not answer.
    """
    with opened_bag(bag) as reader:
        told = holds(reader, contract.EPISODE)
        if holds(reader, contract.SAFETY_SIGNALS):
            raise RecordingError(
                f"{bag}: {contract.SAFETY_SIGNALS.name} is there already; --recompute compares with it"
            )
    added: list[tuple[Topic, bytes, int]] = []
    if told:
        story = read_story(bag, episode, decided=False)
    else:
        first = next((frame for frame in read_frames(bag) if frame.decided), None)
        if first is None:
            raise RecordingError(f"{bag}: holds no camera set with joints of its stamp")
        started = serialize_message(_started(bag, first.stamp_ns, task, seed))
        story = EpisodeStory(first.stamp_ns, None, started, ())
        added.append((contract.EPISODE, started, first.log_ns))
    parameters = recorded_parameters({}, model) | {"task": task}
    feeder, recorded = _decided(bag, story, parameters, on_decision)
    for stamp_ns, raw in feeder.raw:
        log_ns = next(log for stamp, log in recorded if abs(stamp - stamp_ns) <= HALF_FRAME_NS)
        added.append((contract.SAFETY_SIGNALS, raw, log_ns))
    return Decided(tuple(added), len(feeder.raw), feeder.facts)


def _started(bag: Path, stamp_ns: int, task: str, seed: int) -> Episode:
    return Episode(
        header=header(stamp_ns),
        kind=Episode.STARTED,
        run_id=bag.resolve().name,
        episode=0,
        seed=seed,
        task=task,
        policy_source="ensemble",
        outcome=Episode.RUNNING,
    )


def _decided(
    bag: Path, story: EpisodeStory, parameters: Mapping[str, Any], on_decision: Callable[[int], None]
) -> tuple[PolicyFeeder, list[tuple[int, int]]]:
    """Who heard the decisions, and stamp and time of recording of each camera set [ns]."""
    # Never the user's domain: a graph that runs there would be commanded.
    environment = {name: value for name, value in os.environ.items() if name != "ROS_DOMAIN_ID"}
    needs_poses = parameters["policy"] == _NEEDS_POSES
    with private_graph(environment), tempfile.TemporaryDirectory(prefix="salus_recompute_") as folder:
        # What keeps the graph on this machine holds for this process as well.
        os.environ.update({name: value for name, value in environment.items() if name != "ROS_DOMAIN_ID"})
        domain = int(environment["ROS_DOMAIN_ID"])
        with (
            PolicyFeeder(domain, needs_poses=needs_poses) as feeder,
            policy_process(parameters, Path(folder), environment) as process,
        ):
            feeder.bring_up(process)
            recorded = _feed(bag, story, feeder, on_decision)
    return feeder, recorded


def recorded_parameters(provenance: Mapping[str, str], model: str | None) -> dict[str, Any]:
    """Parameters of vla_ensemble that repeat a recording, and let us configure and activate it.

    Args:
        provenance: custom data of the bag.
        model: replaces the recorded members.

    Raises:
        RecordingError: a recorded value cannot be read.
    """
    values: dict[str, Any] = {}
    as_json = provenance.get(f"{FACTS}{PARAMETER_FORMAT}") == "json"
    for name, field in parameter_names(EnsembleParameters).items():
        text = provenance.get(f"{_PARAMETERS}{name}")
        value = field.default
        if text is not None:
            try:
                value = json.loads(text) if as_json else _literal(text, field.default)
            except (ValueError, SyntaxError) as error:
                raise RecordingError(
                    f"{_PARAMETERS}{name} is recorded as {text!r:.80}, which is not a value"
                ) from error
        values[name] = [item for item in value if item] if isinstance(value, tuple | list) else value
    if model is not None:
        values |= {"policy": "ensemble", "model.members": [model]}
    # Nobody else is there to wait for, and interventions change commands only, which are not compared.
    values |= {"commands_to": "", "recorded_by": "", "intervention": "off"}
    values |= {"pacing": "lockstep", "autostart": False, "use_sim_time": True}
    return {name: value for name, value in values.items() if value != []}  # an empty list has no type in YAML


def _literal(text: str, default: Any) -> Any:
    """A value of a bag from before parameters were recorded as JSON."""
    return text if isinstance(default, str) else ast.literal_eval(text)


def _feed(
    bag: Path, story: EpisodeStory, feeder: PolicyFeeder, on_decision: Callable[[int], None]
) -> list[tuple[int, int]]:
    start_ns, started = story.start_ns, story.started
    frames = read_frames(bag, start_ns, story.end_ns)
    first = next(frames, None)
    if first is None or first.stamp_ns > start_ns + HALF_FRAME_NS or not first.decided:
        raise RecordingError(f"{bag}: does not hold the first observation of its episode, of {start_ns * 1e-9:.2f} s")
    # As in a run, the node knows time and observation before it hears of the episode.
    feeder.send_until_ready(first)
    feeder.publish(contract.EPISODE.name, started)
    feeder.wait_for_answer(first)
    on_decision(len(feeder.decisions))
    recorded = [(first.stamp_ns, first.log_ns)]
    for frame in frames:
        feeder.send(frame)
        feeder.wait_for_answer(frame)
        if frame.decided:
            on_decision(len(feeder.decisions))
            recorded.append((frame.stamp_ns, frame.log_ns))
    return recorded
