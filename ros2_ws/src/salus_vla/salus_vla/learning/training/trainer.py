"""The loop of a stage: optimizer, running average, checkpoints, metrics. On CPU, one GPU or several."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from salus_vla.contract.errors import TrainingError
from salus_vla.learning.training.batches import Batches, mixed
from salus_vla.learning.training.training_settings import TrainSettings
from salus_vla.learning.training.training_state import read_state, write_state

METRICS_FILE = "metrics.jsonl"
STATE_FILE = "state.safetensors"
_MEASURED_FRAMES = 512
_DRAW_STREAM, _MEASURE_STREAM = 2, 3


@dataclass(frozen=True)
class Metrics:
    """One line of metrics.jsonl.

    Attributes:
        step: steps done.
        loss: mean of what was minimised since the line before.
        flow: mean of the flow-matching loss since the line before; of all members.
        cube: mean of the auxiliary loss, if there is one.
        held_out: flow-matching loss on episodes that are not learned from, with the averaged weights; where measured.
        rate: learning rate.
        gradient: norm before it was clipped.
        observations_per_s: since the line before.
        left_s: time that the remaining steps take at this rate [s].
    """

    step: int
    loss: float
    flow: float
    cube: float | None
    held_out: float | None
    rate: float
    gradient: float
    observations_per_s: float
    left_s: float


class Trainer:
    """Trains one stage."""

    def __init__(
        self,
        stage: nn.Module,
        training: Batches,
        held_out: Batches,
        settings: TrainSettings,
        folder: Path,
        accelerator: Accelerator,
        *,
        compiled: bool = False,
    ) -> None:
        """Prepares a stage; continues where `folder` has a checkpoint.

        Args:
            stage: `VlmStage` or `ExpertsStage`.
            training: to learn from.
            held_out: to measure on.
            settings: of the stage.
            folder: checkpoint and metrics; exists.
            accelerator: device, precision and processes.
            compiled: whether torch.compile makes the stage faster first; takes minutes, for long runs on a GPU.

        Raises:
            TrainingError: the checkpoint is damaged, or does not fit the stage.
        """
        self._settings, self._folder, self._accelerator = settings, folder, accelerator
        self._training, self._held_out = training, held_out
        self._stage = stage.to(accelerator.device)
        self._materialise()
        self._named = {name: value for name, value in self._stage.named_parameters() if value.requires_grad}
        decayed = [value for value in self._named.values() if value.ndim > 1]
        others = [value for value in self._named.values() if value.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self._optimizer = torch.optim.AdamW(groups, lr=settings.rate, betas=(0.9, 0.95), fused=True)
        self._average = {name: value.detach().clone() for name, value in self._named.items()}
        self.step = 0
        self._resume()
        run = torch.compile(self._stage) if compiled else self._stage
        self._run: nn.Module = accelerator.prepare_model(run) if accelerator.num_processes > 1 else run
        count, rank = accelerator.num_processes, accelerator.process_index
        if settings.batch % count:
            raise TrainingError(f"--batch {settings.batch}: expected a multiple of the {count} processes")
        own = settings.batch // count
        self._part = slice(rank * own, (rank + 1) * own)

    def train(
        self,
        report: Callable[[Metrics], None],
        *,
        every: int = 50,
        save_every: int = 500,
        stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Trains to the last step.

        Args:
            report: gets each line of the metrics.
            every: steps between two lines.
            save_every: steps between two checkpoints; the held-out loss is measured at each.
            stop: asked after each step; true writes a checkpoint and ends.

        Returns:
            Whether the last step was reached.

        Raises:
            TrainingError: the loss is not finite.
        """
        settings = self._settings
        sums: dict[str, Tensor] = {}
        since, began = 0, time.perf_counter()
        while self.step < settings.steps:
            losses, gradient = self._one_step()
            for name, value in losses.items():
                sums[name] = sums.get(name, torch.zeros((), device=value.device)) + value.detach().float()
            since += 1
            ended, stopped = self.step == settings.steps, stop()
            save = ended or stopped or self.step % save_every == 0
            if save or self.step % every == 0:
                means = {name: float(value) / since for name, value in sums.items()}
                if not all(value == value and abs(value) != float("inf") for value in means.values()):
                    raise TrainingError(
                        f"step {self.step}: the loss is not finite ({means}); a smaller --rate helps, the checkpoint "
                        f"before is in {self._folder}"
                    )
                seconds = time.perf_counter() - began
                line = Metrics(
                    step=self.step,
                    loss=means["loss"],
                    flow=means["flow"],
                    cube=means.get("cube"),
                    held_out=self.measure() if save else None,
                    rate=settings.rate_at(self.step - 1),
                    gradient=float(gradient),
                    observations_per_s=since * settings.batch / seconds,
                    left_s=(settings.steps - self.step) * seconds / since,
                )
                self._write(line, save)
                report(line)
                sums, since, began = {}, 0, time.perf_counter()
            if stopped and not ended:
                return False
        return True

    @torch.no_grad()
    def measure(self) -> float | None:
        """Flow-matching loss of the averaged weights on held-out frames, always with the same noise; None without."""
        if not len(self._held_out):
            return None
        current = {name: value.detach().clone() for name, value in self._named.items()}
        self.use_average()
        total, count = 0.0, 0
        generator = torch.Generator().manual_seed(mixed(self._settings.seed, _MEASURE_STREAM, 0))
        for batch in self._held_out.in_order(self._settings.batch, _MEASURED_FRAMES):
            with self._accelerator.autocast():
                losses = self._stage(batch.to(self._accelerator.device), generator)
            total, count = total + float(losses["flow"]) * len(batch.frame), count + len(batch.frame)
        self._load(current)
        return total / count

    @torch.no_grad()
    def use_average(self) -> None:
        """Puts the averaged weights in place: those are kept as the policy."""
        self._load(self._average)

    def _one_step(self) -> tuple[dict[str, Tensor], Tensor]:
        settings, accelerator = self._settings, self._accelerator
        batch = self._training.training(
            self.step, settings.batch, shift=settings.shift, state_noise=settings.state_noise, part=self._part
        )
        stream = mixed(settings.seed, _DRAW_STREAM, self.step * accelerator.num_processes + accelerator.process_index)
        generator = torch.Generator().manual_seed(stream)
        for group in self._optimizer.param_groups:
            group["lr"] = settings.rate_at(self.step)
        with accelerator.autocast():
            losses: dict[str, Tensor] = self._run(batch.to(accelerator.device), generator)
        accelerator.backward(losses["loss"])
        gradient = torch.nn.utils.clip_grad_norm_(self._named.values(), settings.clip)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        # Less of the past at first: the average would stay near the first weights for long.
        decay = min(settings.average, self.step / (self.step + 10))
        with torch.no_grad():
            averages, values = list(self._average.values()), [value.detach() for value in self._named.values()]
            torch._foreach_lerp_(averages, values, 1 - decay)
        return losses, gradient

    def _materialise(self) -> None:
        """Gives lazy parts their shape, with weights from the seed."""
        batch = next(iter(self._training.in_order(1, 1))).to(self._accelerator.device)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(self._settings.seed)
            self._stage(batch, torch.Generator().manual_seed(0))

    @torch.no_grad()
    def _load(self, values: dict[str, Tensor]) -> None:
        for name, parameter in self._named.items():
            parameter.copy_(values[name])

    def _write(self, line: Metrics, save: bool) -> None:
        if not self._accelerator.is_main_process:
            return
        if save:
            moments = self._optimizer.state
            tensors = {f"weight.{name}": value.detach() for name, value in self._named.items()}
            tensors |= {f"average.{name}": value for name, value in self._average.items()}
            for name, value in self._named.items():
                state = moments.get(value, {})
                tensors |= {f"{key}.{name}": state[key] for key in ("exp_avg", "exp_avg_sq") if key in state}
            write_state(self._folder / STATE_FILE, tensors, self.step, self._settings)
        path = self._folder / METRICS_FILE
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(line)) + "\n")
        except OSError as error:
            raise TrainingError(f"{path}: cannot be written ({error.strerror})") from error

    def _resume(self) -> None:
        path = self._folder / STATE_FILE
        if not path.is_file():
            return
        tensors, self.step = read_state(path, self._settings)
        device = self._accelerator.device
        expected = {f"{kind}.{name}" for kind in ("weight", "average") for name in self._named}
        if missing := expected - tensors.keys():
            raise TrainingError(f"{path}: has no {min(missing)}; it belongs to another policy")
        with torch.no_grad():
            for name, parameter in self._named.items():
                if tensors[f"weight.{name}"].shape != parameter.shape:
                    found = tuple(tensors[f"weight.{name}"].shape)
                    raise TrainingError(f"{path}: {name} has shape {found}, expected {tuple(parameter.shape)}")
                parameter.copy_(tensors[f"weight.{name}"])
                self._average[name] = tensors[f"average.{name}"].to(device)
                moments = {key: tensors.get(f"{key}.{name}") for key in ("exp_avg", "exp_avg_sq")}
                if all(value is not None for value in moments.values()):
                    self._optimizer.state[parameter] = {
                        "step": torch.tensor(float(self.step), device=device if device.type == "cuda" else "cpu"),
                        **{key: value.to(device) for key, value in moments.items() if value is not None},
                    }
