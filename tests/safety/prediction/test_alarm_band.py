"""The promise about false alarms, and what is refused because it could not be kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus_vla.contract.errors import ConfigError
from salus_vla.safety.prediction.alarm_band import SCORES, AlarmBand, conformal_quantile, fit_band, scores
from salus_vla.safety.prediction.predictor_network import OUTPUTS, probabilities


def episodes(random: np.random.Generator, count: int) -> list[np.ndarray]:
    """Scores that wander, drift with time, and last for different times."""
    return [
        random.normal(size=(int(random.integers(20, 60)), len(SCORES))).cumsum(axis=0) * 0.2 + random.normal()
        for _ in range(count)
    ]


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.2])
def test_of_new_successes_at_most_alpha_alarm(alpha: float) -> None:
    random = np.random.default_rng(round(alpha * 100))
    shares = []
    for _ in range(40):
        band = fit_band(episodes(random, 40), episodes(random, 120), alpha)
        new = episodes(random, 60)
        shares.append(np.mean([(band.excess(values) > band.height).any() for values in new]))
    # The mean over calibrations is at most alpha, and hardly less; three standard errors of 2,400 episodes.
    assert alpha - 0.02 - 3 * (alpha / 2400) ** 0.5 <= np.mean(shares) <= alpha + 3 * (alpha / 2400) ** 0.5


def test_a_band_for_another_alpha_needs_no_new_episodes() -> None:
    random = np.random.default_rng(0)
    shape, height = episodes(random, 30), episodes(random, 60)
    band, other = fit_band(shape, height, 0.05), fit_band(shape, height, 0.2)
    assert band.with_alpha(0.2).height == other.height < band.height


def test_thresholds_are_the_band() -> None:
    random = np.random.default_rng(1)
    band = fit_band(episodes(random, 30), episodes(random, 60), 0.1)
    for values in episodes(random, 20):
        for decision, row in enumerate(values):
            over = row > band.thresholds(decision)
            assert over.any() == (band.excess(row[None], decision) > band.height).any()


@pytest.mark.parametrize(
    ("count", "alpha", "message"),
    [
        (0, 0.1, "0 successful episodes for the shape"),
        (9, 0.05, "alpha is 0.05: 9 successful episodes support at least 0.1; record 19 or choose a larger alpha"),
        (98, 0.01, "98 successful episodes support at least 0.0101; record 99"),
        (20, 0.0, "alpha is 0, expected more than 0 and less than 1"),
        (20, 1.0, "alpha is 1, expected more than 0 and less than 1"),
    ],
)
def test_what_cannot_be_promised_is_refused(count: int, alpha: float, message: str) -> None:
    random = np.random.default_rng(2)
    with pytest.raises(ConfigError, match=message):
        fit_band(episodes(random, count), episodes(random, count), alpha)


def test_99_episodes_support_a_hundredth() -> None:
    assert conformal_quantile(np.arange(99.0), 0.01) == 98.0


@given(st.lists(st.floats(-50, 50), min_size=3, max_size=80), st.floats(0.02, 0.9))
def test_the_quantile_is_the_usual_one(values: list[float], alpha: float) -> None:
    ordered = np.sort(values)
    if alpha * (len(values) + 1) < 1.0:
        with pytest.raises(ConfigError, match="support at least"):
            conformal_quantile(ordered, alpha)
        return
    found = conformal_quantile(ordered, alpha)
    assert (ordered <= found).sum() >= (1.0 - alpha) * (len(values) + 1) - 1e-6
    assert found in values


def test_it_is_the_quantile_of_mapie() -> None:
    from mapie.conformity_scores import AbsoluteConformityScore
    from mapie.regression import SplitConformalRegressor

    class Constant:
        """A regressor that says 0, so that a conformity score is the size of the label."""

        n_features_in_ = 1

        def fit(self, x: np.ndarray, y: np.ndarray) -> Constant:
            return self

        def predict(self, x: np.ndarray) -> np.ndarray:
            return np.zeros(len(x))

        def __sklearn_is_fitted__(self) -> bool:
            return True

    sizes = np.random.default_rng(3).exponential(size=137)
    for alpha in (0.01, 0.05, 0.1, 0.2):
        regressor = SplitConformalRegressor(
            Constant(), confidence_level=1.0 - alpha, conformity_score=AbsoluteConformityScore(), prefit=True
        )
        regressor.conformalize(np.zeros((len(sizes), 1)), sizes)
        _, limits = regressor.predict_interval(np.zeros((1, 1)))
        assert conformal_quantile(np.sort(sizes), alpha) == pytest.approx(limits[0, 1, 0])


def test_a_slip_is_no_alarm_while_nothing_is_held() -> None:
    predicted = probabilities(np.full((1, 2, OUTPUTS), 9.0, dtype=np.float32))
    found = scores(predicted, np.array([0.0, 1.0]))
    slip = SCORES.index("slip")
    assert found[0, slip] == -np.inf
    assert found[1, slip] == pytest.approx(9.0, abs=1e-3)


def test_a_broken_band_is_refused() -> None:
    rows = np.zeros((4, len(SCORES)))
    with pytest.raises(ConfigError, match="a width that is not positive"):
        AlarmBand(rows, rows, np.zeros(40), 0.1)
    with pytest.raises(ConfigError, match="shapes"):
        AlarmBand(rows[:, :2], rows[:, :2] + 1.0, np.zeros(40), 0.1)
