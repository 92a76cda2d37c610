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
# Measured on two cores of an AMD EPYC (docs/benchmarks.md): in the graph the slowest decision in a hundred takes 1.3
# times the median, and images come up to 30 ms after the stamp that they have.
_SLOWEST = 1.3
_IMAGES_MS = 30.0


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


def too_slow(decision_ms: float, period_ns: int, chunk_ns: int) -> str:
    """Why decisions will come late in realtime, in words; empty where they will not.

    A plan is oldest just before the next one comes: a period, and what its images and its decision take.

    Args:
        decision_ms: wall time of one [ms].
        period_ns: time between two observations [ns].
        chunk_ns: age at which the observation behind a plan is too old, and the arm is held [ns].
    """
    period_ms, chunk_ms = period_ns * 1e-6, chunk_ns * 1e-6
    allowed_ms = min(_SHARE * period_ms, (chunk_ms - period_ms - _IMAGES_MS) / _SLOWEST)
    if decision_ms <= allowed_ms:
        return ""
    return (
        f"a decision takes {decision_ms:.0f} ms, at most {max(allowed_ms, 0.0):.0f} ms keep a plan younger than "
        f"{chunk_ms:.0f} ms (watch.chunk_age_s) with one every {period_ms:.0f} ms: {CANNOT_KEEP_UP}"
    )
