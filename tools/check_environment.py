"""Imports everything the nodes and tests import, and renders one picture; an error here is an error of the set-up.

    python tools/check_environment.py [rendering]

The imports also leave Python's bytecode on disk (see tools/setup.sh), so the list names slow, lazily loaded ones too.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys

MODULES = (
    # ROS
    "rclpy.node",
    "rclpy.executors",
    "rclpy.serialization",
    "builtin_interfaces.msg",
    "diagnostic_msgs.msg",
    "geometry_msgs.msg",
    "rcl_interfaces.srv",
    "rosgraph_msgs.msg",
    "sensor_msgs.msg",
    "std_msgs.msg",
    "std_srvs.srv",
    # policy
    "torch",
    "torchvision",
    "num2words",
    "lerobot.policies.factory",
    "lerobot.policies.smolvla.modeling_smolvla",
    "lerobot.policies.smolvla.processor_smolvla",
    "transformers.models.auto.modeling_auto",
    "transformers.models.smolvlm.modeling_smolvlm",
    "transformers.models.smolvlm.processing_smolvlm",
    # data sets, training
    "accelerate",
    "lerobot.datasets",
    "lerobot.scripts.lerobot_train",
    # rollouts on several machines; what Ray starts for a cluster on this one
    "ray",
    "ray._private.log_monitor",
    "ray._private.runtime_env.agent.main",
    "ray._private.workers.default_worker",
    "ray.autoscaler._private.monitor",
    "ray.dashboard.agent",
    "ray.dashboard.dashboard",
    # simulator
    "mujoco",
    "trimesh",
    "fast_simplification",
    # recording
    "mcap.reader",
    "mcap.writer",
    "mcap_ros2.decoder",
    "rosbags.highlevel",
    # the viewer
    "rerun",
    "rerun.blueprint",
    # the window of rqt; the binding before what draws with it
    "PyQt5.QtWidgets",
    "pyqtgraph",
    # the rest
    "hypothesis",
    "matplotlib.pyplot",
    "psutil",
    "pydantic",
    "pytest",
    "rich.console",
    "rich.table",
    "yaml",
)


def has_egl() -> bool:
    """Whether the dynamic linker finds EGL; tools/setup.sh made sure of EGL or OSMesa."""
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
    return True


def check_imports() -> None:
    """Import every module of MODULES."""
    for module in MODULES:
        importlib.import_module(module)


def check_rendering() -> None:
    """Opens a window-less OpenGL context as MuJoCo's renderer does: that loads the driver too."""
    import mujoco

    context = mujoco.GLContext(16, 16)
    context.make_current()
    context.free()


if __name__ == "__main__":
    os.environ.setdefault("MUJOCO_GL", "egl" if has_egl() else "osmesa")
    check_rendering()
    if sys.argv[1:] != ["rendering"]:
        check_imports()
