"""`salus view`: a recording per episode with everything in it, and a viewer that listens on the loopback only."""

from __future__ import annotations

import argparse
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from episodes import TOPICS, observations, record, recording
from predicted import prediction
from salus_vla.cli import view
from salus_vla.contract import CAMERAS, FAILURE_PREDICTION, JOINTS
from salus_vla.contract.errors import RecordingError, SalusError
from salus_vla.contract.foreseen_risk import PREDICTED
from salus_vla.signals.safety_signals import SIGNALS
from salus_vla.views import rerun_viewer
from waiting import wait_until


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two episodes; an alarm begins and ends in the second."""
    with recording(tmp_path_factory.mktemp("viewed"), topics=(*TOPICS, FAILURE_PREDICTION)) as recorder:
        record(recorder, 0, observations(3, seed=0))
        seen = observations(3, seed=1)
        said = [
            (FAILURE_PREDICTION, prediction(item.stamp_ns, index, index / 2, "miss" if index == 1 else ""))
            for index, item in enumerate(seen)
        ]
        bag = record(recorder, 1, seen, more=said)
    return bag.parent


def salus_view(*words: object) -> int:
    parser = argparse.ArgumentParser()
    view.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["view", *map(str, words)])
    return int(arguments.run(arguments))


def printed(file: Path) -> str:
    """What rerun itself finds in a file."""
    command = [rerun_viewer.program(), "rrd", "print", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_run_becomes_a_recording_per_episode(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.rrd"
    assert salus_view(run, "--save", file) == 0
    text = printed(file)
    for number in range(2):
        assert f"run1/episode_{number:06d}" in text
    expected = [f"/camera/{camera}" for camera in CAMERAS]
    expected += [f"/signals/{signal.group}/{signal.name}" for signal in SIGNALS]
    expected += [f"/{joint}/measured" for joint in JOINTS]
    expected += ["/events/salus/episode", "/viewport"]  # the last one is the layout
    assert [entity for entity in expected if entity not in text] == []


def test_one_episode_of_a_run(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "one.rrd"
    assert salus_view(run, "--episode", 1, "--save", file) == 0
    assert "episode_000001" in printed(file)
    assert "episode_000000" not in printed(file)


def test_risk_and_alarm_of_an_episode_with_predictions(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "risk.rrd"
    assert salus_view(run, "--episode", 1, "--save", file) == 0
    text = printed(file)
    expected = [f"/risk/{name}/{kind}" for name in PREDICTED for kind in ("probability", "threshold")]
    assert [entity for entity in [*expected, "/events/alarm"] if entity not in text] == []
    command = [rerun_viewer.program(), "rrd", "print", "-vvv", str(file)]
    content = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "decision 1, alarm: miss: 50%, threshold 50%" in content
    assert "decision 2, no alarm any more (miss)" in content


def test_what_cannot_be_opened_is_named(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.rrd"
    with pytest.raises(RecordingError, match=r"--episode 7: .* has no finished episode"):
        salus_view(run, "--episode", 7, "--save", file)
    with pytest.raises(RecordingError, match="is not a run"):
        salus_view(run / "episode_000000", "--episode", 0, "--save", file)
    assert not file.exists()
    file.touch()
    with pytest.raises(RecordingError, match="exists already"):
        salus_view(run, "--save", file)


def test_without_a_display_it_says_what_works(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(SalusError, match=r"give --web .* or --save FILE\.rrd"):
        salus_view(run)


def test_without_rerun_it_says_how_to_install_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(SalusError, match=r"pip install -r requirements-rerun\.txt"):
        salus_view(run, "--web")


def test_the_viewer_listens_on_the_loopback_only(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALUS_CACHE_DIR", str(tmp_path / "cache"))
    file = tmp_path / "run.rrd"
    salus_view(run, "--save", file)
    port, web_port = rerun_viewer.free_port(), rerun_viewer.free_port()
    process = rerun_viewer.start_viewer([file], port=port, web_port=web_port)
    try:
        owner = psutil.Process(process.pid)

        def listens() -> bool:
            assert process.poll() is None, "the viewer has ended"
            return {port, web_port} <= {item.laddr.port for item in listening(owner)}

        wait_until(listens, "viewer that listens", 30.0)
        assert {item.laddr.ip for item in listening(owner)} == {"127.0.0.1"}
        with urllib.request.urlopen(f"http://127.0.0.1:{web_port}", timeout=10.0) as page:
            assert b"erun" in page.read(2000)
    finally:
        process.kill()
        process.wait()
    assert '"analytics_enabled":false' in next((tmp_path / "cache").rglob("analytics.json")).read_text().replace(
        " ", ""
    )


def listening(process: psutil.Process) -> list:
    return [item for item in process.net_connections("inet") if item.status == psutil.CONN_LISTEN]
