"""Published detectors that learn from successful episodes only: how far a state is from those."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from salus_vla.contract.types import FloatArray
from salus_vla.learning.prediction.baselines.method import PUBLISHED, Method, block, feature, lowest_where_unknown
from salus_vla.learning.prediction.fit_predictor import one_thread
from salus_vla.learning.prediction.samples import Samples

_MOST = 6_000  # states of successes that a method is fitted on
_NEIGHBOURS = 10
_STEPS = 400
_RIDGE = 1e-2

Score = Callable[[FloatArray, int], Callable[[FloatArray], FloatArray]]  # states of successes, seed -> score of states


def cosine_neighbours(states: FloatArray, seed: int) -> Callable[[FloatArray], FloatArray]:
    """Mean cosine distance to the nearest states of successes (SAFE's baseline, 2506.09937)."""
    del seed
    known = torch.from_numpy(_unit(states)).float()

    def score(others: FloatArray) -> FloatArray:
        found = [
            1.0
            - (torch.from_numpy(part).float() @ known.T).topk(min(_NEIGHBOURS, len(known)), dim=1).values.mean(dim=1)
            for part in np.array_split(_unit(others), max(1, len(others) // 4096))
        ]
        return torch.cat(found).numpy().astype(np.float64)

    return score


def mahalanobis(states: FloatArray, seed: int) -> Callable[[FloatArray], FloatArray]:
    """Squared Mahalanobis distance to the successes."""
    del seed
    mean = states.mean(axis=0)
    covariance = np.cov(states.T) + _RIDGE * np.eye(states.shape[1])
    precision = np.linalg.inv(covariance)

    def score(others: FloatArray) -> FloatArray:
        away = others - mean
        found: FloatArray = np.einsum("ni,ij,nj->n", away, precision, away)
        return found

    return score


def random_network(states: FloatArray, seed: int) -> Callable[[FloatArray], FloatArray]:
    """Random network distillation: error of a network that imitates a random one on successes (Burda et al. 2019)."""
    generator = torch.Generator().manual_seed(seed)
    target, student = (_mlp(states.shape[1], 32, generator) for _ in range(2))
    for weight in target.parameters():
        weight.requires_grad_(False)
    _train(student, states, generator, lambda batch: ((student(batch) - target(batch)) ** 2).mean())

    def score(others: FloatArray) -> FloatArray:
        with torch.no_grad():
            inputs = torch.from_numpy(others).float()
            found: FloatArray = ((student(inputs) - target(inputs)) ** 2).mean(dim=1).numpy().astype(np.float64)
        return found

    return score


def flow_density(states: FloatArray, seed: int) -> Callable[[FloatArray], FloatArray]:
    """logpZO: a flow-matching model of the successes' states turns a state into noise; the size of that noise.

    Rectified flow between noise at 0 and states at 1, integrated back in ten Euler steps (2506.09937, after FAIL-Detect
    2503.08558).
    """
    generator = torch.Generator().manual_seed(seed)
    width = states.shape[1]
    field = _mlp(width + 1, width, generator, hidden=128)

    def loss(batch: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(batch.shape, generator=generator)
        time = torch.rand((len(batch), 1), generator=generator)
        at = time * batch + (1.0 - time) * noise
        return ((field(torch.cat((at, time), dim=1)) - (batch - noise)) ** 2).mean()

    _train(field, states, generator, loss)

    def score(others: FloatArray) -> FloatArray:
        with torch.no_grad():
            at = torch.from_numpy(others).float()
            for step in range(10, 0, -1):
                at = at - field(torch.cat((at, torch.full((len(at), 1), step / 10)), dim=1)) / 10
            found: FloatArray = (at**2).sum(dim=1).numpy().astype(np.float64)
        return found

    return score


def _mlp(inputs: int, outputs: int, generator: torch.Generator, hidden: int = 64) -> torch.nn.Sequential:
    net = torch.nn.Sequential(
        torch.nn.Linear(inputs, hidden),
        torch.nn.ReLU(),
        torch.nn.Linear(hidden, hidden),
        torch.nn.ReLU(),
        torch.nn.Linear(hidden, outputs),
    )
    with torch.no_grad():
        for weight in net.parameters():
            scale = (2.0 / weight.shape[-1]) ** 0.5 if weight.ndim > 1 else 0.0
            weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
    return net


def _train(
    net: torch.nn.Module,
    states: FloatArray,
    generator: torch.Generator,
    loss: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    known = torch.from_numpy(states).float()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(_STEPS):
        batch = known[torch.randint(len(known), (256,), generator=generator)]
        optimizer.zero_grad()
        loss(batch).backward()
        optimizer.step()


def _unit(states: FloatArray) -> FloatArray:
    found: FloatArray = states / np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-9)
    return found


def _on(name: str, states: str, fit: Score) -> Method:
    def score(samples: Samples, episodes: NDArray[np.bool_], seed: int) -> FloatArray:
        values = block(samples, f"{states}_mean", states)
        rows = np.flatnonzero(samples.rows(episodes & samples.success))
        chosen = rows[:: max(1, len(rows) // _MOST)]
        with one_thread():
            return fit(values[chosen], seed)(values)

    return Method(f"{name}, {'expert' if states == 'expert' else 'vision'} state", PUBLISHED, score, learns=True)


def _fail_detectors(samples: Samples, episodes: NDArray[np.bool_], seed: int) -> FloatArray:
    """Both detectors of VLA-FAIL (2606.21386), each in deviations of the successes; the larger one counts.

    Theirs looks at the last layer token by token, this at its mean over tokens.
    """
    distance = _on("", "expert", mahalanobis).score(samples, episodes, seed)
    consistency = lowest_where_unknown(feature(samples, "log_mean.plan_inconsistency"))
    rows = samples.rows(episodes & samples.success)
    scaled = [
        (values - values[rows].mean()) / max(float(values[rows].std()), 1e-9)
        for values in (np.log(np.maximum(distance, 1e-9)), consistency)
    ]
    found: FloatArray = np.maximum(*scaled)
    return found


DISTANCES = (
    *(
        _on(name, states, fit)
        for states in ("expert", "prefix")
        for name, fit in (
            ("cosine k-NN", cosine_neighbours),
            ("Mahalanobis", mahalanobis),
            ("RND", random_network),
            ("flow density (logpZO)", flow_density),
        )
    ),
    Method("VLA-FAIL: features and chunk consistency", PUBLISHED, _fail_detectors, learns=True),
)
