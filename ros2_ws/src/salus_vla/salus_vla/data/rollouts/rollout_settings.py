"""What the episodes of a run are made with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from salus_vla.config.policy_options import DEFAULT_MODEL
from salus_vla.config.policy_settings import DEFAULTS, SETTINGS, PolicySettings
from salus_vla.config.profiles import DEFAULT_PROFILE
from salus_vla.contract import DEFAULT_TASK
from salus_vla.contract.errors import ConfigError, RecordingError
from salus_vla.control.takeover import CONDITIONS, parse_conditions

BASE: Final = "base"


@dataclass(frozen=True)
class RolloutSettings:
    """The same settings and seed give the same episode, wherever and after whatever it runs.

    Attributes:
        policy: name of the policy, one of `POLICIES`.
        model: of the ensemble, as `--model` of `salus collect`.
        device: of the ensemble.
        task: instruction given to the policy.
        profile: randomisation profile of the scene.
        cameras: what the ensemble calls this robot's cameras, as `--cameras`.
        cut_task: whether an instruction is accepted of which the policy reads only the beginning.
        disturb: whether the commands are disturbed on purpose (see `control.disturbance`).
        images: whether images are stored.
        max_decisions: decisions before TIMEOUT; 0 for the scene's number.
        takeover: name of the policy that takes over; nobody when empty.
        when: conditions on which it does, with | between them (see `control.takeover`).
        intervention: what is done about foreseen failures (see `safety.intervention.modes`).
        base: everything else of the policy and the controller, from a parameter file; what stands above wins.
    """

    policy: str = "ensemble"
    model: str = DEFAULT_MODEL
    device: str = "cpu"
    task: str = DEFAULT_TASK
    profile: str = DEFAULT_PROFILE
    cameras: str = ""
    cut_task: bool = False
    disturb: bool = False
    images: bool = True
    max_decisions: int = 0
    takeover: str = ""
    when: str = ""
    intervention: str = "off"
    base: PolicySettings = DEFAULTS

    def __post_init__(self) -> None:
        if self.when and not self.takeover:
            raise ConfigError(f"--when {self.when}: needs --takeover, who acts then")
        if self.takeover and not self.when:
            raise ConfigError(f"--takeover {self.takeover}: needs --when, {'|'.join(CONDITIONS)} or some of them")
        if self.takeover and self.takeover == self.policy:
            raise ConfigError(f"--takeover {self.takeover}: acts already, as --policy")
        self.conditions  # noqa: B018  # an unknown one is an error here
        settings = replace(
            self.base,
            policy=self.policy,
            members=(self.model,),
            device=self.device,
            disturb=self.disturb,
            intervention=self.intervention,
            cameras=(self.cameras,) if self.cameras else (),
            cut_task=self.cut_task,
        )
        object.__setattr__(self, BASE, settings)

    @classmethod
    def of(cls, base: PolicySettings, **given: Any) -> RolloutSettings:
        """The settings of a parameter file, with what was given besides."""
        shown = {
            "policy": base.policy,
            "model": ",".join(base.members),
            "device": base.device,
            "disturb": base.disturb,
            "intervention": base.intervention,
            "cameras": ",".join(base.cameras),
            "cut_task": base.cut_task,
        }
        return cls(**{**shown, **given}, base=base)

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions on which `takeover` acts."""
        return parse_conditions(self.when) if self.when else ()

    @property
    def policy_settings(self) -> PolicySettings:
        """What the policy and the controller are made with."""
        return self.base

    def to_arguments(self) -> dict[str, str]:
        """As texts, for run.json."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != BASE}
        texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values.items()}
        return {**texts, SETTINGS: self.policy_settings.to_json()}

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, str], where: str) -> RolloutSettings:
        """The settings that `to_arguments` gave; a run from before they held all of them has the defaults of its time.

        Raises:
            RecordingError: one is missing or not of its type; `where` names the file.
        """
        values: dict[str, Any] = {}
        for item in fields(cls):
            if item.name == BASE:
                continue
            text = arguments.get(item.name, _ADDED.get(item.name))
            if text is None:
                raise RecordingError(f"{where}: arguments.{item.name}: is missing; is this a run of `salus rollout`?")
            try:
                values[item.name] = _PARSERS[str(item.type)](text)
            except (KeyError, ValueError) as error:
                raise RecordingError(f"{where}: arguments.{item.name}: is {text!r}, expected {item.type}") from error
        if SETTINGS in arguments:
            values[BASE] = PolicySettings.from_json(arguments[SETTINGS], f"{where}: arguments.{SETTINGS}")
        return cls(**values)


# Settings that runs from before they existed do not have, and what was the case then.
_ADDED: dict[str, str] = {"cameras": "", "cut_task": "false", "takeover": "", "when": "", "intervention": "off"}

_PARSERS: dict[str, Callable[[str], str | bool | int]] = {
    "str": str,
    "bool": {"true": True, "false": False}.__getitem__,
    "int": int,
}
