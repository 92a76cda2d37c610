"""Batches are a function of seed and step: nothing is left out, nothing depends on what was asked before."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_vla.contract.errors import TrainingError
from salus_vla.learning.training.batches import Batches, Frames, bootstrap, split

MakeFrames = Callable[..., Frames]

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=6)


def _batches(frames: Frames, horizon: int = 4, seed: int = 0) -> Batches:
    return Batches(frames, frames.episodes, horizon, seed)


@given(lengths=LENGTHS, batch=st.integers(1, 7), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_every_frame_comes_once_before_any_comes_again(
    make_frames: MakeFrames, lengths: list[int], batch: int, seed: int
) -> None:
    frames = make_frames(*lengths)
    batches = _batches(frames, seed=seed)
    steps = -(-2 * len(frames) // batch)
    drawn = torch.cat([batches.training(s, batch, shift=0, state_noise=0).frame for s in range(steps)])
    for epoch in range(2):
        own = drawn[epoch * len(frames) : (epoch + 1) * len(frames)]
        assert sorted(own.tolist()) == list(range(len(frames)))


@given(lengths=LENGTHS, horizon=st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_a_chunk_stays_in_its_episode(make_frames: MakeFrames, lengths: list[int], horizon: int) -> None:
    frames = make_frames(*lengths)
    batch = next(_batches(frames, horizon).in_order(len(frames), len(frames)))
    for row, frame in enumerate(batch.frame.tolist()):
        inside = [f for f in range(frame, frame + horizon) if f < len(frames)]
        inside = [f for f in inside if frames.episode[f] == frames.episode[frame]]
        assert batch.padded[row].tolist() == [i >= len(inside) for i in range(horizon)]
        torch.testing.assert_close(batch.actions[row, : len(inside)], frames.action[inside])


def test_the_parts_of_the_processes_are_the_whole(make_frames: MakeFrames) -> None:
    batches = _batches(make_frames(9, 9))
    whole = batches.training(5, 8, shift=3, state_noise=0.1)
    parts = [batches.training(5, 8, shift=3, state_noise=0.1, part=slice(i, i + 4)) for i in (0, 4)]
    for name in ("images", "state", "actions", "frame"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]))


def test_images_move_by_whole_pixels_and_repeat_their_edge(make_frames: MakeFrames) -> None:
    frames = make_frames(6)
    ramp = torch.arange(64, dtype=torch.uint8)
    frames = Frames(**{**vars(frames), "images": ramp.expand(6, 3, 3, 64, 64).contiguous()})
    moved = _batches(frames).training(0, 6, shift=3, state_noise=0).images.mul(127.5).add(127.5).round()
    seen = set()
    for image in moved.flatten(0, 1):
        offset = int(image[0, 0, 32]) - 32
        seen.add(offset)
        expected = (torch.arange(64) + offset).clamp(0, 63).float()
        assert torch.equal(image, expected.expand(3, 64, 64))
    assert seen <= set(range(-3, 4))
    assert len(seen) > 3


def test_state_noise_is_in_radians_and_small_on_the_gripper(make_frames: MakeFrames) -> None:
    frames = make_frames(*[50] * 10)
    batches = _batches(frames)
    noisy = batches.training(0, 500, shift=0, state_noise=0.2)
    difference = (noisy.state - frames.state[noisy.frame]) * frames.state_std
    assert difference[:, :7].std().item() == pytest.approx(0.2, rel=0.1)
    assert difference[:, 7].std().item() == pytest.approx(0.002, rel=0.2)


@given(count=st.integers(2, 60), share=st.floats(0.01, 0.5), seed=st.integers(0, 99))
def test_held_out_episodes_are_not_learned_from(count: int, share: float, seed: int) -> None:
    episodes = list(range(100, 100 + count))
    learned, held_out = split(episodes, share, seed)
    assert sorted(learned + held_out) == episodes
    assert len(held_out) == max(1, round(count * share))
    assert split(episodes, share, seed) == (learned, held_out)


def test_members_see_different_episodes_whatever_their_number() -> None:
    counts = bootstrap(list(range(40)), 3, 0)
    assert counts.sum(axis=1).tolist() == [40, 40, 40]
    assert np.array_equal(counts[:2], bootstrap(list(range(40)), 2, 0))
    assert (counts[0] != counts[1]).any()
    assert (counts == 0).any()


@given(
    lengths=LENGTHS,
    values=st.lists(st.sampled_from([0.0, 0.3, 1.0, 2.5]), min_size=6, max_size=6),
    batch=st.integers(1, 7),
)
@settings(max_examples=30, deadline=None)
def test_frames_come_in_the_ratio_of_their_weights(
    make_frames: MakeFrames, lengths: list[int], values: list[float], batch: int
) -> None:
    frames = make_frames(*lengths)
    weight = torch.tensor(values, dtype=torch.float64)[frames.episode]
    weighted = Frames(**{**vars(frames), "weight": weight})
    if not weight.sum() > 0:
        with pytest.raises(TrainingError, match="sum to nothing"):
            _batches(weighted)
        return
    size = len(frames)
    steps = -(-40 * size // batch)
    batches = _batches(weighted)
    drawn = torch.cat([batches.training(s, batch, shift=0, state_noise=0).frame for s in range(steps)])[: 40 * size]
    share = weight * size / weight.sum()
    counts = torch.bincount(drawn, minlength=size).double()
    assert (counts[weight == 0] == 0).all()
    for epoch in range(2):  # rounded up or down in each
        own = torch.bincount(drawn[epoch * size : (epoch + 1) * size], minlength=size).double()
        assert ((own - share).abs() < 1 + 1e-9).all()
    assert ((counts / 40 - share).abs() < 0.5).all()


def test_equal_weights_change_nothing(make_frames: MakeFrames) -> None:
    frames = make_frames(5, 7)
    same = Frames(**{**vars(frames), "weight": torch.full((12,), 3.0)})
    for step in range(5):
        one, two = (_batches(item).training(step, 5, shift=0, state_noise=0).frame for item in (frames, same))
        assert torch.equal(one, two)
