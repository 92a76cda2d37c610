"""What decides about the actions of a run besides the seed: one object, read by the graph and by `salus rollout`.

The defaults stand here and nowhere else; `config/salus.yaml` shows them, and a user who changes it there changes both.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from salus_vla.config.parameters import checked_parameters, parameter, parameter_names, parameter_texts
from salus_vla.config.params_file import node_parameters
from salus_vla.config.paths import DEFAULT_MANIFOLD, DEFAULT_PREDICTOR
from salus_vla.config.policy_options import DEFAULT_MODEL, DTYPES, MODES, POLICIES
from salus_vla.contract.errors import ConfigError

SETTINGS: Final = "policy_settings"  # key of run.json's arguments
NODE: Final = "vla_ensemble"  # whose section of a parameter file has them


@dataclass(frozen=True)
class PolicySettings:
    """Parameters of vla_ensemble that the policy and the controller are made with."""

    policy: str = parameter("ensemble", "what produces the actions", choices=POLICIES)
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
    cameras: tuple[str, ...] = parameter(
        (), "what the policy calls this robot's cameras: front=camera1, ...", name="model.cameras"
    )
    cut_task: bool = parameter(
        False, "accept an instruction of which the policy reads only the beginning", name="model.cut_task"
    )
    threads: int = parameter(1, "CPU threads of torch", name="model.threads", bounds=(1, 256))
    blend_s: float = parameter(
        0.2, "shortest time over which a new chunk takes over [s]", name="plan.blend_s", bounds=(0.0, 2.0)
    )
    max_jump_s: float = parameter(
        0.5, "a target that the fastest motion does not reach in this time is refused [s]",
        name="limiter.max_jump_s", bounds=(0.02, 5.0),
    )  # fmt: skip
    disturb: bool = parameter(False, "disturb what is commanded, so that demonstrations show how to recover")
    intervention: str = parameter(
        "off",
        "what is done about foreseen failures: off, advise (weighs and says it), act; to learn from and to compare "
        "with: random, random:NAME=P,..., random_approach, random_retreat, hand_over, always:NAME, throughout:slow_F",
    )
    intervention_predictor: str = parameter(
        DEFAULT_PREDICTOR, "folder of the predictor that interventions rest on, or builtin",
        name="intervention.predictor",
    )  # fmt: skip
    intervention_model: str = parameter(
        DEFAULT_PREDICTOR, "folder of what interventions are chosen with, or builtin", name="intervention.model"
    )
    intervention_manifold: str = parameter(
        DEFAULT_MANIFOLD, "folder of the manifold that plans are compared with, builtin or none",
        name="intervention.manifold",
    )  # fmt: skip

    def to_json(self) -> str:
        """By ROS name, for run.json."""
        return json.dumps({name: json.loads(text) for name, text in parameter_texts(self).items()})

    @classmethod
    def from_json(cls, text: str, where: str) -> PolicySettings:
        """Back from `to_json`.

        Raises:
            ConfigError: it is not a JSON object, or a value is wrong; names `where` and the key.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"{where}: {text!r:.80} is not JSON ({error})") from error
        if not isinstance(values, dict):
            raise ConfigError(f"{where}: {text!r:.80}, expected a JSON object")
        return checked_parameters(where, cls, values)


DEFAULTS: Final = PolicySettings()


def read_settings(params_file: Path | None = None) -> PolicySettings:
    """The settings of a parameter file, the installed `salus.yaml` by default.

    Raises:
        ConfigError: the file cannot be read or a value is wrong; names file and key.
    """
    where, given = node_parameters(params_file, NODE)
    known = parameter_names(PolicySettings)
    return checked_parameters(where, PolicySettings, {name: given[name] for name in known if name in given})


def replaced(settings: PolicySettings, **values: object) -> PolicySettings:
    """The settings with some values replaced; those that are None stay."""
    return dataclasses.replace(settings, **{name: value for name, value in values.items() if value is not None})  # type: ignore[arg-type]
