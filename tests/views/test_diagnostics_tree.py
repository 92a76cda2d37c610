"""The robot monitor's tree is green while a graph is well and red with the name where it is not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from diagnostics_tree import ERROR, OK, STALE, WARN, Tree
from salus_vla.contract import DIAGNOSTICS
from security_policy import node_access

RULES = Path(__file__).parents[2] / "config" / "rqt" / "diagnostics.yaml"
SIMULATORS = ("mujoco_sim", "isaac_sim")
NODES = ("vla_ensemble", "command_gate", "episode", "bag_recorder")


def array(node: str, **levels: int) -> Any:
    return SimpleNamespace(
        status=[SimpleNamespace(name=f"salus/{node}: {part}", level=bytes([level])) for part, level in levels.items()]
    )


def tree(*nodes: str, seconds: int = 3) -> Tree:
    """After some seconds of a graph of these nodes."""
    made = Tree(RULES)
    for second in range(seconds):
        for node in nodes:
            made.heard(array(node, resources=OK, messages=OK), float(second))
    return made


def test_every_node_that_gives_diagnostics_has_exactly_one_branch() -> None:
    nodes = {node.name for node in node_access() if DIAGNOSTICS.name in node.publishes} | set(SIMULATORS)
    branches = Tree(RULES).branches
    for node in nodes:
        (branch,) = (branch for branch in branches if branch.matches(f"salus/{node}: resources"))
        assert branch.path == ("simulator" if node in SIMULATORS else node)
    assert len(branches) == len(nodes) - len(SIMULATORS) + 1
    assert not any(branch.matches("salus/episode_of_somebody: x") for branch in branches)


@pytest.mark.parametrize("simulator", [*SIMULATORS, None])
@pytest.mark.parametrize("predictor", [True, False])
def test_a_healthy_graph_is_green_with_any_simulator_and_with_and_without_a_predictor(
    simulator: str | None, predictor: bool
) -> None:
    nodes = [*NODES, *([simulator] if simulator else []), *(["failure_predictor"] if predictor else [])]
    healthy = tree(*nodes)
    assert healthy.top(3.0) == OK, healthy.levels(3.0)


@pytest.mark.parametrize("missing", NODES)
def test_a_node_that_never_spoke_is_red_by_its_name(missing: str) -> None:
    sick = tree("mujoco_sim", *(node for node in NODES if node != missing))
    assert {name for name, level in sick.levels(3.0).items() if level != OK} == {missing}
    assert sick.top(3.0) == ERROR


@pytest.mark.parametrize("lost", ["mujoco_sim", "isaac_sim", "failure_predictor", *NODES])
def test_a_node_that_falls_silent_is_red_by_its_name_also_one_that_need_not_be_there(lost: str) -> None:
    sick = tree(*{"mujoco_sim", "failure_predictor", *NODES, lost} - ({"mujoco_sim"} if lost == "isaac_sim" else set()))
    for second in range(3, 12):
        for node in {"failure_predictor", "mujoco_sim", *NODES} - {lost}:
            if not (lost == "isaac_sim" and node == "mujoco_sim"):
                sick.heard(array(node, resources=OK, messages=OK), float(second))
    found = {name: level for name, level in sick.levels(11.0).items() if level != OK}
    assert found == {"simulator" if lost in SIMULATORS else lost: STALE}
    assert sick.top(11.0) == ERROR


@pytest.mark.parametrize(("level", "expected"), [(WARN, WARN), (ERROR, ERROR), (STALE, ERROR)])
def test_a_part_that_is_not_well_shows_in_its_branch_and_at_the_top(level: int, expected: int) -> None:
    sick = tree("mujoco_sim", *NODES)
    sick.heard(array("command_gate", commands=level), 2.0)
    assert {name: found for name, found in sick.levels(3.0).items() if found != OK} == {"command_gate": expected}
    assert sick.top(3.0) == expected


def test_before_anybody_speaks_nothing_is_green_by_mistake() -> None:
    assert Tree(RULES).top(0.0) == ERROR
