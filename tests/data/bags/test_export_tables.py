"""`salus bag export` writes what was recorded, one row per message, with the episode it belongs to."""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from episodes import START_NS, joints, messages, observations, write_bag
from salus_vla.cli.bag import add_parser
from salus_vla.contract import JOINT_COMMAND, JOINT_STATES, JOINTS, SAFETY_SIGNALS
from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.table_export import export_tables
from salus_vla.signals.safety_signals import NAMES
from samples import FRAME_NS, cdr, make, message_types

TABLES = {"signals": 3, "joint_states": 11, "joint_command": 11}


def content(number: int = 0) -> list:
    made = messages(observations(3), number)
    return made + [(JOINT_COMMAND, joints(START_NS + n * FRAME_NS, np.full(9, n / 7))) for n in range(11)]


@pytest.fixture
def bags(tmp_path: Path) -> list[Path]:
    return [write_bag(tmp_path / f"bag{number}", content(number)) for number in range(2)]


def test_csv_has_a_row_per_message_with_its_episode(tmp_path: Path, bags: list[Path]) -> None:
    counts = export_tables(bags, tmp_path / "out", "csv")
    assert {file.stem: count for file, count in counts.items()} == {name: 2 * rows for name, rows in TABLES.items()}
    with (tmp_path / "out" / "signals.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["episode"] for row in rows] == ["0"] * 3 + ["1"] * 3
    assert {(row["run"], row["outcome"], row["seed"]) for row in rows} == {("run1", "TIMEOUT", "-3")}
    assert [float(row["stamp_s"]) for row in rows[:3]] == pytest.approx([3.0, 3.1, 3.2])
    assert math.isnan(float(rows[0]["epistemic_uncertainty"]))  # not replaced
    assert "expert_state" not in rows[0]  # a cell holds one value


def test_parquet_keeps_every_bit(tmp_path: Path, bags: list[Path]) -> None:
    export_tables(bags[:1], tmp_path / "out", "parquet")
    table = parquet.read_table(tmp_path / "out" / "signals.parquet").to_pydict()
    recorded = [raw for topic, raw in content() if topic == SAFETY_SIGNALS]
    for index, raw in enumerate(recorded):
        message = message_types().store.deserialize_cdr(raw, SAFETY_SIGNALS.type)
        for name in NAMES:
            found = np.float32(table[name][index])
            np.testing.assert_array_equal(found, np.float32(getattr(message, name)))
    assert [len(state) for state in table["expert_state"]] == [6] * 3
    assert table["prefix_parts"][0] == [value / 8 for value in range(20)]
    joints_table = parquet.read_table(tmp_path / "out" / "joint_states.parquet").to_pydict()
    assert joints_table["effort_panda_joint1"] == [0.0] * 11
    commands = parquet.read_table(tmp_path / "out" / "joint_command.parquet").to_pydict()
    assert commands["position_panda_joint3"] == [n / 7 for n in range(11)]


def test_joints_in_another_order_and_without_velocities(tmp_path: Path) -> None:
    names, values = list(reversed(JOINTS)), np.arange(9.0)
    head = make("std_msgs/msg/Header", stamp=make("builtin_interfaces/msg/Time", sec=3, nanosec=0), frame_id="")
    empty = np.zeros(0)
    odd = make(JOINT_STATES.type, header=head, name=names, position=values, velocity=empty, effort=empty)
    made = [item for item in content() if item[0] != JOINT_STATES]
    bag = write_bag(tmp_path / "bag", [*made, (JOINT_STATES, cdr(JOINT_STATES, odd))])
    export_tables([bag], tmp_path / "out", "parquet")
    (row,) = parquet.read_table(tmp_path / "out" / "joint_states.parquet").to_pylist()
    assert row["position_panda_joint1"] == 8.0
    assert row["velocity_panda_joint1"] is None


def test_a_file_is_never_overwritten_and_nothing_is_left_of_a_failure(tmp_path: Path, bags: list[Path]) -> None:
    broken = write_bag(tmp_path / "broken", [item for item in content() if item[0] != JOINT_COMMAND])
    with pytest.raises(RecordingError, match="holds no messages on /joint_command"):
        export_tables([*bags, broken], tmp_path / "out", "csv")
    assert list((tmp_path / "out").iterdir()) == []
    export_tables(bags, tmp_path / "out", "csv")
    with pytest.raises(RecordingError, match=r"signals\.csv: exists already"):
        export_tables(bags, tmp_path / "out", "csv")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, bags: list[Path]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordingError, match="file/out: cannot be written"):
        export_tables(bags, tmp_path / "file" / "out", "csv")


def test_the_command_says_what_it_wrote(tmp_path: Path, bags: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    out = tmp_path / "out"
    arguments = parser.parse_args(["bag", "export", *map(str, bags), "--parquet", str(out)])
    assert arguments.run(arguments) == 0
    text = capsys.readouterr().out
    assert [f"{out / name}.parquet: {2 * rows} rows" in text for name, rows in TABLES.items()] == [True] * 3


def test_what_another_recorder_recorded_beside_the_episode_is_no_row(tmp_path: Path) -> None:
    made = content()
    beside = [(JOINT_STATES, joints(START_NS + n * FRAME_NS, np.zeros(9))) for n in (-50, -2, 12, 60)]
    bag = write_bag(tmp_path / "bag", [*beside[:2], *made, *beside[2:]])
    counts = export_tables([bag], tmp_path / "out", "csv")
    assert {file.stem: count for file, count in counts.items()} == TABLES
