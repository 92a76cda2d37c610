#!/usr/bin/env bash
# All tests, in two parts: those that start no processes on every core, then the graphs, one after the other, because each of
# them uses several cores itself. Options of pytest are for both; a part in which they select nothing is passed over.
set -euo pipefail
nothing=5 # pytest's exit code

part() {
  local code=0
  python -m pytest "$@" || code=$?
  [ "$code" = "$nothing" ] || [ "$code" = 0 ] || exit "$code"
}

part -m "not graph" -n auto --dist loadfile "$@"
part -m graph "$@"
