"""The process in Isaac's own Python: `isaac_sim` starts it, `isaac_standalone.py --channel FD` (a socket pair).

SimulationApp comes before every other import of Isaac Sim: it loads what the others are. Python 3.11 is enough, and
nothing is needed beside what Isaac Sim brings.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

_PACKAGE = "salus_vla"
ZERO_DELAY = "isaacsim.exp.base.zero_delay.kit"


def _load_package() -> None:
    """Makes salus_vla importable from beside this file, and nothing else of the folder that it lies in.

    That folder may be the site-packages of another Python, with a numpy and an rclpy of its own.
    """
    if _PACKAGE in sys.modules:
        return
    folder = Path(__file__).resolve().parents[2]
    spec = importlib.util.spec_from_file_location(
        _PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder}: is not the package {_PACKAGE}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE] = module
    spec.loader.exec_module(module)


_load_package()

from salus_vla.contract.errors import SalusError, SimulatorError  # noqa: E402  # importable only now
from salus_vla.simulation.isaac.channel import Channel  # noqa: E402
from salus_vla.simulation.isaac.isaac_environment import bundled_libraries, check_environment, export_line  # noqa: E402
from salus_vla.simulation.isaac.isaac_versions import Release, release_of  # noqa: E402
from salus_vla.simulation.isaac.scene_spec import SceneSpec, scene_spec_from_json  # noqa: E402


class _Stop:
    """Set by SIGINT and SIGTERM."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True

    def __call__(self) -> bool:
        return self.asked


def main(words: list[str] | None = None) -> int:
    """Simulates until SIGINT; the exit code is 0 then, and 1 after an error that was reported."""
    parser = argparse.ArgumentParser(prog="isaac_standalone.py", description=__doc__)
    parser.add_argument("--channel", type=int, required=True, metavar="FD", help="file descriptor of a Unix socket")
    # Known ones only: SimulationApp hands further arguments to Kit.
    arguments, _ = parser.parse_known_args(words)
    with socket.socket(fileno=arguments.channel) as connection:
        channel = Channel(connection)
        try:
            return _simulate(channel)
        except SalusError as error:
            # Kit may end the process with an exit code of its own, so the answer does not depend on it.
            _tell(channel, str(error))
            print(f"error: {error}", file=sys.stderr, flush=True)
            return 1


def _tell(channel: Channel, error: str) -> None:
    with contextlib.suppress(SimulatorError):  # nobody may listen any more; the line on stderr remains
        channel.ask("failed", error=error)


def _simulate(channel: Channel) -> int:
    spec = scene_spec_from_json(channel.ask("scene_spec"))
    release = release_of(spec.version)
    check_environment(os.environ, release, Path(spec.folder))
    app = _start_app(spec, release)
    from salus_vla.simulation.isaac.runtime.stage import IsaacStage
    from salus_vla.simulation.isaac.runtime.world import World

    stop = _Stop()  # after SimulationApp, which sets handlers of its own
    try:
        stage = IsaacStage(app, spec, release)
        run = _ros_side(spec, release)
        run(World(stage, spec), spec, channel, lambda: stop() or channel.alone or not app.is_running())
        stage.stop()
    except SalusError as error:
        _tell(channel, str(error))
        print(f"error: {error}", file=sys.stderr, flush=True)
        app.close()
        return 1
    app.close()
    return 0


def _start_app(spec: SceneSpec, release: Release) -> Any:
    try:
        simulation_app = importlib.import_module("isaacsim").SimulationApp
    except ImportError as error:
        raise SimulatorError(f"{sys.executable}: has no Isaac Sim ({error})") from error
    experience = ""
    if spec.pacing == "lockstep":
        # A frame waits for the answer to its image, which must not come a frame later.
        experience = os.path.join(os.environ.get("EXP_PATH", ""), ZERO_DELAY)
        if not os.path.isfile(experience):
            raise SimulatorError(
                f"{experience}: missing; expected the experience that comes with Isaac Sim, in $EXP_PATH"
            )
    config = {
        "headless": True,
        "renderer": release.renderer,
        "width": spec.camera_model.width,
        "height": spec.camera_model.height,
    }
    return simulation_app(config, experience=experience)


def _ros_side(spec: SceneSpec, release: Release) -> Any:
    try:
        from salus_vla.ros.nodes.isaac_world_node import run
    except ImportError as error:
        line = export_line(bundled_libraries(release, Path(spec.folder)))
        raise SimulatorError(f"Isaac Sim's bridge did not load rclpy ({error}); before the start: {line}") from error
    return run


if __name__ == "__main__":
    sys.exit(main())
