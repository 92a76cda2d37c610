"""States of a node and reasons of its stops, as salus_msgs/msg/Status has them, which pure code cannot import."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class NodeState(IntEnum):
    """Values of `state` in Status.msg."""

    STARTING = 0
    READY = 1
    RUNNING = 2
    HOLDING = 3
    FAILED = 4


# The policy's node.
INACTIVE: Final = "inactive"
NO_EPISODE: Final = "no_episode"
NO_DECISION_YET: Final = "no_decision_yet"
NO_VALID_POLICY: Final = "no_valid_policy"
NON_FINITE_ACTION: Final = "non_finite_action"
COMMAND_REFUSED: Final = "command_refused"
CHUNK_EXHAUSTED: Final = "chunk_exhausted"
PLANNING_ANEW: Final = "planning_anew"
HANDED_OVER: Final = "handed_over"
LOCKSTEP_LOST: Final = "lockstep_lost"
# The watchdog: latched until /salus/reset_hold is called.
STALE_CAMERA: Final = "stale_camera"
STALE_JOINTS: Final = "stale_joints"
STALE_CHUNK: Final = "stale_chunk"
MISSING_CLOCK: Final = "missing_clock"
CLOCK_JUMPED_BACK: Final = "clock_jumped_back"
SIMULATOR_STOPPED: Final = "simulator_stopped"
WATCHDOG: Final = (STALE_CAMERA, STALE_JOINTS, STALE_CHUNK, MISSING_CLOCK, CLOCK_JUMPED_BACK, SIMULATOR_STOPPED)
# The command gate.
DEADMAN: Final = "deadman"
SECOND_PUBLISHER: Final = "second_publisher"
# The failure predictor.
NO_PREDICTION: Final = "no_prediction"
# The episode node and the recorder.
NODE_LOST: Final = "node_lost"
NOT_STARTED: Final = "not_started"
RECORDING_FAILED: Final = "recording_failed"
RUN_COMPLETE: Final = "run_complete"
SCENE_RESET: Final = "scene_reset"
SIMULATOR_LOST: Final = "simulator_lost"
