"""Every node of a run says once a second how it is, in numbers, and a run without faults says that it is well."""

from pathlib import Path

import pytest

from diagnostics_tree import ERROR, STALE, Tree

from .conftest import Collected
from .test_collect import messages_of, stamp_ns

pytestmark = [pytest.mark.graph, pytest.mark.timeout(120)]

PARTS = {
    "mujoco_sim": {"frames", "commands", "resources"},
    "vla_ensemble": {"clock", "joints", "camera front", "decisions", "commands", "watchdog", "resources"},
    "command_gate": {"joints", "commands", "arm", "resources"},
    "episode": {"frames", "outcomes", "/clock", "/joint_states", "resources"},
    "bag_recorder": {"write", "disk", "/camera_top/image_raw", "/clock", "resources"},
}
NUMBERS = {
    ("vla_ensemble", "decisions"): {"decide_ms_p50", "react_ms_p99", "receive_ms_p99", "rate_hz", "plan_age_s"},
    ("vla_ensemble", "commands"): {"publish_ms_p50", "publish_ms_p99", "commands_refused", "longest_gap_s"},
    ("command_gate", "joints"): {"rate_hz", "longest_gap_s"},
    ("command_gate", "commands"): {"judge_ms_p50", "judge_ms_p99", "passed", "refused"},
    ("bag_recorder", "write"): {"write_ms_p50", "write_ms_p99", "messages"},
    ("mujoco_sim", "frames"): {"step_ms_p50", "render_ms_p99", "wait_ms_p50", "frames_per_wall_s"},
}
RULES = Path(__file__).parents[2] / "config" / "rqt" / "diagnostics.yaml"


@pytest.mark.parametrize("node", PARTS)
def test_each_node_is_in_the_bag_with_all_its_parts_as_numbers(collected: Collected, node: str) -> None:
    found = messages_of(collected, 1)
    started_ns = stamp_ns(found["/salus/episode"][0])  # before it, between two episodes, there is no plan to tell of
    arrays = [array for array in found["/diagnostics"] if stamp_ns(array) > started_ns]
    mine = [array for array in arrays if array.status[0].name.startswith(f"salus/{node}: ")]
    assert len(mine) >= 2  # in 2.5 s of sim time
    for array in mine:
        parts = {status.name.removeprefix(f"salus/{node}: "): status for status in array.status}
        assert set(parts) >= PARTS[node]
        for name, status in parts.items():
            values = {item.key: float(item.value) for item in status.values}
            assert values, name
            assert set(values) >= NUMBERS.get((node, name), set())
            assert int(status.level) != ERROR, f"{name}: {status.message}"


def test_the_robot_monitors_tree_of_the_run_is_not_red_and_red_by_name_once_a_node_falls_silent(
    collected: Collected,
) -> None:
    arrays = messages_of(collected, 1)["/diagnostics"]
    assert all(stamp_ns(array) > 0 for array in arrays)
    tree = Tree(RULES)
    for array in arrays:
        tree.heard(array, stamp_ns(array) * 1e-9)
    end_s = stamp_ns(arrays[-1]) * 1e-9
    # A machine that is busy may be slow for a moment, which is a warning.
    assert tree.top(end_s) < ERROR, tree.levels(end_s)
    for array in arrays:  # as if they went on, but for one
        if not array.status[0].name.startswith("salus/command_gate:"):
            tree.heard(array, end_s + 10.0)
    found = {name: level for name, level in tree.levels(end_s + 10.0).items() if level >= ERROR}
    assert found == {"command_gate": STALE}
    assert tree.top(end_s + 10.0) == ERROR
