"""AUROCs within phases: a score that only knows the phase knows nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_vla.learning.evaluation.auroc import auroc
from salus_vla.learning.manifold.matched_cases import Areas, MatchedCases


def cases(seed: int, phases: int = 4, count: int = 60) -> MatchedCases:
    random = np.random.default_rng(seed)
    phase = np.append(np.tile(np.arange(phases), 2), random.integers(phases, size=count))
    positive = np.append(np.arange(2 * phases) < phases, random.random(count) < phase[2 * phases :] / phases)
    return MatchedCases(np.arange(len(phase)), positive, phase, random.integers(20, size=len(phase)), (1, 1))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_the_phase_knows_nothing_and_the_label_everything(seed: int) -> None:
    drawn = cases(seed)
    areas = Areas(drawn, 20)
    assert np.nanmax(np.abs(areas.all(drawn.phase.astype(float)) - 0.5)) < 1e-9
    assert areas.all(drawn.positive.astype(float))[0] == 1.0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_in_one_phase_it_is_the_plain_auroc(seed: int) -> None:
    drawn = cases(seed, phases=1)
    scores = np.round(np.random.default_rng(seed).normal(size=len(drawn.rows)), 1)
    found = Areas.interval(Areas(drawn, 50).all(scores))
    expected = auroc(scores[~drawn.positive], scores[drawn.positive])
    assert found.value is not None
    assert abs(found.value - expected) < 1e-9
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.high


def test_without_cases_there_is_no_area() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    found = Areas(MatchedCases(nothing, nothing.astype(bool), nothing, nothing, (0, 0)), 5)
    assert Areas.interval(found.all(nothing.astype(float))).value is None
