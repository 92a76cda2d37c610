"""Where /sim/set_parameters may put an entity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

from salus_vla.contract.types import Pose
from salus_vla.ros.adapters.reset_services import FARTHEST, ResetServices

UPRIGHT = [0.0, 0.0, 0.0, 1.0]


class Services:
    """Stands for a node: keeps the callbacks of its services."""

    def __init__(self) -> None:
        self.callbacks: dict[str, Any] = {}

    def create_service(self, _: Any, name: str, callback: Any) -> None:
        self.callbacks[name] = callback


def set_pose(values: list[float]) -> tuple[Any, dict[str, Pose]]:
    """The answer, and what the next reset gets."""
    node, given = Services(), {}

    def reset(seed: int, poses: Any) -> int:
        given.update(poses)
        return 0

    ResetServices(node, seed=0, profile="eval", reset=reset)  # type: ignore[arg-type]
    request = SetParameters.Request(parameters=[Parameter("red_cube.pose", value=values).to_parameter_msg()])
    answer = node.callbacks["/sim/set_parameters"](request, SetParameters.Response())
    node.callbacks["/sim/reset"](None, type("Response", (), {})())
    return answer.results[0], given


def test_a_place_on_the_table_is_taken() -> None:
    result, given = set_pose([0.5, -0.2, 0.025, *UPRIGHT])
    assert result.successful
    np.testing.assert_array_equal(given["red_cube"].position, [0.5, -0.2, 0.025])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([9.0, 0.0, 0.0, *UPRIGHT], f"from -{FARTHEST:g} to {FARTHEST:g} m of the robot's base"),
        ([0.5, 0.0, -9.0, *UPRIGHT], "expected x, y and z"),
        ([float("nan"), 0.0, 0.0, *UPRIGHT], "expected finite numbers"),
        ([0.5, 0.0, 0.0, 0.0, 0.0, 0.0, float("inf")], "expected finite numbers"),
        ([0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], "length 1, this one has 0"),
        ([0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0], "length 1, this one has 2"),
    ],
)
def test_another_is_refused_and_the_next_reset_does_not_get_it(values: list[float], words: str) -> None:
    result, given = set_pose(values)
    assert not result.successful
    assert result.reason.startswith("red_cube.pose is [")
    assert words in result.reason
    assert given == {}
