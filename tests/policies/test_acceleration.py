"""Fast modes: the functions can be recorded, give the plain numbers, and fall back with a reason."""

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._inductor.config
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import salus_vla
from salus_vla.contract.errors import ModelError
from salus_vla.contract.types import Observation
from salus_vla.policies.registry import expand_members
from salus_vla.policies.smolvla.inference import ensemble_engine as engine_module
from salus_vla.policies.smolvla.inference.acceleration import COMPILED_GRAPH, accelerate, candidates, exact_fp32
from salus_vla.policies.smolvla.inference.ensemble_engine import EnsembleEngine
from salus_vla.policies.smolvla.inference.ensemble_policy import EnsemblePolicy
from salus_vla.policies.smolvla.loading.checkpoint import load_ensemble

Observe = Callable[..., Observation]
CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


class _Recordable(TorchDispatchMode):
    """Fails on what a CUDA graph cannot hold: a value asked from the device, one uploaded to it, a shape from data.

    On the CPU an upload cannot be told by the device; but it starts from a tensor made of Python numbers, which comes
    through `lift_fresh`, or is a copy to another device.
    """

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "item", "lift_fresh", "equal")

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.name().removeprefix("aten::").split(".")[0]
        assert name not in self.FORBIDDEN, f"{name} in a function that is to be recorded"
        if name in ("index", "index_put", "index_put_"):
            assert all(index is None or index.dtype != torch.bool for index in args[1]), f"{name} by a mask"
        return function(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def engine(model: Path) -> EnsembleEngine:
    return EnsembleEngine(load_ensemble(expand_members([str(model)])))


def _example(engine: EnsembleEngine, samples: int = 2) -> tuple[Tensor, list[Tensor]]:
    with torch.inference_mode():
        return engine._example(*engine._image_size(), samples)


def test_what_is_recorded_asks_the_device_for_nothing_and_uploads_nothing(engine: EnsembleEngine) -> None:
    images, arguments = _example(engine)
    with torch.inference_mode(), _Recordable():
        engine._encode_eager(images)
        engine._decide_eager(*arguments)


@pytest.mark.parametrize(
    "careless",
    [
        lambda x: x[x > 0],
        lambda x: x * float(x.sum()),
        lambda x: x + torch.tensor([1.0]),
        lambda x: torch.nonzero(x),
    ],
    ids=["mask", "value", "constant", "nonzero"],
)
def test_the_check_of_what_can_be_recorded_works(careless: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(AssertionError), torch.inference_mode(), _Recordable():
        careless(torch.ones(3))


def test_shapes_do_not_depend_on_values(engine: EnsembleEngine) -> None:
    """Every intermediate shape follows from the arguments' shapes, as in a trace without numbers."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    images, arguments = _example(engine)
    with torch.inference_mode(), FakeTensorMode(allow_non_fake_inputs=True) as fake:
        features = engine._encode_eager(fake.from_tensor(images))
        decided = engine._decide_eager(*(fake.from_tensor(tensor) for tensor in arguments))
        actions, prefix_state, prefix_parts, expert_state = decided
    assert features[0].shape == arguments[4].shape
    assert actions.shape == (2, 2, 16, 8)
    assert (prefix_state.shape, prefix_parts.shape, expert_state.shape) == ((64,), (4, 64), (48,))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
def test_compiled_gives_the_numbers_of_eager_and_is_not_compiled_again(
    model: Path, observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = expand_members([str(model)])
    eager = EnsemblePolicy(members, mode="eager")
    # g++ takes half as long without its optimiser and without vector code, which are its authors' to test.
    monkeypatch.setenv("TORCHINDUCTOR_DEBUG_COMPILE", "1")
    with torch._inductor.config.patch({"cpp.vec_isa_ok": False}):
        compiled = EnsemblePolicy(members, mode="compile")
    facts = compiled.provenance()
    assert facts["mode"] == "compile", facts["mode_reason"]
    assert float(facts["mode_error"]) <= 1e-5
    assert float(facts["mode_setup_s"]) > 0
    assert Path(facts["compile_cache"]).is_dir()
    with torch._dynamo.config.patch(error_on_recompile=True):
        for decision, task in enumerate(["pick up the red cube", "go", "put the red cube into the blue bin, slowly"]):
            observation = observe(decision, task=task)
            plain, fast = (policy.predict(observation, decision) for policy in (eager, compiled))
            torch.testing.assert_close(torch.from_numpy(fast.chunks), torch.from_numpy(plain.chunks), rtol=0, atol=1e-5)
            torch.testing.assert_close(
                torch.from_numpy(fast.prefix_state), torch.from_numpy(plain.prefix_state), rtol=0, atol=1e-5
            )


class _FakeGraph:
    """Stands for `Recorded` where there is no GPU: fixed inputs, copied outputs."""

    def __init__(self, function: Any, example: list[Tensor]) -> None:
        self.function, self.inputs, self.calls = function, [tensor.clone() for tensor in example], 0

    def __call__(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        for place, argument in zip(self.inputs, arguments, strict=True):
            place.copy_(argument)
        self.calls += 1
        return tuple(output.clone() for output in self.function(*self.inputs))


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the mode `cuda_graph` on the CPU, with `_FakeGraph`."""
    monkeypatch.setattr(engine_module, "Recorded", _FakeGraph)
    monkeypatch.setattr("salus_vla.policies.smolvla.inference.acceleration.candidates", lambda mode, device: [mode])
    monkeypatch.setattr("salus_vla.policies.smolvla.inference.ensemble_policy.candidates", lambda mode, device: [mode])
    monkeypatch.setattr("salus_vla.policies.smolvla.inference.ensemble_engine.candidates", lambda mode, device: [mode])


def test_a_recorded_function_sees_every_argument_and_any_length_of_the_instruction(
    model: Path, observe: Observe, graphs: None
) -> None:
    members = expand_members([str(model)])
    eager, recorded = EnsemblePolicy(members, mode="eager"), EnsemblePolicy(members, mode="cuda_graph")
    assert recorded.provenance()["mode"] == "cuda_graph"
    (engine,) = recorded._engines._engines
    for decision, task in enumerate(["pick up the red cube", "go", "put the red cube into the blue bin", "go"]):
        calls = engine._decide.calls
        observation = observe(decision, task=task)
        plain, fast = (policy.predict(observation, decision) for policy in (eager, recorded))
        torch.testing.assert_close(torch.from_numpy(fast.chunks), torch.from_numpy(plain.chunks), rtol=0, atol=1e-5)
        assert engine._decide.calls == calls + 1


def test_a_failure_to_record_falls_back_with_one_named_warning(
    model: Path, graphs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(engine_module, "Recorded", fail)
    with pytest.warns(RuntimeWarning, match=r"running eager, because cuda_graph failed: RuntimeError: operation not"):
        policy = EnsemblePolicy(expand_members([str(model)]), mode="cuda_graph")
    facts = policy.provenance()
    assert facts["mode"] == "eager"
    assert facts["mode_reason"].startswith("cuda_graph failed: RuntimeError: operation not permitted")


def _attempts(outputs: dict[str, Any]) -> tuple[list[str], Callable[[str], tuple[Tensor, ...]]]:
    tried: list[str] = []

    def attempt(name: str) -> tuple[Tensor, ...]:
        tried.append(name)
        if isinstance(outputs[name], Exception):
            raise outputs[name]
        return (torch.tensor([outputs[name]]),)

    return tried, attempt


def test_a_mode_that_gives_other_numbers_is_not_used() -> None:
    tried, attempt = _attempts({"eager": 1.0, COMPILED_GRAPH: 1.001, "cuda_graph": 1.0 + 1e-6})
    chosen = accelerate("auto", CUDA, torch.float32, attempt)
    assert chosen.mode == "cuda_graph"
    assert "compile+cuda_graph differs from eager by 1.0e-03, allowed is 1e-05" in chosen.reason
    assert tried == ["eager", COMPILED_GRAPH, "cuda_graph"]


@pytest.mark.parametrize("wrong", [float("nan"), RuntimeError(""), 2.0], ids=["nan", "failure", "value"])
def test_eager_is_what_remains(wrong: Any) -> None:
    tried, attempt = _attempts({"eager": 1.0, COMPILED_GRAPH: wrong, "cuda_graph": wrong})
    with pytest.warns(RuntimeWarning, match="running eager"):
        assert accelerate("auto", CUDA, torch.float32, attempt).mode == "eager"
    assert tried[-1] == "eager"


def test_memory_that_is_short_is_no_reason_for_another_mode() -> None:
    _, attempt = _attempts({"eager": 1.0, COMPILED_GRAPH: torch.cuda.OutOfMemoryError("short")})
    with pytest.raises(torch.cuda.OutOfMemoryError):
        accelerate("auto", CUDA, torch.float32, attempt)


def test_modes_follow_the_device() -> None:
    assert candidates("auto", CUDA) == [COMPILED_GRAPH, "cuda_graph"]
    assert candidates("auto", CPU) == candidates("eager", CPU) == candidates("eager", CUDA) == []
    with pytest.raises(ModelError, match="'cuda_graph', which cpu does not have"):
        candidates("cuda_graph", CPU)
    with pytest.raises(ModelError, match="'fast', expected one of auto, eager, compile, cuda_graph"):
        candidates("fast", CPU)


def test_eager_on_the_cpu_says_so_without_a_warning(model: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        facts = EnsemblePolicy(expand_members([str(model)])).provenance()
    assert (facts["mode"], facts["mode_reason"]) == ("eager", "automatic on cpu")


def test_tf32_is_off_inside_and_as_before_outside() -> None:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    try:
        with exact_fp32():
            assert not torch.backends.cudnn.allow_tf32
            assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before


def test_no_environment_variable_is_touched(model: Path) -> None:
    before = dict(os.environ)
    EnsemblePolicy(expand_members([str(model)]), devices=["cpu", "cpu"])
    assert dict(os.environ) == before


@pytest.mark.slow
def test_the_benchmark_runs_without_ros(model: Path, tmp_path: Path) -> None:
    package = Path(salus_vla.__file__).parents[1]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(package)}
    command = [sys.executable, "-c", "import sys; sys.modules['rclpy'] = None; from salus_vla.bench.engine import main"]
    options = ["--model", str(model), "--calls", "1", "--threads", "1", "--json", str(tmp_path / "out.json")]
    command[-1] += f"; main({options!r})"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "naive loop" in done.stdout
    assert (tmp_path / "out.json").is_file()
