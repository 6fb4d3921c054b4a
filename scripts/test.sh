#!/usr/bin/env bash
# Runs every test of every module here. Called by "make test" after scripts/test-deps.sh,
# and by "make test-short" with --short: nothing beside Go is needed then.
# TESTFLAGS are further flags of go test.
set -euo pipefail
cd "$(dirname "$0")/.."

modules=$(scripts/modules.sh --tests | paste -sd, -)
note=
# shellcheck disable=SC2206
# No package needs more than a few minutes; a busy machine with the race detector may.
flags=(-shuffle=on -timeout=25m ${TESTFLAGS:-})

if [ "${1:-}" = --short ]; then
  flags+=(-short)
  note='Short run: without the race detector, real mail servers and what takes long. "make test" runs all.'
elif printf '#include <stdlib.h>\nint main(void){return 0;}\n' | gcc -x c -o /dev/null - 2>/dev/null; then
  flags+=(-race)
  export CGO_ENABLED=1
else
  note='NOT TESTED with the race detector: no C compiler could be found or installed.'
fi

exec go run ./internal/testsum -modules "$modules" ${note:+-note "$note"} -- "${flags[@]}" ./...
