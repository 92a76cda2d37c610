"""What a seed looks like under every randomisation profile, in one picture.

`python tools/generate/profiles_picture.py FILE [SEED]` draws the first camera set of an episode for each profile of
contract.yaml (default: seed 2).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")  # draws into a file; no display is needed

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from salus_vla.config.scene import Scene, load_scene
from salus_vla.contract import CAMERAS
from salus_vla.contract.bodies import CUBE
from salus_vla.contract.errors import SalusError
from salus_vla.simulation.mujoco.simulator import Simulator

_BLOCKS = 2  # profiles side by side
_CELL = 1.55  # inches of one camera
_DPI = 96
DEFAULT_SEED = 2


def draw_profiles(scene: Scene, output: Path, seed: int = DEFAULT_SEED) -> None:
    """Draws every profile of the scene.

    Args:
        scene: the contract's scene.
        output: PNG or SVG file to write.
        seed: of each reset.

    Raises:
        SimulatorError: the simulator cannot be built or cannot draw.
    """
    rows, width = -(-len(scene.profiles) // _BLOCKS), len(CAMERAS) * _BLOCKS
    figure, grid = plt.subplots(
        rows, width, figsize=(_CELL * width, (_CELL + 0.22) * rows), layout="constrained", facecolor="white"
    )
    cells = np.asarray(grid).reshape(rows * _BLOCKS, len(CAMERAS))
    for cell in cells.flat:
        cell.set_axis_off()
    for block, name in zip(cells, scene.profiles, strict=False):
        with Simulator(scene, profile=name, seed=seed) as simulator:
            _draw_block(list(block), simulator)
    figure.savefig(output, dpi=_DPI)
    plt.close(figure)


def _draw_block(block: Sequence[Axes], simulator: Simulator) -> None:
    for axes, (camera, picture) in zip(block, simulator.render().items(), strict=True):
        axes.imshow(picture)
        axes.text(0.02, 0.02, camera, transform=axes.transAxes, fontsize=6, color="white")
    block[0].set_title(simulator.profile, loc="left", fontsize=9, fontweight="bold")
    drawn = block[-1].set_title(_drawn(simulator), loc="right", fontsize=8)
    drawn.set_in_layout(False)  # a long one must not push the pictures apart


def _drawn(simulator: Simulator) -> str:
    """What the seed drew, in words."""
    variation = simulator.variation
    words = []
    if variation.light is not None:
        words.append(f"light x {variation.light:.2f}")
    if variation.friction is not None:
        words.append(f"friction {variation.friction:.3g}")
    if variation.mass is not None:
        words.append(f"{variation.mass:.2f} kg")
    if variation.color is not None:
        words.append("cube's colour")
    if variation.views:
        own = simulator.scene.cameras.views
        moved = [
            np.linalg.norm(np.subtract(view.position, own[name].position)) for name, view in variation.views.items()
        ]
        words.append(f"cameras moved {1e3 * min(moved):.0f}-{1e3 * max(moved):.0f} mm")
    if variation.distractors:
        words.append(f"{len(variation.distractors)} distractors")
    if variation.joint_offset is not None:
        offsets = np.degrees(np.abs(variation.joint_offset))
        words.append(f"joints off by {offsets.min():.1f}-{offsets.max():.1f}°")
    if variation.push is not None:
        words.append(f"pushed at {variation.push.begin:.1f} s, {np.hypot(*variation.push.velocity):.2f} m/s")
    x, y, _ = simulator.frame.poses[CUBE].position
    return ", ".join(words) or f"cube at x {x:.2f}, y {y:.2f} m"


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws the picture; 0, or 2 when an argument is wrong."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not 1 <= len(given) <= 2 or not all(word.isdecimal() for word in given[1:]):
        print("usage: python tools/generate/profiles_picture.py FILE [SEED]", file=sys.stderr)
        return 2
    try:
        draw_profiles(load_scene(), Path(given[0]), *map(int, given[1:]))
    except (SalusError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
