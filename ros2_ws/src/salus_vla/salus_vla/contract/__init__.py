"""The topic contract: joints, topics, QoS, limits, outcomes, reasons, value types, and how its messages are read.

Nothing here imports more than numpy, and Python 3.11 is enough: simulator, policy, gate and tools share it, and so
does the process in Isaac's own Python. Scene, sizes and poses are in `config/contract.yaml` (`config/scene.py` reads
it).
"""

from salus_vla.contract.pacing import (
    DECISION_HZ,
    DISCOVERY_S,
    FRAME_HZ,
    LOCKSTEP,
    REALTIME,
)
from salus_vla.contract.qos import (
    COMMAND,
    LATCHED,
    STATUS,
    STREAM,
    Qos,
)
from salus_vla.contract.robot import (
    ARM_DOF,
    ARM_JOINTS,
    BASE_FRAME,
    CAMERAS,
    DEFAULT_TASK,
    ENTITIES,
    FINGER_JOINTS,
    JOINTS,
    RESERVED_FROM,
    WORLD_FRAME,
    camera_frame,
)
from salus_vla.contract.topics import (
    CLOCK,
    CONTACT,
    DIAGNOSTICS,
    DIAGNOSTICS_TREE,
    EPISODE,
    FAILURE_ALARM,
    FAILURE_PREDICTION,
    INTERVENTION,
    JOINT_COMMAND,
    JOINT_STATES,
    JOINT_TARGET,
    MARKERS,
    MEMBER_CHUNKS,
    POLICY_CHANGE_STATE,
    RECORDER_START,
    RECORDER_STOP,
    RESET_HOLD,
    ROBOT_DESCRIPTION,
    SAFETY_SIGNALS,
    SALUS_TOPICS,
    SIM_RESET,
    SIM_SET_PARAMETERS,
    SIMULATOR_TOPICS,
    STATUS_TOPIC,
    TF,
    TF_STATIC,
    TOPICS,
    VIEW_DESCRIPTION,
    VIEW_TF,
    VIEW_TF_STATIC,
    VIEW_TOPICS,
    Service,
    Source,
    Topic,
    camera_info_topic,
    image_topic,
    pose_topic,
)
