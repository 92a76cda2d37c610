"""What the episodes of a run are made with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields

from salus_vla.contract import DEFAULT_TASK
from salus_vla.errors import RecordingError
from salus_vla.policy.registry import DEFAULT_MODEL
from salus_vla.profiles import DEFAULT_PROFILE


@dataclass(frozen=True)
class RolloutSettings:
    """The same settings and seed give the same episode, wherever and after whatever it runs.

    Attributes:
        policy: name of the policy, one of `POLICIES`.
        model: of the ensemble, as `--model` of `salus collect`.
        device: of the ensemble.
        task: instruction given to the policy.
        profile: randomisation profile of the scene.
        disturb: whether the commands are disturbed on purpose (see `control.disturbance`).
        images: whether pictures are stored.
        max_decisions: decisions before TIMEOUT; 0 for the scene's number.
    """

    policy: str = "ensemble"
    model: str = DEFAULT_MODEL
    device: str = "cpu"
    task: str = DEFAULT_TASK
    profile: str = DEFAULT_PROFILE
    disturb: bool = False
    images: bool = True
    max_decisions: int = 0

    def to_arguments(self) -> dict[str, str]:
        """As texts, for run.json."""
        return {
            name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in asdict(self).items()
        }

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, str], where: str) -> RolloutSettings:
        """The settings that `to_arguments` gave.

        Raises:
            RecordingError: one is missing or not of its type; `where` names the file.
        """
        values: dict[str, str | bool | int] = {}
        for item in fields(cls):
            text = arguments.get(item.name)
            if text is None:
                raise RecordingError(f"{where}: arguments.{item.name}: is missing; is this a run of `salus rollout`?")
            try:
                values[item.name] = _PARSERS[str(item.type)](text)
            except (KeyError, ValueError) as error:
                raise RecordingError(f"{where}: arguments.{item.name}: is {text!r}, expected {item.type}") from error
        return cls(**values)  # type: ignore[arg-type]


_PARSERS: dict[str, Callable[[str], str | bool | int]] = {
    "str": str,
    "bool": {"true": True, "false": False}.__getitem__,
    "int": int,
}
