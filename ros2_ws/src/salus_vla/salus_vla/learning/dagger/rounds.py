"""The steps of a training in rounds, each a command of `salus`, and what tells that a step is done.

DAgger (Ross et al. 2011, arXiv:1011.0686): what the policy reaches by itself is labelled by the expert, which takes
over where it is needed; every round trains on the data of all rounds before. Here the expert's own demonstrations stay
in the mixture, or the policy would forget what it can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from salus_vla.contract import RESERVED_FROM
from salus_vla.contract.errors import TrainingError

SETTINGS_FILE = "dagger.json"
PROFILE = "train"  # the shifted profiles stay shifts
_SEEDS_APART = 10_000  # between the first seeds of two runs


@dataclass(frozen=True)
class DaggerSettings:
    """What decides about the result.

    Attributes:
        base: model that the first round goes on from, as `--model`.
        base_hash: of its weights.
        rounds: how many.
        demos: episodes of the expert alone, with disturbances.
        faults: episodes of a round in which the disturbed policy acts until a grasp goes wrong.
        random: episodes of a round in which it acts until a random decision.
        steps: of a round's training.
        rate, batch, draws, average, decay: of the training, as `salus train`.
        weight: of the recoveries' frames against the demonstrations'.
        seed: of the first episode; runs follow each other by 10,000.
        image_size: side of the images that are learned from [px].
    """

    base: str = "builtin:compact"
    base_hash: str = ""
    rounds: int = 2
    demos: int = 240
    faults: int = 160
    random: int = 80
    steps: int = 800
    rate: float = 2e-4
    batch: int = 32
    draws: int = 2
    average: float = 0.98
    decay: float = 0.5
    weight: float = 2.0
    seed: int = 30_000
    image_size: int = 128

    def __post_init__(self) -> None:
        for name in ("rounds", "demos", "steps"):
            if getattr(self, name) < 1:
                raise TrainingError(f"--{name} {getattr(self, name)}: expected at least 1")
        if self.faults + self.random < 1 or min(self.faults, self.random) < 0:
            raise TrainingError(
                f"--faults {self.faults}, --random {self.random}: expected 0 or more, and an episode in each round"
            )
        last = self.seed + (1 + 2 * self.rounds) * _SEEDS_APART
        if self.seed < 0 or last > RESERVED_FROM:
            raise TrainingError(
                f"--seed {self.seed}: {self.rounds} rounds need the seeds up to {last}; from {RESERVED_FROM} on "
                "they are reserved for acceptance"
            )
        if max(self.demos, self.faults, self.random) > _SEEDS_APART:
            raise TrainingError(f"at most {_SEEDS_APART} episodes in a run, or two runs would have the same seeds")


@dataclass(frozen=True)
class Step:
    """A command of `salus`.

    Attributes:
        name: for people.
        arguments: of `salus`.
        folder: that it makes or continues.
        result: there once it is done; None for a rollout, which is continued each time and then has nothing to do.
        resumable: whether it goes on with --resume where `folder` is there.
    """

    name: str
    arguments: tuple[str, ...]
    folder: Path
    result: Path | None
    resumable: bool

    def command(self) -> tuple[str, ...] | None:
        """The arguments now, or None when it is done."""
        if self.result is not None and self.result.exists():
            return None
        return (*self.arguments, "--resume") if self.resumable and self.folder.exists() else self.arguments


def steps(out: Path, settings: DaggerSettings, *, workers: int, threads: int, device: str) -> list[Step]:
    """All steps in their order.

    Args:
        out: folder of everything.
        settings: see there.
        workers: processes that make episodes and encode images.
        threads: of torch in the training.
        device: of policy and training.
    """
    s, runs = settings, out / "runs"
    made = [_rollout(runs, "demos", s.demos, s.seed, workers, ("--policy", "expert", "--disturb"))]
    model = s.base
    sources: list[tuple[Path, float]] = [(runs / "demos", 1.0)]
    for number in range(1, s.rounds + 1):
        first = s.seed + (2 * number - 1) * _SEEDS_APART
        policy = ("--policy", "ensemble", "--model", model, "--device", device, "--takeover", "expert", "--when")
        kinds = (
            ("faults", s.faults, first, (*policy, "stuck|crooked", "--disturb")),
            ("random", s.random, first + _SEEDS_APART, (*policy, "random")),
        )
        for kind, episodes, seed, options in kinds:
            if episodes:
                name = f"round_{number}_{kind}"
                made.append(_rollout(runs, name, episodes, seed, workers, options))
                sources.append((runs / name, s.weight))
        folder = out / f"round_{number}"
        made.append(_export(folder / "data", sources, s, workers))
        made.append(_train(folder, model, s, threads, device))
        model = str(folder / "trained" / "model")
    return made


def final_model(out: Path, settings: DaggerSettings) -> Path:
    """The model that the last round ends with."""
    return out / f"round_{settings.rounds}" / "trained" / "model"


def check_same(now: DaggerSettings, before: Mapping[str, object], where: Path) -> None:
    """Checks that a training in rounds is continued as it was begun.

    Raises:
        TrainingError: a setting differs; names it with both values and the remedy.
    """
    for item in fields(now):
        value, stored = asdict(now)[item.name], before.get(item.name)
        if stored != value:
            name = "the weights of --from" if item.name == "base_hash" else f"--{item.name}"
            name = "--from" if item.name == "base" else name
            raise TrainingError(
                f"{where}: was begun with {name} {stored}, asked for now is {value}; give another --out"
            )


def _rollout(runs: Path, name: str, episodes: int, seed: int, workers: int, options: tuple[str, ...]) -> Step:
    run = ("--out", str(runs), "--run-id", name, "--episodes", str(episodes), "--seed", str(seed))
    arguments = ("rollout", *run, "--profile", PROFILE, "--workers", str(workers), *options)
    return Step(f"episodes {name}", arguments, runs / name, None, resumable=True)


def _export(folder: Path, sources: list[tuple[Path, float]], settings: DaggerSettings, workers: int) -> Step:
    chosen = ("--only", "expert", "--action", "planned", "--ground-truth", "--image-size", str(settings.image_size))
    weights = ("--weights", ",".join(f"{weight:g}" for _, weight in sources))
    paths = tuple(str(path) for path, _ in sources)
    arguments = ("dataset", "export", *paths, "--out", str(folder), *chosen, *weights, "--workers", str(workers))
    return Step(f"data of {folder.parent.name}", arguments, folder, folder, resumable=False)


def _train(folder: Path, model: str, settings: DaggerSettings, threads: int, device: str) -> Step:
    out = folder / "trained"
    values = {
        "from": model,
        "expert-steps": settings.steps,
        "rate": settings.rate,
        "batch": settings.batch,
        "draws": settings.draws,
        "average": settings.average,
        "decay": settings.decay,
        "warm-up": max(1, settings.steps // 20),
        "device": device,
        "threads": threads,
    }
    options = tuple(word for name, value in values.items() for word in (f"--{name}", str(value)))
    arguments = ("train", "--data", str(folder / "data"), "--out", str(out), "--stage", "experts", "--keep-members")
    return Step(f"training of {folder.name}", (*arguments, *options), out, out / "model", resumable=True)
