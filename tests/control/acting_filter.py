"""Interventions with drawn weights, which slow the arm down whenever something is in the hand, or never."""

from __future__ import annotations

import numpy as np

from drawn_predictor import drawn_predictor
from salus_vla.control.safety_filter import SafetyFilter
from salus_vla.safety.intervention import effects
from salus_vla.safety.intervention.candidates import PLAN
from salus_vla.safety.intervention.choice import ChoiceSettings
from salus_vla.safety.intervention.intervener import Intervener
from salus_vla.safety.intervention.intervention_file import InterventionModel, make_effects
from salus_vla.safety.intervention.modes import ACT

SLOW = "slow_0.25"


def model(*, prefers: str = SLOW, stuck: float = 1e9, retreats: int = 0) -> InterventionModel:
    size = len(effects.SITUATION)
    weights = np.zeros((1, effects.PARTS, size + 1))
    weights[:, 0, -1], weights[:, 2, -1] = (6.0, -12.0) if prefers == SLOW else (-6.0, 12.0)
    made = make_effects((PLAN, SLOW), weights, np.zeros(size), np.ones(size), drawn_predictor().digest)
    return InterventionModel(made, stuck, ChoiceSettings(retreats=retreats))


def act(mode: str = ACT, **settings: float | str) -> SafetyFilter:
    return SafetyFilter(Intervener(mode, drawn_predictor(), model(**settings)))  # type: ignore[arg-type]
