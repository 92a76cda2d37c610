"""The batched engine against LeRobot's own `predict_action_chunk` of each member, at equal noise.

The weights are drawn so that every part matters: attention is far from uniform, norms are not one. The members' chunks
differ by about 1, so the bound of 1e-5 leaves no room for a wrong mask, position or order.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.rtc.configuration_rtc import RTCConfig
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.policies.smolvla.processor_smolvla import make_smolvla_pre_post_processors
from torch import Tensor

from salus_vla.contract.errors import ModelError
from salus_vla.policies.smolvla.inference import action_expert, linear
from salus_vla.policies.smolvla.inference.ensemble_engine import EngineOutput, EnsembleEngine
from salus_vla.policies.smolvla.init.vlm_folder import write_vlm_folder
from salus_vla.policies.smolvla.init.vlm_sizes import VlmSize
from salus_vla.policies.smolvla.loading.checkpoint import VLM_PREFIX, LoadedEnsemble
from salus_vla.policies.smolvla.loading.weights import content_hash

SMALL = VlmSize(32, 8, 2, 16, 1, 2, 32, 4, 4, 2, 32, 512)
ACTION_DIM, STATE_DIM = 8, 8
FP32 = 1e-5
# Weights as PyTorch draws them, actions of size 1: measured 1.7e-3, because the engine rounds attention once less;
# LeRobot in bf16 is up to 7.8e-3 from itself in fp32.
BF16 = 5e-3


@dataclass(frozen=True)
class Reference:
    """What LeRobot gives, each member and noise sample by itself."""

    actions: Tensor  # (K, S, H, A)
    prefix_state: Tensor
    prefix_parts: Tensor
    expert_state: Tensor


@pytest.fixture(scope="module")
def vlm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vlm")
    write_vlm_folder(folder, SMALL)
    return folder


def _config(vlm_folder: Path, cameras: dict[str, tuple[int, int]] | None = None, **settings: Any) -> SmolVLAConfig:
    cameras = cameras or {"front": (32, 32), "side": (32, 32), "top": (32, 32)}
    values: dict[str, Any] = {
        "device": "cpu",
        "input_features": {
            "observation.state": PolicyFeature(FeatureType.STATE, (STATE_DIM,)),
            **{
                f"observation.images.{name}": PolicyFeature(FeatureType.VISUAL, (3, *size))
                for name, size in cameras.items()
            },
        },
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (ACTION_DIM,))},
        "vlm_model_name": str(vlm_folder),
        "resize_imgs_with_padding": (32, 32),
        "num_vlm_layers": 4,
        "chunk_size": 5,
        "n_action_steps": 5,
        "num_steps": 4,
        "max_state_dim": 12,
        "max_action_dim": 10,
        "tokenizer_max_length": 24,
    }
    return SmolVLAConfig(**(values | settings))


def _randomise(module: torch.nn.Module, seed: int) -> None:
    """Weights large enough that softmax and norms work away from their trivial points."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            parameter.data.copy_(parameter[0].numel() ** -0.5 * noise)
        else:  # biases, and the weights of norms
            parameter.data.copy_(0.3 * noise + float(name.endswith("weight")))


def _member(base: SmolVLAPolicy, expert_seed: int, vlm_seed: int) -> SmolVLAPolicy:
    policy = copy.deepcopy(base)
    _randomise(policy, expert_seed)
    _randomise(policy.model.vlm_with_expert.vlm, vlm_seed)
    return policy.eval()


def _mixed_precision(policy: SmolVLAPolicy) -> SmolVLAPolicy:
    """The precisions of a checkpoint with `load_vlm_weights`: bf16, but fp32 for projections that SmolVLA adds."""
    both = policy.model.vlm_with_expert
    both.vlm.to(torch.bfloat16)
    both.lm_expert.to(torch.bfloat16)
    if policy.config.attention_mode == "self_attn":  # nothing added
        return policy
    for index, layer in enumerate(both.lm_expert.layers):
        if index % policy.config.self_attn_every_n_layers:
            layer.self_attn.k_proj.float()
            layer.self_attn.v_proj.float()
    return policy


def _members(config: SmolVLAConfig, vlm_seeds: tuple[int, ...]) -> list[SmolVLAPolicy]:
    base = SmolVLAPolicy(config)
    return [_member(base, 10 + k, vlm_seed) for k, vlm_seed in enumerate(vlm_seeds)]


def _engine(policies: list[SmolVLAPolicy], **options: Any) -> EnsembleEngine:
    vlms: list[SmolVLAPolicy] = []
    vlm_hashes: list[str] = []
    vlm_of_member, experts = [], []
    for policy in policies:
        state = policy.state_dict()
        digest = content_hash({key: value for key, value in state.items() if key.startswith(VLM_PREFIX)})
        if digest not in vlm_hashes:
            vlm_hashes.append(digest)
            vlms.append(policy)
        vlm_of_member.append(vlm_hashes.index(digest))
        experts.append({key: value for key, value in state.items() if not key.startswith(VLM_PREFIX)})
    return EnsembleEngine(
        LoadedEnsemble(
            names=tuple(str(k) for k in range(len(policies))),
            vlms=tuple(vlms),
            vlm_of_member=tuple(vlm_of_member),
            experts={key: torch.stack([expert[key] for expert in experts]) for key in experts[0]},
            hashes=tuple(content_hash(expert) for expert in experts),
            vlm_hashes=tuple(vlm_hashes),
            preprocessor=None,
            postprocessor=None,
            device=torch.device("cpu"),
        ),
        **options,
    )


def _batch(config: SmolVLAConfig, seed: int = 0, task: str = "pick up the red cube") -> dict[str, Tensor]:
    """One random observation through LeRobot's own pre-processor."""
    generator = torch.Generator().manual_seed(seed)
    stats = {"observation.state": {"mean": torch.zeros(STATE_DIM), "std": torch.ones(STATE_DIM)}}
    preprocessor, _ = make_smolvla_pre_post_processors(config, stats)
    observation: dict[str, Any] = {"observation.state": torch.randn(STATE_DIM, generator=generator), "task": task}
    for key, feature in config.image_features.items():
        observation[key] = torch.rand(feature.shape, generator=generator)
    return preprocessor(observation)


def _noise(config: SmolVLAConfig, samples: int, seed: int = 0) -> Tensor:
    shape = samples, config.chunk_size, config.max_action_dim
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _lerobot(policies: list[SmolVLAPolicy], batch: dict[str, Tensor], noise: Tensor) -> Reference:
    actions, prefix_states, prefix_parts, expert_states = [], [], [], []
    for policy in policies:
        calls: list[tuple[list[Tensor | None], Any]] = []
        masks: list[Tensor] = []
        both = policy.model.vlm_with_expert
        forward, embed_prefix = both.forward, policy.model.embed_prefix

        def recorded(*args: Any, _calls: Any = calls, _forward: Any = forward, **kwargs: Any) -> Any:
            _calls.append(_forward(*args, **kwargs))
            return _calls[-1]

        def recorded_mask(*args: Any, _masks: Any = masks, _embed: Any = embed_prefix, **kwargs: Any) -> Any:
            result = _embed(*args, **kwargs)
            _masks.append(result[1])
            return result

        both.forward, policy.model.embed_prefix = recorded, recorded_mask
        try:
            for sample in noise:
                calls.clear()
                actions.append(policy.predict_action_chunk(dict(batch), noise=sample[None].clone())[0])
                expert_states.append(calls[-1][0][1].float().mean(dim=(0, 1)))
            hidden = calls[0][0][0][0].float()
            prefix_states.append(hidden[masks[-1][0]].mean(0))
            prefix_parts.append(
                _parts(policy, hidden, masks[-1][0], (policy.config.resize_imgs_with_padding or (64,))[0])
            )
        finally:
            del both.forward, policy.model.embed_prefix
    stacked = torch.stack(actions).unflatten(0, (len(policies), len(noise)))
    means = (torch.stack(states).mean(0) for states in (prefix_states, prefix_parts, expert_states))
    return Reference(stacked, *means)


def _parts(policy: SmolVLAPolicy, hidden: Tensor, mask: Tensor, side: int) -> Tensor:
    """Means over the tokens of each camera and of the rest: LeRobot's prefix is cameras, language, state, padding."""
    model = policy.model
    with torch.no_grad():
        size = model.vlm_with_expert.embed_image(torch.zeros(1, 3, side, side)).shape[1]
    if model.add_image_special_tokens:
        size += model.global_image_start_token.numel() + model.image_end_token.numel()
    ends = [size * (index + 1) for index in range(len(policy.config.image_features))]
    parts = [slice(begin, end) for begin, end in zip([0, *ends], [*ends, len(mask)], strict=True)]
    return torch.stack([hidden[part][mask[part]].mean(0) for part in parts])


def _errors(output: EngineOutput, reference: Reference) -> dict[str, float]:
    assert output.actions.shape == reference.actions.shape
    return {
        # A camera that is not there is NaN in both.
        name: float((getattr(output, name) - getattr(reference, name)).abs()[~getattr(reference, name).isnan()].max())
        for name in ("actions", "prefix_state", "prefix_parts", "expert_state")
    }


def _compare(policies: list[SmolVLAPolicy], batch: dict[str, Tensor], noise: Tensor) -> dict[str, float]:
    output = _engine(policies).forward(batch, noise)
    reference = _lerobot(policies, batch, noise)
    return _errors(output, reference)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pad_language_to": "max_length"},
        {"attention_mode": "self_attn"},
        {"self_attn_every_n_layers": 3},
        {"self_attn_every_n_layers": 1},
        {"self_attn_every_n_layers": 0},
        {"self_attn_every_n_layers": -1},
        {"prefix_length": 40},
        {"prefix_length": 40, "pad_language_to": "max_length", "attention_mode": "self_attn"},
        {"add_image_special_tokens": True},
        {"num_vlm_layers": 3},
        {"expert_width_multiplier": 0.5},
        {"num_steps": 7, "min_period": 1e-2, "max_period": 2.0},
        {"cameras": {"front": (32, 32)}},
        {"cameras": {"top": (24, 40), "front": (40, 24)}},
        {"cameras": {"front": (20, 32), "side": (32, 32), "top": (64, 48)}},
    ],
    ids=str,
)
def test_equals_lerobot_with_these_settings(vlm_folder: Path, settings: dict[str, Any]) -> None:
    config = _config(vlm_folder, **settings)
    errors = _compare(_members(config, (1, 2, 1)), _batch(config), _noise(config, 2))
    assert max(errors.values()) <= FP32


@pytest.mark.parametrize("settings", [{}, {"attention_mode": "self_attn"}], ids=str)
def test_equals_lerobot_with_packed_weights(
    vlm_folder: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[linear.PackedLinear] = []

    def recorded(*arguments: Any) -> linear.PackedLinear:
        packed.append(linear.pack(*arguments))
        return packed[-1]

    monkeypatch.setattr(linear, "_PACK_FROM", 0)
    monkeypatch.setattr(action_expert, "pack", recorded)
    config = _config(vlm_folder, **settings)
    errors = _compare(_members(config, (1, 2, 1)), _batch(config), _noise(config, 2))
    assert packed
    assert max(errors.values()) <= FP32


@pytest.mark.parametrize("outputs", [960, 1024, 4096])
@pytest.mark.parametrize("with_bias", [False, True])
def test_packed_weights_give_the_batched_product(outputs: int, with_bias: bool) -> None:
    generator = torch.Generator().manual_seed(outputs)
    weight, x = (torch.randn(3, rows, 96, generator=generator) for rows in (outputs, 50))
    bias = torch.randn(3, 1, outputs, generator=generator) if with_bias else None
    found = linear.pack(weight, bias, 50)(x)
    expected = linear.BatchedLinear(weight, bias)(x)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("vlm_seeds", [(1,), (1, 1, 1), (1, 2, 3), (1, 2, 1), (1, 2, 2, 1)], ids=str)
def test_equals_lerobot_however_members_share_vlms(vlm_folder: Path, vlm_seeds: tuple[int, ...], samples: int) -> None:
    config = _config(vlm_folder)
    errors = _compare(_members(config, vlm_seeds), _batch(config), _noise(config, samples))
    assert max(errors.values()) <= FP32


@pytest.fixture(scope="module")
def three(vlm_folder: Path) -> list[SmolVLAPolicy]:
    """Two members that share a VLM around one that has its own."""
    return _members(_config(vlm_folder, pad_language_to="max_length"), (1, 2, 1))


@pytest.fixture(scope="module")
def three_engine(three: list[SmolVLAPolicy]) -> EnsembleEngine:
    return _engine(three)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32),
    scale=st.sampled_from([0.0, 1.0, 30.0]),
    token_mask=st.lists(st.booleans(), min_size=24, max_size=24),
    camera_masks=st.lists(st.booleans(), min_size=3, max_size=3),
    samples=st.integers(1, 3),
)
def test_equals_lerobot_on_any_observation_and_any_padding(
    three: list[SmolVLAPolicy],
    three_engine: EnsembleEngine,
    seed: int,
    scale: float,
    token_mask: list[bool],
    camera_masks: list[bool],
    samples: int,
) -> None:
    config = three[0].config
    batch = _batch(config, seed, "put it down")
    batch["observation.state"] *= scale
    batch["observation.language.attention_mask"] = torch.tensor([token_mask])
    for key, mask in zip(config.image_features, camera_masks, strict=True):
        batch[f"{key}_padding_mask"] = torch.tensor([mask])
    noise = _noise(config, samples, seed)
    errors = _errors(three_engine.forward(batch, noise), _lerobot(three, batch, noise))
    assert max(errors.values()) <= FP32


def test_members_differ_by_far_more_than_the_tolerance(
    three: list[SmolVLAPolicy], three_engine: EnsembleEngine
) -> None:
    config = three[0].config
    noise = _noise(config, 2)
    one, other = (three_engine.forward(_batch(config, seed), noise).actions for seed in (0, 1))
    assert float((one[0] - one[2]).abs().max()) > 0.1  # members of one VLM
    assert float((one[0] - one[1]).abs().max()) > 0.1  # members of two
    assert float((one[:, 0] - one[:, 1]).abs().max()) > 0.1  # noise samples
    assert float((one - other).abs().max()) > 0.1  # observations


def test_output_does_not_depend_on_the_calls_before(three: list[SmolVLAPolicy], three_engine: EnsembleEngine) -> None:
    config = three[0].config
    batch, noise = _batch(config), _noise(config, 2)
    first = three_engine.forward(batch, noise)
    three_engine.forward(_batch(config, 7, "something longer to do"), _noise(config, 3, 7))
    again = three_engine.forward(batch, noise)
    assert torch.equal(first.actions, again.actions)
    assert torch.equal(first.prefix_state, again.prefix_state)
    assert torch.equal(first.expert_state, again.expert_state)


BF16_SETTINGS = [{}, {"pad_language_to": "max_length"}, {"attention_mode": "self_attn"}]


@pytest.mark.parametrize("settings", BF16_SETTINGS, ids=str)
def test_mixed_bf16_equals_lerobot_within_its_rounding(vlm_folder: Path, settings: dict[str, Any]) -> None:
    config = _config(vlm_folder, **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        policies = [_mixed_precision(SmolVLAPolicy(config).eval()) for _ in range(3)]
    errors = _compare(policies, _batch(config), _noise(config, 2))
    assert max(errors.values()) <= BF16
    assert errors["prefix_state"] <= FP32  # the prefix runs in LeRobot's own code


@pytest.mark.parametrize("settings", BF16_SETTINGS, ids=str)
def test_mixed_bf16_is_nearer_to_lerobot_than_lerobot_in_bf16_to_fp32(
    vlm_folder: Path, settings: dict[str, Any]
) -> None:
    config = _config(vlm_folder, **settings)
    policies = _members(config, (1, 2, 1))
    batch, noise = _batch(config), _noise(config, 2)
    full = _lerobot(policies, batch, noise).actions
    mixed = [_mixed_precision(policy) for policy in policies]
    reference = _lerobot(mixed, batch, noise).actions
    error = (_engine(mixed).forward(batch, noise).actions - reference).abs().mean()
    assert 0 < error < (reference - full).abs().mean()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"use_cache": False}, "use_cache"),
        ({"rtc_config": RTCConfig(enabled=True)}, "rtc_config"),
        ({"adapt_to_pi_aloha": True}, "adapt_to_pi_aloha"),
        ({"num_expert_layers": 2}, "num_expert_layers is 2, the VLM has 4"),
    ],
    ids=str,
)
def test_what_the_batch_does_not_cover_is_refused(vlm_folder: Path, settings: dict[str, Any], named: str) -> None:
    policies = _members(_config(vlm_folder, **settings), (1,))
    with pytest.raises(ModelError, match=named):
        _engine(policies)
