#!/usr/bin/env bash
# Runs the linter on every module here, with the settings of .golangci.yml.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

status=0
for dir in $(scripts/modules.sh); do
  echo "lint: module $dir"
  (cd "$dir" && "$root/bin/golangci-lint" run --config "$root/.golangci.yml" ./...) </dev/null || status=1
done
exit "$status"
