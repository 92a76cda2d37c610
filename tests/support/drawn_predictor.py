"""A small predictor with drawn weights: what it says means nothing, how it says it does."""

from __future__ import annotations

import numpy as np

from salus_vla.safety.prediction.alarm_band import SCORES, fit_band
from salus_vla.safety.prediction.ensemble_identity import EnsembleIdentity
from salus_vla.safety.prediction.failure_predictor import FailurePredictor
from salus_vla.safety.prediction.predictor_file import digest_of
from salus_vla.safety.prediction.predictor_network import INPUTS, OUTPUTS, VALUES, NetworkWeights
from salus_vla.safety.prediction.state_basis import EXPERT_SIZE, PREFIX_SIZE, StateBasis

EXPERT, PARTS, WIDTH = 48, 4, 40
ENSEMBLE = EnsembleIdentity(("aaaa", "bbbb"), ("cccc",))


def drawn_weights(seed: int, members: int = 3) -> NetworkWeights:
    """Weights at random."""
    random = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return (random.normal(size=shape) * 0.2).astype(np.float32)

    return NetworkWeights(
        prefix_bank=draw(20, PREFIX_SIZE).astype(np.float16).astype(np.float32),
        expert_bank=draw(20, EXPERT_SIZE).astype(np.float16).astype(np.float32),
        mean=draw(VALUES),
        scale=np.abs(draw(VALUES)) + np.float32(0.5),
        linear=draw(members, INPUTS, OUTPUTS),
        first=draw(members, INPUTS, 8),
        first_bias=draw(members, 8),
        second=draw(members, 8, 6),
        second_bias=draw(members, 6),
        last=draw(members, 6, OUTPUTS),
        last_bias=draw(members, OUTPUTS),
    )


def drawn_predictor(
    ensemble: EnsembleIdentity = ENSEMBLE, expert: int = EXPERT, parts: int = PARTS, width: int = WIDTH
) -> FailurePredictor:
    """A calibrated one, for an ensemble with hidden states of these widths."""
    random = np.random.default_rng(7)
    basis = StateBasis.fit(
        random.normal(size=(100, expert)).astype(np.float32), random.normal(size=(100, parts, width)).astype(np.float32)
    )
    weights = drawn_weights(1)
    episodes = [random.normal(size=(30, len(SCORES))) for _ in range(80)]
    return FailurePredictor(
        ensemble, basis, weights, fit_band(episodes[:40], episodes[40:], 0.05), digest_of(basis, weights)
    )
