"""What is done at each decision of an episode: foresees, weighs the candidates, and gives the chunk to follow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import ARM_DOF
from salus_vla.contract.types import FloatArray
from salus_vla.safety.intervention.candidates import HAND_OVER, MOTIONS, PLAN, HandState, grasps
from salus_vla.safety.intervention.choice import Chooser
from salus_vla.safety.intervention.effects import situation_of
from salus_vla.safety.intervention.grasp_follower import GraspFollower
from salus_vla.safety.intervention.intervention_file import InterventionModel
from salus_vla.safety.intervention.modes import ADVISE, ALWAYS, HAND_OVER_ONLY, RANDOM
from salus_vla.safety.intervention.random_choice import RandomChoice
from salus_vla.safety.intervention.stuck_watch import CARRIED_S, is_stuck, stuck_words
from salus_vla.safety.manifold.action_manifold import ActionManifold
from salus_vla.safety.prediction.alarm_band import SCORES
from salus_vla.safety.prediction.decision_assembly import AssembledDecision, DecisionAssembly, HeardSignals
from salus_vla.safety.prediction.episode_features import FEATURES
from salus_vla.safety.prediction.failure_predictor import EpisodePredictor, FailurePredictor, Prediction

_WIDTH, _HELD, _HOLDS = (FEATURES.index(name) for name in ("width", "held_s", "holds"))
_EMPTY: Final = FEATURES.index("empty_closings")
_FAILURE: Final = SCORES.index("failure")


@dataclass(frozen=True, eq=False)
class Intervention:
    """What was done at a decision.

    Attributes:
        decision: its number.
        stamp_ns: of its observation [ns].
        candidates: names that were weighed; empty where none were.
        failure: probability of failure with each of them, (C,).
        chosen: name of one of `candidates.MOTIONS`, or `HAND_OVER`.
        reason: why, in a word.
        probability: that it was drawn with; 1 where it was not drawn.
        acted: whether the arm follows it.
        chunk: that the arm follows, (H, 8).
        stop: in words why the arm is handed over; empty if it is not.
        manifold_distance: of the plan from chunks of successes, in levels: above 1 it is outside; NaN where not known.
    """

    decision: int
    stamp_ns: int
    candidates: tuple[str, ...]
    failure: FloatArray
    chosen: str
    reason: str
    probability: float
    acted: bool
    chunk: FloatArray
    stop: str = ""
    manifold_distance: float = float("nan")


class Intervener:
    """Follows one episode after the other; frames and decisions come in the order of their stamps.

    Attributes:
        mode: see `modes`.
    """

    def __init__(
        self,
        mode: str,
        predictor: FailurePredictor,
        model: InterventionModel | None,
        manifold: ActionManifold | None = None,
    ) -> None:
        """Takes what it foresees and chooses with.

        Args:
            mode: see `modes`; not `off`.
            predictor: of the ensemble that decides.
            model: of that predictor; may be None where nothing is weighed: `random`, `always:...`.
            manifold: of that ensemble and basis; says how far a plan is from those that succeeded, and decides nothing.
        """
        self.mode = mode
        self._predictor, self._model, self._manifold = predictor, model, manifold
        self._assembly, self._episode = DecisionAssembly(), EpisodePredictor(predictor)
        self._chooser = Chooser(model.settings if model else None)
        self._random = RandomChoice()
        self._follower = GraspFollower()
        self._told: FloatArray | None = None
        self._over = ""
        self._before_carry = 0  # closings on nothing before something was carried

    @property
    def model(self) -> str:
        """Hash of what it chooses with; empty where nothing is weighed."""
        return self._model.effects.digest if self._model is not None else ""

    def start_episode(self, seed: int) -> None:
        """Forgets the episode before, not what was measured: the first frames may have come already."""
        self._episode.reset()
        self._chooser.reset()
        self._follower.reset()
        self._random.start_episode(seed)
        self._told = None  # a reset may have put the arm elsewhere
        self._over = ""
        self._before_carry = 0

    def forget(self) -> None:
        """Forgets what was measured."""
        self._assembly.forget()
        self._told = None

    def measured(self, stamp_ns: int, joints: FloatArray) -> None:
        """Takes a frame: position, velocity and effort, (3, 9)."""
        self._assembly.joints(stamp_ns, joints)

    def commanded(self, stamp_ns: int, position: FloatArray) -> None:
        """Takes the command (9,) that answered the frame of this stamp."""
        self._assembly.command(stamp_ns, position)
        self._told = np.append(position[:ARM_DOF], position[ARM_DOF:].sum())

    def decide(
        self,
        stamp_ns: int,
        decision: int,
        chunk: FloatArray,
        signals: NDArray[np.float32],
        expert_state: NDArray[np.float32] | None,
        prefix_parts: NDArray[np.float32] | None,
    ) -> Intervention:
        """What to follow from a decision on.

        Args:
            stamp_ns: of the observation [ns].
            decision: number.
            chunk: that the policy wants, (H, 8) [rad, m].
            signals: (12,), NaN where not valid.
            expert_state: (E,), or None.
            prefix_parts: (P, D), or None.
        """
        self._assembly.signals(HeardSignals(stamp_ns, decision, signals, expert_state, prefix_parts))
        ready = self._assembly.ready()
        if not ready or ready[-1].heard.stamp_ns != stamp_ns:
            return only_the_plan(decision, stamp_ns, chunk, "the joints of this decision have not come")
        for item in ready:
            prediction = self._episode.foresee(item)
        features = self._episode.features
        width = float(features[_WIDTH])
        if not np.isfinite(width):
            return only_the_plan(decision, stamp_ns, chunk, "the hand's width is not known")
        told = self._told if self._told is not None else np.append(ready[-1].position[-1][:ARM_DOF], width)
        hand = HandState(width, float(told[ARM_DOF]), float(features[_HELD]))
        done = self._chosen(decision, stamp_ns, chunk, prediction, features, hand, told)
        return replace(done, manifold_distance=self._distance(ready[-1], features, chunk))

    def _distance(self, item: AssembledDecision, features: FloatArray, chunk: FloatArray) -> float:
        heard = item.heard
        if self._manifold is None or heard.expert_state is None:
            return float("nan")
        expert = self._predictor.basis.project_expert(heard.expert_state[None])[0].astype(np.float64)
        state = np.append(item.position[-1][:ARM_DOF], features[_WIDTH])
        return self._manifold.distance(expert, state, chunk) / self._manifold.level

    def _chosen(
        self,
        decision: int,
        stamp_ns: int,
        chunk: FloatArray,
        prediction: Prediction,
        features: FloatArray,
        hand: HandState,
        told: FloatArray,
    ) -> Intervention:
        holding = grasps(hand)
        names: tuple[str, ...] = ()
        failure: FloatArray = np.zeros(0)
        probability = 1.0
        if self.mode == RANDOM:
            name, probability = self._random.update(grasps=holding)
            reason = "drawn" if probability < 1.0 else "nothing held"
        elif self.mode.startswith(ALWAYS):
            name, reason = self.mode.removeprefix(ALWAYS) if holding else PLAN, "always"
        else:
            assert self._model is not None
            names = self._model.effects.candidates
            failure = self._model.effects.failure(situation_of(features, prediction))
            choice = self._chooser.update(names, failure, hand.held_s, grasps=holding)
            name, reason = choice.candidate, choice.reason
            self._watch_stuck(prediction, features)
        acted = self.mode != ADVISE
        if self._over:
            stop = self._over if acted else ""
            return Intervention(
                decision, stamp_ns, names, failure, HAND_OVER, self._over, probability, acted, chunk, stop
            )
        if self.mode == HAND_OVER_ONLY:
            name, reason = PLAN, "only handing over is allowed"
        followed = self._follower.update(chunk, MOTIONS[name], told, hand) if acted else chunk
        if self._follower.lowering:
            reason = "puts down what the plan lets go in the air"
        return Intervention(decision, stamp_ns, names, failure, name, reason, probability, acted, followed)

    def _watch_stuck(self, prediction: Prediction, features: FloatArray) -> None:
        assert self._model is not None
        if features[_HELD] >= CARRIED_S:  # it was carried: what the hand does behind its release is no try
            self._before_carry = int(features[_EMPTY])
        empty = int(features[_EMPTY]) - self._before_carry
        logit = float(prediction.scores[_FAILURE])
        if not self._over and is_stuck(empty, logit, self._model.stuck_threshold, holds=features[_HOLDS] > 0.5):
            self._over = stuck_words(empty, prediction.failure)


def only_the_plan(decision: int, stamp_ns: int, chunk: FloatArray, reason: str) -> Intervention:
    """Nothing was weighed, for a reason in words."""
    return Intervention(decision, stamp_ns, (), np.zeros(0), PLAN, reason, 1.0, False, chunk)
