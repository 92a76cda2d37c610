"""Files of rollouts, written as the run that makes them does."""

from pathlib import Path

from salus_vla.data.bags.run_records import write_atomically
from salus_vla.data.rollouts.rollout_store import StoredEpisode, encode


def write_episode(path: Path, episode: StoredEpisode) -> None:
    """Writes one episode."""
    write_atomically(path, encode(episode, str(path)))
