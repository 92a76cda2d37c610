"""Predictions are read through the index of the file, and as rosbags reads them; damage is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from episodes import START_NS, messages, observations, write_bag
from predicted import prediction
from salus_vla.contract import FAILURE_PREDICTION
from salus_vla.contract.errors import RecordingError
from salus_vla.contract.foreseen_risk import ForeseenRisk
from salus_vla.data.bags.bag_predictions import predictions_of
from salus_vla.data.bags.recorded_observations import connections_of, messages_of, opened_bag
from salus_vla.data.recording import Predictions


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    said = [(FAILURE_PREDICTION, prediction(START_NS + n * 10**8, n, n / 4, "miss" if n else "")) for n in (0, 2, 1)]
    return write_bag(tmp_path / "bag", [*messages(observations(3)), *said])


def test_every_prediction_is_read_in_the_order_of_its_observation(bag: Path) -> None:
    found = predictions_of(bag)
    assert found is not None
    assert found.numbers.tolist() == [0, 1, 2]
    assert found.values["failure"].tolist() == [0.0, 0.25, 0.5]
    assert (found.alarms, found.details[1]) == (("", "miss", "miss"), "miss: 25%, threshold 50%")
    with opened_bag(bag) as reader:
        connections = connections_of(reader, bag, (FAILURE_PREDICTION,))
        other = Predictions.of(ForeseenRisk.of(message) for _, message in messages_of(reader, connections))
    assert other is not None
    assert {name: values.tolist() for name, values in other.thresholds.items()} == {
        name: values.tolist() for name, values in found.thresholds.items()
    }


def test_two_files_and_other_storages_are_left_to_rosbags(bag: Path) -> None:
    (bag / "left_over.mcap").write_bytes(b"")
    found = predictions_of(bag)
    assert found is not None
    assert len(found.alarms) == 3


def test_a_bag_without_predictions_has_none(tmp_path: Path) -> None:
    assert predictions_of(write_bag(tmp_path / "bag", messages(observations(2)))) is None


def test_damage_is_named(bag: Path) -> None:
    (file,) = bag.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(RecordingError, match=f"{bag}: is not a finished bag, or is damaged"):
        predictions_of(bag)
