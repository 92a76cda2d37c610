"""`salus manifold` from runs to files: fits, judges, tells, and refuses what it cannot promise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from salus_vla.cli.main import main
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.rollouts.rollout_store import StoredEpisode
from salus_vla.learning.manifold import manifold_evaluation
from salus_vla.learning.manifold.densities import flow, gaussian, gaussian_by_hand, neighbours
from salus_vla.learning.manifold.fit_manifold import PointSettings
from salus_vla.safety.manifold.manifold_file import load_manifold
from synthetic import rollout_run, stored

DECISIONS, CLOSING = 24, 14
EPISODES = 60


def episode(seed: int, fails: bool) -> StoredEpisode:
    """Closes at a decision; where it fails by a drop it moves otherwise in the second before."""
    random = np.random.default_rng(seed)
    frames = np.arange(5 * DECISIONS + 1)
    arm = 0.02 * random.normal(size=7) + 0.001 * frames[:, None]
    if fails:
        arm = arm + 0.02 * np.maximum(frames - 5 * (DECISIONS - 14), 0)[:, None]
    finger = np.where(frames < 5 * CLOSING, 0.04, 0.025)
    position = np.column_stack((arm, finger, finger))
    told = position.copy()
    told[frames >= 5 * CLOSING, 7:] = 0.0
    return stored(
        seed,
        Outcome.DROP if fails else Outcome.SUCCESS,
        decisions=DECISIONS,
        joint_position=position[::5],
        frame_position=position,
        commands=told[1:],
        expert_state=random.normal(size=(DECISIONS + 1, 6)).astype(np.float32),
        prefix_parts=random.normal(size=(DECISIONS + 1, 4, 3)).astype(np.float32),
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("table")
    rollout_run(out, "run", [episode(seed, seed % 3 == 0) for seed in range(EPISODES)])
    assert main(["dataset", "failures", str(out / "run"), "--out", str(out / "F.parquet")]) == 0
    return out / "F.parquet"


@pytest.fixture(scope="module")
def trained(table: Path) -> Path:
    assert main(["manifold", "train", str(table), "--out", str(table.parent / "m"), "--share", "0.9"]) == 0
    return table.parent / "m"


def test_a_manifold_is_made_and_says_what_it_is(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifold = load_manifold(trained)
    assert manifold.share == 0.9
    assert main(["manifold", "info", str(trained)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in (manifold.digest, "holds 90% of", "F.parquet", "aaaa,bbbb,cccc"):
        assert words in shown


def test_it_is_judged_beside_others(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {
        "k-NN": {"k 5": neighbours(PointSettings())},
        "Mahalanobis": {"0.1": gaussian(0.1), "0.3": gaussian(0.3)},
        "by hand": {"0.1": gaussian_by_hand(0.1)},
        "flow": {"0": flow(0, steps=30)},
    }
    monkeypatch.setattr(manifold_evaluation, "candidates", lambda: few)
    monkeypatch.setattr(manifold_evaluation, "_RESAMPLES", 50)
    files = tmp_path / "E.md", tmp_path / "E.json"
    words = ["manifold", "evaluate", str(trained.parent / "F.parquet"), "--manifold", str(trained)]
    assert main([*words, "--out", str(files[0]), "--json", str(files[1])]) == 0
    assert "Is a failure near?" in capsys.readouterr().out
    assert "## Is a failure near? AUROC at a matched phase" in files[0].read_text()
    found = json.loads(files[1].read_text())
    judged = {item["name"]: item["areas"]["drop, collision"]["value"] for item in found["judged"]}
    assert judged["this manifold"] > 0.95  # failures move otherwise
    assert 0.4 <= judged["phase alone"] <= 0.6  # matched: the clock cannot know it
    assert judged["k-NN"] == judged["this manifold"]
    assert found["cases"]["drop, collision"][:2] == [4, 8]
    assert found["cases"]["closing on nothing"] == [0, 0, 0, 0]
    assert found["judged"][0]["areas"]["closing on nothing"]["value"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "F.parquet", "--share", "1.5"], "share of the manifold: is 1.5, expected more than 0 and less"),
        (["train", "F.parquet", "--share", "0.9999"], "decisions of successful episodes support at most 0.99"),
        (["train", "F.parquet", "--out", "m"], "m: exists already, it is never overwritten"),
        (["train", "nothing.parquet"], "nothing.parquet: does not exist"),
        (["info", "nothing"], "nothing/manifold.safetensors: does not exist; make it with"),
        (["evaluate", "F.parquet"], "this is aaaa,bbbb,cccc; make one of it with `salus manifold train`"),
    ],
)
def test_what_cannot_be_done_is_said(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(trained.parent)
    if words[0] == "train" and "--out" not in words:
        words = [*words, "--out", str(tmp_path / "out")]
    assert main(["manifold", *words]) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
