"""The failure predictor: what it says of each decision of an episode, and whether that is an alarm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.errors import DatasetError, ModelError
from salus_vla.contract.types import FloatArray
from salus_vla.safety.prediction.alarm_band import SCORES, AlarmBand, scores
from salus_vla.safety.prediction.decision_assembly import AssembledDecision
from salus_vla.safety.prediction.decision_inputs import DecisionInputs
from salus_vla.safety.prediction.ensemble_identity import EnsembleIdentity
from salus_vla.safety.prediction.episode_features import FEATURES, EpisodeFeatures
from salus_vla.safety.prediction.predictor_network import (
    NetworkWeights,
    Probabilities,
    logits,
    probabilities,
)
from salus_vla.safety.prediction.state_basis import StateBasis

_HOLDS = FEATURES.index("holds")


@dataclass(frozen=True, eq=False)
class FailurePredictor:
    """A trained predictor.

    Attributes:
        ensemble: whose decisions it was trained on; of another ensemble it knows nothing.
        basis: of the hidden states.
        weights: of its network.
        band: when it alarms; None before it was calibrated.
        digest: hash of basis and weights, 12 hexadecimal digits.
    """

    ensemble: EnsembleIdentity
    basis: StateBasis
    weights: NetworkWeights
    band: AlarmBand | None
    digest: str

    def require(self, ensemble: EnsembleIdentity) -> None:
        """Raises ModelError with both hashes when it is of another ensemble."""
        if ensemble != self.ensemble:
            raise ModelError(
                f"failure predictor {self.digest} is of the ensemble {self.ensemble}, this is {ensemble}; make one "
                "of it with `salus predictor train`"
            )

    def inputs(
        self,
        signals: NDArray[np.floating],
        expert_state: NDArray[np.float32] | None,
        prefix_parts: NDArray[np.float32] | None,
        **joints: NDArray[np.floating] | None,
    ) -> DecisionInputs:
        """Inputs of a decision from what was heard.

        Args:
            signals: (12,), NaN where not valid.
            expert_state: (E,), or None.
            prefix_parts: (P, D), or None.
            joints: position, velocity, effort and error, (5, 9) each; one that is not given is not known.

        Raises:
            ModelError: a state has another width than those that it was trained on.
        """
        try:
            expert = None if expert_state is None else self.basis.project_expert(expert_state[None])[0]
            prefix = None if prefix_parts is None else self.basis.project_prefix(prefix_parts[None])[0]
        except DatasetError as error:
            raise ModelError(f"failure predictor {self.digest}: {error}") from error
        return DecisionInputs.of(signals=signals, expert=expert, prefix=prefix, **joints)

    def foresee(self, features: FloatArray) -> Probabilities:
        """What it says of N decisions with features (N, F)."""
        return probabilities(logits(self.weights, features))


@dataclass(frozen=True, eq=False)
class Prediction:
    """What is foreseen at a decision.

    Attributes:
        decision: its number.
        events: probability of each kind within each horizon, (3, 3).
        slip: probability that what is held slips; NaN while nothing is held.
        failure: probability that the episode does not succeed.
        spread: standard deviation of `failure` over the members of the predictor.
        scores: what is compared with the threshold, (S,) logits in the order of `SCORES`.
        thresholds: in force at this decision, (S,); NaN without a band.
        alarm: name in `SCORES` of what is furthest above its threshold, or empty.
    """

    decision: int
    events: FloatArray
    slip: float
    failure: float
    spread: float
    scores: FloatArray
    thresholds: FloatArray
    alarm: str


class EpisodePredictor:
    """Foresees one episode, decision by decision; `reset` begins the next one.

    Attributes:
        features: that the last prediction was made from, (F,); NaN before the first.
    """

    def __init__(self, predictor: FailurePredictor) -> None:
        """Begins an episode."""
        self._predictor = predictor
        self.reset()

    def reset(self) -> None:
        """Forgets everything of the episode."""
        self._features = EpisodeFeatures()
        self._decision = 0
        self.features: FloatArray = np.full(len(FEATURES), np.nan)

    def foresee(self, decision: AssembledDecision) -> Prediction:
        """Foresees from a decision as it was heard; decision 0 begins an episode.

        Raises:
            ModelError: a state has another width than those that the predictor was trained on.
        """
        heard = decision.heard
        if heard.decision == 0:
            self.reset()
        inputs = self._predictor.inputs(
            heard.signals,
            heard.expert_state,
            heard.prefix_parts,
            position=decision.position,
            velocity=decision.velocity,
            effort=decision.effort,
            error=decision.error,
        )
        return self.update(inputs, decision.elapsed_s)

    def update(self, inputs: DecisionInputs, elapsed_s: float) -> Prediction:
        """Foresees from the next decision.

        Args:
            inputs: of it, made by the predictor's `inputs`.
            elapsed_s: since the episode's first observation [s].
        """
        self.features = features = self._features.update(inputs, elapsed_s)
        found = self._predictor.foresee(features[None])
        holds = features[_HOLDS]
        values = scores(found, np.array([holds]))[0]
        decision, band = self._decision, self._predictor.band
        self._decision += 1
        thresholds = np.full(len(SCORES), np.nan) if band is None else band.thresholds(decision)
        return Prediction(
            decision=decision,
            events=found.events[0],
            slip=float(found.slip[0]) if holds else float("nan"),
            failure=float(found.failure[0]),
            spread=float(found.spread[0]),
            scores=values,
            thresholds=thresholds,
            alarm="" if band is None else _alarm(band, values, decision),
        )


def _alarm(band: AlarmBand, values: FloatArray, decision: int) -> str:
    excess = band.excess(values[None], decision)[0]
    highest = int(excess.argmax())
    return SCORES[highest] if excess[highest] > band.height else ""
