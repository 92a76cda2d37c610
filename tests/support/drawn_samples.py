"""Samples for a predictor in which failures can be told: from the vision state at once, from the fingers later."""

from __future__ import annotations

import numpy as np

from salus_vla.data.failures.split import part_of
from salus_vla.learning.prediction.samples import Samples
from salus_vla.safety.prediction.episode_features import FEATURES

DECISIONS = 45
GRASP = 22  # decision at which the hand closes


def drawn_samples(
    episodes: int = 120, seed: int = 0, profiles: tuple[str, ...] = ("eval", "heavy", "slippery")
) -> Samples:
    """Every third episode fails by a drop; each seventh closes on nothing."""
    random = np.random.default_rng(seed)
    count = episodes * DECISIONS
    features = random.normal(size=(count, len(FEATURES)))
    episode = np.repeat(np.arange(episodes), DECISIONS)
    decision = np.tile(np.arange(DECISIONS), episodes)
    fails = np.arange(episodes) % 3 == 0
    empty = np.arange(episodes) % 7 == 0
    features[:, FEATURES.index("elapsed_s")] = decision / 10
    features[:, FEATURES.index("prefix_mean.3")] += 6.0 * fails[episode]
    holds = (decision >= GRASP) & ~empty[episode]
    features[:, FEATURES.index("holds")] = holds
    features[:, FEATURES.index("held_s")] = np.where(holds, (decision - GRASP + 1) / 10, 0.0)
    features[:, FEATURES.index("empty_s")] = np.where(
        empty[episode] & (decision >= GRASP), (decision - GRASP) / 10, 0.0
    )
    slips = fails[episode] & (decision > GRASP + 2)
    features[:, FEATURES.index("effort_mean_0.1s.panda_joint2")] += 4.0 * slips
    event = np.where(fails, 4.1, np.nan)
    hazards = np.full((count, 3), -1)
    away = event[episode] - decision / 10
    for interval, (low, high) in enumerate(((0.0, 0.25), (0.25, 0.5), (0.5, 1.0))):
        hazards[(away > low) & (away <= high), interval] = 1
        hazards[(away > 0.0) & (away <= low), interval] = -2
    seeds = np.arange(episodes) + 500
    return Samples(
        features=features,
        commands=random.normal(size=(count, 5, 7)) * 0.01,
        episode=episode,
        time_s=decision / 10,
        hazards=hazards,
        slips=np.where(holds, slips.astype(float), np.nan),
        since_grasp_s=np.where(holds, (decision - GRASP) / 10, np.nan),
        loss_s=np.where(holds & fails[episode], 3.8, np.nan),
        seed=seeds,
        profile=np.array([profiles[index // 3 % len(profiles)] for index in range(episodes)]),
        outcome=np.where(fails, "DROP", "SUCCESS"),
        part=np.array([part_of(int(number)) for number in seeds]),
        event_s=event,
        empty_closing_s=np.where(empty, GRASP / 10, np.nan),
        end_s=np.full(episodes, (DECISIONS - 1) / 10),
    )
