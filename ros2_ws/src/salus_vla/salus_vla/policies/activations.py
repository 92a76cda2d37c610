"""What a policy computes inside on recorded observations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from salus_vla.contract.errors import ModelError
from salus_vla.contract.types import FloatArray, Observation
from salus_vla.policies.base import Policy


def expert_states(policy: Policy, seed: int, observations: Iterable[tuple[int, Observation]]) -> Iterator[FloatArray]:
    """Evaluates a policy again on the observations of an episode.

    Args:
        policy: its noise depends on the seed and the decision's number only, so it is that of the episode.
        seed: of the episode.
        observations: with the numbers of their decisions.

    Yields:
        The expert's pooled state of each decision, shape (E,).

    Raises:
        ModelError: the policy has no such state.
    """
    policy.start_episode(seed)
    for number, observation in observations:
        state = policy.predict(observation, number).expert_state
        if state is None:
            raise ModelError(f"policy '{policy.source}' has no action expert whose state could be compared")
        yield state
