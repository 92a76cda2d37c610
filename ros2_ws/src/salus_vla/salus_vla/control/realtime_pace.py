"""Whether a policy decides fast enough for an arm that does not wait: measured before anything moves."""

from __future__ import annotations

from statistics import median
from typing import Final

import numpy as np

from salus_vla.config.scene import Scene
from salus_vla.contract import CAMERAS, DEFAULT_TASK
from salus_vla.contract.types import Observation
from salus_vla.control.controller import Controller

CANNOT_KEEP_UP: Final = "this machine cannot keep the pace: fewer noise samples, builtin:tiny, a GPU or lockstep would"
TOO_SLOW: Final = "too_slow"  # fact of the policy's status: why decisions will come late, in words
_CALLS = 5
_SHARE = 0.9  # of a period that a decision may take: the frames need some, and its time varies


def measure_decision_ms(controller: Controller, scene: Scene) -> float:
    """Median wall time of a decision on images of noise [ms], beside whatever else this machine does.

    A first decision warms up and is not counted. The controller must begin an episode afterwards.
    """
    random = np.random.default_rng(0)
    shape = (scene.cameras.height, scene.cameras.width, 3)
    took = []
    controller.start_decisions(0)
    for number in range(1 + _CALLS):  # other images each time: what is unchanged may not be looked at again
        images = {camera: random.integers(256, size=shape, dtype=np.uint8) for camera in CAMERAS}
        position = np.asarray(scene.robot.home_position, dtype=np.float64)
        observation = Observation(
            number * scene.rates.decision_dt_ns, images, position, DEFAULT_TASK, np.zeros_like(position)
        )
        took.append(controller.decide(observation, None).inference_ms)
    controller.start_decisions(0)
    return median(took[1:])


def too_slow(decision_ms: float, period_ns: int) -> str:
    """Why decisions will come late in realtime, in words; empty where they will not.

    Args:
        decision_ms: wall time of one [ms].
        period_ns: time between two observations [ns].
    """
    period_ms = period_ns * 1e-6
    if decision_ms <= _SHARE * period_ms:
        return ""
    return f"a decision takes {decision_ms:.0f} ms and one is due every {period_ms:.0f} ms: {CANNOT_KEEP_UP}"
