"""Somebody else acts from a condition on: the policy drives until it holds, then another one until the end.

What the policy cannot do is learned from states that it reaches by itself (DAgger, Ross et al. 2011, arXiv:1011.0686;
taken over until the end as in HG-DAgger, Kelly et al. 2019, arXiv:1810.02890).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np

from salus_vla.contract import ARM_DOF
from salus_vla.contract.errors import ConfigError
from salus_vla.contract.types import Observation, PolicyOutput
from salus_vla.control.grasp_monitor import GraspFault, GraspMonitor, GraspRules
from salus_vla.policies.base import ReferencedPolicy
from salus_vla.signals.reference import NoveltyReference

STUCK: Final = "stuck"
CROOKED: Final = "crooked"
RANDOM: Final = "random"
CONDITIONS: Final = (STUCK, CROOKED, RANDOM)

_STUCK_S = 1.0
_STREAM = 0x7A4E  # keeps the draw apart from those of scene, policy and disturbance, which use the same seed
_RANDOM_DECISIONS = (5, 60)  # a success takes about 75


class TakeoverCondition(Protocol):
    """When to take over. Asked once for each decision, in order; remembers what it needs of the episode."""

    @property
    def name(self) -> str:
        """Said in what is recorded."""

    def start_episode(self, seed: int) -> None:
        """Forgets the episode before."""

    def holds(self, observation: Observation, decision: int) -> bool:
        """Whether the other one acts from this decision on."""


class GraspCondition:
    """A grasp went wrong."""

    def __init__(self, name: str, fault: GraspFault, rules: GraspRules) -> None:
        """Takes over at this fault, as the rules tell it from the widths of the observations."""
        self.name = name
        self._fault, self._monitor = fault, GraspMonitor(rules)

    def start_episode(self, seed: int) -> None:
        """The gripper is open again."""
        self._monitor.reset()

    def holds(self, observation: Observation, decision: int) -> bool:
        """When the fault is told."""
        events = self._monitor.update(observation.stamp_ns, float(observation.state[ARM_DOF]))
        return any(event.fault is self._fault for event in events)


class RandomCondition:
    """A decision drawn from the episode's seed."""

    name = RANDOM

    def __init__(self, decisions: tuple[int, int] = _RANDOM_DECISIONS) -> None:
        """Draws from the first to before the second."""
        self._range = decisions
        self._chosen = decisions[0]

    def start_episode(self, seed: int) -> None:
        """Draws."""
        generator = np.random.default_rng([_STREAM, abs(seed), int(seed < 0)])
        self._chosen = int(generator.integers(*self._range))

    def holds(self, observation: Observation, decision: int) -> bool:
        """At the decision that was drawn."""
        return decision >= self._chosen


def parse_conditions(text: str) -> tuple[str, ...]:
    """Names of conditions from a text like `stuck|crooked`.

    Raises:
        ConfigError: it names none, or one that is not known.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split("|")))
    unknown = [name for name in names if name not in CONDITIONS]
    if unknown:
        raise ConfigError(f"--when {text!r}: {unknown[0]!r} is not known; expected some of {'|'.join(CONDITIONS)}")
    return names


def make_conditions(names: Sequence[str]) -> tuple[TakeoverCondition, ...]:
    """Conditions by name; see `CONDITIONS`."""
    made: dict[str, TakeoverCondition] = {
        STUCK: GraspCondition(STUCK, GraspFault.EMPTY_CLOSING, GraspRules(empty_s=_STUCK_S)),
        CROOKED: GraspCondition(CROOKED, GraspFault.CROOKED_GRASP, GraspRules()),
        RANDOM: RandomCondition(),
    }
    return tuple(made[name] for name in names)


class TakeoverPolicy:
    """Two policies as one: `learner` until a condition holds, `teacher` from that decision until the episode ends."""

    needs_images = True

    def __init__(
        self, learner: ReferencedPolicy, teacher: ReferencedPolicy, conditions: Sequence[TakeoverCondition]
    ) -> None:
        """Takes both; any of the conditions is enough.

        Raises:
            ConfigError: there is no condition.
        """
        if not conditions:
            raise ConfigError("a takeover needs a condition")
        self._learner, self._teacher, self._conditions = learner, teacher, tuple(conditions)
        self._reason = ""

    @property
    def source(self) -> str:
        """The learner's: a run with takeovers says so in its arguments and episodes."""
        return self._learner.source

    @property
    def needs_poses(self) -> bool:
        """As either needs."""
        return self._learner.needs_poses or self._teacher.needs_poses

    @property
    def reference(self) -> NoveltyReference | None:
        """The learner's."""
        return self._learner.reference

    @property
    def reason(self) -> str:
        """Name of the condition that held in this episode; empty before."""
        return self._reason

    def start_episode(self, seed: int) -> None:
        """The learner acts."""
        self._reason = ""
        self._learner.start_episode(seed)
        self._teacher.start_episode(seed)
        for condition in self._conditions:
            condition.start_episode(seed)

    def predict(self, observation: Observation, decision: int) -> PolicyOutput:
        """Of who acts; the learner is not asked any more once the teacher does."""
        if not self._reason:
            # Each is asked every time, because some remember.
            held = [item.name for item in self._conditions if item.holds(observation, decision)]
            self._reason = held[0] if held else ""
        return (self._teacher if self._reason else self._learner).predict(observation, decision)

    def read_task(self, task: str) -> dict[str, str]:
        """Of both."""
        return {**self._teacher.read_task(task), **self._learner.read_task(task)}

    def provenance(self) -> dict[str, str]:
        """The learner's, and who takes over when."""
        names = "|".join(condition.name for condition in self._conditions)
        return {**self._learner.provenance(), "takeover": self._teacher.source, "takeover_when": names}
