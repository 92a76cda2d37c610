"""The loss with several draws against LeRobot's own, one draw at a time."""

import copy
import functools

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy, pad_vector
from torch import Tensor

from salus_vla.contract.errors import ModelError
from salus_vla.learning.training.flow_loss import (
    check_trainable,
    embed_images_and_language,
    flow_losses,
    masked_mean,
    sample_noise,
)
from salus_vla.policies.smolvla.features import image_key
from salus_vla.policies.smolvla.loading.lerobot_logging import quiet_lerobot

BATCH, DRAWS, SIDE, TOKENS = 3, 4, 64, 7


@functools.cache
def _changed(begun: SmolVLAPolicy, changes: tuple[tuple[str, object], ...]) -> SmolVLAPolicy:
    """A policy with another kind of expert."""
    config = copy.deepcopy(begun.config)
    for name, value in changes:
        setattr(config, name, value)
    with quiet_lerobot(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SmolVLAPolicy(config).eval()


def _observations(policy: SmolVLAPolicy, seed: int, valid_tokens: list[int]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    batch = {
        image_key(camera): torch.rand(BATCH, 3, SIDE, SIDE, generator=generator) for camera in ("front", "side", "top")
    }
    valid = torch.arange(TOKENS) < torch.tensor(valid_tokens)[:, None]
    return batch | {
        "observation.state": torch.randn(BATCH, 8, generator=generator),
        "action": torch.randn(BATCH, policy.config.chunk_size, 8, generator=generator),
        "observation.language.tokens": torch.randint(10, 200, (BATCH, TOKENS), generator=generator),
        "observation.language.attention_mask": valid,
        "action_is_pad": torch.rand(BATCH, policy.config.chunk_size, generator=generator) < 0.3,
    }


def _ours(policy: SmolVLAPolicy, batch: dict[str, Tensor], noise: Tensor, time: Tensor) -> Tensor:
    images, _ = policy.prepare_images(batch)
    tokens, valid = batch["observation.language.tokens"], batch["observation.language.attention_mask"]
    prefix = embed_images_and_language(policy.model, torch.stack(images, dim=1), tokens, valid)
    state = pad_vector(batch["observation.state"], policy.config.max_state_dim)
    actions = pad_vector(batch["action"], policy.config.max_action_dim)
    return flow_losses(policy.model, prefix, state, actions, noise, time)


@pytest.mark.parametrize(
    "changes", [{}, {"attention_mode": "self_attn"}, {"self_attn_every_n_layers": 1}, {"self_attn_every_n_layers": 0}]
)
@given(seed=st.integers(0, 2**31), valid_tokens=st.lists(st.integers(1, TOKENS), min_size=BATCH, max_size=BATCH))
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_draw_has_the_loss_that_lerobot_gives_it(
    begun: SmolVLAPolicy, changes: dict[str, object], seed: int, valid_tokens: list[int]
) -> None:
    policy = _changed(begun, tuple(changes.items()))
    batch = _observations(policy, seed, valid_tokens)
    actions = pad_vector(batch["action"], policy.config.max_action_dim)
    noise, time = sample_noise(actions.shape, DRAWS, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        losses = _ours(policy, batch, noise, time)
        expected = [policy.forward(dict(batch), noise[:, r], time[:, r])[0] for r in range(DRAWS)]
    found = [masked_mean(losses[:, r : r + 1], 8, batch["action_is_pad"]) for r in range(DRAWS)]
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), rtol=1e-5, atol=1e-6)


def test_a_draw_does_not_see_the_others(begun: SmolVLAPolicy) -> None:
    batch = _observations(begun, 0, [TOKENS] * BATCH)
    noise, time = sample_noise((BATCH, begun.config.chunk_size, begun.config.max_action_dim), DRAWS, torch.Generator())
    other = noise.clone()
    other[:, 1:] += 1.0
    with torch.no_grad():
        first, second = (_ours(begun, batch, chosen, time) for chosen in (noise, other))
    torch.testing.assert_close(first[:, 0], second[:, 0], rtol=1e-5, atol=1e-6)
    assert (first[:, 1] - second[:, 1]).abs().max() > 0.1


def test_gradients_reach_vision_text_expert_and_state(begun: SmolVLAPolicy) -> None:
    policy = copy.deepcopy(begun)
    for parameter in policy.parameters():
        parameter.requires_grad = True
    batch = _observations(policy, 0, [TOKENS] * BATCH)
    noise, time = sample_noise((BATCH, policy.config.chunk_size, policy.config.max_action_dim), 2, torch.Generator())
    masked_mean(_ours(policy, batch, noise, time), 8, batch["action_is_pad"]).backward()
    both = policy.model.vlm_with_expert
    vlm = both.get_vlm_model()
    parts = [vlm.vision_model.embeddings.patch_embedding.weight, vlm.text_model.layers[0].self_attn.q_proj.weight]
    parts += [policy.model.state_proj.weight, both.lm_expert.layers[0].mlp.up_proj.weight]
    assert all(part.grad is not None and part.grad.abs().max() > 0 for part in parts)


def test_times_follow_smolvlas_distribution() -> None:
    _, time = sample_noise((4000, 1, 1), 4, torch.Generator().manual_seed(0))
    values = np.sort(time.flatten().numpy())
    expected = ((values - 0.001) / 0.999) ** 1.5  # distribution function of Beta(1.5, 1)
    seen = (np.arange(len(values)) + 0.5) / len(values)
    assert np.abs(expected - seen).max() < 0.01
    assert values.min() >= 0.001
    assert values.max() <= 1.0


def test_the_draws_of_an_observation_cover_the_times() -> None:
    _, time = sample_noise((100, 1, 1), 4, torch.Generator().manual_seed(0))
    strata = (((time - 0.001) / 0.999) ** 1.5 * 4).floor().long().sort(dim=1).values
    assert torch.equal(strata, torch.arange(4).expand(100, -1))


def test_an_observation_counts_as_often_as_it_is_weighted() -> None:
    losses = torch.arange(24, dtype=torch.float32).reshape(3, 2, 2, 2)
    padded = torch.tensor([[False, False], [False, True], [False, False]])
    weighted = masked_mean(losses, 2, padded, torch.tensor([2.0, 1.0, 0.0]))
    repeated = masked_mean(losses[[0, 0, 1]], 2, padded[[0, 0, 1]])
    torch.testing.assert_close(weighted, repeated)
    assert masked_mean(losses, 2, padded, torch.zeros(3)) == 0


@pytest.mark.parametrize(("key", "value"), [("add_image_special_tokens", True), ("prefix_length", 40)])
def test_parts_that_are_not_covered_are_named(begun: SmolVLAPolicy, key: str, value: object) -> None:
    policy = copy.deepcopy(begun)
    setattr(policy.config, key, value)
    with pytest.raises(ModelError, match=key):
        check_trainable(policy)
