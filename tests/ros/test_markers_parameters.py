"""What salus_markers refuses before it draws anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from salus_vla.contract.errors import ConfigError
from salus_vla.ros.nodes.salus_markers_node import SalusMarkersNode

StartRos = Callable[..., None]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("low:=0.5", "parameter 'low' is 0.5, expected less than 'high', which is 0.04"),
        ("signal:=courage", "parameter 'signal' is 'courage', expected one of epistemic_uncertainty, "),
        ("longest:=1", "parameter 'longest' is 1, expected 2 to 100000"),
        ("colour:=red", "unknown parameter 'colour'; known are high, longest, low, plan_width_m, signal, width_m"),
    ],
)
def test_a_wrong_parameter_is_named(start_ros: StartRos, given: str, said: str) -> None:
    start_ros("-p", given)
    with pytest.raises(ConfigError, match=f"salus_markers: {said}"):
        SalusMarkersNode()
