"""Parameters of the recorder node, with their units."""

from __future__ import annotations

from dataclasses import dataclass

from salus_vla.config.parameters import parameter


@dataclass(frozen=True)
class RecorderParameters:
    """Parameters of bag_recorder."""

    autostart: bool = parameter(True, "configure and activate at the start; false waits for lifecycle transitions")
    out: str = parameter("runs", "folder that holds the runs")
    run_id: str = parameter("", "name of the run's folder; empty for one made from the date")
    resume: bool = parameter(False, "continue the run of that name instead of starting a new one")
    arguments: str = parameter("", "what the run was asked for, a JSON object; kept in run.json")
    backend: str = parameter(
        "auto",
        "what writes bags; auto is mcap, rosbag2_py needs ROS",
        choices=("auto", "rosbag2_py", "mcap"),
    )
    compression: str = parameter("none", "of each mcap chunk", choices=("none", "zstd"))
    disk_warn_gb: float = parameter(2.0, "disk space left below which it warns [GB]", bounds=(0.0, 1e6))
    close_timeout_s: float = parameter(
        5.0, "wall time to wait for the last messages of an episode [s]", bounds=(0.1, 120.0)
    )
