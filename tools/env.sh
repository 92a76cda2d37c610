# shellcheck shell=bash
# Source this: the environment of SALUS (Python, ROS 2, the built workspace) for the current shell.
#
#   source tools/env.sh        # bash, safe under `set -eu`, may be sourced twice
#
# ROS comes from a sourced ROS 2 Jazzy installation if there is one, else from the wheels in .venv.

_salus_root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"

if [ ! -x "$_salus_root/.venv/bin/python" ]; then
  if [ -L "$_salus_root/.venv/bin/python" ]; then
    echo "SALUS cannot start: $_salus_root/.venv/bin/python is a link to $(readlink "$_salus_root/.venv/bin/python")," \
      "which $(id -un) cannot run. Set SALUS up in a clone of your own: make setup" >&2
  else
    echo "SALUS is not set up: $_salus_root/.venv is missing. Run: make setup" >&2
  fi
  unset _salus_root
  # shellcheck disable=SC2317  # `exit` is for the case that this file is run and not sourced
  return 1 2>/dev/null || exit 1
fi

# What `.venv/bin/activate` does, but without a change of the prompt and without a longer PATH each time.
export VIRTUAL_ENV="$_salus_root/.venv"
case "$PATH:" in
  "$VIRTUAL_ENV/bin:"*) ;;
  *) export PATH="$VIRTUAL_ENV/bin:$PATH" ;;
esac
unset PYTHONHOME

# The wheels are found through the environment's root; the marker is written by tools/setup.sh.
if [ -e "$VIRTUAL_ENV/.salus/ros-wheels" ]; then
  case ":${AMENT_PREFIX_PATH:-}:" in
    *":$VIRTUAL_ENV:"*) ;;
    *) export AMENT_PREFIX_PATH="$VIRTUAL_ENV${AMENT_PREFIX_PATH:+:$AMENT_PREFIX_PATH}" ;;
  esac
  case ":${CMAKE_PREFIX_PATH:-}:" in
    *":$VIRTUAL_ENV:"*) ;;
    *) export CMAKE_PREFIX_PATH="$VIRTUAL_ENV${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}" ;;
  esac
  # The wheels restart Python once to set LD_LIBRARY_PATH. Inherited from another checkout's Python, the guard of that
  # would keep this one from finding its libraries.
  unset _ROS_WHEELS_BOOTSTRAP_COMPLETE
fi

# Scripts of ROS and colcon read unset variables, so `set -u` pauses.
case $- in *u*) _salus_nounset=u ;; *) _salus_nounset= ;; esac
set +u

# Set up against a ROS installation that this shell has not sourced yet.
if [ ! -e "$VIRTUAL_ENV/.salus/ros-wheels" ] && [ -z "${ROS_DISTRO:-}" ] && [ -e /opt/ros/jazzy/setup.bash ]; then
  # shellcheck disable=SC1091  # not on every machine
  . /opt/ros/jazzy/setup.bash
fi

# Makes a plain `colcon build` in ros2_ws/ do what tools/setup.sh does.
if [ -e "$VIRTUAL_ENV/.salus/colcon-defaults.yaml" ]; then
  export COLCON_DEFAULTS_FILE="$VIRTUAL_ENV/.salus/colcon-defaults.yaml"
fi

# The workspace.
if [ -e "$_salus_root/ros2_ws/install/local_setup.bash" ]; then
  unset COLCON_CURRENT_PREFIX # left by another workspace, it would be taken for this one
  # shellcheck disable=SC1091  # a build product
  . "$_salus_root/ros2_ws/install/local_setup.bash"
fi

[ -z "$_salus_nounset" ] || set -u
unset _salus_nounset _salus_root
