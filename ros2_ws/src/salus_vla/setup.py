"""Build of the salus_vla package by colcon (ament_python)."""

from collections import defaultdict
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "salus_vla"
HERE = Path(__file__).resolve().parent  # colcon --symlink-install runs a link to this file from its build folder


def shared_files(folder: str) -> list[tuple[str, list[str]]]:
    """Every file under `folder`, to be installed in share/ with its sub-folders kept.

    `launch`, `config` and `models` are links to the repository's folders of that name: a data file outside of the
    package (`../../../launch/x`) would make colcon put links next to the build folder.
    """
    by_target: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted((HERE / folder).rglob("*")):
        if path.is_file() and not any(part.startswith((".", "__")) for part in path.relative_to(HERE).parts):
            source = path.relative_to(HERE)
            by_target[f"share/{PACKAGE}/{source.parent}"].append(str(source))
    return list(by_target.items())


setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: ["py.typed", "**/*.yaml", "**/*.xml", "**/*.json", "**/*.html", "**/*.css", "**/*.js"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml", "plugin.xml"]),
        *shared_files("launch"),
        *shared_files("config"),
        *shared_files("models"),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="SALUS maintainers",
    maintainer_email="maintainers@salus.invalid",
    description="A VLA ensemble that drives an arm, says how unsure it is, and records everything.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "salus = salus_vla.cli.__main__:run",
            "mujoco_sim = salus_vla.ros.nodes.mujoco_sim_node:main",
            "isaac_sim = salus_vla.ros.nodes.isaac_sim_node:main",
            "command_gate = salus_vla.ros.nodes.command_gate_node:main",
            "vla_ensemble = salus_vla.ros.nodes.vla_ensemble_node:main",
            "episode = salus_vla.ros.nodes.episode_node:main",
            "bag_recorder = salus_vla.ros.nodes.bag_recorder_node:main",
            "failure_predictor = salus_vla.ros.nodes.failure_predictor_node:main",
            "salus_markers = salus_vla.ros.nodes.salus_markers_node:main",
            "salus_frames = salus_vla.ros.nodes.salus_frames_node:main",
        ],
    },
)
