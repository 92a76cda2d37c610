"""Every lifecycle node takes every transition in any order, in motion too, and a shutdown ends its process."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import State, Transition

from salus_vla.bench.faults.running_graph import Collecting, Watch
from salus_vla.data.bags.run_info import read_run

from .lifecycle_client import Lifecycle
from .test_bring_up import LIMIT_S, Asker, asker, started  # noqa: F401

pytestmark = [pytest.mark.graph, pytest.mark.safety, pytest.mark.timeout(120)]

UNCONFIGURED, INACTIVE, ACTIVE = (
    State.PRIMARY_STATE_UNCONFIGURED,
    State.PRIMARY_STATE_INACTIVE,
    State.PRIMARY_STATE_ACTIVE,
)
# The lifecycle of ROS 2, typed in: a transition and a state lead to another state; what is missing is refused.
MODEL = {
    (Transition.TRANSITION_CONFIGURE, UNCONFIGURED): INACTIVE,
    (Transition.TRANSITION_CLEANUP, INACTIVE): UNCONFIGURED,
    (Transition.TRANSITION_ACTIVATE, INACTIVE): ACTIVE,
    (Transition.TRANSITION_DEACTIVATE, ACTIVE): INACTIVE,
}
TRANSITIONS = sorted({transition for transition, _ in MODEL})
SHUTDOWN = {
    UNCONFIGURED: Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
    INACTIVE: Transition.TRANSITION_INACTIVE_SHUTDOWN,
    ACTIVE: Transition.TRANSITION_ACTIVE_SHUTDOWN,
}


def wander(node: Lifecycle, chance: random.Random, steps: int, between: Callable[[int], object]) -> int:
    """Random transitions, valid ones twice as often; the state at the end."""
    state = node.state()
    for _ in range(steps):
        valid = [transition for transition, origin in MODEL if origin == state]
        transition = chance.choice([*TRANSITIONS, *valid * 4])
        expected = MODEL.get((transition, state))
        assert node.change(transition) == (expected is not None), (transition, state)
        state = state if expected is None else expected
        assert node.state() == state
        between(state)
    return state


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("vla_ensemble", ["policy:=hold", "use_sim_time:=true"]), ("bag_recorder", ["run_id:=run"])],
)
def test_a_node_alone(asker: Asker, tmp_path: Path, name: str, parameters: list[str]) -> None:  # noqa: F811
    if name == "bag_recorder":
        parameters = [*parameters, f"out:={tmp_path / 'runs'}"]
    with started(name, "autostart:=false", *parameters) as process:
        node = Lifecycle(asker.node, name, asker.wait)
        state = wander(node, random.Random(1), 25, lambda _: None)
        assert node.change(SHUTDOWN[state])
        assert process.wait(LIMIT_S) == 0


@pytest.fixture
def watch() -> Iterator[Watch]:
    with Watch() as watch:
        yield watch


def test_the_episode_node_in_motion(watch: Watch, tmp_path: Path) -> None:
    options = ["--episodes", "1000", "--policy", "expert", "--run-id", "run", "--seed", "710000"]
    collecting = Collecting(tmp_path / "runs", options)

    def wait(condition: Callable[[], Any], what: str) -> Any:
        assert watch.spin(LIMIT_S, lambda: bool(condition()) or collecting.ended), f"no {what}: {collecting.output}"
        assert not collecting.ended, collecting.output
        return condition()

    def episode_runs() -> bool:
        seen = watch.seen
        return seen.episode is not None and seen.end_ns is None and (seen.clock_ns or 0) > seen.start_ns + 5 * 10**8

    try:
        wait(episode_runs, "episode in motion")
        node = Lifecycle(watch.node, "episode", wait)
        chance = random.Random(1)

        def between(state: int) -> None:
            if state == ACTIVE:
                watch.seen.episode = None
                wait(episode_runs, "episode after an activation")
            else:
                watch.spin(chance.uniform(0.0, 0.3))

        state = wander(node, chance, 6, between)
        while state != ACTIVE:
            transition = Transition.TRANSITION_CONFIGURE if state == UNCONFIGURED else Transition.TRANSITION_ACTIVATE
            assert node.change(transition)
            state = MODEL[transition, state]
        between(state)
        assert node.change(SHUTDOWN[ACTIVE])
        assert watch.spin(LIMIT_S, lambda: collecting.ended), collecting.output
    finally:
        collecting.kill_all()
    entries = read_run(tmp_path / "runs" / "run").record.episodes
    aborted = [entry for entry in entries if entry.outcome == "ABORTED"]
    assert aborted
    assert all(
        entry.detail == "inactive: the episode node was deactivated by a lifecycle transition" for entry in aborted
    )
    assert [entry.number for entry in entries] == list(range(len(entries)))
    assert read_run(tmp_path / "runs" / "run").interrupted == ()
