"""The loop: it learns, an interrupted run ends with the same weights, a damaged checkpoint is named."""

import contextlib
import copy
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy

from salus_vla.contract.errors import TrainingError
from salus_vla.learning.training.batches import Batches, Frames
from salus_vla.learning.training.metrics_plot import plot_metrics, read_metrics
from salus_vla.learning.training.stages import ExpertsStage, VlmStage
from salus_vla.learning.training.trainer import METRICS_FILE, STATE_FILE, Metrics, Trainer
from salus_vla.learning.training.training_settings import TrainSettings, make_settings

MakeFrames = Callable[..., Frames]

SETTINGS = make_settings(stage="vlm", steps=6, batch=4, draws=2, warm_up=2, rate=1e-3)


def _trainer(policy: SmolVLAPolicy, frames: Frames, folder: Path, made: TrainSettings = SETTINGS) -> Trainer:
    folder.mkdir(exist_ok=True)
    horizon = policy.config.chunk_size
    stage = VlmStage(copy.deepcopy(policy), draws=made.draws, auxiliary=made.auxiliary)
    episodes = frames.episodes
    learned, held_out = (Batches(frames, chosen, horizon, made.seed) for chosen in (episodes[:-1], episodes[-1:]))
    return Trainer(stage, learned, held_out, made, folder, Accelerator(cpu=True))


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / STATE_FILE)


def test_an_interrupted_run_ends_with_the_same_weights(
    begun: SmolVLAPolicy, make_frames: MakeFrames, tmp_path: Path
) -> None:
    frames = make_frames(10, 10, 5)
    assert _trainer(begun, frames, tmp_path / "whole").train(lambda _: None)
    asked = itertools.count(1)
    stopped = _trainer(begun, frames, tmp_path / "parts").train(lambda _: None, stop=lambda: next(asked) == 3)
    assert not stopped
    resumed = _trainer(begun, frames, tmp_path / "parts")
    assert resumed.step == 3
    assert resumed.train(lambda _: None)
    whole, parts = _weights(tmp_path / "whole"), _weights(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_it_learns_what_the_pictures_show(begun: SmolVLAPolicy, make_frames: MakeFrames, tmp_path: Path) -> None:
    lines: list[Metrics] = []
    made = make_settings(stage="vlm", steps=120, batch=8, draws=4, warm_up=10, rate=3e-3, average=0.9, state_noise=0.0)
    trainer = _trainer(begun, make_frames(8, 8, 4), tmp_path / "out", made)
    trainer.train(lines.append, every=20, save_every=60)
    assert lines[-1].flow < 0.6 * lines[0].flow
    assert lines[-1].cube is not None
    assert [line.step for line in lines if line.held_out is not None] == [60, 120]


def test_the_rate_rises_stays_and_falls() -> None:
    made = make_settings(stage="vlm", steps=100, warm_up=10, decay=0.2, rate=1.0)
    rates = [made.rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert set(rates[10:80]) == {1.0}
    assert rates[90] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"batch": 5}, "--batch 4, asked for now is 5"), ({"seed": 1}, "--seed 0"), ({"draws": 3}, "--draws")],
)
def test_a_run_goes_on_only_as_it_was_begun(
    begun: SmolVLAPolicy, make_frames: MakeFrames, tmp_path: Path, changes: dict[str, int], named: str
) -> None:
    frames = make_frames(6, 6)
    _trainer(begun, frames, tmp_path / "out").train(lambda _: None, stop=lambda: True)
    with pytest.raises(TrainingError, match=named):
        _trainer(begun, frames, tmp_path / "out", SETTINGS.model_copy(update=changes))


def test_more_steps_may_be_asked_for(begun: SmolVLAPolicy, make_frames: MakeFrames, tmp_path: Path) -> None:
    frames = make_frames(6, 6)
    _trainer(begun, frames, tmp_path / "out").train(lambda _: None)
    longer = _trainer(begun, frames, tmp_path / "out", SETTINGS.model_copy(update={"steps": 8}))
    assert longer.step == 6
    assert longer.train(lambda _: None)


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, data: st.DataObject) -> None:
    from salus_vla.learning.training.training_state import read_state, write_state

    path = tmp_path / STATE_FILE
    write_state(path, {"weight.a": torch.ones(3)}, 2, SETTINGS)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole[:cut] if data.draw(st.booleans()) else whole)
    if len(changed) == len(whole):
        changed[cut] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(changed)
    with contextlib.suppress(TrainingError):
        tensors, step = read_state(path, SETTINGS)
        assert step >= 0
        assert all(value.isfinite().all() for value in tensors.values())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match=str(path)):
        read_state(path, SETTINGS)


def test_a_checkpoint_of_another_policy_is_refused(
    begun: SmolVLAPolicy, make_frames: MakeFrames, tmp_path: Path
) -> None:
    from salus_vla.learning.training.training_state import write_state

    (tmp_path / "out").mkdir()
    write_state(tmp_path / "out" / STATE_FILE, {"weight.other": torch.ones(1)}, 2, SETTINGS)
    with pytest.raises(TrainingError, match="belongs to another policy"):
        _trainer(begun, make_frames(6, 6), tmp_path / "out")


def test_a_loss_that_is_not_finite_ends_the_run(begun: SmolVLAPolicy, make_frames: MakeFrames, tmp_path: Path) -> None:
    frames = make_frames(6, 6)
    frames.action[:] = float("nan")
    with pytest.raises(TrainingError, match=r"step 6: the loss is not finite"):
        _trainer(begun, frames, tmp_path / "out").train(lambda _: None)
    assert not (tmp_path / "out" / STATE_FILE).exists()


def test_experts_differ_and_share_a_vlm_that_does_not_change(
    begun: SmolVLAPolicy, make_frames: MakeFrames, tmp_path: Path
) -> None:
    frames = make_frames(10, 10, 5)
    made = make_settings(stage="experts", steps=3, batch=4, draws=2, warm_up=1, members=3)
    weights = torch.ones(3, len(frames))
    weights[1, :10] = 0  # member 1 does not see the first episode
    stage = ExpertsStage(copy.deepcopy(begun), draws=2, seeds=[1, 2, 3], fresh=True, weights=weights)
    before = {name: value.clone() for name, value in begun.model.vlm_with_expert.vlm.named_parameters()}
    learned, held_out = (Batches(frames, chosen, begun.config.chunk_size, 0) for chosen in ([0, 1], [2]))
    trainer = Trainer(stage, learned, held_out, made, tmp_path, Accelerator(cpu=True))
    assert trainer.train(lambda _: None)
    vlms = {id(policy.model.vlm_with_expert.vlm) for policy in stage.policies()}
    assert len(vlms) == 1
    for name, value in stage.policies()[0].model.vlm_with_expert.vlm.named_parameters():
        assert torch.equal(before[name], value)
    experts = [policy.model.action_out_proj.weight for policy in stage.policies()]
    assert not torch.equal(experts[0], experts[1])
    assert not torch.equal(experts[1], experts[2])


def test_metrics_are_kept_and_drawn(begun: SmolVLAPolicy, make_frames: MakeFrames, tmp_path: Path) -> None:
    _trainer(begun, make_frames(6, 6), tmp_path / "out").train(lambda _: None, every=2, save_every=4)
    path = tmp_path / "out" / METRICS_FILE
    assert [entry["step"] for entry in read_metrics(path)] == [2, 4, 6]
    with path.open("a") as file:  # a run that was interrupted after step 5 goes on at 4
        file.write(json.dumps({"step": 5, "flow": 9.0, "rate": 1.0}) + "\n")
        file.write(json.dumps({"step": 6, "flow": 0.5, "rate": 1.0}) + "\n")
    assert [entry["flow"] for entry in read_metrics(path)][-1] == 0.5
    assert [entry["step"] for entry in read_metrics(path)] == [2, 4, 5, 6]
    plot_metrics(path, tmp_path / "metrics.png", "stage vlm")
    assert (tmp_path / "metrics.png").stat().st_size > 5000
    path.write_text("{}\n")
    with pytest.raises(TrainingError, match="line 1"):
        read_metrics(path)


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("rate", -1.0), ("held_out", 1.0), ("seed", 900_000)])
def test_a_setting_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(TrainingError, match=f"--{name.replace('_', '-')} {value}"):
        make_settings(stage="vlm", **{name: value})
