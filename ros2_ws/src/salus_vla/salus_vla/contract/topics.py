"""Every topic and service of the contract: name, type, QoS, rate and who publishes it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from salus_vla.contract.pacing import DECISION_HZ, FRAME_HZ
from salus_vla.contract.qos import COMMAND, LATCHED, STATUS, STREAM, Qos
from salus_vla.contract.robot import CAMERAS, ENTITIES, WORLD_FRAME, camera_frame


class Source(Enum):
    """Who publishes a topic."""

    SIMULATOR = "simulator"
    POLICY = "vla_ensemble"
    GATE = "command_gate"
    EPISODE = "episode"
    PREDICTOR = "failure_predictor"
    NODES = "the nodes of SALUS"
    MARKERS = "salus_markers"
    DESCRIPTION = "robot_state_publisher"
    AGGREGATOR = "diagnostic_aggregator"


@dataclass(frozen=True)
class Topic:
    """One topic of the contract.

    Attributes:
        name: absolute name.
        type: ROS type, `package/msg/Name`.
        qos: QoS of the publisher.
        source: who publishes it.
        rate_hz: messages per second of sim time and publisher, or None when on event.
        frame_id: expected header.frame_id, or None where the type has no header or it is free.
        optional: present only where its package is installed (tf2_msgs is not on PyPI), its node asked for, or the bag
            new enough.
    """

    name: str
    type: str
    qos: Qos
    source: Source
    rate_hz: float | None = None
    frame_id: str | None = None
    optional: bool = False


CLOCK: Final = Topic("/clock", "rosgraph_msgs/msg/Clock", STREAM, Source.SIMULATOR, FRAME_HZ)
JOINT_STATES: Final = Topic(
    "/joint_states", "sensor_msgs/msg/JointState", STREAM, Source.SIMULATOR, FRAME_HZ, frame_id=""
)
TF: Final = Topic("/tf", "tf2_msgs/msg/TFMessage", STREAM, Source.SIMULATOR, FRAME_HZ, optional=True)
TF_STATIC: Final = Topic("/tf_static", "tf2_msgs/msg/TFMessage", STATUS, Source.SIMULATOR, optional=True)
CONTACT: Final = Topic(
    "/ground_truth/contact",
    "diagnostic_msgs/msg/DiagnosticArray",
    STREAM,
    Source.SIMULATOR,
    frame_id=WORLD_FRAME,
)


def image_topic(camera: str) -> Topic:
    """The image topic of a camera (`front`, `side`, `top`)."""
    return Topic(
        f"/camera_{camera}/image_raw",
        "sensor_msgs/msg/Image",
        STREAM,
        Source.SIMULATOR,
        DECISION_HZ,
        camera_frame(camera),
    )


def camera_info_topic(camera: str) -> Topic:
    """The camera_info topic of a camera; each message carries its image's stamp."""
    return Topic(
        f"/camera_{camera}/camera_info",
        "sensor_msgs/msg/CameraInfo",
        STREAM,
        Source.SIMULATOR,
        DECISION_HZ,
        camera_frame(camera),
    )


def pose_topic(entity: str) -> Topic:
    """The ground-truth pose of an entity (`red_cube`, `blue_bin`)."""
    return Topic(
        f"/ground_truth/{entity}/pose",
        "geometry_msgs/msg/PoseStamped",
        STREAM,
        Source.SIMULATOR,
        FRAME_HZ,
        WORLD_FRAME,
    )


# What the policy wants the joints to do; the command gate lets it pass to the arm as /joint_command or refuses it.
JOINT_TARGET: Final = Topic(
    "/salus/joint_target", "sensor_msgs/msg/JointState", STREAM, Source.POLICY, FRAME_HZ, frame_id=""
)
JOINT_COMMAND: Final = Topic(
    "/joint_command", "sensor_msgs/msg/JointState", COMMAND, Source.GATE, FRAME_HZ, frame_id=""
)
SAFETY_SIGNALS: Final = Topic(
    "/salus/safety_signals", "salus_msgs/msg/SafetySignals", STREAM, Source.POLICY, DECISION_HZ, frame_id=""
)
# What each member of the ensemble wants to do next, for displays. Optional: older bags do not have it.
MEMBER_CHUNKS: Final = Topic(
    "/salus/member_chunks",
    "salus_msgs/msg/MemberChunks",
    STREAM,
    Source.POLICY,
    DECISION_HZ,
    frame_id="",
    optional=True,
)
EPISODE: Final = Topic("/salus/episode", "salus_msgs/msg/Episode", LATCHED, Source.EPISODE)
FAILURE_PREDICTION: Final = Topic(
    "/salus/failure_prediction",
    "salus_msgs/msg/FailurePrediction",
    STREAM,
    Source.PREDICTOR,
    DECISION_HZ,
    frame_id="",
    optional=True,
)
# The same, when an alarm begins, changes or ends.
FAILURE_ALARM: Final = Topic(
    "/salus/failure_alarm", "salus_msgs/msg/FailurePrediction", STATUS, Source.PREDICTOR, optional=True
)
INTERVENTION: Final = Topic(
    "/salus/intervention",
    "salus_msgs/msg/Intervention",
    STREAM,
    Source.POLICY,
    DECISION_HZ,
    frame_id="",
    optional=True,
)
STATUS_TOPIC: Final = Topic("/salus/status", "salus_msgs/msg/Status", STATUS, Source.NODES)
DIAGNOSTICS: Final = Topic("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", STREAM, Source.NODES, 1.0)

SIMULATOR_TOPICS: Final = (
    CLOCK,
    JOINT_STATES,
    *(image_topic(camera) for camera in CAMERAS),
    *(camera_info_topic(camera) for camera in CAMERAS),
    *(pose_topic(entity) for entity in ENTITIES),
    CONTACT,
    TF,
    TF_STATIC,
)
SALUS_TOPICS: Final = (
    JOINT_TARGET,
    JOINT_COMMAND,
    SAFETY_SIGNALS,
    MEMBER_CHUNKS,
    FAILURE_PREDICTION,
    FAILURE_ALARM,
    INTERVENTION,
    EPISODE,
    STATUS_TOPIC,
    DIAGNOSTICS,
)
TOPICS: Final = SIMULATOR_TOPICS + SALUS_TOPICS

# For people's eyes, started by view.launch.xml: drawn from the topics above, so neither recorded nor watched.
MARKERS: Final = Topic(
    "/salus/markers", "visualization_msgs/msg/MarkerArray", STATUS, Source.MARKERS, DECISION_HZ, WORLD_FRAME
)
ROBOT_DESCRIPTION: Final = Topic("/robot_description", "std_msgs/msg/String", STATUS, Source.DESCRIPTION)
# The description, which salus_frames hands on as soon as somebody gives frames, and the description's own frames, which
# it hands on where nobody publishes /tf.
VIEW_DESCRIPTION: Final = Topic("/salus/view/robot_description", ROBOT_DESCRIPTION.type, STATUS, Source.DESCRIPTION)
VIEW_TF: Final = Topic("/salus/view/tf", TF.type, Qos(depth=100), Source.DESCRIPTION)
VIEW_TF_STATIC: Final = Topic("/salus/view/tf_static", TF.type, STATUS, Source.DESCRIPTION)
DIAGNOSTICS_TREE: Final = Topic(
    "/diagnostics_agg", "diagnostic_msgs/msg/DiagnosticArray", Qos(depth=1), Source.AGGREGATOR, 1.0
)
VIEW_TOPICS: Final = (MARKERS, ROBOT_DESCRIPTION, VIEW_DESCRIPTION, VIEW_TF, VIEW_TF_STATIC, DIAGNOSTICS_TREE)

# -- services ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Service:
    """One service of the contract: absolute name and ROS type."""

    name: str
    type: str


# Standard types only on the simulator's side: Isaac Sim's own Python cannot import custom ones without a build of its
# own.
SIM_RESET: Final = Service("/sim/reset", "std_srvs/srv/Trigger")
SIM_SET_PARAMETERS: Final = Service("/sim/set_parameters", "rcl_interfaces/srv/SetParameters")
RECORDER_START: Final = Service("/salus/recorder/start", "salus_msgs/srv/StartRecording")
RECORDER_STOP: Final = Service("/salus/recorder/stop", "salus_msgs/srv/StopRecording")
# Ends a hold that vla_ensemble latched.
RESET_HOLD: Final = Service("/salus/reset_hold", "std_srvs/srv/Trigger")
# Deactivated it brakes and holds, activated it goes on.
POLICY_CHANGE_STATE: Final = Service("/vla_ensemble/change_state", "lifecycle_msgs/srv/ChangeState")
