"""/sim/reset and /sim/set_parameters, the same for every simulator: standard types only.

Runs in Isaac Sim's own Python too: nothing here may need more than rclpy, numpy and the contract.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rcl_interfaces.msg import ParameterType, SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from std_srvs.srv import Trigger

from salus_vla import contract
from salus_vla.contract import ENTITIES
from salus_vla.contract.errors import SimulatorError
from salus_vla.contract.types import FloatArray, Pose

# How far from the base an entity may be put [m]: the arm reaches 0.86 m, and tables are larger than that.
FARTHEST = 1.5
_UNIT_TOLERANCE = 0.01  # of the quaternion's length

Reset = Callable[[int, Mapping[str, Pose]], int]


class ResetServices:
    """Collects seed and poses for the next reset, and makes it."""

    def __init__(self, node: Node, *, seed: int, profile: str, reset: Reset) -> None:
        """Creates both services.

        Args:
            node: gets the services.
            seed: of a reset before the first that was set.
            profile: randomisation profile that the simulator shows; part of the answer.
            reset: starts over with a seed and poses of entities; returns the stamp of the first observation [ns].
                A SimulatorError becomes the answer.
        """
        self._seed = seed
        self._profile = profile
        self._reset = reset
        self._poses: dict[str, Pose] = {}
        node.create_service(Trigger, contract.SIM_RESET.name, self._on_reset)
        node.create_service(SetParameters, contract.SIM_SET_PARAMETERS.name, self._on_set_parameters)

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        poses, self._poses = self._poses, {}  # for this reset only: a refused one must not spoil the next
        try:
            stamp_ns = self._reset(self._seed, poses)
        except SimulatorError as error:
            response.success, response.message = False, str(error)
            return response
        response.success = True
        response.message = json.dumps({"seed": self._seed, "stamp_ns": stamp_ns, "profile": self._profile})
        return response

    def _on_set_parameters(
        self, request: SetParameters.Request, response: SetParameters.Response
    ) -> SetParameters.Response:
        response.results = [self._set(parameter) for parameter in request.parameters]
        return response

    def _set(self, parameter: Any) -> SetParametersResult:
        name, value = parameter.name, parameter.value
        if name == "seed" and value.type == ParameterType.PARAMETER_INTEGER and value.integer_value >= 0:
            self._seed = value.integer_value
            return SetParametersResult(successful=True)
        entity = name.removesuffix(".pose")
        if entity in ENTITIES and name.endswith(".pose") and len(value.double_array_value) == 7:
            numbers = np.array(value.double_array_value)
            if wrong := _wrong_pose(numbers):
                return SetParametersResult(successful=False, reason=f"{name} is {numbers.tolist()}: {wrong}")
            self._poses[entity] = Pose(numbers[:3], numbers[3:])
            return SetParametersResult(successful=True)
        known = "seed (integer, at least 0), " + ", ".join(f"{e}.pose (x y z qx qy qz qw)" for e in ENTITIES)
        return SetParametersResult(successful=False, reason=f"cannot set '{name}'; for the next reset: {known}")


def _wrong_pose(numbers: FloatArray) -> str:
    """What is wrong with a pose x y z qx qy qz qw, shape (7,), in words; empty where nothing is."""
    if not np.isfinite(numbers).all():
        return "expected finite numbers"
    if np.abs(numbers[:3]).max() > FARTHEST:
        return f"expected x, y and z from {-FARTHEST:g} to {FARTHEST:g} m of the robot's base"
    length = float(np.linalg.norm(numbers[3:]))
    if abs(length - 1.0) > _UNIT_TOLERANCE:
        return f"expected a quaternion qx qy qz qw of length 1, this one has {length:.3g}"
    return ""
