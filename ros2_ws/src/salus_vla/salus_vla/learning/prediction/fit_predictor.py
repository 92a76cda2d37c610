"""Fits the predictor's network: all members of the bootstrap ensemble side by side, in torch, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from salus_vla.contract.errors import TrainingError
from salus_vla.contract.types import FloatArray
from salus_vla.learning.prediction.samples import Samples
from salus_vla.safety.prediction.episode_features import BLOCKS, FEATURES, columns
from salus_vla.safety.prediction.predictor_network import (
    HORIZONS_S,
    INPUTS,
    NOVELTIES,
    OUTPUTS,
    TOLD_MISSING,
    VALUES,
    FailureKind,
    NetworkWeights,
    directions,
    novelties,
    prepared,
)

_SMALLEST = 1e-4  # deviation of a feature that does not vary
_KINDS, _BINS = len(FailureKind), len(HORIZONS_S)
_OWNERS = tuple(block.group for block in BLOCKS for _ in block.names)
# Inputs that a robot may lack, or lose, together.
_MAY_BE_MISSING = ("signals", "expert", "prefix", "effort", "error", "velocity")


@dataclass(frozen=True)
class FitSettings:
    """How the network is fitted.

    Attributes:
        members: of the bootstrap ensemble.
        views: groups of inputs; members look at one of them each, in turn. Side by side in one network the many numbers
            of what is seen drown the few of what is felt.
        hidden: neurons of both layers.
        steps, batch, rate: of Adam; the rate falls to 0 along half a cosine.
        decay, decay_linear: weight decay of the layers and of the linear part.
        dropout: share of the first layer's neurons that are left out in a step.
        bank: states of successes that novelty is measured against.
        missing: share of rows of which an input is hidden, each by itself.
        noise: standard deviation of what is added to the scaled features.
    """

    members: int = 4
    views: tuple[tuple[str, ...], ...] = (
        ("hand", "signals", "expert", "prefix"),
        ("clock", "hand", "motion", "signals", "felt"),
    )
    hidden: tuple[int, int] = (40, 20)
    steps: int = 400
    batch: int = 1024
    rate: float = 6e-3
    decay: float = 3e-2
    decay_linear: float = 3e-1
    dropout: float = 0.2
    bank: int = 256
    missing: float = 0.03
    noise: float = 0.3


@dataclass(frozen=True, eq=False)
class _Targets:
    """Of the rows that are fitted, as tensors."""

    inputs: torch.Tensor
    hazards: torch.Tensor
    slips: torch.Tensor
    fails: torch.Tensor
    weights: torch.Tensor  # of each episode's rows for `fails`
    bootstrap: torch.Tensor  # (M, N)


def fit_network(
    samples: Samples,
    episodes: NDArray[np.bool_],
    seed: int,
    settings: FitSettings | None = None,
    features: NDArray[np.int64] | None = None,
) -> NetworkWeights:
    """Fits it.

    Args:
        samples: where the episodes are from.
        episodes: those to fit on, (E,).
        seed: of initial weights, bootstrap and order.
        settings: how.
        features: indices of those that are used; None for all.

    Raises:
        TrainingError: the episodes all succeed or all fail.
    """
    settings = settings or FitSettings()
    rows = np.flatnonzero(samples.rows(episodes))
    outcomes = samples.success[episodes]
    if not len(outcomes) or outcomes.all() or not outcomes.any():
        raise TrainingError(
            f"{len(outcomes)} episodes to train a predictor on, {int(outcomes.sum())} of them successful: "
            "it learns from the difference, record both"
        )
    generator = torch.Generator().manual_seed(seed)
    banks, owners = _banks(samples, episodes, settings)
    others = samples.seed[samples.episode[rows]][:, None] != owners[None]
    found = np.concatenate((samples.features[rows], novelties(samples.features[rows], banks, others)), axis=1)
    mean, scale = _scaling(found)
    targets = _targets(samples, rows, prepared(found, mean, scale), settings, seed)
    used = torch.stack([_used(features, settings.views[i % len(settings.views)]) for i in range(settings.members)])
    net = _Net(settings, generator)
    optimizer = torch.optim.AdamW(
        [
            {"params": [net.linear], "weight_decay": settings.decay_linear},
            {"params": [net.first, net.second, net.last], "weight_decay": settings.decay},
            {"params": net.biases, "weight_decay": 0.0},
        ],
        lr=settings.rate,
    )
    with one_thread():
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
        for _ in range(settings.steps):
            index = torch.randint(len(rows), (settings.batch,), generator=generator)
            inputs = _hidden_inputs(targets.inputs[index], settings, generator) * used[:, None]
            loss = _loss(net(inputs, settings.dropout, generator), targets, index)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimizer.step()
            schedule.step()
    return net.weights(mean, scale, used, banks)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: for networks as small as these more are slower, and their number would change the result."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Net(torch.nn.Module):
    def __init__(self, settings: FitSettings, generator: torch.Generator) -> None:
        super().__init__()
        members, (hidden, inner) = settings.members, settings.hidden

        def drawn(*shape: int) -> torch.nn.Parameter:
            return torch.nn.Parameter(torch.randn(shape, generator=generator) * (2.0 / shape[-2]) ** 0.5)

        self.linear = torch.nn.Parameter(torch.zeros(members, INPUTS, OUTPUTS))
        self.first, self.second = drawn(members, INPUTS, hidden), drawn(members, hidden, inner)
        self.last = torch.nn.Parameter(drawn(members, inner, OUTPUTS).data * 0.1)
        self.first_bias = torch.nn.Parameter(torch.zeros(members, hidden))
        self.second_bias = torch.nn.Parameter(torch.zeros(members, inner))
        self.last_bias = torch.nn.Parameter(torch.zeros(members, OUTPUTS))
        with torch.no_grad():
            self.last_bias[:, : _KINDS * _BINS] = -5.0  # events are rare

    @property
    def biases(self) -> list[torch.nn.Parameter]:
        return [self.first_bias, self.second_bias, self.last_bias]

    def forward(self, inputs: torch.Tensor, dropout: float, generator: torch.Generator) -> torch.Tensor:
        hidden = torch.relu(inputs @ self.first + self.first_bias[:, None])
        kept = torch.rand(hidden.shape, generator=generator) >= dropout
        inner = torch.relu((hidden * kept / (1.0 - dropout)) @ self.second + self.second_bias[:, None])
        return inputs @ self.linear + inner @ self.last + self.last_bias[:, None]

    def weights(
        self,
        mean: NDArray[np.float32],
        scale: NDArray[np.float32],
        used: torch.Tensor,
        banks: Mapping[str, NDArray[np.float32]],
    ) -> NetworkWeights:
        found = {name: value.detach().numpy().astype(np.float32) for name, value in self.named_parameters()}
        for name in ("linear", "first"):
            found[name] = found[name] * used.numpy()[..., None]
        return NetworkWeights(mean=mean, scale=scale, **banks, **found)


def _banks(
    samples: Samples, episodes: NDArray[np.bool_], settings: FitSettings
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int64]]:
    """States of successes, and the seeds of those that they are from.

    Of decisions that have both states, as long as there are any: a row of zeros, which stands for a state that is not
    known, would take the place of one that is.
    """
    states = {
        group: samples.features[:, [index for index, name in enumerate(FEATURES) if name.startswith(f"{group}_mean.")]]
        for group in ("prefix", "expert")
    }
    known = np.logical_and.reduce([np.isfinite(own).all(axis=1) for own in states.values()])
    rows = np.flatnonzero(samples.rows(episodes & samples.success))
    rows = rows[known[rows]] if known[rows].any() else rows
    chosen = rows[np.linspace(0, len(rows) - 1, min(settings.bank, len(rows))).astype(int)]
    banks = {
        f"{group}_bank": directions(own[chosen]).astype(np.float16).astype(np.float32)  # as they are stored
        for group, own in states.items()
    }
    return banks, samples.seed[samples.episode[chosen]]


def _scaling(features: FloatArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    known = np.isfinite(features)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, features, 0.0).sum(axis=0) / count
    variance = np.where(known, (features - mean) ** 2, 0.0).sum(axis=0) / count
    return mean.astype(np.float32), np.maximum(np.sqrt(variance), _SMALLEST).astype(np.float32)


def _targets(
    samples: Samples, rows: NDArray[np.int64], inputs: NDArray[np.float32], settings: FitSettings, seed: int
) -> _Targets:
    episode = samples.episode[rows]
    lengths = np.bincount(episode, minlength=len(samples.seed))
    weights = len(rows) / (len(np.unique(episode)) * lengths[episode])  # every episode counts the same
    seeds, of_seed = np.unique(samples.seed, return_inverse=True)
    drawn = np.random.default_rng(seed).poisson(1.0, (settings.members, len(seeds)))
    if settings.members == 1:
        drawn[:] = 1
    return _Targets(
        inputs=torch.from_numpy(inputs),
        hazards=torch.from_numpy(samples.hazards[rows]),
        slips=torch.from_numpy(samples.slips[rows].astype(np.float32)),
        fails=torch.from_numpy(samples.fails[rows].astype(np.float32)),
        weights=torch.from_numpy(weights.astype(np.float32)),
        bootstrap=torch.from_numpy(drawn[:, of_seed[episode]].astype(np.float32)),
    )


def _loss(outputs: torch.Tensor, targets: _Targets, index: torch.Tensor) -> torch.Tensor:
    bootstrap = targets.bootstrap[:, index]
    hazards = targets.hazards[index]
    raw = outputs[..., : _KINDS * _BINS].unflatten(-1, (_BINS, _KINDS))
    # Class 0 is no event, with a logit of 0.
    scaled = torch.cat((torch.zeros_like(raw[..., :1]), raw), dim=-1).log_softmax(dim=-1)
    seen = hazards > -2
    chosen = (hazards + 1).clamp(min=0).expand(len(raw), *hazards.shape)
    likelihood = scaled.gather(-1, chosen[..., None])[..., 0] * seen
    hazard_loss = -(likelihood.sum(dim=-1) * bootstrap).mean()
    slips, fails = targets.slips[index], targets.fails[index]
    held = torch.isfinite(slips)
    slip_loss = _cross_entropy(outputs[..., -2], slips.nan_to_num()) * held
    failure_loss = _cross_entropy(outputs[..., -1], fails) * targets.weights[index]
    return hazard_loss + (slip_loss * bootstrap).mean() + (failure_loss * bootstrap).mean()


def _cross_entropy(logit: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.binary_cross_entropy_with_logits(logit, label.expand_as(logit), reduction="none")


def _hidden_inputs(inputs: torch.Tensor, settings: FitSettings, generator: torch.Generator) -> torch.Tensor:
    """Inputs with noise, of which some rows lack some kinds."""
    noise = torch.randn(inputs.shape, generator=generator) * settings.noise
    noise[:, VALUES:] = 0.0
    found = inputs + noise
    for kind in _MAY_BE_MISSING:
        lacks = torch.rand(len(inputs), generator=generator) < settings.missing
        values, told = _of_kind(kind)
        found[:, values] = torch.where(lacks[:, None], 0.0, found[:, values])
        found[:, told] = torch.where(lacks[:, None], 1.0, found[:, told])
    return found


@cache
def _of_kind(kind: str) -> tuple[list[int], list[int]]:
    """Inputs that are NaN where a kind is missing, and those that say so."""
    values = [
        index
        for index, name in enumerate(FEATURES)
        if (_OWNERS[index] == kind if kind in _OWNERS else _OWNERS[index] == "felt" and name.startswith(kind))
    ]
    told = [VALUES + place for place, index in enumerate(TOLD_MISSING) if index in values]
    return values + _novelties_of(kind), told


def _novelties_of(group: str) -> list[int]:
    return [len(FEATURES) + place for place, (name, _) in enumerate(NOVELTIES) if name.startswith(group)]


def _used(features: NDArray[np.int64] | None, view: tuple[str, ...]) -> torch.Tensor:
    """Inputs that a member may use, (I,)."""
    chosen = columns(*view) if features is None else np.intersect1d(features, columns(*view))
    used = np.zeros(INPUTS, dtype=np.float32)
    used[chosen] = 1.0
    for place, (name, _) in enumerate(NOVELTIES):
        used[len(FEATURES) + place] = float(FEATURES.index(f"{name}0") in chosen)
    used[VALUES:] = np.isin(TOLD_MISSING, chosen)
    return torch.from_numpy(used)
