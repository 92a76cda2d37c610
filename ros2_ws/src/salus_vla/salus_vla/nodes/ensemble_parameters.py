"""Parameters of the ensemble node, with their units and ranges."""

from __future__ import annotations

from dataclasses import dataclass

from salus_vla.nodes.parameters import parameter
from salus_vla.nodes.sim_parameters import LOCKSTEP, REALTIME
from salus_vla.policy.registry import DEFAULT_MODEL, DTYPES, MODES, POLICIES


@dataclass(frozen=True)
class EnsembleParameters:
    """Parameters of vla_ensemble."""

    policy: str = parameter("ensemble", "what produces the actions", choices=POLICIES)
    pacing: str = parameter(
        LOCKSTEP,
        "lockstep: a camera set's frame is answered after its decision; realtime: at once, from the plan",
        choices=(LOCKSTEP, REALTIME),
    )
    members: tuple[str, ...] = parameter(
        (DEFAULT_MODEL,), "folders or Hub names of the ensemble's members", name="model.members"
    )
    device: str = parameter("cpu", "where all members run: cpu, cuda:0, ...", name="model.device")
    devices: tuple[str, ...] = parameter((), "spreads the members over these devices instead", name="model.devices")
    mode: str = parameter(
        "auto", "auto: compiled and as a CUDA graph where there is one; else eager", name="model.mode", choices=MODES
    )
    dtype: str = parameter(
        "auto", "stored: in the precision of the checkpoint; fp32; auto: fp32 on a CPU without bf16, else stored",
        name="model.dtype", choices=DTYPES,
    )  # fmt: skip
    noise_samples: int = parameter(
        2, "flow-matching noise samples per member, the same for all", name="model.noise_samples", bounds=(1, 64)
    )
    allow_identical_experts: bool = parameter(
        False, "accept members with the same action expert", name="model.allow_identical_experts"
    )
    threads: int = parameter(1, "CPU threads of torch", name="model.threads", bounds=(1, 256))
    blend_s: float = parameter(
        0.2, "shortest time over which a new chunk takes over [s]", name="plan.blend_s", bounds=(0.0, 2.0)
    )
    max_jump_s: float = parameter(
        0.5, "a target that the fastest motion does not reach in this time is refused [s]",
        name="limiter.max_jump_s", bounds=(0.02, 5.0),
    )  # fmt: skip
    camera_age_s: float = parameter(
        0.2, "age of a camera's newest image from which the arm holds, ROS time [s]",
        name="watch.camera_age_s", bounds=(0.02, 10.0),
    )  # fmt: skip
    joints_age_s: float = parameter(
        0.2, "age of the newest joint state from which the arm holds, ROS time [s]",
        name="watch.joints_age_s", bounds=(0.02, 10.0),
    )  # fmt: skip
    chunk_age_s: float = parameter(
        0.2, "age of the observation behind the plan from which the arm holds, ROS time [s]",
        name="watch.chunk_age_s", bounds=(0.02, 60.0),
    )  # fmt: skip
    stopped_s: float = parameter(
        10.0, "wall time in an episode without a new clock, while no decision is being made, until the arm holds [s]",
        name="watch.stopped_s", bounds=(0.2, 600.0),
    )  # fmt: skip
    clock_s: float = parameter(
        60.0, "wall time from the start to the first /clock [s]", name="watch.clock_s", bounds=(0.2, 3600.0)
    )
    autostart: bool = parameter(True, "configure and activate by itself; false where another node manages this one")
    disturb: bool = parameter(False, "disturb what is commanded, so that demonstrations show how to recover")
    scene_file: str = parameter("", "contract YAML; empty for the installed one")
