"""What moves: time, the arm, bodies and contacts. The arm is at its targets one frame later, or on its way there.

A gripper that is commanded to less than the cube's width touches the cube, wherever that is.
"""

import os
from types import SimpleNamespace
from typing import Any

import numpy as np

from .calls import record
from .graph import Graph
from .usd import Stage, number_of

JOINTS = (*(f"panda_joint{i}" for i in range(1, 8)), "panda_finger_joint1", "panda_finger_joint2")
CUBE_WEIGHT_N = 0.05 * 9.81
GRIP_N, GRIP_M = 10.0, 0.025
FOUND, LOST, PERSIST = "CONTACT_FOUND", "CONTACT_LOST", "CONTACT_PERSIST"


class Simulation:
    """The state behind the stand-in's modules."""

    def __init__(self, major: int) -> None:
        upper = {"Gripper": ["Default", "AlternateFinger"], "Mesh": ["Quality", "Performance"]}
        lower = {name: [choice.lower() for choice in choices] for name, choices in upper.items()}
        multiphysics = os.environ["STAND_IN_VERSION"].startswith(("6.1", "6.2"))
        self.major = major
        self.stage = Stage(lower if multiphysics else upper)
        self.graph = Graph(self)
        self.playing = False
        self.frame_dt = self.physics_dt = 0.0
        self.frame = 0
        self.dofs = {"position": np.zeros((1, 9)), "velocity": np.zeros((1, 9)), "target": np.zeros((1, 9))}
        self.poses: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.on_contact: Any = None
        self._step = float(os.environ.get("STAND_IN_STEP", "inf"))  # largest way of a joint in a frame [rad, m]
        self._touched: set[tuple[str, str]] = set()

    @property
    def time(self) -> float:
        return self.frame * self.frame_dt

    def update(self) -> None:
        if not self.playing:
            return
        self.frame += 1
        way = self.dofs["target"] - self.dofs["position"]
        self.dofs["position"] = self.dofs["position"] + np.clip(way, -self._step, self._step)
        for _ in range(round(self.frame_dt / self.physics_dt)):
            self._report_contacts()
        self.graph.tick()

    def play(self) -> None:
        record("play")
        assert self.frame_dt > 0.0, "time steps were not set"
        self.playing = True

    def stop(self) -> None:
        record("stop")
        self.playing = False

    def close(self) -> None:
        self.graph.close()

    def _report_contacts(self) -> None:
        pairs = {("/World/red_cube", "/World/table/shape_0"): CUBE_WEIGHT_N}
        if self.dofs["position"][0, 7] < GRIP_M:
            fingers = ("panda_leftfinger", "panda_rightfinger")
            pairs |= {(f"/World/Franka/{finger}", "/World/red_cube"): GRIP_N for finger in fingers}
        headers, points = [], []
        for pair, force in pairs.items():
            kind = PERSIST if pair in self._touched else FOUND
            headers.append(_header(pair, kind, len(points), 1))
            points.append(SimpleNamespace(impulse=(0.0, 0.0, force * self.physics_dt)))
        headers += [_header(pair, LOST, len(points), 0) for pair in self._touched - pairs.keys()]
        self._touched = set(pairs)
        self.on_contact(headers, points, *(() if self.major == 5 else ([],)))


def _header(pair: tuple[str, str], kind: str, offset: int, count: int) -> SimpleNamespace:
    first, second = map(number_of, pair)
    return SimpleNamespace(actor0=first, actor1=second, type=kind, contact_data_offset=offset, num_contact_data=count)


class WarpArray:
    """What the tensor interface gives."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def numpy(self) -> np.ndarray:
        return self._values


def prims_module(simulation: Simulation) -> dict[str, Any]:
    """`isaacsim.core.experimental.prims`."""

    class XformPrim:
        def __init__(
            self,
            paths: list[str],
            *,
            positions: Any = None,
            orientations: Any = None,
            reset_xform_op_properties: bool = False,
        ) -> None:
            self._paths = paths
            for path in paths:
                simulation.stage.GetPrimAtPath(path)
            if positions is not None:
                assert reset_xform_op_properties
                self.set_world_poses(positions, orientations)

        def set_world_poses(self, positions: Any, orientations: Any) -> None:
            record("set_world_poses", self._paths, positions, orientations)
            for path, position, orientation in zip(self._paths, positions, orientations, strict=True):
                assert abs(np.linalg.norm(orientation) - 1.0) < 1e-6
                simulation.poses[path] = np.array(position), np.array(orientation)

    class RigidPrim(XformPrim):
        def get_world_poses(self, *, indices: list[int]) -> tuple[WarpArray, WarpArray]:
            chosen = [simulation.poses[self._paths[i]] for i in indices]
            return WarpArray(np.array([p for p, _ in chosen])), WarpArray(np.array([q for _, q in chosen]))

        def set_velocities(self, linear: Any, angular: Any, *, indices: list[int]) -> None:
            assert np.shape(linear) == np.shape(angular) == (len(indices), 3)
            record("set_velocities", [self._paths[i] for i in indices])

        def set_masses(self, masses: Any, *, indices: list[int]) -> None:
            record("set_masses", [self._paths[i] for i in indices], masses)

    class Articulation:
        def __init__(self, path: str) -> None:
            simulation.stage.GetPrimAtPath(path)
            self.dof_names = os.environ.get("STAND_IN_JOINTS", ",".join(JOINTS)).split(",")

        def set_dof_positions(self, values: Any) -> None:
            simulation.dofs["position"][:] = values

        def set_dof_velocities(self, values: Any) -> None:
            simulation.dofs["velocity"][:] = values

        def set_dof_position_targets(self, values: Any, *, dof_indices: list[int] | None = None) -> None:
            record("set_dof_position_targets", values, dof_indices)
            simulation.dofs["target"][:, slice(None) if dof_indices is None else dof_indices] = values

        def set_dof_gains(self, stiffnesses: Any, dampings: Any) -> None:
            record("set_dof_gains", stiffnesses, dampings)

        def set_dof_max_efforts(self, values: Any) -> None:
            record("set_dof_max_efforts", values)

        def set_dof_armatures(self, values: Any) -> None:
            record("set_dof_armatures", values)

    return {"XformPrim": XformPrim, "RigidPrim": RigidPrim, "Articulation": Articulation}
