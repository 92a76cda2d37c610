"""Whether a chunk that the manifold calls safe may be followed: bends the plan of episodes that succeed, and looks.

An episode is made again by its seed, bit for bit, until the decision at which its plan is bent; so what follows is what
would have been from that very state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_vla.config.policy_settings import PolicySettings
from salus_vla.config.scene import load_scene
from salus_vla.contract.errors import TrainingError
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import ACTION_DIM
from salus_vla.control.build_controller import build_controller
from salus_vla.episode.run_episode import run_episode
from salus_vla.learning.manifold.bent_plan import Bend, BentPlan
from salus_vla.learning.manifold.manifold_evaluation import GRIPPER, SIZES_RAD, Inside, share_inside
from salus_vla.safety.manifold.action_manifold import ActionManifold
from salus_vla.safety.manifold.manifold_inputs import ROWS
from salus_vla.safety.prediction.ensemble_identity import EnsembleIdentity
from salus_vla.safety.prediction.state_basis import StateBasis
from salus_vla.simulation.mujoco.simulator import Simulator

_STREAM = 0xBE7D  # keeps the draws apart from those of the episode, which use the same seed


@dataclass(frozen=True)
class ExecutedBend:
    """One episode with a bend, which succeeds without.

    Attributes:
        profile, seed: of the episode.
        decision: at which its plan was bent.
        size: deviation of the bend in its last row [rad].
        distance, plain_distance: of the bent chunk and of the plan, in levels: above 1 it is outside.
        outcome: in words.
    """

    profile: str
    seed: int
    decision: int
    size: float
    distance: float
    plain_distance: float
    outcome: str

    @property
    def inside(self) -> bool:
        """Whether the manifold calls the bent chunk safe."""
        return self.distance <= 1.0

    @property
    def succeeded(self) -> bool:
        """Whether the episode does."""
        return self.outcome == Outcome.SUCCESS.name


@dataclass(frozen=True)
class BendGroup:
    """Successes among bends, as shares with intervals.

    Attributes:
        name: of the group.
        inside: of those that the manifold calls safe.
        outside: of the others.
        all: of both, which is chance.
    """

    name: str
    inside: Inside
    outside: Inside
    all: Inside


def draw_bends(seed: int, decisions: int, tries: int) -> list[tuple[float, Bend]]:
    """Bends of one episode, each with its size [rad]; they follow from the seed alone.

    Args:
        seed: of the episode.
        decisions: of it; at least `ROWS` + 2, so that a bend ends before the episode.
        tries: how many.
    """
    random = np.random.default_rng([_STREAM, abs(seed), int(seed < 0)])
    found = []
    for _ in range(tries):
        size = float(random.choice(SIZES_RAD))
        away = random.normal(size=ACTION_DIM) * size
        away[-1] *= GRIPPER
        found.append((size, Bend(int(random.integers(1, decisions - ROWS)), away)))
    return found


def execute_bends(
    settings: PolicySettings,
    manifold: ActionManifold,
    basis: StateBasis,
    *,
    profile: str,
    seeds: Iterable[int],
    tries: int,
    say: Callable[[str], None],
) -> tuple[list[ExecutedBend], int, int]:
    """Runs the episodes of some seeds, and each that succeeds again for each bend.

    Args:
        settings: of policy and controller; nobody intervenes.
        manifold: that judges.
        basis: of the hidden states that it knows.
        profile: of the scenes.
        seeds: of the episodes.
        tries: bends of each that succeeds.
        say: is told how far it is.

    Returns:
        What happened, how many episodes succeeded without a bend, and how many were made: fewer than asked for after
        Ctrl-C, which keeps those that are whole.

    Raises:
        ModelError: the policy cannot be loaded, or the manifold is of another one or of another basis.
        SimulatorError: nothing can be drawn here.
    """
    scene = load_scene()
    filter_ = BentPlan(manifold, basis)
    controller, policy = build_controller(settings, scene, filters=(filter_,))
    manifold.require(EnsembleIdentity.of_facts(policy.provenance()))
    found: list[ExecutedBend] = []
    succeeded = made = 0
    with Simulator(scene, profile=profile) as simulator, suppress(KeyboardInterrupt):
        for seed in seeds:
            filter_.bend = None
            plain = run_episode(simulator, controller, seed)
            succeeds = plain.outcome is Outcome.SUCCESS and plain.decisions >= ROWS + 2
            of_seed = []
            for size, bend in draw_bends(seed, plain.decisions, tries) if succeeds else ():
                filter_.bend = bend
                bent = run_episode(simulator, controller, seed)
                of_seed.append(
                    ExecutedBend(
                        profile, seed, bend.decision, size, filter_.distance, filter_.plain_distance, bent.outcome.name
                    )
                )
            found += of_seed
            succeeded, made = succeeded + succeeds, made + 1
            say(f"{profile}: {made} episodes, {succeeded} succeeded, {len(found)} again with a bend")
    return found, succeeded, made


def groups_of(bends: list[ExecutedBend]) -> list[BendGroup]:
    """All bends, and those of each size.

    Raises:
        TrainingError: there is none.
    """
    if not bends:
        raise TrainingError("no episode succeeded without a bend: there is nothing to bend; take other seeds")
    groups = {"all": bends}
    groups |= {f"bent by {size:g} rad": [item for item in bends if item.size == size] for size in SIZES_RAD}
    return [_group(name, items) for name, items in groups.items()]


def _group(name: str, bends: list[ExecutedBend]) -> BendGroup:
    succeeded = np.array([item.succeeded for item in bends], dtype=np.bool_)
    inside = np.array([item.inside for item in bends], dtype=np.bool_)
    seeds = np.array([item.seed for item in bends], dtype=np.int64)

    def of(rows: NDArray[np.bool_]) -> Inside:
        return share_inside(succeeded[rows], seeds[rows], len(np.unique(seeds[rows])))

    return BendGroup(name, of(inside), of(~inside), of(np.ones(len(bends), dtype=np.bool_)))
