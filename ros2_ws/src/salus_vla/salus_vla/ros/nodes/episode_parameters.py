"""Parameters of the episode node, with their units and ranges."""

from __future__ import annotations

from dataclasses import dataclass

from salus_vla.config.parameters import parameter
from salus_vla.config.paths import NO_PREDICTOR
from salus_vla.config.profiles import DEFAULT_PROFILE
from salus_vla.contract import DEFAULT_TASK, Source
from salus_vla.health.supervision import LEASE_S


@dataclass(frozen=True)
class EpisodeParameters:
    """Parameters of episode."""

    autostart: bool = parameter(True, "configure and activate at the start; false waits for lifecycle transitions")
    managed_nodes: tuple[str, ...] = parameter(
        ("bag_recorder", "vla_ensemble"), "lifecycle nodes, in the order in which they are brought up"
    )
    predictor: str = parameter(
        NO_PREDICTOR, f"failure predictor of the run; unless {NO_PREDICTOR}, failure_predictor is brought up last"
    )
    episodes: int = parameter(
        1, "episodes of the whole run, finished ones of a resumed run included", bounds=(1, 10**6)
    )
    seed: int = parameter(0, "seed of episode 0; episode n has seed + n", bounds=(0, 2**31 - 1))
    task: str = parameter(DEFAULT_TASK, "instruction given to the policy")
    policy: str = parameter("ensemble", "recorded as policy_source")
    profile: str = parameter(DEFAULT_PROFILE, "randomisation profile that the simulator must have; recorded")
    max_decisions: int = parameter(0, "decisions before TIMEOUT; 0 takes the scene's", bounds=(0, 10**6))
    fresh_messages: int = parameter(3, "complete frames to wait for before the first episode", bounds=(1, 1000))
    appear_timeout_s: float = parameter(60.0, "wall time for the managed nodes to appear [s]", bounds=(1.0, 3600.0))
    startup_timeout_s: float = parameter(660.0, "wall time for the graph to come up [s]", bounds=(1.0, 3600.0))
    service_timeout_s: float = parameter(20.0, "wall time for an answer of a service [s]", bounds=(0.1, 600.0))
    node_timeout_s: float = parameter(
        5.0, "wall time without diagnostics of a node after which it counts as lost [s]", bounds=(3.0, 600.0)
    )
    publisher_timeout_s: float = parameter(
        LEASE_S,
        "wall time for which a publisher may still be known whose process was killed; longer than the lease in "
        "config/fastdds.xml [s]",
        bounds=(1.0, 600.0),
    )
    silence_timeout_s: float = parameter(
        60.0, "wall time without a frame after which the simulator counts as lost [s]", bounds=(1.0, 3600.0)
    )
    scene_file: str = parameter("", "contract YAML; empty for the installed one")

    @property
    def brought_up(self) -> list[str]:
        """Lifecycle nodes that the episode node brings up, in their order."""
        predictor = [] if self.predictor in ("", NO_PREDICTOR) else [Source.PREDICTOR.value]
        return [name for name in self.managed_nodes if name] + predictor
