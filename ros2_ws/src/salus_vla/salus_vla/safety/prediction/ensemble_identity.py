"""Which ensemble a predictor, or what it learns from, belongs to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EnsembleIdentity:
    """Hashes of the members and of their VLMs."""

    members: tuple[str, ...]
    vlms: tuple[str, ...]

    def __str__(self) -> str:
        return ",".join(self.members) or "(without members)"
