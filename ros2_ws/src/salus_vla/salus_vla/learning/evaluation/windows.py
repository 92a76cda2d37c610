"""One number for each signal of an episode: its mean over some of the decisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from salus_vla.contract.types import FloatArray
from salus_vla.learning.evaluation.evaluated_episodes import EvaluatedEpisode
from salus_vla.signals.safety_signals import NAMES

Window = Callable[[EvaluatedEpisode], FloatArray]  # signals of an episode -> those of some of its decisions, (D, 12)


def first(decisions: int) -> Window:
    """The first decisions of the episode; all of a shorter one."""
    return lambda episode: episode.signals[:decisions]


def whole(episode: EvaluatedEpisode) -> FloatArray:
    """Every decision."""
    return episode.signals


def until(seconds: float) -> Window:
    """The decisions up to `seconds` before the event that ended the episode; none of one without an event."""

    def rows(episode: EvaluatedEpisode) -> FloatArray:
        if episode.event_s is None:
            return episode.signals[:0]
        # Half a microsecond: stamps in seconds are not exact.
        return episode.signals[episode.times_s <= episode.event_s - seconds + 5e-7]

    return rows


def means(episodes: Sequence[EvaluatedEpisode], window: Window) -> FloatArray:
    """Mean of the valid values of each signal, (E, 12); NaN where an episode has none in the window."""
    return _reduced(episodes, window, np.mean)


def medians(episodes: Sequence[EvaluatedEpisode], window: Window) -> FloatArray:
    """Median of the valid values of each signal, (E, 12); NaN where an episode has none in the window."""
    return _reduced(episodes, window, np.median)


def _reduced(
    episodes: Sequence[EvaluatedEpisode], window: Window, reduce: Callable[[FloatArray], np.floating]
) -> FloatArray:
    result = np.full((len(episodes), len(NAMES)), np.nan)
    for row, episode in zip(result, episodes, strict=True):
        values = window(episode)
        for index in range(len(NAMES)):
            known = values[:, index]
            known = known[np.isfinite(known)]
            if len(known):
                row[index] = reduce(known)
    return result
