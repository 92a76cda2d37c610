"""Published detectors that learn from labels of whole episodes: SAFE-MLP, SAFE-LSTM and Hide-and-Seek's objective."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from salus_vla.contract.types import FloatArray
from salus_vla.learning.prediction.baselines.method import PUBLISHED, Method, block
from salus_vla.learning.prediction.fit_predictor import one_thread
from salus_vla.learning.prediction.samples import Samples

_EPOCHS, _BATCH, _HIDDEN = 30, 64, 64


class _Scorer(torch.nn.Module):
    """States (B, T, E) to scores (B, T)."""

    def __init__(self, width: int, recurrent: bool) -> None:
        super().__init__()
        self.recurrent = torch.nn.LSTM(width, _HIDDEN, batch_first=True) if recurrent else None
        self.hidden = torch.nn.Linear(_HIDDEN if recurrent else width, _HIDDEN)
        self.last = torch.nn.Linear(_HIDDEN, 1)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        found = states if self.recurrent is None else self.recurrent(states)[0]
        scores: torch.Tensor = self.last(torch.relu(self.hidden(found)))[..., 0]
        return scores


Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # logits, there (B, T), fails (B,)


def safe_mlp_loss(logits: torch.Tensor, there: torch.Tensor, fails: torch.Tensor) -> torch.Tensor:
    """Accumulated scores should be t in failures and 0 in successes (2506.09937, equation 2)."""
    total = torch.cumsum(torch.sigmoid(logits) * there, dim=1)
    steps = torch.cumsum(there, dim=1)
    error = torch.where(fails[:, None] > 0.5, steps - total, total)
    return (error / steps.clamp(min=1.0) * there).sum() / there.sum()


def safe_lstm_loss(logits: torch.Tensor, there: torch.Tensor, fails: torch.Tensor) -> torch.Tensor:
    """Cross entropy of every step with the label of its episode (2506.09937)."""
    labels = fails[:, None].expand_as(logits)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return (loss * there).sum() / there.sum()


def hide_and_seek_loss(logits: torch.Tensor, there: torch.Tensor, fails: torch.Tensor) -> torch.Tensor:
    """Contrast between and within trajectories, from labels of whole ones (as 2605.30834 describes it in words).

    Between: the highest tenth of a failure's steps is above that of a success by a margin. Within a failure the highest
    tenth is above the lowest half.
    """
    low = logits.masked_fill(there < 0.5, -1e4)
    top = torch.topk(low, max(1, low.shape[1] // 10), dim=1).values
    high = torch.where(top > -1e3, top, 0.0).sum(dim=1) / (top > -1e3).sum(dim=1).clamp(min=1)
    ordered = logits.masked_fill(there < 0.5, 1e4).sort(dim=1).values
    half = torch.arange(logits.shape[1])[None] < there.sum(dim=1, keepdim=True) / 2
    bottom = (ordered * half).sum(dim=1) / half.sum(dim=1).clamp(min=1)
    failures, successes = high[fails > 0.5], high[fails < 0.5]
    if not len(failures) or not len(successes):
        return logits.sum() * 0.0
    between = torch.relu(1.0 - (failures[:, None] - successes[None])).mean()
    within = torch.relu(1.0 - (failures - bottom[fails > 0.5])).mean()
    return between + within + 1e-3 * (logits**2 * there).mean()


def _method(name: str, states: Sequence[str], loss: Loss, *, recurrent: bool, accumulates: bool) -> Method:
    def score(samples: Samples, episodes: NDArray[np.bool_], seed: int) -> FloatArray:
        values = np.concatenate([block(samples, f"{state}_mean", state) for state in states], axis=1)
        with one_thread():
            return _fit_and_score(samples, values, episodes, seed, loss, recurrent=recurrent, accumulates=accumulates)

    shown = " and ".join("expert" if state == "expert" else "vision" for state in states)
    return Method(f"{name}, {shown} state", PUBLISHED, score, learns=True)


def _fit_and_score(
    samples: Samples,
    values: FloatArray,
    episodes: NDArray[np.bool_],
    seed: int,
    loss: Loss,
    *,
    recurrent: bool,
    accumulates: bool,
) -> FloatArray:
    generator = torch.Generator().manual_seed(seed)
    states, there = _padded(samples, values)
    fails = torch.from_numpy((~samples.success).astype(np.float32))
    net = _Scorer(values.shape[1], recurrent)
    with torch.no_grad():
        for weight in net.parameters():
            bound = weight.shape[-1] ** -0.5
            weight.copy_((torch.rand(weight.shape, generator=generator) * 2.0 - 1.0) * bound)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    training = torch.from_numpy(np.flatnonzero(episodes))
    for _ in range(_EPOCHS):
        for order in torch.randperm(len(training), generator=generator).split(_BATCH):
            index = training[order]
            optimizer.zero_grad()
            loss(net(states[index]), there[index], fails[index]).backward()
            optimizer.step()
    with torch.no_grad():
        found = net(states)
        if accumulates:
            found = torch.cumsum(torch.sigmoid(found) * there, dim=1)
    scores: FloatArray = found[there > 0.5].numpy().astype(np.float64)
    return scores


def _padded(samples: Samples, values: FloatArray) -> tuple[torch.Tensor, torch.Tensor]:
    decision = samples.decision
    shape = (len(samples.seed), int(decision.max()) + 1)
    states = np.zeros((*shape, values.shape[1]), dtype=np.float32)
    there = np.zeros(shape, dtype=np.float32)
    states[samples.episode, decision] = values
    there[samples.episode, decision] = 1.0
    return torch.from_numpy(states), torch.from_numpy(there)


SEQUENCE_MODELS = (
    _method("SAFE-MLP", ("expert",), safe_mlp_loss, recurrent=False, accumulates=True),
    _method("SAFE-LSTM", ("expert",), safe_lstm_loss, recurrent=True, accumulates=False),
    _method("SAFE-LSTM", ("expert", "prefix"), safe_lstm_loss, recurrent=True, accumulates=False),
    _method("Hide-and-Seek objective", ("expert",), hide_and_seek_loss, recurrent=True, accumulates=False),
)
