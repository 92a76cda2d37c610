"""What is foreseen again from a bag is what the node said; another predictor, or none, is named."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from drawn_predictor import ENSEMBLE, drawn_predictor
from episodes import write_bag
from recorded import make_episode, messages
from salus_vla.contract import FAILURE_PREDICTION, Topic
from salus_vla.contract.errors import ModelError, RecordingError
from salus_vla.data.bags.recorded_observations import opened_bag
from salus_vla.data.replay.comparison import PREDICTION_FIELDS
from salus_vla.data.replay.repeated_predictions import chosen_predictor, foresee, foresee_again
from salus_vla.safety.prediction.ensemble_identity import EnsembleIdentity
from salus_vla.safety.prediction.failure_predictor import FailurePredictor
from salus_vla.safety.prediction.predictor_file import save_predictor
from samples import cdr, header, make

STATES = (6, 4, 5)  # of the decisions that support writes
FACTS = {f"policy.member_{n}_hash": digest for n, digest in enumerate(ENSEMBLE.members)} | {
    f"policy.vlm_{n}_hash": digest for n, digest in enumerate(ENSEMBLE.vlms)
}


@pytest.fixture
def predictor() -> FailurePredictor:
    return drawn_predictor(ENSEMBLE, *STATES)


def foreseen_bag(folder: Path, predictor: FailurePredictor, **changed: Any) -> Path:
    """A bag with what this predictor says of it; in decision 2 some fields are others."""
    content = messages(make_episode(1, decisions=6), 0, "run1")
    silent = write_bag(folder / "silent", content)
    said: list[tuple[Topic, bytes]] = []
    with opened_bag(silent) as reader:
        for heard, fields in foresee(reader, silent, predictor):
            shown = fields | (changed if heard.decision == 2 else {})
            message = make(
                FAILURE_PREDICTION.type,
                header=header(heard.stamp_ns),
                schema_version=1,
                decision=heard.decision,
                **shown,
            )
            said.append((FAILURE_PREDICTION, cdr(FAILURE_PREDICTION, message)))
    assert len(said) == 7
    return write_bag(folder / "bag", [*content, *said])


def test_the_same_predictor_says_the_same_bit_for_bit(tmp_path: Path, predictor: FailurePredictor) -> None:
    found = foresee_again(foreseen_bag(tmp_path, predictor), predictor)
    assert found.comparison.equal
    assert (found.comparison.compared, found.recorded) == (7, found.now)


@pytest.mark.parametrize(
    ("field", "value", "largest"),
    [("failure", 0.0, None), ("alarm_kind", "nothing", float("inf")), ("slip_threshold", float("nan"), float("inf"))],
)
def test_what_differs_is_named_with_its_size(
    tmp_path: Path, predictor: FailurePredictor, field: str, value: Any, largest: float | None
) -> None:
    (difference,) = foresee_again(foreseen_bag(tmp_path, predictor, **{field: value}), predictor).comparison.differences
    assert (difference.field, difference.count, difference.first) == (field, 1, 2)
    assert 0.0 < difference.largest <= 1.0 if largest is None else difference.largest == largest


def test_another_predictor_is_told_by_its_hash(tmp_path: Path, predictor: FailurePredictor) -> None:
    bag = foreseen_bag(tmp_path, predictor)
    weights = dataclasses.replace(predictor.weights, last_bias=predictor.weights.last_bias + 1)
    found = foresee_again(bag, dataclasses.replace(predictor, weights=weights, digest="0123456789ab"))
    assert (found.recorded, found.now) == (predictor.digest, "0123456789ab")
    assert {"failure", "miss_1s"} <= {difference.field for difference in found.comparison.differences}


def test_the_recorded_predictor_is_found_by_its_parameter(tmp_path: Path, predictor: FailurePredictor) -> None:
    bag = foreseen_bag(tmp_path, predictor)
    folder = tmp_path / "predictor"
    save_predictor(folder, predictor, {})
    for parameter in (
        {"predictor.param_format": "json", "predictor.param.predictor": f'"{folder}"'},
        {"predictor.param.predictor": str(folder)},
    ):
        loaded = chosen_predictor(bag, FACTS | parameter, None)
        assert loaded is not None
        assert foresee_again(bag, loaded).comparison.equal
    assert chosen_predictor(bag, FACTS, "none") is None


def test_a_predictor_that_cannot_be_used_is_named_with_what_helps(tmp_path: Path, predictor: FailurePredictor) -> None:
    bag = foreseen_bag(tmp_path, predictor)
    gone = FACTS | {"predictor.param.predictor": "/gone", "predictor.predictor": "feed"}
    said = f"{bag}: was recorded with the predictor '/gone' (feed): /gone/predictor.safetensors: does not exist"
    with pytest.raises(ModelError, match=f"{re.escape(said)}.*name it with --predictor DIR, or leave"):
        chosen_predictor(bag, gone, None)
    for text in (None, "", "[1", "3"):
        named = {} if text is None else {"predictor.param.predictor": text}
        with pytest.raises(RecordingError, match="names no predictor; name it with --predictor DIR"):
            chosen_predictor(bag, FACTS | named | {"predictor.param_format": "json"}, None)
    folder = tmp_path / "other"
    other = EnsembleIdentity(("dddd",), ("cccc",))
    save_predictor(folder, drawn_predictor(other, *STATES), {})
    with pytest.raises(ModelError, match="is of the ensemble dddd, this is aaaa,bbbb"):
        chosen_predictor(bag, FACTS, str(folder))


def test_a_bag_without_predictions_has_nothing_to_compare(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", messages(make_episode(1), 0, "run1"))
    assert chosen_predictor(bag, FACTS, None) is None
    with pytest.raises(RecordingError, match=f"{bag}: holds no messages on {FAILURE_PREDICTION.name}"):
        chosen_predictor(bag, FACTS, "builtin")


def test_every_field_of_the_message_but_its_words_is_compared() -> None:
    from salus_msgs.msg import FailurePrediction

    fields = set(FailurePrediction.get_fields_and_field_types())
    assert set(PREDICTION_FIELDS) == fields - {"header", "schema_version", "decision", "detail", "predictor"}
