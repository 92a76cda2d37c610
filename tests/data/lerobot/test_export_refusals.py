"""An export makes a whole data set or none, and says what is wrong with a recording."""

from __future__ import annotations

import errno
import gc
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from recorded import Content, bag_run, exported, make_episode, rollout_run
from salus_vla.contract import JOINT_COMMAND, SAFETY_SIGNALS
from salus_vla.contract.errors import DatasetError, RecordingError, SalusError
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.lerobot.prepare import Options
from salus_vla.data.rollouts.rollout_store import StoredEpisode

EPISODES = (make_episode(11, decisions=4), make_episode(7, decisions=6), make_episode(9, decisions=1))


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rollout_run(tmp_path_factory.mktemp("runs"), "run1", EPISODES)


# -- all or nothing ----------------------------------------------------------------------------------------------------


def assert_nothing_left(folder: Path, *, begun: bool = True) -> None:
    if begun:
        gc.collect()  # LeRobot writes what it has not written yet when it is collected
    assert list(folder.iterdir()) == []


def test_an_interrupted_export_leaves_nothing(rollouts: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exported(tmp_path / "set", rollouts, on_episode=stop)
    assert_nothing_left(tmp_path)


def test_a_full_disk_is_named_and_leaves_nothing(
    rollouts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(DatasetError, match=rf"{tmp_path / 'set'}: cannot be written \(No space left on device\)"):
        exported(tmp_path / "set", rollouts)
    assert_nothing_left(tmp_path)


def test_a_worker_that_dies_ends_the_export(tmp_path: Path) -> None:
    run = rollout_run(tmp_path, "run1", [make_episode(seed, decisions=1) for seed in range(12)])
    (tmp_path / "data").mkdir()

    def kill(done: int, total: int) -> None:
        for worker in psutil.Process().children():
            worker.kill()

    with pytest.raises(DatasetError, match=r"seed_0000\d\d.safetensors: a worker process ended"):
        exported(tmp_path / "data" / "set", run, workers=2, on_episode=kill)
    assert_nothing_left(tmp_path / "data")


def test_what_exists_is_never_overwritten(rollouts: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("empty", "link"):
        with pytest.raises(DatasetError, match=rf"--out {tmp_path / name}: exists already"):
            exported(tmp_path / name, rollouts)


def test_a_folder_that_cannot_be_made_is_named(rollouts: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match=rf"{tmp_path / 'file' / 'set'}: cannot be written"):
        exported(tmp_path / "file" / "set", rollouts)


# -- what is wrong with a recording ------------------------------------------------------------------------------------


def without(topic: str, *numbers: int) -> Callable[[Content], Content]:
    """Removes the n-th messages of a topic, all if none is named."""

    def change(messages: Content) -> Content:
        of_topic = [item for item in messages if item[0].name == topic]
        lost = [item for number, item in enumerate(of_topic) if not numbers or number in numbers]
        return [item for item in messages if not any(item is other for other in lost)]

    return change


INCOMPLETE = {
    "no command": (without(JOINT_COMMAND.name, 9), {}, "decision 1 has no command for the last frame of its 100 ms"),
    "not decided": (without(SAFETY_SIGNALS.name, 2), {}, "observation 2 is 200 ms after the one before it, expected"),
    "too few": (without("", 0), {"decisions": 6}, "it has 5 observations that were decided on, expected 6"),
    "none": (without("", 0), {"decisions": 0}, "it has no decision"),
}


@pytest.mark.parametrize("case", INCOMPLETE)
def test_an_episode_that_lacks_something_is_left_out_and_said(case: str, tmp_path: Path) -> None:
    change, entry, reason = INCOMPLETE[case]
    bad = bag_run(tmp_path, "bad", [make_episode(1)], change, **entry)
    good = rollout_run(tmp_path, "good", [make_episode(2)])
    made = exported(tmp_path / "set", bad, good)
    assert made.episodes == 1
    assert made.left_out == Counter({"not complete": 1})
    assert made.incomplete[0].reason.startswith(reason)
    with pytest.raises(DatasetError, match=rf"none of 1 episodes is complete; episode_000000 of bad: {reason}"):
        exported(tmp_path / "other", bad)
    assert not (tmp_path / "other").exists()


def test_a_plan_that_is_missing_or_not_finite_is_left_out(tmp_path: Path) -> None:
    planned = make_episode(1).planned.copy()
    planned[1] = np.nan
    runs = [rollout_run(tmp_path, "nan", [make_episode(1, planned=planned)]), rollout_run(tmp_path, "g", EPISODES)]
    made = exported(tmp_path / "set", *runs, options=Options(action="planned"))
    assert [item.reason for item in made.incomplete] == ["decision 1 has no plan that is finite"]
    assert exported(tmp_path / "commanded", *runs).episodes == 4  # the arm was told something all the same


def with_side(side: int) -> StoredEpisode:
    return make_episode(3, side=side)


REFUSED: dict[str, tuple[Callable[[Path], list[Path]], type[SalusError], str]] = {
    "sizes": (
        lambda out: [rollout_run(out, "a", EPISODES), rollout_run(out, "b", [with_side(12)])],
        DatasetError,
        "episodes do not agree: camera front has 16 x 16 pixels in .*seed_000007.*, 12 x 12 in .*seed_000003",
    ),
    "twice": (
        lambda out: [rollout_run(out, "a", EPISODES), out / ".." / out.name / "a"],
        DatasetError,
        r"/\.\./.*a: is given twice",
    ),
    "no run": (lambda out: [out], RecordingError, "is not a run: `salus collect` and `salus rollout` write run.json"),
    "nothing wanted": (
        lambda out: [rollout_run(out, "a", [make_episode(1, outcome=Outcome.MISS)])],
        DatasetError,
        "no episode with outcome SUCCESS in .*a: 1 with outcome MISS",
    ),
    "empty": (lambda out: [rollout_run(out, "a", [])], DatasetError, "no episode with outcome SUCCESS.*: none at all"),
    "no images": (
        lambda out: [rollout_run(out, "a", [make_episode(1, images={})])],
        RecordingError,
        r"seed_000001.safetensors: has no images; `salus rollout` was run without them",
    ),
    "other cameras": (
        lambda out: [rollout_run(out, "a", [make_episode(1, images={"top": make_episode(1).images["top"]})])],
        RecordingError,
        r"seed_000001.safetensors: has images of \['top'\], expected \['front', 'side', 'top'\]",
    ),
    "another outcome": (
        lambda out: [bag_run(out, "a", [make_episode(1, outcome=Outcome.DROP)], outcome="SUCCESS")],
        RecordingError,
        r"episode_000000: has outcome 'DROP', run.json of a says 'SUCCESS'",
    ),
    "unknown outcome": (
        lambda out: [bag_run(out, "a", [make_episode(1)], outcome="LUCK")],
        RecordingError,
        r"run.json: episode_000000 has outcome 'LUCK', not one of SALUS",
    ),
    "another seed": (
        lambda out: [bag_run(out, "a", [make_episode(1)], seed=2)],
        RecordingError,
        r"episode_000000: has seed 1, run.json of a says 2",
    ),
    "no commands": (
        lambda out: [bag_run(out, "a", [make_episode(1)], without(JOINT_COMMAND.name))],
        RecordingError,
        "episode_000000: holds no messages on /joint_command",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_named_and_nothing_is_made(case: str, tmp_path: Path) -> None:
    make, error, text = REFUSED[case]
    runs = make(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(error, match=text):
        exported(tmp_path / "data" / "set", *runs)
    assert_nothing_left(tmp_path / "data", begun=case == "sizes")


def test_a_damaged_rollout_is_named(tmp_path: Path) -> None:
    run = rollout_run(tmp_path, "a", [make_episode(1)])
    (file,) = (run / "episodes").iterdir()
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    with pytest.raises(RecordingError, match=f"{file}: is damaged"):
        exported(tmp_path / "set", run)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"options": Options(image_size=4)}, "--image-size 4: expected 8 to 4096"),
        ({"options": Options(image_size=65, video=True)}, "--image-size 65: a video needs an even number"),
        ({"workers": 0}, "--workers 0: expected at least 1"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_read(
    options: dict[str, object], text: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=text):
        exported(tmp_path / "set", tmp_path / "no run", **options)


def test_a_video_of_odd_pictures_is_refused(tmp_path: Path) -> None:
    run = rollout_run(tmp_path, "a", [with_side(15)])
    with pytest.raises(DatasetError, match=r"camera front of .*seed_000003.* has 15 x 15 pixels, a video needs even"):
        exported(tmp_path / "set", run, options=Options(video=True))
