"""A small runner for the part of ROS 2 launch XML that SALUS uses, for machines without the `launch` packages.

Everything accepted here means what `ros2 launch` of Jazzy (launch 3.4, launch_ros 0.26) does with the same text;
everything else is refused with a `LaunchError`, so one launch file serves both.
"""

from salus_vla.ros.launch.launch_arguments import format_arguments, parse_arguments
from salus_vla.ros.launch.launch_graph import ProcessSpec, build_graph
from salus_vla.ros.launch.runner import launch

__all__ = ["ProcessSpec", "build_graph", "format_arguments", "launch", "parse_arguments"]
