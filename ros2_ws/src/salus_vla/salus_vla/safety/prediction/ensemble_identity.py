"""Which ensemble a predictor, or what it learns from, belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Self


@dataclass(frozen=True)
class EnsembleIdentity:
    """Hashes of the members and of their VLMs."""

    members: tuple[str, ...]
    vlms: tuple[str, ...]

    @classmethod
    def of_facts(cls, facts: Mapping[str, str]) -> Self:
        """From what a policy says of itself: `member_0_hash`, ..., `vlm_0_hash`, ...; empty of one without members."""

        def numbered(name: str) -> Iterator[str]:
            for number in count():
                digest = facts.get(f"{name}_{number}_hash")
                if digest is None:
                    return
                yield digest

        return cls(tuple(numbered("member")), tuple(numbered("vlm")))

    def __str__(self) -> str:
        return ",".join(self.members) or "(without members)"
