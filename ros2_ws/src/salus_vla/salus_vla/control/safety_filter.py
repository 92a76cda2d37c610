"""Interventions in the controller: the safety room's `Intervener` between the plan and the limiter."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from salus_vla.config.paths import (
    DEFAULT_MANIFOLD,
    NO_PREDICTOR,
    intervention_folder,
    manifold_folder,
    predictor_folder,
)
from salus_vla.config.policy_settings import PolicySettings
from salus_vla.contract.errors import ConfigError, ModelError
from salus_vla.contract.types import FloatArray
from salus_vla.control.decision import Decision
from salus_vla.control.target_filter import Plan, TargetFilter
from salus_vla.safety.intervention.candidates import ALWAYS_CHOICES, NEAREST, PROJECTED
from salus_vla.safety.intervention.intervener import Intervener, Intervention, only_the_plan
from salus_vla.safety.intervention.intervention_file import load_intervention
from salus_vla.safety.intervention.modes import ADVISE, ALWAYS, WITH_MODEL, checked_mode
from salus_vla.safety.manifold.action_manifold import ActionManifold
from salus_vla.safety.manifold.manifold_file import load_manifold
from salus_vla.safety.prediction.ensemble_identity import EnsembleIdentity
from salus_vla.safety.prediction.failure_predictor import FailurePredictor
from salus_vla.safety.prediction.predictor_file import load_predictor

_BUDGET_S = 0.02  # of wall time for one decision; a fifth of the time between two
_SLOW_DECISIONS = 5


class SafetyFilter(TargetFilter):
    """Lets an intervener choose what is followed.

    Attributes:
        fault: why nobody can intervene any more, in words; empty if all is well.
        model: hash of what interventions are chosen with; empty without.
        newest: what was done at the newest decision; None before the first of an episode.
    """

    def __init__(self, intervener: Intervener | None, *, fault: str = "", budget_s: float | None = None) -> None:
        """Takes the intervener.

        Args:
            intervener: None where there is a fault.
            fault: why nobody can intervene, in words: then every decision says so and the plan is followed.
            budget_s: wall time of a decision; over it five times in a row nobody intervenes any more. None in lockstep,
                where time stands still.
        """
        self._intervener, self.fault, self._budget_s = intervener, fault, budget_s
        self.model = intervener.model if intervener is not None else ""
        self._mode = intervener.mode if intervener is not None else ADVISE
        self._slow = 0
        self.newest: Intervention | None = None

    @property
    def mode(self) -> str:
        """The parameter `intervention`; `advise` where nobody can intervene any more."""
        return ADVISE if self.fault else self._mode

    def start_episode(self, seed: int) -> None:
        """Nothing was done yet."""
        if self._intervener is not None:
            self._intervener.start_episode(seed)
        self.newest = None

    def forget(self) -> None:
        """See `TargetFilter`."""
        if self._intervener is not None:
            self._intervener.forget()

    def measured(self, stamp_ns: int, joints: FloatArray) -> None:
        """See `TargetFilter`."""
        if self._intervener is not None:
            self._intervener.measured(stamp_ns, joints)

    def commanded(self, stamp_ns: int, position: FloatArray) -> None:
        """See `TargetFilter`."""
        if self._intervener is not None:
            self._intervener.commanded(stamp_ns, position)

    def choose(self, decision: Decision, plan: Plan) -> Plan:
        """What the intervener chose."""
        if self._intervener is None or self.fault:
            self.newest = only_the_plan(decision.number, decision.stamp_ns, plan.chunk, self.fault)
            return plan
        began = time.perf_counter()
        try:
            found = self._intervener.decide(
                decision.stamp_ns,
                decision.number,
                plan.chunk,
                np.where(np.isfinite(decision.signals.values), decision.signals.values, np.nan).astype(np.float32),
                decision.expert_state if decision.expert_state.size else None,
                decision.prefix_parts if decision.prefix_parts.size else None,
                decision.chunks,
            )
        except ModelError as error:  # hidden states of another width than its hashes promise
            self.fault = f"nobody intervenes: {error}"
            self.newest = only_the_plan(decision.number, decision.stamp_ns, plan.chunk, self.fault)
            return plan
        self._watch_time(time.perf_counter() - began)
        self.newest = found
        return Plan(found.chunk, found.stop)

    def _watch_time(self, took_s: float) -> None:
        if self._budget_s is None:
            return
        self._slow = self._slow + 1 if took_s > self._budget_s else 0
        if self._slow >= _SLOW_DECISIONS:
            self.fault = (
                f"interventions took more than {self._budget_s * 1e3:.0f} ms {_SLOW_DECISIONS} decisions in a row, "
                f"{took_s * 1e3:.0f} ms at last: the plan is followed from now on"
            )


def build_safety_filter(
    settings: PolicySettings, facts: Mapping[str, str], faults: list[str] | None = None, *, realtime: bool = False
) -> SafetyFilter:
    """The filter that the settings ask for.

    Args:
        settings: of the policy.
        facts: what the policy says of itself: its hashes.
        faults: as of `build_controller`.
        realtime: whether the arm goes on while it is thought.

    Raises:
        ConfigError: there is no such intervention.
        ModelError: a file is missing or damaged, or is of another ensemble or predictor, and `faults` is None.
    """
    mode = checked_mode(settings.intervention, ALWAYS_CHOICES)
    try:
        predictor = load_predictor(predictor_folder(settings.intervention_predictor))
        predictor.require(EnsembleIdentity.of_facts(facts))
        manifold = _manifold(settings.intervention_manifold, predictor)
        if manifold is None and mode.removeprefix(ALWAYS) in (NEAREST, PROJECTED):
            raise ConfigError(
                f"intervention {mode!r} needs an action manifold of this ensemble: intervention_manifold is "
                f"{settings.intervention_manifold!r}"
            )
        model = None
        if mode in WITH_MODEL:
            model = load_intervention(intervention_folder(settings.intervention_model))
            model.effects.require(predictor.digest)
    except ModelError as error:
        if faults is None:
            raise
        faults.append(str(error))
        return SafetyFilter(None, fault=f"nobody intervenes: {error}")
    return SafetyFilter(Intervener(mode, predictor, model, manifold), budget_s=_BUDGET_S if realtime else None)


def _manifold(name: str, predictor: FailurePredictor) -> ActionManifold | None:
    """The manifold of that name; None where nobody asked for one, or `builtin` is of another ensemble.

    Raises:
        ModelError: it is missing, damaged, or of another ensemble or basis.
    """
    if name == NO_PREDICTOR:
        return None
    found = load_manifold(manifold_folder(name))
    if name == DEFAULT_MANIFOLD and (found.ensemble != predictor.ensemble or found.basis != predictor.basis.digest):
        return None
    found.require(predictor.ensemble)
    found.require_basis(predictor.basis)
    return found
