"""An observation for a policy that reads the ground truth waits for the poses of its instant, whatever their order."""

import numpy as np
import pytest

from salus_vla.contract import CAMERAS, ENTITIES
from salus_vla.contract.types import Observation, Pose
from salus_vla.control.observation_matcher import ObservationMatcher

MS = 1_000_000
FRAME, HALF = 20 * MS, 10 * MS


def pose(stamp_ns: int) -> Pose:
    return Pose(np.full(3, stamp_ns * 1e-9), np.array([0.0, 0.0, 0.0, 1.0]))


def add(target: ObservationMatcher, kind: str, stamp_ns: int) -> Observation | None:
    if kind == "joints":
        return target.add_joints(stamp_ns, np.zeros(9), "task")
    if kind in ENTITIES:
        return target.add_pose(kind, stamp_ns, pose(stamp_ns), "task")
    return target.add_image(kind, stamp_ns, np.zeros((1, 1, 3), dtype=np.uint8), "task")


@pytest.mark.parametrize("last", ["joints", *ENTITIES, *CAMERAS])
def test_whatever_comes_last_completes_the_observation(last: str) -> None:
    target = ObservationMatcher(HALF, entities=ENTITIES)
    for entity in ENTITIES:
        add(target, entity, 4 * FRAME)  # of the frame before
    kinds = [kind for kind in ("joints", *ENTITIES, *CAMERAS) if kind != last]
    assert [add(target, kind, 5 * FRAME) for kind in kinds] == [None] * len(kinds)
    observation = add(target, last, 5 * FRAME)
    assert observation is not None
    assert observation.poses is not None
    assert set(observation.poses) == set(ENTITIES)
    assert all(found.position[0] == pytest.approx(0.1) for found in observation.poses.values())


def test_a_policy_that_reads_none_waits_for_none() -> None:
    target = ObservationMatcher(HALF)
    found = [add(target, kind, FRAME) for kind in ("joints", *CAMERAS)]
    assert found[-1] is not None
    assert found[-1].poses is None


def test_poses_of_long_ago_are_forgotten() -> None:
    target = ObservationMatcher(HALF, entities=ENTITIES)
    for entity in ENTITIES:
        add(target, entity, 0)
    for step in range(1, ObservationMatcher.MAX_JOINTS + 1):
        add(target, ENTITIES[0], step * FRAME)
    assert [add(target, kind, 0) for kind in ("joints", *CAMERAS)] == [None] * 4
