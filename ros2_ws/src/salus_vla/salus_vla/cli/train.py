"""`salus train`: an ensemble from a data set, with LeRobot's policy."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from salus_vla.cli.commands import SUMMARIES
from salus_vla.cli.options import CAMERAS_HELP, CUT_TASK_HELP, at_least, check_can_be_folder
from salus_vla.contract.errors import TrainingError
from salus_vla.learning.training.training_settings import PRECISIONS, STAGES
from salus_vla.policies.smolvla.init.vlm_sizes import SIZES

if TYPE_CHECKING:
    from salus_vla.learning.training.trainer import Metrics

_DESCRIPTION = """\
Trains an ensemble on a LeRobotDataset (see `salus dataset export`) in two stages:

  vlm      a SmolVLA policy from new weights, end to end                       -> OUT/policy
  experts  K action experts on its frozen VLM, which differ by their seed, their
           first weights and a bootstrap of the episodes                       -> OUT/model, an ensemble for --model

Runs on the CPU, one GPU, or several (accelerate launch -m salus_vla.cli train ...), without ROS and without a network.
Ctrl-C writes a checkpoint; --resume goes on. On the CPU the same seeds give the same weights. Progress goes to the
terminal, to OUT/STAGE/metrics.jsonl and, as a picture, to OUT/STAGE/metrics.png.
"""
_EPILOG = """\
examples:
  salus rollout --policy expert --disturb --profile train --episodes 1000 --seed 10000 --run-id demos
  salus dataset export runs/demos --out data/demos --image-size 128 --action planned --ground-truth
  salus train --data data/demos --out trained --device cuda:0
  salus collect --policy ensemble --model trained/model --episodes 3
  salus train --data data/demos --out tuned --from lerobot/smolvla_base --stage experts   # downloads it
"""
_EXPERTS_STEPS = 0.5  # of the first stage's, unless told otherwise


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `train`."""
    parser = subparsers.add_parser(
        "train",
        help=SUMMARIES["train"],
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", metavar="DIR", type=Path, required=True, help="a LeRobotDataset v3")
    add("--any-names", action="store_true", help="state and action of DIR are this robot's, under other names")
    add(
        "--data-cameras",
        metavar="LIST",
        help="what DIR calls this robot's cameras: front=cam_high,side=cam_left,top=cam_top (default: the same)",
    )
    add("--cut-task", action="store_true", help=CUT_TASK_HELP)
    add("--out", metavar="DIR", type=Path, required=True, help="folder of the training")
    add("--stage", choices=(*STAGES, "all"), default="all", help="default: both, one after the other")
    add("--size", choices=tuple(SIZES), default="compact", help="of the policy with new weights (default: compact)")
    add("--from", dest="base", metavar="MODEL", help="begin with this policy instead: a folder or a Hub name")
    add("--cameras", metavar="LIST", help=f"of --from MODEL: {CAMERAS_HELP}")
    add("--members", metavar="K", type=int, default=5, help="members of the ensemble (default: 5)")
    add("--steps", metavar="N", type=int, help="steps of the first stage (default: 6000)")
    add("--expert-steps", metavar="N", type=int, help="steps of the second (default: half of the first's)")
    add("--batch", metavar="B", type=int, help="observations in a step (default: 128)")
    add("--draws", metavar="R", type=int, help="noise draws for each observation (default: 4)")
    add("--rate", metavar="X", type=float, help="learning rate (default: 5e-4)")
    add("--warm-up", metavar="N", type=int, help="steps over which it rises (default: 100)")
    add("--decay", metavar="SHARE", type=float, help="share of the steps over which it falls at the end (default: 0.3)")
    add("--average", metavar="X", type=float, help="decay of the weights' running average (default: 0.998)")
    add("--auxiliary", metavar="X", type=float, help="weight of the loss on the cube's pose (default: 0.3)")
    add("--shift", metavar="PX", type=int, help="largest random displacement of an image (default: 3)")
    add("--held-out", metavar="SHARE", type=float, help="share of episodes only measured on (default: 0.04)")
    add("--keep-experts", action="store_true", help="members begin with the first stage's expert and some noise")
    add("--keep-members", action="store_true", help="continue every member of --from MODEL, each from its own weights")
    add("--seed", metavar="S", type=int, default=0, help="of everything (default: 0)")
    add("--device", help="cpu, cuda:0, ... (default: cuda if there is one)")
    add("--precision", choices=PRECISIONS, default="auto", help="of the products (default: bf16 on CUDA)")
    add("--threads", metavar="N", type=at_least(1), help="CPU threads of torch")
    add("--workers", metavar="N", type=at_least(0), default=0, help="processes that decode images (default: none)")
    add("--compile", action="store_true", help="compile the step first; for long runs on a GPU")
    add("--save-every", metavar="N", type=at_least(1), default=500, help="steps between checkpoints (default: 500)")
    add("--log-every", metavar="N", type=at_least(1), default=50, help="steps between lines (default: 50)")
    add("--resume", action="store_true", help="continue the training in OUT")
    parser.set_defaults(run=run, makes=True)


def run(arguments: argparse.Namespace) -> int:
    """Trains.

    Raises:
        SalusError: data, settings, checkpoint or device do not go together.
    """
    check_can_be_folder(arguments.out)
    os.environ.setdefault("HF_HUB_OFFLINE", "0" if arguments.base else "1")
    import torch

    from salus_vla.learning.training import training_data, training_run
    from salus_vla.policies.smolvla.cameras import UNCHANGED, parse_cameras
    from salus_vla.policies.smolvla.loading.lerobot_logging import quiet_lerobot

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    console = Console(highlight=False, soft_wrap=True)
    stages = STAGES if arguments.stage == "all" else (arguments.stage,)
    settings = {stage: _settings(arguments, stage) for stage in stages}
    accelerator = _accelerator(arguments)
    main = accelerator.is_main_process
    place = training_run.Place(arguments.out)
    if "vlm" not in stages and arguments.base is None and not place.model("vlm").is_dir():
        raise TrainingError(f"--stage experts: {place.model('vlm')} is missing; run --stage vlm first, or give --from")
    if arguments.keep_members and (arguments.base is None or stages != ("experts",)):
        raise TrainingError("--keep-members: needs --from MODEL and --stage experts: the members share the model's VLM")
    if arguments.cameras and arguments.base is None:
        raise TrainingError("--cameras: needs --from MODEL; a policy with new weights has this robot's names")
    rename = parse_cameras([arguments.cameras or ""])
    cameras = training_run.camera_names(arguments.base, rename=rename) if arguments.base else UNCHANGED
    names = parse_cameras([arguments.data_cameras or ""], "--data-cameras", "")
    dataset = training_data.open_dataset(arguments.data, any_names=arguments.any_names, names=names)
    card = {
        "data": training_data.describe(dataset) | ({"cameras": names} if names else {}),
        "size": arguments.size,
        "from": training_run.origin(arguments.base, rename=rename) if arguments.base else None,
        "seed": arguments.seed,
    }
    if main:
        told = {
            "size": arguments.size,
            "from": arguments.base,
            "members": arguments.members,
            "seed": arguments.seed,
            "data": training_data.fingerprint(dataset),
            **({"data_cameras": names} if names else {}),
        }
        continues = arguments.resume or (arguments.stage == "experts" and place.model("vlm").is_dir())
        training_run.check_continues(arguments.out, told, resume=continues)
    accelerator.wait_for_everyone()
    policy: Any
    if arguments.keep_members:
        policy = training_run.begin_members(arguments.base, rename=rename)
        settings = {"experts": settings["experts"].model_copy(update={"members": len(policy)})}
        config, stats = policy[0].config, training_data.statistics_of(arguments.base, rename=rename)
    else:
        policy = (
            training_run.begin_from(arguments.base, rename=rename)
            if arguments.base
            else training_run.begin_policy(arguments.out, arguments.size, arguments.seed)
        )
        config, stats = policy.config, training_data.statistics(dataset)
    began = time.monotonic()
    with quiet_lerobot():
        frames = training_data.read_frames(
            dataset,
            config,
            stats,
            cameras=cameras.seen,
            names=names,
            cut_task=arguments.cut_task,
            workers=arguments.workers,
        )
    if main:
        for item in [] if arguments.keep_members else training_data.hardly_moving(dataset):
            console.print(f"[yellow]warning[/yellow]: {item}")
        cube = "with" if frames.cube is not None else "without"
        console.print(
            f"{len(frames)} frames of {len(frames.episodes)} episodes, {cube} the cube's pose, read in "
            f"{time.monotonic() - began:.0f} s; {accelerator.device}, {accelerator.mixed_precision}, "
            f"{accelerator.num_processes} process(es)"
        )
    with _stop_on_signal() as stopped:
        for stage in stages:
            if (place.model(stage) / "salus_model.json").is_file() and arguments.resume:
                continue
            if stage == "experts" and arguments.base is None:
                policy = training_run.begin_from(str(place.model("vlm")))

            def report(line: Metrics, stage: str = stage) -> None:
                if main:
                    _print(console, stage, settings[stage].steps, line)

            complete = training_run.run_stage(
                policy,
                frames,
                stats,
                settings[stage],
                place,
                accelerator,
                report=report,
                card=card,
                rename=cameras.rename,
                save_every=arguments.save_every,
                log_every=arguments.log_every,
                compiled=arguments.compile,
                stop=lambda: bool(stopped),
            )
            if main:
                _plot(place.stage(stage), stage)
            if not complete:
                console.print(f"interrupted; --resume continues from the checkpoint in {place.stage(stage)}")
                return 130
            if main:
                console.print(f"[green]{stage}[/green]: {place.model(stage)}")
    return 0


def _settings(arguments: argparse.Namespace, stage: str) -> Any:
    from salus_vla.learning.training.training_settings import make_settings

    names = (
        "batch",
        "draws",
        "rate",
        "warm_up",
        "decay",
        "average",
        "auxiliary",
        "shift",
        "held_out",
        "seed",
        "members",
    )
    values = {name: getattr(arguments, name) for name in names}
    steps = arguments.steps
    if stage == "experts":
        steps = arguments.expert_steps or (round(arguments.steps * _EXPERTS_STEPS) if arguments.steps else 3000)
        values["fresh"] = not arguments.keep_experts
    return make_settings(stage=stage, steps=steps, **values)


def _accelerator(arguments: argparse.Namespace) -> Any:
    import torch
    from accelerate import Accelerator

    from salus_vla.policies.smolvla.loading.devices import parse_device

    name = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    on_cpu = name == "cpu"
    if not on_cpu:
        device = parse_device(name, "--device")
        if device.index is not None:
            torch.cuda.set_device(device)
    bf16 = arguments.precision == "bf16" or (arguments.precision == "auto" and not on_cpu)
    return Accelerator(cpu=on_cpu, mixed_precision="bf16" if bf16 else "no")


@contextmanager
def _stop_on_signal() -> Iterator[list[int]]:
    """A list that is no longer empty once SIGINT or SIGTERM came; a second one ends at once."""
    signals: list[int] = []

    def stop(number: int, _: object) -> None:
        if signals:
            sys.exit(130)
        signals.append(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print(console: Console, stage: str, steps: int, line: Metrics) -> None:
    parts = [f"{stage} {line.step}/{steps}", f"loss {line.flow:.4f}"]
    if line.cube is not None:
        parts.append(f"cube {line.cube:.4f}")
    if line.held_out is not None:
        parts.append(f"held out {line.held_out:.4f}")
    left = f"{line.left_s / 60:.0f} min" if line.left_s >= 90 else f"{line.left_s:.0f} s"
    parts += [f"rate {line.rate:.1e}", f"{line.observations_per_s:.0f} observations/s", f"{left} left"]
    console.print(", ".join(parts))


def _plot(folder: Path, stage: str) -> None:
    from salus_vla.learning.training.metrics_plot import plot_metrics
    from salus_vla.learning.training.trainer import METRICS_FILE

    if (folder / METRICS_FILE).is_file():
        plot_metrics(folder / METRICS_FILE, folder / "metrics.png", f"stage {stage}")
