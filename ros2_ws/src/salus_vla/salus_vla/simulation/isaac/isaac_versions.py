"""What differs between the releases of Isaac Sim that SALUS can start."""

from __future__ import annotations

import re
from dataclasses import dataclass

from salus_vla.contract.errors import SimulatorError


@dataclass(frozen=True)
class Release:
    """One release of Isaac Sim.

    Attributes:
        name: major and minor number.
        python: version of Isaac's own Python, and of the Python that its pip packages need.
        franka: path of the Franka Panda under the asset root.
        variants: variant sets of that asset and what to choose in them.
        library_extension: extension that holds the bundled ROS 2 libraries, in `jazzy/lib`.
        renderer: of `SimulationApp`.
    """

    name: str
    python: tuple[int, int]
    franka: str
    variants: tuple[tuple[str, str], ...]
    library_extension: str
    renderer: str

    @property
    def major(self) -> int:
        """5 or 6: these have different graphs and different Python interfaces."""
        return int(self.name.split(".")[0])


_FRANKA = "/Isaac/Robots/FrankaRobotics/FrankaPanda/franka.usd"
_FRANKA_MULTIPHYSICS = "/Isaac/Robots_Multiphysics/FrankaRobotics/FrankaPanda/franka/franka.usda"
_VARIANTS = (("Gripper", "AlternateFinger"), ("Mesh", "Quality"))
_VARIANTS_LOWER = (("Gripper", "alternatefinger"), ("Mesh", "quality"))

# The files of 6.1 were not seen; it is taken to be as 6.2, into whose source the robots moved before 6.1's release.
RELEASES = (
    Release("5.1", (3, 11), _FRANKA, _VARIANTS, "isaacsim.ros2.bridge", "RaytracedLighting"),
    Release("6.0", (3, 12), _FRANKA, _VARIANTS, "isaacsim.ros2.core", "RealTimePathTracing"),
    Release("6.1", (3, 12), _FRANKA_MULTIPHYSICS, _VARIANTS_LOWER, "isaacsim.ros2.core", "RealTimePathTracing"),
    Release("6.2", (3, 12), _FRANKA_MULTIPHYSICS, _VARIANTS_LOWER, "isaacsim.ros2.core", "RealTimePathTracing"),
)


def release_of(version: str) -> Release:
    """The release of a version such as `5.1.0`, `6.0.1-rc.7` or `6.2.0.0`.

    Raises:
        SimulatorError: SALUS does not know it.
    """
    number = re.match(r"(\d+)\.(\d+)(?![\d])", version)
    for release in RELEASES:
        if number is not None and number[0] == release.name:
            return release
    known = ", ".join(release.name for release in RELEASES)
    raise SimulatorError(f"Isaac Sim {version!r} is not supported; expected one of {known}")
