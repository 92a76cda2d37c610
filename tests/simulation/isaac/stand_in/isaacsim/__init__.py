"""Stands in for Isaac Sim: exactly the calls that SALUS makes, and any other is an AttributeError.

As in the real one, nothing but `SimulationApp` exists before it was made: `omni`, `pxr` and others cannot be imported.
Each call goes to the file $STAND_IN_LOG, one line of JSON each. The version is read from $STAND_IN_VERSION.
"""

import os
import sys
from typing import Any

from .calls import record

if os.environ.get("STAND_IN_NO_LICENCE"):
    print("Do you accept the EULA? (Yes/No): ")
    input()  # there is no terminal: EOFError


class SimulationApp:
    """Makes everything else importable."""

    def __init__(self, config: dict[str, Any], experience: str = "") -> None:
        early = sorted({name.partition(".")[0] for name in sys.modules} & {"numpy", "omni", "pxr", "rclpy", "usdrt"})
        assert not early, f"imported before SimulationApp: {early}"
        record("SimulationApp", config, experience)
        # What the bridge's extension does for Isaac's own ROS libraries.
        os.environ["AMENT_PREFIX_PATH"] = os.environ["STAND_IN_AMENT_PREFIX_PATH"]
        from . import modules

        self._simulation = modules.install(int(os.environ["STAND_IN_VERSION"].split(".")[0]))

    def update(self) -> None:
        self._simulation.update()

    def is_running(self) -> bool:
        return True

    def close(self) -> None:
        record("close")
        self._simulation.close()
