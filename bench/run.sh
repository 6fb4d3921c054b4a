#!/bin/sh
# Builds the runner and starts it; README.md in this directory explains it.
# Only Go is needed. Example: bench/run.sh -rounds 3 throughput
set -eu
cd "$(dirname "$0")"
mkdir -p out/bin
# The requirements of this module follow those of the one above: let the go
# command adjust them instead of asking the reader to.
export GOFLAGS="${GOFLAGS:-} -mod=mod"
go build -o out/bin/bench ./cmd/bench
exec out/bin/bench "$@"
