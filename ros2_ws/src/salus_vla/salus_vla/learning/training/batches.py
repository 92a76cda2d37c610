"""Frames of a data set in memory, and the batches of each step: a function of seed and step alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salus_vla.contract.errors import TrainingError


@dataclass(frozen=True)
class Frames:
    """All frames of a data set, in order.

    Attributes:
        images: uint8 (N, C, 3, side, side), cameras in the order of the policy.
        state: normalised, (N, 8).
        action: normalised, (N, 8).
        tokens, valid: of the instruction, (N, L).
        episode: number of the episode, (N,), ascending.
        cube: position and yaw of the cube, normalised, (N, 5), or None where the data set has no ground truth.
        state_std: what a normalised state was divided by, (8,) [rad, m].
        weight: how often a frame is taken, against the others, (N,); None takes all alike.
    """

    images: Tensor
    state: Tensor
    action: Tensor
    tokens: Tensor
    valid: Tensor
    episode: Tensor
    cube: Tensor | None
    state_std: Tensor
    weight: Tensor | None = None

    def __len__(self) -> int:
        return len(self.episode)

    def to(self, device: torch.device) -> Frames:
        """On a device: batches are then put together there."""
        return Frames(**{name: None if part is None else part.to(device) for name, part in vars(self).items()})

    @property
    def size(self) -> int:
        """Memory [bytes]."""
        return sum(part.nbytes for part in vars(self).values() if part is not None)

    @property
    def episodes(self) -> list[int]:
        """Numbers of the episodes."""
        numbers: list[int] = self.episode.unique().tolist()
        return numbers


class Batch(NamedTuple):
    """What one step learns from.

    Attributes:
        images: float in [-1, 1], (B, C, 3, side, side).
        state: (B, 8).
        actions: the chunk, (B, H, 8).
        padded: rows of the chunk behind the end of the episode, (B, H).
        tokens, valid: (B, L).
        cube: (B, 5) or None.
        frame: number of the frame, (B,).
    """

    images: Tensor
    state: Tensor
    actions: Tensor
    padded: Tensor
    tokens: Tensor
    valid: Tensor
    cube: Tensor | None
    frame: Tensor

    def to(self, device: torch.device) -> Batch:
        """On a device."""
        return Batch(*(None if part is None else part.to(device, non_blocking=True) for part in self))


class Batches:
    """Batches of chosen episodes."""

    def __init__(self, frames: Frames, episodes: list[int], horizon: int, seed: int) -> None:
        """Chooses.

        Args:
            frames: of the whole data set.
            episodes: to draw from.
            horizon: H, rows of a chunk.
            seed: of the order and the augmentation.
        """
        self._frames, self._horizon, self._seed = frames, horizon, seed
        self._device = frames.images.device
        episode = frames.episode.cpu()
        # Numbers are drawn on the CPU: the same on every device.
        self._chosen = torch.isin(episode, torch.tensor(episodes)).nonzero()[:, 0]
        self._shares = _shares(frames.weight, self._chosen)
        # Last frame of the episode of each frame.
        ends = torch.cat([episode[1:] != episode[:-1], torch.ones(1, dtype=torch.bool)])
        last = ends.nonzero()[:, 0]
        self._last = last[torch.searchsorted(last, torch.arange(len(frames)))].to(self._device)

    def __len__(self) -> int:
        return len(self._chosen)

    def training(self, step: int, batch: int, *, shift: int, state_noise: float, part: slice = slice(None)) -> Batch:
        """The batch of a step, with augmentation.

        Args:
            step: number of the step.
            batch: observations in it.
            shift: see `TrainSettings`.
            state_noise: see `TrainSettings`.
            part: of the batch that this process takes.
        """
        frame = self._chosen[self._order(step, batch)]
        generator = torch.Generator().manual_seed(mixed(self._seed, 1, step))
        moves = torch.randint(-shift, shift + 1, (batch, self._frames.images.shape[1], 2), generator=generator)
        noise = torch.randn(batch, self._frames.state.shape[1], generator=generator) * state_noise
        noise[:, -1] *= 0.01
        frame, moves, noise = (drawn[part].to(self._device) for drawn in (frame, moves, noise))
        images = self._frames.images[frame]
        made = self._make(frame, _shifted(images, moves) if shift else images)
        return made._replace(state=made.state + noise / self._frames.state_std)

    def in_order(self, batch: int, limit: int) -> Iterator[Batch]:
        """Frames spread evenly over the chosen ones, without augmentation; at most `limit`."""
        count = min(limit, len(self._chosen))
        chosen = self._chosen[torch.linspace(0, len(self._chosen) - 1, count).long()] if count else self._chosen[:0]
        for begin in range(0, count, batch):
            frame = chosen[begin : begin + batch].to(self._device)
            yield self._make(frame, self._frames.images[frame])

    def _order(self, step: int, batch: int) -> Tensor:
        """Every frame as often as its share of an epoch says, before the next epoch begins."""
        numbers = np.arange(step * batch, (step + 1) * batch)
        size = round(float(self._shares.sum()))
        epochs, places = numbers // size, numbers % size
        order = torch.empty(batch, dtype=torch.long)
        for epoch in np.unique(epochs):
            generator = torch.Generator().manual_seed(mixed(self._seed, 0, int(epoch)))
            permutation = torch.randperm(size, generator=generator)
            # Systematic sampling: a share of 1.5 is taken once or twice, and the sum is the same in each epoch.
            ends = (self._shares.cumsum(0) + torch.rand((), generator=generator, dtype=torch.float64)).floor()
            taken = torch.searchsorted(ends, torch.arange(1, size + 1, dtype=torch.float64)).clamp_max(size - 1)
            here = torch.from_numpy(epochs == epoch)
            order[here] = taken[permutation[torch.from_numpy(places[epochs == epoch])]]
        return order

    def _make(self, frame: Tensor, images: Tensor) -> Batch:
        frames = self._frames
        rows = frame[:, None] + torch.arange(self._horizon, device=self._device)
        last = self._last[frame][:, None]
        return Batch(
            images=images.float().div_(127.5).sub_(1.0),
            state=frames.state[frame],
            actions=frames.action[torch.minimum(rows, last)],
            padded=rows > last,
            tokens=frames.tokens[frame],
            valid=frames.valid[frame],
            cube=None if frames.cube is None else frames.cube[frame],
            frame=frame,
        )


def _shares(weight: Tensor | None, chosen: Tensor) -> Tensor:
    """How often each chosen frame comes in an epoch, (M,); the sum is M, and a frame of mean weight comes once."""
    if weight is None or not len(chosen):
        return torch.ones(len(chosen), dtype=torch.float64)
    wanted = weight.cpu()[chosen].double()
    if not float(wanted.sum()) > 0.0:
        raise TrainingError("the weights of the frames to learn from sum to nothing")
    return wanted * (len(chosen) / wanted.sum())


def split(episodes: list[int], held_out: float, seed: int) -> tuple[list[int], list[int]]:
    """Episodes to learn from and episodes to measure on; at least one of the second kind unless its share is 0."""
    count = round(len(episodes) * held_out)
    if held_out > 0 and len(episodes) > 1:
        count = max(1, count)
    order = np.random.default_rng([seed, 0x5E7]).permutation(len(episodes))
    kept_back = {episodes[i] for i in order[:count]}
    return [e for e in episodes if e not in kept_back], sorted(kept_back)


def bootstrap(episodes: list[int], members: int, seed: int) -> NDArray[np.int64]:
    """How often each member sees each episode: as many draws with replacement as there are episodes, (K, episodes)."""
    generators = [np.random.default_rng([seed, 0xB007, member]) for member in range(members)]
    shares = np.full(len(episodes), 1.0 / len(episodes))
    return np.stack([generator.multinomial(len(episodes), shares) for generator in generators])


def _shifted(images: Tensor, moves: Tensor) -> Tensor:
    """Moves each image (B, C, 3, s, s) by (B, C, 2) pixels; the edge is repeated."""
    side = images.shape[-1]
    steps = torch.arange(side, device=images.device)
    y = (steps + moves[..., 0, None]).clamp(0, side - 1)
    x = (steps + moves[..., 1, None]).clamp(0, side - 1)
    if images.device.type == "cpu":  # image by image: gathering single bytes takes ten times as long here
        moved = torch.empty_like(images)
        for place in np.ndindex(*images.shape[:2]):
            moved[place] = images[place].index_select(1, y[place]).index_select(2, x[place])
        return moved
    batch, cameras, colours = (torch.arange(size, device=images.device) for size in images.shape[:3])
    y, x = y[..., None, :, None], x[..., None, None, :]
    return images[batch[:, None, None, None, None], cameras[:, None, None, None], colours[:, None, None], y, x]


def mixed(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
