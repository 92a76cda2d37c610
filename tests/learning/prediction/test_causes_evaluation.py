"""Shares of causes, what was shown before them, tables and picture, from drawn samples."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from drawn_samples import drawn_samples
from salus_vla.config.scene import load_scene
from salus_vla.contract.errors import DatasetError
from salus_vla.learning.prediction import causes_evaluation
from salus_vla.learning.prediction.causes_evaluation import FEWEST, SHOWN, TIME, CausesEvaluation, evaluate_causes
from salus_vla.learning.prediction.causes_report import plot_causes, write_causes
from salus_vla.learning.prediction.failure_causes import Cause, Ending
from salus_vla.learning.prediction.hand_attempts import Attempt, Grasp

TABLE: Any = SimpleNamespace(files=(Path("F.parquet"),))


@pytest.fixture(scope="module")
def found() -> CausesEvaluation:
    """Failures of `heavy` slip and those of `eval` are crooked; nothing is known of the others."""
    samples = drawn_samples()
    endings: list[Ending | None] = []
    for outcome, profile in zip(samples.outcome, samples.profile, strict=True):
        grasp = Grasp(2.2, 4.0, 0.056 if profile == "eval" else 0.049, (0.0, 0.0), 0.02, outcome == "DROP", 0.05)
        closing = Attempt(2.1, 0.0, 0.0, empty=False, grasp=grasp)
        endings.append(None if profile == "slippery" else Ending(outcome, (closing,), False, float("inf"), 0.003))
    patch = pytest.MonkeyPatch()
    patch.setattr(causes_evaluation, "endings", lambda *_: endings)
    try:
        return evaluate_causes(TABLE, samples, load_scene(), say=lambda _: None)
    finally:
        patch.undo()


def test_causes_are_shares_of_all_episodes_of_a_profile(found: CausesEvaluation) -> None:
    assert set(found.causes) == {Cause.CROOKED_GRASP, Cause.SLIPPED}
    crooked = found.causes[Cause.CROOKED_GRASP]
    assert (crooked["eval"].count, crooked["eval"].total) == (14, 42)
    assert crooked["heavy"].count == crooked["slippery"].count == 0


def test_crooked_grasps_are_counted_in_successes_too(found: CausesEvaluation) -> None:
    grasps = {item.profile: item for item in found.grasps}
    assert (grasps["eval"].crooked.count, grasps["eval"].crooked.total, grasps["eval"].straight.total) == (14, 42, 0)
    assert grasps["eval"].told_to_open.count == 14
    assert grasps["heavy"].straight.count == 13
    assert grasps["slippery"].crooked.total == 0


def test_failures_stand_beside_successes_of_their_own_profile(found: CausesEvaluation) -> None:
    assert [(item.cause, item.profile) for item in found.held] == [
        (Cause.CROOKED_GRASP, "eval"),
        (Cause.SLIPPED, "heavy"),
    ]
    for item in (*found.before, *found.held):
        assert min(item.successes, item.failures) >= FEWEST
        assert item.areas[TIME].value == pytest.approx(0.5)  # the hand always closes at the same decision
        assert tuple(item.areas) == SHOWN
        assert {(area.first, area.second) for area in item.areas.values()} == {(item.successes, item.failures)}
        assert item.apart <= 4  # the signals are noise


def test_loads_are_medians_of_failures_and_successes(found: CausesEvaluation) -> None:
    assert {(item.cause, item.profile) for item in found.loads} >= {(None, "eval"), (Cause.SLIPPED, "heavy")}
    assert all(np.isclose((item.slid, item.sag), (0.02, 0.003)).all() for item in found.loads)


def test_tables_and_picture_are_written(found: CausesEvaluation, tmp_path: Path) -> None:
    write_causes(tmp_path / "causes.md", found, "salus predictor causes F.parquet")
    plot_causes(tmp_path / "causes.png", found)
    text = (tmp_path / "causes.md").read_text()
    assert "salus predictor causes F.parquet" in text
    assert "14<br>21-48 %" in text
    assert (tmp_path / "causes.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_failure_whose_truth_is_known_no_cause_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = drawn_samples(episodes=6)
    monkeypatch.setattr(causes_evaluation, "endings", lambda *_: [None] * 6)
    with pytest.raises(DatasetError, match=r"F\.parquet: no failed episode with ground truth"):
        evaluate_causes(TABLE, samples, load_scene(), say=lambda _: None)
