"""Parameters that every simulator's node has."""

from __future__ import annotations

from dataclasses import dataclass

from salus_vla.config.parameters import parameter
from salus_vla.config.profiles import DEFAULT_PROFILE
from salus_vla.contract import LOCKSTEP, REALTIME


@dataclass(frozen=True)
class SimParameters:
    """What a simulator's node is started with."""

    pacing: str = parameter(
        LOCKSTEP, "lockstep: a frame waits for the command that answers it; realtime: frames follow the wall clock",
        choices=(LOCKSTEP, REALTIME),
    )  # fmt: skip
    lockstep_timeout_s: float = parameter(
        30.0, "wall time a frame waits for its command before the simulator runs free [s]", bounds=(0.1, 600.0)
    )
    seed: int = parameter(0, "seed of the scene before the first reset", bounds=(0, 2**31 - 1))
    profile: str = parameter(DEFAULT_PROFILE, "how a seed changes the scene: a name of profiles in the contract YAML")
    scene_file: str = parameter("", "contract YAML; empty for the installed one")
