#!/usr/bin/env bash
# Prints the directory of each Go module of this repository, one a line, the main one
# (".") first. The tools' module is left out: it holds no source of ours.
# With --tests only those that hold tests.
set -euo pipefail
cd "$(dirname "$0")/.."

find . \( -name '.?*' -o -name testdata -o -name node_modules -o -path ./bin -o -path ./tools \) -prune \
  -o -name go.mod -printf '%h\n' | sed 's|^\./||' | sort | while IFS= read -r dir; do
  if [ "${1:-}" = --tests ] && [ -z "$(find "$dir" -name '*_test.go' -print -quit)" ]; then
    continue
  fi
  printf '%s\n' "$dir"
done
