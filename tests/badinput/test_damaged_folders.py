"""Runs, bags and models with one file damaged: every command says what is wrong in one line, or shows what is there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message

from hostile import VALUES, at, damaged, edited, good_message, places, without
from salus_msgs.msg import Episode
from salus_vla import contract
from salus_vla.cli.main import main
from salus_vla.config.policy_options import MANIFEST
from salus_vla.contract.errors import ModelError
from salus_vla.data.bags.episode_recorder import EpisodeRecorder
from salus_vla.data.bags.message_types import MessageTypes
from salus_vla.data.bags.open_episode import EpisodeEnd, EpisodeMeta
from salus_vla.data.bags.open_writer import open_writer
from salus_vla.data.bags.run_folder import RunFolder
from salus_vla.policies.registry import expand_members

TOPICS = (contract.CLOCK, contract.JOINT_STATES, contract.EPISODE, contract.SAFETY_SIGNALS)
FRAME_NS = 20_000_000
one_folder = partial(settings, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one short episode."""
    types = MessageTypes()
    run = RunFolder.create(tmp_path_factory.mktemp("runs"), "run", provenance={"git": "a"}, arguments={"seed": "7"})
    recorder = EpisodeRecorder(run, TOPICS, types, partial(open_writer, backend="mcap", types=types))
    recorder.start(EpisodeMeta(0, seed=7, task="lift", policy_source="hold"), {"fact": "b"})
    notice = good_message(contract.EPISODE, FRAME_NS)
    notice.run_id, notice.episode = "run", 0
    recorder.on_message(contract.EPISODE.name, serialize_message(notice), 0)
    recorder.begin(FRAME_NS)
    for frame in range(1, 12):
        for topic in (contract.CLOCK, contract.JOINT_STATES, contract.SAFETY_SIGNALS):
            recorder.on_message(topic.name, serialize_message(good_message(topic, frame * FRAME_NS)), frame)
    notice.kind, notice.outcome, notice.header.stamp.nanosec = Episode.ENDED, Episode.SUCCESS, 11 * FRAME_NS
    recorder.on_message(contract.EPISODE.name, serialize_message(notice), 0)
    recorder.stop(EpisodeEnd(11 * FRAME_NS, "SUCCESS", None, 2, "done"))
    recorder.close()
    run.close()
    return run.path


@pytest.fixture
def run(intact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(intact, tmp_path / "run"))


FILES = {
    "run.json": (json.loads, json.dumps),
    "episode_000000/audit.json": (json.loads, json.dumps),
    "episode_000000/metadata.yaml": (yaml.safe_load, yaml.safe_dump),
}
Command = Callable[[Path], list[str]]
COMMANDS: dict[str, Command] = {
    "info of the run": lambda run: ["bag", "info", str(run)],
    "info of the bag": lambda run: ["bag", "info", str(run / "episode_000000")],
    "recover": lambda run: ["bag", "recover", str(run)],
    "export": lambda run: ["bag", "export", str(run), "--csv", str(run / "tables")],
    "evaluate": lambda run: ["evaluate", str(run)],
}


def assert_explained(run: Path, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """The command ends with 0, or with 1 and a line that names something in the run."""
    shutil.rmtree(run / "tables", ignore_errors=True)
    code = main(command(run))
    words = capsys.readouterr().err
    assert (code, words) == (0, "") or (code == 1 and words.startswith("salus: error: ") and str(run) in words), words


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_reads_the_intact_run(run: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert_explained(run, COMMANDS[command], capsys)


@pytest.mark.parametrize("file", FILES)
@one_folder(max_examples=15)
@given(data=st.data())
def test_a_wrong_value_is_explained(
    run: Path, file: str, data: st.DataObject, capsys: pytest.CaptureFixture[str]
) -> None:
    load, dump = FILES[file]
    content = (run / file).read_text()
    tree: Any = load(content)
    path = data.draw(st.sampled_from(sorted(places(tree), key=str)))
    value = data.draw(st.sampled_from((*VALUES, "../../x")))
    changed = without(tree, path) if data.draw(st.booleans()) else edited(tree, path, value)
    (run / file).write_text(dump(changed))
    try:
        assert_explained(run, COMMANDS[data.draw(st.sampled_from(sorted(COMMANDS)))], capsys)
    finally:
        (run / file).write_text(content)


@pytest.mark.parametrize("file", FILES)
def test_text_in_files_is_shown_as_it_is(run: Path, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    load, dump = FILES[file]
    tree: Any = load((run / file).read_text())
    for path in [path for path in places(tree) if isinstance(at(tree, path), str)]:
        (run / file).write_text(dump(edited(tree, path, "[/bold]")))
        for command in ("info of the run", "info of the bag"):
            assert_explained(run, COMMANDS[command], capsys)


@pytest.mark.parametrize("file", [*FILES, "episode_000000/episode_000000_0.mcap"])
@one_folder(max_examples=12)
@given(data=st.data())
def test_damaged_bytes_are_explained(
    run: Path, file: str, data: st.DataObject, capsys: pytest.CaptureFixture[str]
) -> None:
    content = (run / file).read_bytes()
    (run / file).write_bytes(data.draw(damaged(content)))
    try:
        assert_explained(run, COMMANDS[data.draw(st.sampled_from(sorted(COMMANDS)))], capsys)
    finally:
        (run / file).write_bytes(content)


MANIFESTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("members") | st.text(max_size=3), inner),
)


@one_folder(max_examples=150)
@given(content=MANIFESTS.map(json.dumps).map(str.encode) | damaged(b'{"members": ["a", "b"]}') | st.just(b"[" * 9000))
def test_a_manifest_of_a_model_names_folders_or_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / MANIFEST
    file.write_bytes(content)
    try:
        members = expand_members([str(tmp_path)])
    except ModelError as error:
        words = str(error)
    else:
        words = str(file)
        assert members == [str(tmp_path / name) for name in json.loads(content)["members"]]
    assert str(file) in words
