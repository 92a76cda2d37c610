"""Stored runs with chosen outcomes and signals, without a simulator or a policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.run_folder import RunFolder
from salus_vla.data.rollouts.rollout_settings import RolloutSettings
from salus_vla.data.rollouts.rollout_store import EPISODES, StoredEpisode, episode_file
from salus_vla.learning.evaluation.evaluated_episodes import EvaluatedEpisode
from salus_vla.signals.safety_signals import NAMES
from written import write_episode

PERIOD_NS, FRAME_NS = 100_000_000, 20_000_000
HASHES = ("aaaa", "bbbb", "cccc")
VALID = (1 << 11) - 1  # all but activation_novelty


def signal_rows(level: float, count: int, seed: int = 0, **columns: Any) -> np.ndarray:
    """Signals (count, 12) around `level`, the last one NaN; `columns` set some by name."""
    rows = level + 0.1 * np.random.default_rng(seed).random((count, len(NAMES)))
    rows[:, 11] = np.nan
    for name, values in columns.items():
        rows[:, NAMES.index(name)] = values
    return rows.astype(np.float32)


def stored(
    seed: int,
    outcome: Outcome = Outcome.SUCCESS,
    *,
    level: float = 1.0,
    decisions: int = 20,
    profile: str = "eval",
    **changes: Any,
) -> StoredEpisode:
    """An episode whose event is at its end, and whose terminal decision has signals that nothing else has."""
    observations, frames = decisions + 1, 5 * decisions
    signals = signal_rows(level, observations, seed)
    signals[-1] = 1e6
    values: dict[str, Any] = {
        "seed": seed,
        "profile": profile,
        "policy": "ensemble",
        "task": "pick",
        "outcome": outcome,
        "decisions": decisions,
        "event": "it happened",
        "event_stamp_ns": decisions * PERIOD_NS,
        "stamps_ns": np.arange(observations) * PERIOD_NS,
        "joint_position": np.zeros((observations, 9)),
        "joint_velocity": np.zeros((observations, 9)),
        "planned": np.zeros((observations, 8)),
        "command_stamps_ns": np.arange(frames) * FRAME_NS,
        "commands": np.zeros((frames, 9)),
        "frame_position": np.zeros((frames + 1, 9)),
        "cube_pose": np.zeros((frames + 1, 7)),
        "member_actions": np.zeros((observations, 2, 7), dtype=np.float32),
        "signals": signals,
        "valid": np.full(observations, VALID, dtype=np.uint16),
    }
    return StoredEpisode(**(values | changes))


def facts(members: Sequence[str] = HASHES) -> dict[str, str]:
    """Provenance of a run by an ensemble of these members."""
    found = {"worker.scene_hash": "5ce1e", "worker.policy.noise_samples": "2"}
    return found | {f"worker.policy.member_{k}_hash": digest for k, digest in enumerate(members)}


def rollout_run(
    out: Path,
    name: str,
    episodes: Sequence[StoredEpisode],
    *,
    members: Sequence[str] = HASHES,
    provenance: dict[str, str] | None = None,
    **settings: Any,
) -> Path:
    """A run of `salus rollout` with the profile of its first episode."""
    chosen = RolloutSettings(profile=episodes[0].profile if episodes else "eval", images=False, model="models/mine")
    arguments = {"seed": str(episodes[0].seed if episodes else 0), **replace(chosen, **settings).to_arguments()}
    folder = RunFolder.create(out, name, provenance=facts(members) | (provenance or {}), arguments=arguments)
    (folder.path / EPISODES).mkdir()
    for episode in episodes:
        write_episode(folder.path / EPISODES / episode_file(episode.seed), episode)
    folder.close()
    return folder.path


def episode(
    seed: int = 0,
    outcome: Outcome = Outcome.SUCCESS,
    *,
    signals: np.ndarray | None = None,
    event_s: float | None = 2.0,
    wall_s: float | None = None,
    decisions: int = 20,
) -> EvaluatedEpisode:
    """An episode as it is after reading."""
    rows = signal_rows(1.0, decisions, seed) if signals is None else signals
    return EvaluatedEpisode(
        seed, outcome, decisions, event_s, wall_s, np.arange(len(rows)) * 0.1, rows.astype(np.float64)
    )
