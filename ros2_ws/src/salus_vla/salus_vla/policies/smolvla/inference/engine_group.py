"""The engines of an ensemble, one for each device, as if they were one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from salus_vla.policies.smolvla.inference.ensemble_engine import Embedded, EngineOutput, EnsembleEngine


class EngineGroup:
    """Engines whose members, one engine after the other, are the ensemble's."""

    def __init__(self, engines: Sequence[EnsembleEngine]) -> None:
        """Takes engines of the same configuration."""
        self._engines = list(engines)
        self.members = sum(engine.members for engine in engines)
        self.expert_width: int = engines[0].experts.width

    def noise_shape(self, samples: int) -> tuple[int, int, int]:
        """Shape of the noise for S samples: (S, H, padded action dimension)."""
        return self._engines[0].noise_shape(samples)

    def encode_images(self, batch: dict[str, Tensor]) -> list[Embedded]:
        """Features of a batch's images for each engine."""
        return [engine.encode_images(batch) for engine in self._engines]

    def embed_language(self, tokens: Tensor, mask: Tensor) -> list[Embedded]:
        """Embeddings of an instruction for each engine."""
        return [engine.embed_language(tokens, mask) for engine in self._engines]

    @torch.inference_mode()
    def decide(
        self, images: Sequence[Embedded], language: Sequence[Embedded], batch: dict[str, Tensor], noise: Tensor
    ) -> EngineOutput:
        """Chunks of all members, on the first engine's device. The devices work at the same time."""
        parts = [
            engine.decide(image, text, batch, noise)
            for engine, image, text in zip(self._engines, images, language, strict=True)
        ]
        if len(parts) == 1:
            return parts[0]
        first = self._engines[0].device
        shares = [engine.members / self.members for engine in self._engines]
        return EngineOutput(
            actions=torch.cat([part.actions.to(first) for part in parts]),
            prefix_state=_mean([part.prefix_state.to(first) for part in parts], shares),
            prefix_parts=_mean([part.prefix_parts.to(first) for part in parts], shares),
            expert_state=_mean([part.expert_state.to(first) for part in parts], shares),
        )

    def provenance(self) -> dict[str, str]:
        """How the engines run; where they differ, every engine's."""
        each = [engine.chosen.provenance() for engine in self._engines]
        names = dict.fromkeys(name for facts in each for name in facts)
        joined = {name: list(dict.fromkeys(facts.get(name, "none") for facts in each)) for name in names}
        placed = {"members_per_device": ", ".join(str(engine.members) for engine in self._engines)}
        return {name: " | ".join(values) for name, values in joined.items()} | (placed if len(each) > 1 else {})


def _mean(values: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    return torch.stack([value * share for value, share in zip(values, shares, strict=True)]).sum(0)
