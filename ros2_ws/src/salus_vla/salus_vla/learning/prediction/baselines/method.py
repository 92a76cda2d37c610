"""A way to score decisions: larger means more likely to fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.types import FloatArray
from salus_vla.learning.prediction.samples import Samples
from salus_vla.safety.prediction.episode_features import FEATURES, columns

RULE, SIGNAL, PUBLISHED, OURS = "rule", "signal", "published", "ours"


@dataclass(frozen=True)
class Method:
    """A method.

    Attributes:
        name: in tables.
        kind: RULE, SIGNAL, PUBLISHED or OURS.
        score: of samples and the episodes to learn from (E,), and a seed, to the scores of all decisions (N,).
        learns: whether it learns anything, so that a left-out profile changes it.
    """

    name: str
    kind: str
    score: Callable[[Samples, NDArray[np.bool_], int], FloatArray]
    learns: bool


def feature(samples: Samples, name: str) -> FloatArray:
    """A feature of all decisions, (N,)."""
    return samples.features[:, FEATURES.index(name)]


def block(samples: Samples, prefix: str, group: str) -> FloatArray:
    """Features of a group whose names begin so, (N, C); 0 where not known."""
    chosen = [index for index in columns(group) if FEATURES[index].startswith(prefix)]
    return np.nan_to_num(samples.features[:, chosen])


def lowest_where_unknown(scores: FloatArray) -> FloatArray:
    """Scores (N,) in which a decision that a method can say nothing of has the lowest one: it never alarms.

    A 0 in its place would be an alarm wherever scores are logarithms, which are negative.
    """
    known = np.isfinite(scores)
    return np.where(known, scores, scores[known].min() if known.any() else 0.0)
