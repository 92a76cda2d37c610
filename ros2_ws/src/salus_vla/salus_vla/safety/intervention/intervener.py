"""What is done at each decision of an episode: foresees, weighs the candidates, and gives the chunk to follow."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract import ARM_DOF
from salus_vla.contract.types import FloatArray
from salus_vla.safety.intervention.approaches import RETREATS, ApproachFollower
from salus_vla.safety.intervention.candidates import (
    APPROACHES,
    HAND_OVER,
    MOTIONS,
    PLAN,
    RETREAT,
    HandState,
    grasps,
)
from salus_vla.safety.intervention.choice import Chooser
from salus_vla.safety.intervention.effects import situation_of
from salus_vla.safety.intervention.grasp_follower import GraspFollower
from salus_vla.safety.intervention.intervention_file import InterventionModel
from salus_vla.safety.intervention.modes import (
    ACT,
    ADVISE,
    ALWAYS,
    HAND_OVER_ONLY,
    RANDOM,
    RANDOM_APPROACH,
    RANDOM_OF,
    THROUGHOUT,
    WITH_MODEL,
)
from salus_vla.safety.intervention.random_choice import (
    APPROACH_SHARES,
    SHARES,
    RandomApproach,
    RandomChoice,
    shares_of_mode,
)
from salus_vla.safety.intervention.stuck_watch import AGAIN, TryWatch, is_stuck, stuck_words
from salus_vla.safety.intervention.ways import retimed
from salus_vla.safety.manifold.action_manifold import ActionManifold
from salus_vla.safety.prediction.alarm_band import SCORES
from salus_vla.safety.prediction.decision_assembly import AssembledDecision, DecisionAssembly, HeardSignals
from salus_vla.safety.prediction.episode_features import FEATURES
from salus_vla.safety.prediction.failure_predictor import EpisodePredictor, FailurePredictor, Prediction

_WIDTH, _HELD, _HOLDS = (FEATURES.index(name) for name in ("width", "held_s", "holds"))
_EMPTY: Final = FEATURES.index("empty_closings")
_FAILURE: Final = SCORES.index("failure")
_IN_VAIN: Final = "the hand closed on nothing"


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


@dataclass(frozen=True, eq=False)
class _Moment:
    """What is known at a decision."""

    decision: int
    stamp_ns: int
    chunk: FloatArray
    chunks: FloatArray
    expert: FloatArray | None
    arm: FloatArray
    prediction: Prediction
    features: FloatArray
    hand: HandState
    told: FloatArray

    @property
    def state(self) -> FloatArray:
        """Joints and width of the hand, (8,)."""
        return np.append(self.arm, self.hand.width)


@dataclass(frozen=True, eq=False)
class _Weighed:
    """A name, why, the chance that it was drawn with, and the probability of failure of what was weighed."""

    name: str
    reason: str
    probability: float = 1.0
    candidates: tuple[str, ...] = ()
    failure: FloatArray = field(default_factory=lambda: np.zeros(0))


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
            model: of that predictor; may be None where nothing is weighed: `random`, `always:...`, `throughout:...`.
            manifold: of that ensemble and basis; says how far a plan is from those that succeeded.
        """
        self.mode = mode
        self._predictor, self._model, self._manifold = predictor, model, manifold
        self._assembly, self._episode = DecisionAssembly(), EpisodePredictor(predictor)
        self._chooser = Chooser(model.settings if model else None)
        self._draws = mode == RANDOM or mode.startswith(RANDOM_OF)
        self._random = RandomChoice(shares_of_mode(mode) if self._draws else SHARES)
        self._draws_approaches = mode in APPROACH_SHARES
        self._random_approach = RandomApproach(mode if self._draws_approaches else RANDOM_APPROACH)
        self._retreats = model.settings.retreats if model is not None and mode in (ADVISE, ACT) else 0
        self._follower, self._approach = GraspFollower(), ApproachFollower(self._retreats or RETREATS)
        self._tries = TryWatch()
        self._told: FloatArray | None = None
        self._over = ""
        self._always = mode.removeprefix(ALWAYS) if mode.startswith(ALWAYS) else ""
        self._throughout = mode.removeprefix(THROUGHOUT) if mode.startswith(THROUGHOUT) else ""

    @property
    def model(self) -> str:
        """Hash of what it chooses with; empty where nothing is weighed."""
        return self._model.effects.digest if self._model is not None else ""

    def start_episode(self, seed: int) -> None:
        """Forgets the episode before, not what was measured: the first frames may have come already."""
        self._episode.reset()
        self._chooser.reset()
        self._follower.reset()
        self._tries.reset()
        for part in (self._random, self._random_approach, self._approach):
            part.start_episode(seed)
        self._told = None  # a reset may have put the arm elsewhere
        self._over = ""

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
        chunks: FloatArray | None = None,
    ) -> Intervention:
        """What to follow from a decision on.

        Args:
            stamp_ns: of the observation [ns].
            decision: number.
            chunk: that the policy wants, (H, 8) [rad, m].
            signals: (12,), NaN where not valid.
            expert_state: (E,), or None.
            prefix_parts: (P, D), or None.
            chunks: of all members and noise samples, (K, S, H, 8); None where only the plan is known.
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
        arm = ready[-1].position[-1][:ARM_DOF]
        told = self._told if self._told is not None else np.append(arm, width)
        hand = HandState(width, float(told[ARM_DOF]), float(features[_HELD]))
        known = chunk[None, None] if chunks is None else chunks
        now = _Moment(decision, stamp_ns, chunk, known, self._expert(ready[-1]), arm, prediction, features, hand, told)
        return replace(self._done(now), manifold_distance=self._distance(now, chunk))

    def _expert(self, item: AssembledDecision) -> FloatArray | None:
        """State of the action expert in the predictor's basis; None where nobody asks for it."""
        state = item.heard.expert_state
        if self._manifold is None or state is None:
            return None
        return self._predictor.basis.project_expert(state[None])[0].astype(np.float64)

    def _distance(self, now: _Moment, chunk: FloatArray) -> float:
        """Of a chunk from those of successes, in levels."""
        if self._manifold is None or now.expert is None:
            return float("nan")
        return self._manifold.distance(now.expert, now.state, chunk) / self._manifold.level

    def _projected(self, now: _Moment, chunk: FloatArray) -> FloatArray:
        if self._manifold is None or now.expert is None:
            return chunk
        return self._manifold.project(now.expert, now.state, chunk)

    def _done(self, now: _Moment) -> Intervention:
        if self._throughout:
            slowed = retimed(now.chunk, MOTIONS[self._throughout].pace, now.told, hand=True)
            return _intervention(now, _Weighed(self._throughout, "throughout"), slowed, acted=True)
        grasping = grasps(now.hand)
        goes_back = self._watch_tries(now)
        weighed = self._motion(now, grasping=grasping and not self._approach.retreating)
        acted = self.mode != ADVISE
        if self._over:
            stop = self._over if acted else ""
            return _intervention(now, replace(weighed, name=HAND_OVER, reason=self._over), now.chunk, acted, stop)
        if self._approach.retreating or (self._approaches and not grasping):
            return self._follow_approach(now)
        if goes_back and not acted:
            return _intervention(now, replace(weighed, name=RETREAT, reason=_IN_VAIN), now.chunk, acted)
        followed = self._follower.update(now.chunk, MOTIONS[weighed.name], now.told, now.hand) if acted else now.chunk
        if self._follower.lowering:
            weighed = replace(weighed, reason="puts down what the plan lets go in the air")
        return _intervention(now, weighed, followed, acted)

    @property
    def _approaches(self) -> bool:
        """Whether an approach is something else than the plan."""
        return self._draws_approaches or self._always in APPROACHES

    def _motion(self, now: _Moment, *, grasping: bool) -> _Weighed:
        """Of the hand that closes or holds something."""
        if self._draws:
            name, probability = self._random.update(grasps=grasping)
            return _Weighed(name, "drawn" if grasping else "nothing held", probability)
        if self._always:
            return _Weighed(self._always if grasping and self._always in MOTIONS else PLAN, "always")
        assert self._model is not None
        names = self._model.effects.candidates
        failure = self._model.effects.failure(situation_of(now.features, now.prediction))
        choice = self._chooser.update(names, failure, now.hand.held_s, grasps=grasping)
        if self.mode == HAND_OVER_ONLY:
            return _Weighed(PLAN, "only handing over is allowed", 1.0, names, failure)
        return _Weighed(choice.candidate, choice.reason, 1.0, names, failure)

    def _watch_tries(self, now: _Moment) -> bool:
        """Begins approaches, and sees when it is time to hand over; whether a retreat begins that was chosen."""
        begun = self._tries.update(int(now.features[_EMPTY]), now.hand.held_s)
        self._approach.passed(now.told, now.prediction.failure)
        if begun and self._draws_approaches:
            self._approach.begin(
                self._random_approach.begin(
                    again=begun == AGAIN, manifold=now.expert is not None, may_retreat=self._approach.may_retreat
                )
            )
        elif begun and self._always and (self._always != RETREAT or begun == AGAIN):
            self._approach.begin(self._always)
        goes_back = begun == AGAIN and self._retreats > 0 and self._approach.may_retreat and not self._over
        if goes_back:
            self._approach.begin(RETREAT, follow=self.mode == ACT)
        if self._over or self.mode not in WITH_MODEL:
            return goes_back
        assert self._model is not None
        logit = float(now.prediction.scores[_FAILURE])
        holds = now.features[_HOLDS] > 0.5
        if is_stuck(self._tries.in_vain, logit, self._model.stuck_threshold, holds=holds):
            self._over = stuck_words(self._tries.in_vain, now.prediction.failure)
        return goes_back

    def _follow_approach(self, now: _Moment) -> Intervention:
        self._follower.reset()
        # Before it goes back it follows the plan.
        name = PLAN if self._always == RETREAT and self._approach.may_retreat else self._always
        probability, why = 1.0, "always"
        if self._retreats > 0:
            name, why = RETREAT, _IN_VAIN
        if self._draws_approaches:
            name, probability, why = self._random_approach.drawn, self._random_approach.probability, "drawn"
        reason = ", ".join(filter(None, (why, self._approach.words(name, now.chunks))))
        followed = self._approach.update(
            name, now.chunk, now.chunks, partial(self._distance, now), partial(self._projected, now)
        )
        return _intervention(now, _Weighed(name, reason, probability), followed, acted=True)


def _intervention(now: _Moment, weighed: _Weighed, chunk: FloatArray, acted: bool, stop: str = "") -> Intervention:
    return Intervention(
        now.decision,
        now.stamp_ns,
        weighed.candidates,
        weighed.failure,
        weighed.name,
        weighed.reason,
        weighed.probability,
        acted,
        chunk,
        stop,
    )


def only_the_plan(decision: int, stamp_ns: int, chunk: FloatArray, reason: str) -> Intervention:
    """Nothing was weighed, for a reason in words."""
    return Intervention(decision, stamp_ns, (), np.zeros(0), PLAN, reason, 1.0, False, chunk)
