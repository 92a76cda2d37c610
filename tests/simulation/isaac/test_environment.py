"""One ROS 2 and never two; what is missing is said with the line to type."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from salus_vla.contract.errors import SimulatorError
from salus_vla.simulation.isaac.isaac_environment import bundled_libraries, check_environment, isaac_environment
from salus_vla.simulation.isaac.isaac_versions import RELEASES, release_of

from .conftest import Isaac


def ros_install(folder: Path) -> Path:
    """Something that looks like /opt/ros/jazzy."""
    (folder / "lib" / "python3.12" / "site-packages" / "rclpy").mkdir(parents=True)
    return folder


def sourced(ros: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": "/usr/bin",
        "ROS_DISTRO": "jazzy",
        "ROS_VERSION": "2",
        "AMENT_PREFIX_PATH": str(ros),
        "PYTHONPATH": str(ros / "lib/python3.12/site-packages"),
        "LD_LIBRARY_PATH": os.pathsep.join([str(ros / "lib"), "/usr/local/cuda/lib64"]),
        **more,
    }


@pytest.mark.parametrize("version", ["5.1.0", "6.0.1"])
def test_without_a_ros_the_bundled_libraries_are_used(make_isaac: Callable[..., Isaac], version: str) -> None:
    isaac, release = make_isaac(version), release_of(version)
    made = isaac_environment({"PATH": "/usr/bin", "HOME": "/root"}, release, isaac.folder, Path("/own"))
    libraries = str(bundled_libraries(release, isaac.folder))
    expected = {"PATH": "/usr/bin", "HOME": "/root", "ROS_DISTRO": "jazzy", "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}
    assert made == {**expected, "LD_LIBRARY_PATH": libraries}
    check_environment(made, release, isaac.folder)


def test_5_never_sees_a_sourced_ros(make_isaac: Callable[..., Isaac], tmp_path: Path) -> None:
    isaac, release = make_isaac("5.1.0"), release_of("5.1.0")
    made = isaac_environment(sourced(ros_install(tmp_path / "ros")), release, isaac.folder, Path("/own"))
    assert "AMENT_PREFIX_PATH" not in made
    assert "PYTHONPATH" not in made
    libraries = str(bundled_libraries(release, isaac.folder))
    assert made["LD_LIBRARY_PATH"].split(os.pathsep) == ["/usr/local/cuda/lib64", libraries]
    check_environment(made, release, isaac.folder)


def test_6_uses_a_sourced_jazzy_and_then_not_its_own(make_isaac: Callable[..., Isaac], tmp_path: Path) -> None:
    isaac, release = make_isaac("6.0.1"), release_of("6.0.1")
    base = sourced(ros_install(tmp_path / "ros"), VIRTUAL_ENV="/own")
    made = isaac_environment(base, release, isaac.folder, Path("/own"))
    assert made["LD_LIBRARY_PATH"] == base["LD_LIBRARY_PATH"]
    assert made["AMENT_PREFIX_PATH"] == base["AMENT_PREFIX_PATH"]
    assert made["OLD_PYTHONPATH"] == base["PYTHONPATH"]
    assert "VIRTUAL_ENV" not in made
    check_environment(made, release, isaac.folder)


def test_6_does_not_use_wheels_of_our_own_or_another_distro(make_isaac: Callable[..., Isaac], tmp_path: Path) -> None:
    isaac, release = make_isaac("6.0.1"), release_of("6.0.1")
    ros = ros_install(tmp_path / "ros")
    for base, own in ((sourced(ros), ros), (sourced(ros, ROS_DISTRO="humble"), Path("/own"))):
        made = isaac_environment({**base, "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}, release, isaac.folder, own)
        assert made["ROS_DISTRO"] == "jazzy"
        assert str(ros) not in "".join(f"{key}={value}" for key, value in made.items())
        assert "_ROS_WHEELS_BOOTSTRAP_COMPLETE" not in made
        check_environment(made, release, isaac.folder)


def test_missing_bundled_libraries_are_said(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match=r"isaacsim.ros2.core/jazzy/lib: missing; expected the ROS 2 libraries"):
        isaac_environment({}, release_of("6.2.0.0"), tmp_path, Path("/own"))


def test_an_environment_without_libraries_is_refused_with_the_line_to_type(tmp_path: Path) -> None:
    release = release_of("6.0.1")
    libraries = bundled_libraries(release, tmp_path)
    with pytest.raises(SimulatorError) as refused:
        check_environment({"LD_LIBRARY_PATH": "/usr/lib"}, release, tmp_path)
    line = (
        "export ROS_DISTRO=jazzy RMW_IMPLEMENTATION=rmw_fastrtps_cpp "
        f'LD_LIBRARY_PATH="${{LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}}{libraries}"'
    )
    assert str(refused.value).endswith(line)


def test_two_sets_of_libraries_are_refused(tmp_path: Path) -> None:
    release = release_of("6.0.1")
    both = {"AMENT_PREFIX_PATH": "/opt/ros/jazzy", "LD_LIBRARY_PATH": str(bundled_libraries(release, tmp_path))}
    with pytest.raises(SimulatorError, match="expected one of them"):
        check_environment(both, release, tmp_path)


def test_5_refuses_a_sourced_ros(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match="cannot load; start from a shell in which no ROS was sourced"):
        check_environment({"AMENT_PREFIX_PATH": "/opt/ros/jazzy"}, release_of("5.1.0"), tmp_path)


# -- versions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "name"),
    [("5.1.0", "5.1"), ("5.1.0-rc.19+release", "5.1"), ("6.0.1", "6.0"), ("6.2.0.0", "6.2"), ("6.1", "6.1")],
)
def test_a_version_has_its_release(version: str, name: str) -> None:
    assert release_of(version).name == name


@pytest.mark.parametrize("version", ["", "4.5.0", "5.0.0", "6.10.0", "7.0.0", "main"])
def test_another_version_is_refused(version: str) -> None:
    with pytest.raises(SimulatorError, match=r"is not supported; expected one of 5.1, 6.0, 6.1, 6.2"):
        release_of(version)


def test_facts_per_release() -> None:
    assert {release.name: release.python for release in RELEASES} == {
        "5.1": (3, 11),
        "6.0": (3, 12),
        "6.1": (3, 12),
        "6.2": (3, 12),
    }
    assert {release.major for release in RELEASES} == {5, 6}
