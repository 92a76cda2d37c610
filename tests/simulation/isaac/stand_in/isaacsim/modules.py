"""Which modules there are in each major version, with nothing in them but what SALUS uses."""

import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

from .calls import record
from .simulation import LOST, Simulation, prims_module
from .usd import namespaces


def install(major: int) -> Simulation:
    """Makes the modules importable; returns what is behind them."""
    simulation = Simulation(major)
    for name, content in (_common(simulation) | (_five if major == 5 else _six)(simulation)).items():
        module = sys.modules[name] = ModuleType(name)
        vars(module).update(content)
    return simulation


def _common(simulation: Simulation) -> dict[str, dict[str, Any]]:
    timeline = SimpleNamespace(
        play=simulation.play, stop=simulation.stop, set_end_time=lambda end_s: record("set_end_time", end_s)
    )
    manager = SimpleNamespace(set_extension_enabled_immediate=_enable)
    keys = SimpleNamespace(CREATE_NODES="CREATE_NODES", CONNECT="CONNECT", SET_VALUES="SET_VALUES")
    graph = simulation.graph
    return {
        **namespaces(),
        "omni.usd": {"get_context": lambda: SimpleNamespace(get_stage=lambda: simulation.stage)},
        "omni.timeline": {"get_timeline_interface": lambda: timeline},
        "omni.kit.app": {"get_app": lambda: SimpleNamespace(get_extension_manager=lambda: manager)},
        "omni.graph.core": {"Controller": SimpleNamespace(Keys=keys, edit=graph.edit, attribute=graph.attribute)},
        "isaacsim.core.experimental.prims": prims_module(simulation),
        "isaacsim.storage.native": {"get_assets_root_path": _asset_root},
    }


def _five(simulation: Simulation) -> dict[str, dict[str, Any]]:
    def context(*, physics_dt: float, rendering_dt: float, stage_units_in_meters: float, device: str) -> Any:
        record("SimulationContext", physics_dt, rendering_dt, stage_units_in_meters, device)
        simulation.physics_dt, simulation.frame_dt = physics_dt, rendering_dt
        return SimpleNamespace(initialize_physics=lambda: record("initialize_physics"))

    interface = SimpleNamespace(subscribe_contact_report_events=lambda callback: _subscribe(simulation, callback))
    return {
        "isaacsim.core.api": {"SimulationContext": context},
        "omni.physx": {"get_physx_simulation_interface": lambda: interface},
        "omni.physx.bindings._physx": {"ContactEventType": SimpleNamespace(CONTACT_LOST=LOST)},
    }


def _six(simulation: Simulation) -> dict[str, dict[str, Any]]:
    def setup_simulation(*, dt: float, device: str) -> None:
        record("setup_simulation", dt, device)
        simulation.physics_dt = dt

    def set_dt(dt: float) -> None:
        record("set_dt", dt)
        simulation.frame_dt = dt

    def rtx_camera(path: str, *, tick_rate: float) -> None:
        simulation.stage.DefinePrim(path, "Camera")
        simulation.graph.tick_rates[path] = tick_rate

    interface = SimpleNamespace(
        subscribe_physics_contact_report_events=lambda callback: _subscribe(simulation, callback)
    )
    return {
        "isaacsim.core.simulation_manager": {"SimulationManager": SimpleNamespace(setup_simulation=setup_simulation)},
        "isaacsim.core.rendering_manager": {"RenderingManager": SimpleNamespace(set_dt=set_dt)},
        "isaacsim.sensors.experimental.rtx": {"RtxCamera": rtx_camera},
        "omni.physics.core": {
            "ContactEventType": SimpleNamespace(CONTACT_LOST=LOST),
            "get_physics_simulation_interface": lambda: interface,
        },
    }


def _subscribe(simulation: Simulation, callback: Any) -> object:
    simulation.on_contact = callback
    return object()


def _enable(name: str, immediately: bool) -> bool:
    record("enable", name)
    return name != os.environ.get("STAND_IN_BROKEN_EXTENSION")


def _asset_root() -> str:
    if os.environ.get("STAND_IN_NO_ASSETS"):
        raise RuntimeError("Could not find assets root folder: https://assets.invalid")
    return "https://assets.invalid"
