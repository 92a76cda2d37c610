"""The two stages of training as modules: a batch in, losses out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy, VLAFlowMatching, pad_vector
from torch import Tensor, nn

from salus_vla.learning.training.batches import Batch
from salus_vla.learning.training.flow_loss import (
    Prefix,
    check_trainable,
    embed_images_and_language,
    flow_losses,
    masked_mean,
    sample_noise,
)
from salus_vla.policies.smolvla.init.model_init import own_linears

Losses = dict[str, Tensor]
CUBE_DIM = 5


class VlmStage(nn.Module):
    """A whole policy: vision, text and expert."""

    def __init__(self, policy: SmolVLAPolicy, *, draws: int, auxiliary: float) -> None:
        """Wraps a policy, whose VLM becomes trainable.

        Args:
            policy: SmolVLA with fp32 weights.
            draws: noise draws for each observation.
            auxiliary: weight of the cube's loss; 0 leaves its head out.
        """
        super().__init__()
        check_trainable(policy)
        config = policy.config
        config.freeze_vision_encoder = config.train_expert_only = False
        both = policy.model.vlm_with_expert
        for parameter in policy.parameters():
            parameter.requires_grad = True
        both.freeze_vision_encoder = both.train_expert_only = False
        both.set_requires_grad()  # freezes what has no part in the loss
        self.policy, self._draws, self._auxiliary = policy, draws, auxiliary
        self.head: nn.Linear | None = None
        if auxiliary > 0:
            self.head = nn.LazyLinear(CUBE_DIM)

    def forward(self, batch: Batch, generator: torch.Generator) -> Losses:
        """Losses of a batch: `loss` is what is minimised, `flow` what LeRobot's policy would report, `cube`."""
        config = self.policy.config
        model = self.policy.model
        prefix = embed_images_and_language(model, batch.images, batch.tokens, batch.valid)
        losses = _member_losses(config, model, prefix, batch, self._draws, generator)
        flow = masked_mean(losses, config.action_feature.shape[0], batch.padded)
        found = {"loss": flow, "flow": flow.detach()}
        if self.head is not None and batch.cube is not None:
            features = prefix.embedded[:, : -batch.tokens.shape[1]].flatten(1).float()
            cube = F.mse_loss(self.head(features / features.shape[-1] ** 0.5), batch.cube)
            found |= {"loss": flow + self._auxiliary * cube, "cube": cube.detach()}
        return found

    def policies(self) -> list[SmolVLAPolicy]:
        """What is kept."""
        return [self.policy]


class ExpertsStage(nn.Module):
    """K action experts on one frozen VLM; each observation is embedded once for all of them."""

    def __init__(self, policy: SmolVLAPolicy, *, draws: int, seeds: list[int], fresh: bool, weights: Tensor) -> None:
        """Makes the members.

        Args:
            policy: gives the VLM and the first expert.
            draws: noise draws for each observation.
            seeds: of each member's weights.
            fresh: new weights; otherwise the policy's own with noise of a tenth of their spread.
            weights: how often each member sees each frame of the data set, (K, N).
        """
        super().__init__()
        check_trainable(policy)
        vlm = policy.model.vlm_with_expert.vlm
        for parameter in vlm.parameters():
            parameter.requires_grad = False
        policy.model.vlm_with_expert.vlm = None  # not copied with each member
        members = [copy.deepcopy(policy) for _ in seeds]
        policy.model.vlm_with_expert.vlm = vlm
        for member, seed in zip(members, seeds, strict=True):
            _renew(member.model, seed, fresh)
            member.model.vlm_with_expert.vlm = vlm
        self._take(members, draws, weights)

    @classmethod
    def of(cls, members: Sequence[SmolVLAPolicy], *, draws: int, weights: Tensor) -> ExpertsStage:
        """A stage in which each member goes on from its own weights.

        Args:
            members: with the same VLM object.
            draws: noise draws for each observation.
            weights: how often each member sees each frame of the data set, (K, N).
        """
        stage = cls.__new__(cls)
        nn.Module.__init__(stage)
        check_trainable(members[0])
        for parameter in members[0].model.vlm_with_expert.vlm.parameters():
            parameter.requires_grad = False
        stage._take(members, draws, weights)
        return stage

    def _take(self, members: Sequence[SmolVLAPolicy], draws: int, weights: Tensor) -> None:
        for member in members:
            member.config.freeze_vision_encoder = member.config.train_expert_only = True
            both = member.model.vlm_with_expert
            both.freeze_vision_encoder = both.train_expert_only = True
        self.members = nn.ModuleList(members)
        self._draws = draws
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, batch: Batch, generator: torch.Generator) -> Losses:
        """Losses of a batch: `loss` is the sum over the members, `flow` their mean."""
        first = cast(SmolVLAPolicy, self.members[0])
        with torch.no_grad():
            prefix = embed_images_and_language(first.model, batch.images, batch.tokens, batch.valid)
        flows = []
        for member, weights in zip(self.members, cast(Tensor, self.weights), strict=True):
            config = cast(SmolVLAPolicy, member).config
            losses = _member_losses(config, cast(VLAFlowMatching, member.model), prefix, batch, self._draws, generator)
            counted = weights[batch.frame.to(weights.device)]
            flows.append(masked_mean(losses, config.action_feature.shape[0], batch.padded, counted))
        stacked = torch.stack(flows)
        return {"loss": stacked.sum(), "flow": stacked.mean().detach()}

    def policies(self) -> list[SmolVLAPolicy]:
        """What is kept."""
        return [cast(SmolVLAPolicy, member) for member in self.members]


def _member_losses(
    config: SmolVLAConfig,
    model: VLAFlowMatching,
    prefix: Prefix,
    batch: Batch,
    draws: int,
    generator: torch.Generator,
) -> Tensor:
    actions = pad_vector(batch.actions, config.max_action_dim)
    noise, time = sample_noise(actions.shape, draws, generator)
    state = pad_vector(batch.state, config.max_state_dim)
    return flow_losses(model, prefix, state, actions, noise.to(actions.device), time.to(actions.device))


def _renew(model: VLAFlowMatching, seed: int, fresh: bool) -> None:
    """Other weights for all that is a member's own."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for part in own_linears(model):
            if fresh:
                part.reset_parameters()
            else:
                noise = torch.randn(part.weight.shape, generator=generator) * 0.1 * float(part.weight.std())
                part.weight += noise.to(part.weight)
