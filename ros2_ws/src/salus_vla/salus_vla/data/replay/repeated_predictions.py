"""Foresees from a recorded episode again, and compares: from its recorded signals, joints and commands."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader

from salus_vla.config.parameters import PARAMETER_FORMAT
from salus_vla.config.paths import NO_PREDICTOR, predictor_folder
from salus_vla.contract import FAILURE_PREDICTION, JOINT_COMMAND, JOINT_STATES, SAFETY_SIGNALS, Topic
from salus_vla.contract.errors import ModelError, RecordingError
from salus_vla.contract.message_readers import joint_positions, measured_joints, stamp_of
from salus_vla.data.bags.recorded_observations import connections_of, messages_of, opened_bag, read_message
from salus_vla.data.replay.comparison import Comparison, RecordedPrediction, compare_predictions
from salus_vla.safety.prediction.decision_assembly import DecisionAssembly, HeardSignals
from salus_vla.safety.prediction.ensemble_identity import EnsembleIdentity
from salus_vla.safety.prediction.failure_predictor import EpisodePredictor, FailurePredictor
from salus_vla.safety.prediction.prediction_fields import prediction_fields
from salus_vla.safety.prediction.predictor_file import load_predictor

_FACTS = "predictor."  # prefix of what the predictor's node says of itself in the provenance of a bag
_PARAMETER = f"{_FACTS}param.predictor"
_POLICY = "policy."
_HEARD = (JOINT_STATES, JOINT_COMMAND, SAFETY_SIGNALS)  # of one stamp in this order


@dataclass(frozen=True)
class RepeatedPredictions:
    """What a predictor says of a recorded episode, beside what was said then.

    Attributes:
        comparison: of both.
        recorded: hash of the predictor that spoke then.
        now: of this one.
    """

    comparison: Comparison
    recorded: str
    now: str


def chosen_predictor(bag: Path, provenance: Mapping[str, str], name: str | None) -> FailurePredictor | None:
    """Loads the predictor that is to foresee from a bag again; None where there is nothing to compare.

    Args:
        bag: folder of a finished bag.
        provenance: what its nodes said of themselves.
        name: `builtin`, a folder, or `none`; None for the one that the recording names.

    Raises:
        RecordingError: one is named, and the bag holds no predictions; or the recording does not name one.
        ModelError: the predictor cannot be loaded, or is of another ensemble.
    """
    if name == NO_PREDICTOR:
        return None
    with opened_bag(bag) as reader:
        foreseen = any(item.topic == FAILURE_PREDICTION.name and item.msgcount for item in reader.connections)
    if not foreseen:
        if name is None:
            return None
        raise RecordingError(
            f"{bag}: holds no messages on {FAILURE_PREDICTION.name} to compare with; leave --predictor out"
        )
    named = _named(bag, provenance) if name is None else name
    try:
        predictor = load_predictor(predictor_folder(named))
    except ModelError as error:
        if name is not None:
            raise
        digest = provenance.get(f"{_FACTS}predictor", "of unknown hash")
        raise ModelError(
            f"{bag}: was recorded with the predictor {named!r} ({digest}): {error}; name it with --predictor DIR, or "
            f"leave predictions out with --predictor {NO_PREDICTOR}"
        ) from error
    policy = {key.removeprefix(_POLICY): value for key, value in provenance.items() if key.startswith(_POLICY)}
    predictor.require(EnsembleIdentity.of_facts(policy))
    return predictor


def foresee_again(bag: Path, predictor: FailurePredictor) -> RepeatedPredictions:
    """Foresees from the recorded messages, as the node does while the robot moves, and compares.

    Raises:
        RecordingError: the bag lacks a topic, or a message breaks the contract; names both.
        ModelError: a hidden state has another width than those that the predictor was trained on.
    """
    with opened_bag(bag) as reader:
        connections = connections_of(reader, bag, (FAILURE_PREDICTION,))
        recorded = [RecordedPrediction.of(message) for _, message in messages_of(reader, connections)]
        repeated = [
            RecordedPrediction.of_fields(heard.stamp_ns, heard.decision, fields)
            for heard, fields in foresee(reader, bag, predictor)
        ]
    said = sorted({item.predictor for item in recorded})
    return RepeatedPredictions(compare_predictions(recorded, repeated), ", ".join(said), predictor.digest)


def foresee(reader: AnyReader, bag: Path, predictor: FailurePredictor) -> Iterator[tuple[HeardSignals, dict[str, Any]]]:
    """What is heard of each decision of an opened bag, and the fields of the message that it is answered with."""
    assembly, episode = DecisionAssembly(), EpisodePredictor(predictor)
    for topic, message in _heard(reader, bag):
        _take(assembly, topic, message, f"{bag}: {topic.name}")
        for decision in assembly.ready():
            yield decision.heard, prediction_fields(episode.foresee(decision), predictor)


def _named(bag: Path, provenance: Mapping[str, str]) -> str:
    """The predictor's parameter of the recording."""
    text = provenance.get(_PARAMETER)
    value: Any = text
    if text is not None and provenance.get(f"{_FACTS}{PARAMETER_FORMAT}") == "json":
        try:
            value = json.loads(text)
        except ValueError:
            value = None
    if not isinstance(value, str) or not value:
        raise RecordingError(
            f"{bag}: holds predictions, and its {_PARAMETER} is {text!r:.80}, which names no predictor; name it with "
            f"--predictor DIR, or leave predictions out with --predictor {NO_PREDICTOR}"
        )
    return value


def _heard(reader: AnyReader, bag: Path) -> Iterator[tuple[Topic, Any]]:
    """What the node hears, in the order of the stamps."""
    by_name = {topic.name: topic for topic in _HEARD}
    found = [(by_name[name], message) for name, message in messages_of(reader, connections_of(reader, bag, _HEARD))]
    yield from sorted(found, key=lambda item: (stamp_of(item[1]), _HEARD.index(item[0])))


def _take(assembly: DecisionAssembly, topic: Topic, message: Any, where: str) -> None:
    if topic is JOINT_STATES:
        assembly.joints(stamp_of(message), read_message(measured_joints, message, where))
    elif topic is JOINT_COMMAND:
        assembly.command(stamp_of(message), read_message(joint_positions, message, where))
    else:
        assembly.signals(read_message(HeardSignals.of, message, where))
