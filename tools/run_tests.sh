#!/usr/bin/env bash
# All tests, in three parts: those that start no processes, on every core; graphs, which mostly wait, two side by side; and the
# graphs of which safety is asserted, one after the other. Options of pytest are for all; a part in which they select nothing
# is passed over.
set -euo pipefail
nothing=5 # pytest's exit code

part() {
  local code=0
  python -m pytest "$@" || code=$?
  [ "$code" = "$nothing" ] || [ "$code" = 0 ] || exit "$code"
}

part -m "not graph" -n auto --dist loadfile "$@"
part -m "graph and not safety" -n 2 --dist loadgroup "$@"
part -m "graph and safety" "$@"
