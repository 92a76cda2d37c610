"""Evaluates all members of a SmolVLA ensemble in one batch: one prefix per VLM, the action experts side by side.

In SmolVLA's prefix, image and language tokens do not attend to the state token, which comes last. So their keys and
values are equal for all members that share a VLM, and only the state position is a member's own. The prefix therefore
runs once with K state tokens, each of which sees the images, the language and itself; the K x S action experts then run
as batched matrix products over stacked weights. The result equals LeRobot's `predict_action_chunk` of each member at
equal noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from torch import Tensor

from salus_vla.contract.errors import ModelError
from salus_vla.policies.smolvla.inference.acceleration import (
    Chosen,
    Function,
    Recorded,
    accelerate,
    candidates,
    compiled,
    exact_fp32,
)
from salus_vla.policies.smolvla.inference.action_expert import ExpertStack
from salus_vla.policies.smolvla.inference.prefix import PrefixCache, VlmPrefix
from salus_vla.policies.smolvla.loading.checkpoint import LoadedEnsemble
from salus_vla.policies.smolvla.loading.devices import check_placed, explain_out_of_memory


@dataclass(frozen=True)
class EngineOutput:
    """What one forward pass gives, still normalised and on the device.

    Attributes:
        actions: shape (K, S, H, A), A the policy's action dimension.
        prefix_state: mean-pooled last hidden state of the prefix, mean over members, shape (D,).
        prefix_parts: the same of each camera's tokens and of the rest, (C + 1, D); NaN for a camera that is missing.
        expert_state: mean-pooled hidden state of the experts at the last denoising step, shape (E,).
    """

    actions: Tensor
    prefix_state: Tensor
    prefix_parts: Tensor
    expert_state: Tensor


@dataclass(frozen=True)
class Embedded:
    """Images or language as the prefix takes them; worth keeping while they do not change.

    Attributes:
        features: for each VLM, images (C, T, D) or language (L, D).
        valid: which cameras, or which tokens, count: (C,) or (L,).
    """

    features: tuple[Tensor, ...]
    valid: Tensor


class EnsembleEngine:
    """K SmolVLA members on one device as one batched model."""

    def __init__(self, ensemble: LoadedEnsemble, *, mode: str = "eager", samples: int = 1) -> None:
        """Takes over the members' weights (`ensemble.experts` is empty afterwards).

        Args:
            ensemble: the members.
            mode: one of `MODES`; `auto` compiles and records a CUDA graph where there is one.
            samples: noise samples that a mode other than `eager` is made for; other numbers run eagerly.

        Raises:
            ModelError: the checkpoint uses a part of SmolVLA that the batch does not cover, or the device lacks memory.
        """
        config = ensemble.config
        if not config.use_cache:
            raise ModelError("use_cache=false fails in LeRobot 0.6.1; set it to true in config.json")
        if config.rtc_config is not None and config.rtc_config.enabled:
            raise ModelError("real-time chunking (rtc_config) is done by the chunk manager; disable it in config.json")
        if config.adapt_to_pi_aloha:
            raise ModelError("adapt_to_pi_aloha is for Aloha arms; this robot is a Panda")
        self.config = config
        self.device = ensemble.device
        self._members_of_vlm = [
            [k for k, used in enumerate(ensemble.vlm_of_member) if used == index] for index in range(len(ensemble.vlms))
        ]
        # Row of each member in the VLMs' caches one after the other.
        order = [k for members in self._members_of_vlm for k in members]
        self._rows = [order.index(k) for k in range(len(order))]
        with explain_out_of_memory("stacking the members", self.device):
            self._vlms = [VlmPrefix(policy, self.device) for policy in ensemble.vlms]
            eager = not candidates(mode, self.device)
            self.experts = ExpertStack(ensemble.vlms[0], ensemble.experts, packed=eager, samples=samples)
        self.members = self.experts.count
        self.action_dim: int = config.action_feature.shape[0]
        check_placed(self.tensors(), self.device)
        self._static: tuple[torch.Size, ...] | None = None  # shapes that the chosen mode is made for
        self._encode: Function = self._encode_eager
        self._decide: Function = self._decide_eager
        with explain_out_of_memory("a decision", self.device):
            self.chosen: Chosen = self._choose(mode, samples)

    def tensors(self) -> dict[str, Tensor]:
        """Every parameter, buffer and constant by a name that tells where it belongs."""
        tensors = self.experts.tensors()
        for index, vlm in enumerate(self._vlms):
            tensors |= vlm.tensors(f"vlm_{index}")
        return tensors

    def noise_shape(self, samples: int) -> tuple[int, int, int]:
        """Shape of the noise for S samples: (S, H, padded action dimension)."""
        return samples, self.config.chunk_size, self.config.max_action_dim

    def forward(self, batch: dict[str, Tensor], noise: Tensor) -> EngineOutput:
        """Chunks of all members.

        Args:
            batch: output of LeRobot's pre-processor for one observation (batch size 1).
            noise: standard normal, shape (S, H, padded action dimension); the same for every member.

        Raises:
            ModelError: the device lacks memory.
        """
        tokens, mask = batch["observation.language.tokens"], batch["observation.language.attention_mask"]
        return self.decide(self.encode_images(batch), self.embed_language(tokens, mask), batch, noise)

    @torch.inference_mode()
    def encode_images(self, batch: dict[str, Tensor]) -> Embedded:
        """Features of a batch's images."""
        images, masks = SmolVLAPolicy.prepare_images(self, batch)  # uses nothing of its policy but `config`
        stacked = torch.cat(images).to(self.device)  # all cameras in one call
        for vlm in self._vlms:
            vlm.prepare(stacked.shape[2], stacked.shape[3])
        with exact_fp32(), explain_out_of_memory("encoding the images", self.device):
            fixed = self._static is not None and stacked.shape == self._static[0]
            features = (self._encode if fixed else self._encode_eager)(stacked)
        return Embedded(features, torch.cat(masks).to(self.device))

    @torch.inference_mode()
    def embed_language(self, tokens: Tensor, mask: Tensor) -> Embedded:
        """Embeddings of an instruction's tokens (1, L) with their validity (1, L).

        Padded to the tokenizer's longest instruction where shapes are fixed; padding counts for nothing.
        """
        tokens, valid = tokens[0].to(self.device), mask[0].bool().to(self.device)
        missing = self.config.tokenizer_max_length - len(tokens)
        if self._static is not None and missing > 0:
            tokens, valid = F.pad(tokens, (0, missing)), F.pad(valid, (0, missing))
        return Embedded(tuple(vlm.embed_language(tokens) for vlm in self._vlms), valid)

    @torch.inference_mode()
    def decide(self, images: Embedded, language: Embedded, batch: dict[str, Tensor], noise: Tensor) -> EngineOutput:
        """Chunks of all members for embedded images and language.

        Args:
            images: of `encode_images`.
            language: of `embed_language`.
            batch: gives the normalised state.
            noise: as in `forward`.
        """
        state = SmolVLAPolicy.prepare_state(self, batch)
        arguments = [images.valid, language.valid, state, noise, *images.features, *language.features]
        arguments = [tensor.to(self.device) for tensor in arguments]
        with exact_fp32(), explain_out_of_memory("a decision", self.device):
            fixed = self._static is not None and tuple(tensor.shape for tensor in arguments) == self._static[1:]
            if fixed:  # compiled code tells tensors made outside inference mode apart
                arguments = [tensor if tensor.is_inference() else tensor.clone() for tensor in arguments]
            decided = (self._decide if fixed else self._decide_eager)(*arguments)
        return EngineOutput(*decided)

    # -- pure tensor functions -----------------------------------------------------------------------------------------

    def _encode_eager(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(vlm.encode(images) for vlm in self._vlms)

    def _decide_eager(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        return self._decide_with(self._context, self.experts.step, *arguments)

    def _decide_with(self, context: Function, step: Function, *arguments: Tensor) -> tuple[Tensor, ...]:
        *observed, noise = (*arguments[:3], *arguments[4:], arguments[3])
        attention, prefix_state, prefix_parts = context(*observed)
        x, hidden = self.experts.start(noise), noise
        for index in range(self.experts.steps):
            x, hidden = step(x, self.experts.time(index), attention)
        actions = x.unflatten(1, noise.shape[:2])[..., : self.action_dim]
        return actions, prefix_state, prefix_parts, hidden.float().mean(dim=(0, 1))

    def _context(
        self, image_valid: Tensor, token_valid: Tensor, state: Tensor, *features: Tensor
    ) -> tuple[object, ...]:
        states = self.experts.state_tokens(state)
        count = len(self._vlms)
        caches: list[PrefixCache] = []
        for index, (vlm, members) in enumerate(zip(self._vlms, self._members_of_vlm, strict=True)):
            own = torch.stack([states[k] for k in members])
            caches.append(vlm.run(features[index], image_valid, features[count + index], token_valid, own))
        keys, values = _merge([c.keys for c in caches], self._rows), _merge([c.values for c in caches], self._rows)
        pooled = torch.stack([c.pooled for c in caches]).sum(0) / self.members
        parts = torch.stack([c.parts for c in caches]).sum(0) / self.members
        return self.experts.context(keys, values, caches[0].valid), pooled, parts

    # -- how they run --------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def _choose(self, mode: str, samples: int) -> Chosen:
        height, width = self._image_size()
        for vlm in self._vlms:
            vlm.prepare(height, width)
        if not candidates(mode, self.device):
            return accelerate(mode, self.device, torch.float32, lambda _: ())
        images, arguments = self._example(height, width, samples)
        dtypes = {tensor.dtype for tensor in self.tensors().values() if tensor.is_floating_point()}
        lowest = next((d for d in (torch.bfloat16, torch.float16) if d in dtypes), torch.float32)

        def attempt(name: str) -> tuple[Tensor, ...]:
            self._run_eagerly()
            if "compile" in name:
                encode = compiled(self._encode_eager, lowest)
                context, step = compiled(self._context, lowest), compiled(self.experts.step, lowest)
                self._encode = encode
                self._decide = lambda *tensors: self._decide_with(context, step, *tensors)
            if "cuda_graph" in name:
                self._encode = Recorded(self._encode, [images])
                self._decide = Recorded(self._decide, arguments)
            return (*self._encode(images), *self._decide(*arguments))

        with exact_fp32():
            chosen = accelerate(mode, self.device, lowest, attempt)
        if chosen.mode != "eager":
            self._static = (images.shape, *(tensor.shape for tensor in arguments))
        return chosen

    def _run_eagerly(self) -> None:
        self._encode, self._decide = self._encode_eager, self._decide_eager

    def _image_size(self) -> tuple[int, int]:
        """Height and width of an image as the vision tower gets it."""
        resized = self.config.resize_imgs_with_padding
        if resized is not None:
            return resized[1], resized[0]
        _, height, width = next(iter(self.config.image_features.values())).shape
        return height, width

    def _example(self, height: int, width: int, samples: int) -> tuple[Tensor, list[Tensor]]:
        """Arguments of `_encode` and `_decide` with the shapes of every decision to come."""
        generator = torch.Generator().manual_seed(0)
        config, cameras, length = self.config, len(self.config.image_features), self.config.tokenizer_max_length

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator).to(self.device)

        images = draw(cameras, 3, height, width).clamp(-1.0, 1.0)
        tokens = torch.arange(length, device=self.device)
        valid = [torch.arange(size, device=self.device) < size - 2 for size in (cameras + 2, length)]
        language = [vlm.embed_language(tokens) for vlm in self._vlms]
        arguments = [valid[0][:cameras], valid[1], draw(1, config.max_state_dim), draw(*self.noise_shape(samples))]
        return images, [*arguments, *self._encode_eager(images), *language]


def _merge(parts: list[Tensor], rows: list[int]) -> Tensor:
    """Joins the caches of several VLMs, (layers, K', ...) each, so that member k has row k."""
    if len(parts) == 1:
        return parts[0]
    joined = torch.cat(parts, dim=1)
    return torch.stack([joined[:, row] for row in rows], dim=1)
