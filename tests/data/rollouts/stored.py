"""Short episodes: settings for simulated ones, and made up ones for the store."""

import numpy as np

from salus_vla.contract.outcomes import Outcome
from salus_vla.data.rollouts.rollout_settings import RolloutSettings
from salus_vla.data.rollouts.rollout_store import StoredEpisode

SEEDS = (3, 4, 5, 6)
SHORT = RolloutSettings(policy="hold", profile="dark", max_decisions=2)


def stored(
    seed: int = 7, observations: int = 4, members: int = 3, size: tuple[int, int] | None = (6, 8)
) -> StoredEpisode:
    """An episode with pictures of this height and width, or with none."""
    random = np.random.default_rng(seed)
    frames = 5 * (observations - 1) + 1
    pictures = (
        {
            camera: [random.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(observations)]
            for camera in ("front", "side", "top")
        }
        if size
        else {}
    )
    signals = random.normal(size=(observations, 12)).astype(np.float32)
    signals[0, 5] = np.nan
    return StoredEpisode(
        seed=seed,
        profile="train",
        policy="expert",
        task='say "header_sha256":"' + "f" * 64 + '" é \ud800',
        outcome=Outcome.MISS,
        decisions=observations - 1,
        event="closed 3 times without the cube",
        event_stamp_ns=260_000_000,
        stamps_ns=np.arange(observations, dtype=np.int64) * 100_000_000,
        joint_position=random.normal(size=(observations, 9)),
        joint_velocity=random.normal(size=(observations, 9)),
        planned=np.full((observations, 8), np.nan),
        command_stamps_ns=np.arange(frames - 1, dtype=np.int64) * 20_000_000,
        commands=random.normal(size=(frames - 1, 9)),
        frame_position=random.normal(size=(frames, 9)),
        cube_pose=random.normal(size=(frames, 7)),
        member_actions=random.normal(size=(observations, members, 7)).astype(np.float32),
        signals=signals,
        valid=np.arange(observations, dtype=np.uint16),
        images=pictures,
    )
