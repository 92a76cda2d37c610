"""Parameters of the ensemble node, with their units and ranges."""

from __future__ import annotations

from dataclasses import dataclass

from salus_vla.config.parameters import parameter
from salus_vla.config.policy_settings import PolicySettings
from salus_vla.contract import LOCKSTEP, REALTIME
from salus_vla.control.watchdog import WatchLimits


@dataclass(frozen=True)
class EnsembleParameters(PolicySettings):
    """Parameters of vla_ensemble."""

    pacing: str = parameter(
        LOCKSTEP,
        "lockstep: a camera set's frame is answered after its decision; realtime: at once, from the plan",
        choices=(LOCKSTEP, REALTIME),
    )
    task: str = parameter("", "instruction to check when the policy is loaded; empty leaves that to the first decision")
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
    commands_to: str = parameter(
        "command_gate", "node that must hear the commands before this one is ready; empty where none has to"
    )
    recorded_by: str = parameter(
        "", "node that must hear commands and signals before this one is ready; empty where none has to"
    )
    autostart: bool = parameter(True, "configure and activate by itself; false where another node manages this one")
    scene_file: str = parameter("", "contract YAML; empty for the installed one")

    @property
    def watch_limits(self) -> WatchLimits:
        """Limits of the watchdog."""
        return WatchLimits(
            camera_ns=round(self.camera_age_s * 1e9),
            joints_ns=round(self.joints_age_s * 1e9),
            chunk_ns=round(self.chunk_age_s * 1e9),
            stopped_s=self.stopped_s,
            clock_s=self.clock_s,
        )
