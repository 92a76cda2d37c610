"""What comes back from workers, and how often an episode is given out again when its worker dies."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from salus_vla.contract.errors import SalusError

REDONE_AT_MOST = 3


@dataclass(frozen=True)
class Ready:
    """A worker has built its simulator and policy.

    Attributes:
        facts: of `EpisodeMaker.facts`.
        process: its process id; host: the machine it runs on.
    """

    facts: dict[str, str]
    process: int
    host: str


@dataclass(frozen=True)
class Broken:
    """A worker cannot be built with these settings; no other one could."""

    message: str


@dataclass(frozen=True)
class Finished:
    """An episode: the bytes of its file."""

    seed: int
    data: bytes


@dataclass(frozen=True)
class Failed:
    """An episode that cannot be made; trying again would give the same."""

    seed: int
    message: str


@dataclass(frozen=True)
class Lost:
    """A worker has died; its episode, if it had one, is given to another."""

    seed: int | None
    reason: str


Result = Ready | Finished | Failed | Lost  # of a run; `Broken` ends it


class SeedQueue:
    """The episodes that still have to be given out."""

    def __init__(self, seeds: Iterable[int]) -> None:
        """Takes the seeds in the order in which they are given out."""
        self._waiting = deque(seeds)
        self._deaths: Counter[int | None] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> int | None:
        """The next seed, None when all are given out."""
        return self._waiting.popleft() if self._waiting else None

    def worker_died(self, seed: int | None, reason: str) -> Lost:
        """Takes back the seed of a dead worker; None when it died before it had one.

        Raises:
            SalusError: it happened too often; names the seed and the reason.
        """
        self._deaths[seed] += 1
        if self._deaths[seed] > REDONE_AT_MOST:
            what = "a worker while it was starting" if seed is None else f"the worker of seed {seed}"
            raise SalusError(f"{what} died {self._deaths[seed]} times, the last time: {reason}")
        if seed is not None:
            self._waiting.appendleft(seed)
        return Lost(seed, reason)

    def worker_started(self) -> None:
        """Deaths before belong to other causes than the start."""
        del self._deaths[None]
