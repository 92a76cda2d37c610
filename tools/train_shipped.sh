#!/usr/bin/env bash
# The shipped ensemble from nothing: demonstrations, data set, both stages, two rounds in which it learns from its own
# failures, evaluation on unseen seeds, tables.
#
#   tools/train_shipped.sh OUT [--episodes 1200] [--steps 6000] [--rounds 2] [--eval 200] [--device cuda:0] [--wheels DIR]
#                          [--minutes M]
#
# Needs a plain checkout, Python 3.12 with torch, and the packages of requirements.txt; no ROS and no network. --wheels
# makes a virtual environment over the Python there and installs the wheels of that folder into it. Every part can be
# interrupted: run the same command again and it goes on where it was. --minutes ends it in time by itself (exit code 75),
# for machines that are lent for so long.
set -euo pipefail

usage() { sed -n '2,12p' "$0" | sed 's/^# \{0,1\}//'; exit 2; }
[ $# -ge 1 ] && [ "${1#-}" = "$1" ] || usage
out=$1; shift
episodes=1200 steps=6000 rounds=2 eval=200 device="" wheels="" minutes=""
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || usage
  case $1 in
    --episodes) episodes=$2 ;; --steps) steps=$2 ;; --rounds) rounds=$2 ;; --eval) eval=$2 ;;
    --device) device=$2 ;; --wheels) wheels=$2 ;; --minutes) minutes=$2 ;;
    *) usage ;;
  esac
  shift 2
done

root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$out"
out=$(cd "$out" && pwd)
began=$(date +%s)

python=python3
if [ -n "$wheels" ]; then
  python=$out/venv/bin/python
  if [ ! -e "$out/venv/.complete" ]; then
    python3 -m venv --system-site-packages "$out/venv"
    "$python" -m pip install --quiet --no-index --no-deps "$wheels"/*.whl
    touch "$out/venv/.complete"
  fi
elif [ -x "$root/.venv/bin/python" ]; then
  python=$root/.venv/bin/python
fi
export PYTHONPATH=$root/ros2_ws/src/salus_vla${PYTHONPATH:+:$PYTHONPATH}
export HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
workers=$(nproc)
if [ -z "$device" ]; then
  device=$("$python" -c 'import torch; print("cuda:0" if torch.cuda.is_available() else "cpu")')
fi
# Rendering on the GPU where there is one; without it MuJoCo finds Mesa.
if [ "$device" != cpu ]; then export MUJOCO_GL=${MUJOCO_GL:-egl}; fi

salus() {
  local limit=()
  if [ -n "$minutes" ]; then
    local left=$((minutes * 60 - ($(date +%s) - began) - 20))
    [ "$left" -gt 20 ] || { echo "time is up; run the same command again"; exit 75; }
    limit=(timeout --signal=TERM --kill-after=15 "$left")
  fi
  echo "+ salus $*"
  local code=0
  "${limit[@]}" "$python" -m salus_vla.cli "$@" || code=$?
  case $code in
    0) ;;
    124 | 130 | 143) echo "time is up; run the same command again"; exit 75 ;;
    *) exit "$code" ;;
  esac
}

rollout() { # rollout RUN_ID options...
  local run=$1; shift
  local resume=()
  if [ -d "$out/runs/$run" ]; then resume=(--resume); fi
  salus rollout --out "$out/runs" --run-id "$run" --workers "$workers" "${resume[@]}" "$@"
}

some() { echo "$(($1 < 1 ? 1 : $1))"; }

# Seeds: demonstrations from 10000, rounds from 30000, evaluation from 500000, shifts from 600000. From 900000 on they are for acceptance only.
rollout demos --policy expert --disturb --profile train --episodes "$episodes" --seed 10000
if [ ! -d "$out/data" ]; then
  salus dataset export "$out/runs/demos" --out "$out/data" --image-size 128 --action planned --ground-truth
fi
resume=()
if [ -d "$out/trained" ]; then resume=(--resume); fi
if [ ! -d "$out/trained/model" ]; then
  salus train --data "$out/data" --out "$out/trained" --steps "$steps" --device "$device" --workers "$((workers / 2))" "${resume[@]}"
fi
model=$out/trained/model
if [ "$rounds" -gt 0 ]; then
  # Demonstrations, disturbed episodes and random takeovers in the proportion of the shipped ensemble's.
  salus dagger --out "$out/dagger" --from "$model" --rounds "$rounds" --demos "$(some $((episodes / 4)))" \
    --faults "$(some $((episodes / 5)))" --random "$(some $((episodes / 10)))" --steps "$(some $((steps / 6)))" \
    --workers "$workers" --device "$device"
  model=$out/dagger/round_$rounds/trained/model
fi
rollout eval --policy ensemble --model "$model" --profile eval --episodes "$eval" --seed 500000 --no-images
for member in "$model"/member_*; do
  rollout "eval_$(basename "$member")" --policy ensemble --model "$member" --profile eval --episodes "$(some $((eval / 4)))" --seed 500000 --no-images
done
for profile in far_cube dark camera_moved slippery heavy distractor other_color; do
  rollout "$profile" --policy ensemble --model "$model" --profile "$profile" --episodes "$(some $((eval / 5)))" --seed 600000 --no-images
done
runs=()
for run in "$out"/runs/*; do
  if [ "$(basename "$run")" != demos ]; then runs+=("$run"); fi
done
salus evaluate "${runs[@]}" --out "$out/results.md" --figure "$out/results.png"
echo "model: $model"
echo "results: $out/results.md"
