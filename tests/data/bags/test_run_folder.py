"""A run survives a crash at every point: nothing is overwritten, nothing finished is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.audit import Audit
from salus_vla.data.bags.run_folder import RunFolder, discard_bag
from salus_vla.data.bags.run_records import EpisodeEntry, EpisodeRecord, RunRecord, read_record


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "run1", provenance={"git": "abc"}, arguments={"episodes": "3"})


def reopened(run: RunFolder) -> RunFolder:
    run.close()
    return RunFolder.open_existing(run.path)


def write_bag(run: RunFolder, number: int) -> Path:
    """What a writer leaves after close()."""
    bag = run.new_bag(number)
    bag.mkdir()
    (bag / f"{bag.name}_0.mcap").write_bytes(b"data")
    (bag / "metadata.yaml").write_text("{}")
    return bag


def record(number: int, outcome: str = "SUCCESS") -> EpisodeRecord:
    entry = EpisodeEntry(number, 7, "task", "hold", outcome, 3, 10, 20, 0.5, None, "", f"episode_{number:06d}", 4, 0)
    return EpisodeRecord("run1", entry, {"git": "abc"}, Audit([]).finish(10, 20))


def test_a_finished_bag_has_its_name_its_audit_and_its_entry(run: RunFolder) -> None:
    entry = run.finish_bag(write_bag(run, 0), record(0))
    assert entry.path == "episode_000000"
    assert sorted(item.name for item in (run.path / entry.path).iterdir()) == [
        "audit.json",
        "episode_000000_0.mcap",
        "metadata.yaml",
    ]
    assert read_record(run.path / "run.json", RunRecord).episodes == (entry,)
    assert [item.name for item in run.path.iterdir() if ".recording" in item.name] == []


def test_a_bag_in_progress_is_hidden_and_counts_as_interrupted(run: RunFolder) -> None:
    bag = write_bag(run, 42)
    assert bag.relative_to(run.path).as_posix() == ".episode_000042.recording/episode_000042"
    assert reopened(run).interrupted == (bag,)


def test_resume_continues_after_the_last_finished_episode(run: RunFolder) -> None:
    run.finish_bag(write_bag(run, 0), record(0))
    run.finish_bag(write_bag(run, 1), record(1))
    again = reopened(run)
    assert again.next_episode == 2
    assert [entry.number for entry in again.episodes] == [0, 1]
    assert (again.run_id, again.record.provenance, again.record.arguments) == (
        "run1",
        {"git": "abc"},
        {"episodes": "3"},
    )


def test_a_bag_that_was_renamed_but_not_listed_is_adopted(run: RunFolder) -> None:
    before = (run.path / "run.json").read_bytes()
    run.finish_bag(write_bag(run, 0), record(0, "DROP"))
    (run.path / "run.json").write_bytes(before)  # a crash between the rename and run.json
    again = reopened(run)
    assert [(entry.number, entry.outcome) for entry in again.episodes] == [(0, "DROP")]
    assert len(read_record(run.path / "run.json", RunRecord).episodes) == 1


def test_an_interrupted_episode_is_tried_again_beside_the_old_bag(run: RunFolder) -> None:
    old = write_bag(run, 0)
    again = reopened(run)
    assert again.next_episode == 0
    new = write_bag(again, 0)
    assert new.parent.name == ".episode_000000.recording.1"
    again.finish_bag(new, record(0))
    assert (old / "episode_000000_0.mcap").read_bytes() == b"data"
    assert again.interrupted == (old,)


def test_a_finished_bag_is_never_overwritten(run: RunFolder) -> None:
    run.finish_bag(write_bag(run, 0), record(0))
    with pytest.raises(RecordingError, match="episode_000000: exists already"):
        run.new_bag(0)
    bag = write_bag(run, 1)
    (run.path / "episode_000001").mkdir()  # rename() alone would replace an empty folder
    with pytest.raises(RecordingError, match="episode_000001: exists already"):
        run.finish_bag(bag, record(1))
    assert (bag / "metadata.yaml").is_file()


def test_a_bag_of_unknown_origin_keeps_its_number(run: RunFolder) -> None:
    (run.path / "episode_000009").mkdir()
    again = reopened(run)
    assert again.next_episode == 10
    assert again.episodes == ()
    assert [item.name for item in again.unknown] == ["episode_000009"]


def test_a_discarded_bag_leaves_nothing_but_foreign_files(run: RunFolder) -> None:
    bag = write_bag(run, 0)
    discard_bag(bag)
    assert not bag.parent.exists()
    bag = write_bag(run, 0)
    (bag / "notes.txt").write_text("mine")
    discard_bag(bag)
    assert [item.name for item in bag.iterdir()] == ["notes.txt"]


def test_one_process_at_a_time_writes_a_run(run: RunFolder) -> None:
    with pytest.raises(RecordingError, match="in use by another process"):
        RunFolder.open_existing(run.path)


def test_a_run_is_not_created_twice(run: RunFolder) -> None:
    with pytest.raises(RecordingError, match="run1: exists already; resume it"):
        RunFolder.create(run.path.parent, "run1", provenance={}, arguments={})


@pytest.mark.parametrize("run_id", ["", "../x", "a/b", ".hidden"])
def test_a_run_id_is_a_plain_folder_name(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(RecordingError, match="run id"):
        RunFolder.create(tmp_path, run_id, provenance={}, arguments={})


def test_a_folder_that_cannot_be_written_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match=r"file/run1: .*cannot be written"):
        RunFolder.create(tmp_path / "file", "run1", provenance={}, arguments={})


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="is not a run"):
        RunFolder.open_existing(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=40),
        st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists).map(
            lambda value: json.dumps(value).encode()
        ),
    )
)
def test_garbage_in_run_json_names_the_file(tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / "run.json").write_bytes(garbage)
    with pytest.raises(RecordingError, match=r"run\.json"):
        RunFolder.open_existing(tmp_path)


def test_a_wrong_value_in_run_json_is_named_with_its_key(run: RunFolder) -> None:
    run.finish_bag(write_bag(run, 0), record(0))
    data = json.loads((run.path / "run.json").read_text())
    data["episodes"][0]["seed"] = "many"
    (run.path / "run.json").write_text(json.dumps(data))
    with pytest.raises(RecordingError, match=r"run\.json: episodes\.0\.seed: .*'many'"):
        reopened(run)


def test_a_run_json_of_another_format_is_refused(run: RunFolder) -> None:
    data = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps(data | {"format": 2}))
    with pytest.raises(RecordingError, match=r"format: is 2, .* reads 1"):
        reopened(run)
