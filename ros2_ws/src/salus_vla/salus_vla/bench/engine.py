"""Speed, memory and loading of the ensemble engine against LeRobot's own policies, without ROS.

    python -m salus_vla.bench.engine --size full --device cuda:0 --json engine.json

Needs torch, lerobot and transformers only; from a plain checkout with PYTHONPATH=ros2_ws/src/salus_vla.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from salus_vla.bench.timing import Timing, measure, measure_in_turns
from salus_vla.config.scene import load_scene
from salus_vla.contract import CAMERAS, DEFAULT_TASK
from salus_vla.contract.types import Observation, PolicyOutput
from salus_vla.policies.registry import expand_members
from salus_vla.policies.smolvla.features import STATE_KEY, image_key
from salus_vla.policies.smolvla.inference.acceleration import exact_fp32
from salus_vla.policies.smolvla.inference.ensemble_engine import EnsembleEngine
from salus_vla.policies.smolvla.inference.ensemble_policy import EnsemblePolicy
from salus_vla.policies.smolvla.init.model_init import init_model
from salus_vla.policies.smolvla.loading.checkpoint import load_member, load_placed
from salus_vla.signals.safety_signals import SignalTracker

_NAIVE = "naive loop"
_ONE_MEMBER, _ALL_MEMBERS = "engine, one member", "engine eager"


@dataclass
class Result:
    """What one run measured.

    Attributes:
        timings: of one decision each, but for `load ...`.
        facts: of the engine in its automatic mode.
        memory_mib: weights, and the peak while loading and deciding.
        error: largest difference of a normalised action to LeRobot's own.
    """

    timings: dict[str, Timing] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    memory_mib: dict[str, float] = field(default_factory=dict)
    error: float = 0.0


class Bench:
    """One model on one device."""

    def __init__(self, model: Path, device: str, members: int, samples: int, calls: int, mode: str) -> None:
        """Takes the first members of a model."""
        self._members = expand_members([str(model)])[:members]
        self._device, self._samples, self._calls, self._mode = torch.device(device), samples, calls, mode
        self._observation = _observation()
        self.result = Result()

    def run(self) -> Result:
        """Measures everything; LeRobot's policies first, then they are freed."""
        noise, batch, reference = self._lerobot()
        _free()
        found = self._engines(batch, noise)
        _free()
        self.result.error = float((found.cpu() - reference.cpu()).abs().max())
        self._policy()
        self.result.memory_mib |= _measured_loading(self._members, str(self._device))
        return self.result

    def _time(self, name: str, call: Callable[[], object], calls: int | None = None, warm_up: int = 1) -> None:
        self.result.timings[name] = measure(name, self._complete(call), calls=calls or self._calls, warm_up=warm_up)

    def _complete(self, call: Callable[[], object]) -> Callable[[], None]:
        """The call until the device has done it."""

        def complete() -> None:
            call()
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)

        return complete

    def _lerobot(self) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Times LeRobot's policies; gives the noise, the batch and the actions (K, S, H, A) to compare with."""
        loaded = load_placed(self._members[:1], [self._device])[0]
        batch = loaded.preprocessor(_batch(self._observation))
        config = loaded.config
        shape = self._samples, config.chunk_size, config.max_action_dim
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(self._device)
        self._time("load, one policy, LeRobot", lambda: self._from_pretrained(self._members[0]), calls=1, warm_up=0)
        policies = [load_member(name, Path(name), str(self._device)) for name in self._members]

        def loop(chosen: Sequence[Any]) -> Tensor:
            chunks = [
                [policy.predict_action_chunk(dict(batch), noise=one[None])[0] for one in noise] for policy in chosen
            ]
            return torch.stack([torch.stack(samples) for samples in chunks])

        with exact_fp32():
            reference = loop(policies)
            self._time(_NAIVE, lambda: loop(policies), warm_up=0)
            self._time("one policy", lambda: loop(policies[:1]), warm_up=0)
        return noise, batch, reference

    def _from_pretrained(self, name: str) -> None:
        from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy

        from salus_vla.policies.smolvla.loading.lerobot_logging import quiet_lerobot
        from salus_vla.policies.smolvla.loading.member_files import read_member_files

        files = read_member_files(name, Path(name), str(self._device))
        # A VLM that the members keep together is read by the constructor; the member's own file is then not all.
        together = files.vlm_weights is not files.weights
        files.config.load_vlm_weights = together
        with quiet_lerobot():
            SmolVLAPolicy.from_pretrained(name, config=files.config, strict=not together)

    def _engines(self, batch: dict[str, Tensor], noise: Tensor) -> Tensor:
        """Times one member and all of them in turns, so that a busy machine slows both; gives the actions of all."""
        engines = {
            name: EnsembleEngine(load_placed(members, [self._device])[0], mode="eager", samples=self._samples)
            for name, members in ((_ONE_MEMBER, self._members[:1]), (_ALL_MEMBERS, self._members))
        }
        found = engines[_ALL_MEMBERS].forward(batch, noise).actions.clone()
        calls = {name: self._complete(partial(engine.forward, batch, noise)) for name, engine in engines.items()}
        self.result.timings |= measure_in_turns(calls, calls=self._calls)
        return found

    def _policy(self) -> None:
        """The whole policy in its chosen mode, with images that are new at each decision, and the signals."""
        began = time.perf_counter()
        policy = EnsemblePolicy(self._members, device=str(self._device), mode=self._mode, noise_samples=self._samples)
        self.result.timings["load, all members, mode ready"] = _once("load, mode ready", time.perf_counter() - began)
        self.result.facts = policy.provenance()
        load_s = float(self.result.facts["load_s"])
        self.result.timings["load, all members"] = _once("load, all members", load_s)
        policy.start_episode(0)
        images = {camera: image.copy() for camera, image in self._observation.images.items()}
        changing = Observation(0, images, self._observation.joint_position, DEFAULT_TASK)
        predictions: list[PolicyOutput] = []

        def decide(new_images: bool) -> None:
            if new_images:
                for image in images.values():
                    image += 1
            predictions[:] = [policy.predict(changing, len(predictions))]

        self._time(f"policy, {self.result.facts['mode']}", lambda: decide(True))
        self._time(f"policy, {self.result.facts['mode']}, same images", lambda: decide(False))
        scene = load_scene()
        arm = np.asarray(scene.robot.home)
        tracker = SignalTracker(arm - 2.0, arm + 2.0, scene.rates.decision_dt_ns)
        self._time("signals", lambda: tracker.update(predictions[0], arm, None, 0), calls=max(self._calls, 20))
        if self._device.type == "cuda":
            self.result.memory_mib["peak on the device, loading and deciding"] = (
                torch.cuda.max_memory_allocated(self._device) / 2**20
            )


_LOADING = """
import json, sys, time
import torch
from salus_vla.policies.smolvla.loading.checkpoint import load_placed
from salus_vla.policies.smolvla.inference.ensemble_engine import EnsembleEngine
import salus_vla.policies.smolvla.inference.ensemble_policy
members, device = json.loads(sys.argv[1]), torch.device(sys.argv[2])
torch.empty(1, device=device)
def memory(what):  # of this program alone; getrusage also counts the process it was started from
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(what))
before, began = memory("VmRSS"), time.perf_counter()
engine = EnsembleEngine(load_placed(members, [device])[0], mode="eager")
if device.type == "cuda": torch.cuda.synchronize(device)
seconds = time.perf_counter() - began
weights = sum(t.numel() * t.element_size() for t in engine.tensors().values()) / 2**20
host = memory("VmHWM") - before
found = {"weights": weights, "host memory, peak while loading, above the imports": host, "load_s": seconds}
if device.type == "cuda":
    found["device memory, peak while loading"] = torch.cuda.max_memory_allocated(device) / 2**20
print(json.dumps(found))
"""


def _measured_loading(members: Sequence[str], device: str) -> dict[str, float]:
    """Memory while loading [MiB], in a process of its own, whose peak nothing else has raised."""
    command = [sys.executable, "-c", _LOADING, json.dumps(list(members)), device]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _once(name: str, seconds: float) -> Timing:
    return Timing(name, seconds * 1e3, seconds * 1e3, 1)


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _observation() -> Observation:
    random = np.random.default_rng(0)
    scene = load_scene()
    shape = scene.cameras.height, scene.cameras.width, 3
    images = {camera: random.integers(0, 256, shape, dtype=np.uint8) for camera in CAMERAS}
    return Observation(0, images, np.append(np.asarray(scene.robot.home), [0.03, 0.03]), DEFAULT_TASK)


def _batch(observation: Observation) -> dict[str, Any]:
    pixels = {image_key(name): torch.from_numpy(image) for name, image in observation.images.items()}
    return {
        STATE_KEY: torch.from_numpy(observation.state).float(),
        "task": observation.task,
        **{key: image.permute(2, 0, 1).float() / 255 for key, image in pixels.items()},
    }


def _print(title: str, result: Result) -> None:
    print(title)
    naive = result.timings[_NAIVE].median_ms
    print(f"{'':34}{'median [ms]':>12}{'p95 [ms]':>12}{'naive loop / it':>18}")
    for name, timing in result.timings.items():
        ratio = "" if name.startswith(("load", "signals")) else f"{naive / timing.median_ms:.1f}"
        print(f"{name:34}{timing.median_ms:12.2f}{timing.p95_ms:12.2f}{ratio:>18}")
    one, all_members = (result.timings[name].median_ms for name in (_ONE_MEMBER, _ALL_MEMBERS))
    print(f"all members against one member of the same engine: {all_members / one:.2f} x")
    for name, value in result.memory_mib.items():
        print(f"{name}: {value:.2f} s" if name == "load_s" else f"{name}: {value:.0f} MiB")
    print(f"largest difference to LeRobot's normalised actions: {result.error:.1e}")
    print("; ".join(f"{key}: {value}" for key, value in result.facts.items() if key.startswith(("mode", "compile"))))


def main(argv: Sequence[str] | None = None) -> int:
    """Prints medians, 95th percentiles and ratios; writes them as JSON if asked."""
    parser = argparse.ArgumentParser(prog="python -m salus_vla.bench.engine", description=__doc__)
    parser.add_argument("--size", choices=("tiny", "full"), default="tiny", help="of the untrained model made for it")
    parser.add_argument("--model", type=Path, help="a model folder instead")
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--mode", default="auto", help="auto, eager, compile or cuda_graph (default: auto)")
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--samples", type=int, default=1, help="noise samples per member (default: 1)")
    parser.add_argument("--calls", type=int, default=20, help="timed calls of each (default: 20)")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    arguments = parser.parse_args(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("default", category=RuntimeWarning, module="salus_vla")
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model
        if model is None:
            model = Path(folder) / arguments.size
            init_model(model, size=arguments.size, members=arguments.members, seed=0)
        bench = Bench(model, arguments.device, arguments.members, arguments.samples, arguments.calls, arguments.mode)
        result = bench.run()
    where = torch.cuda.get_device_name(arguments.device) if "cuda" in arguments.device else platform.machine()
    size = arguments.model or arguments.size
    threads = torch.get_num_threads()
    title = f"{size}, {arguments.members} members, {arguments.samples} samples, {where}, {threads} threads"
    _print(title, result)
    if arguments.json:
        content = {"title": title, "torch": torch.__version__, **asdict(result)}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
