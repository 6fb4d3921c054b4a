#!/bin/sh
# Builds the runner and starts it; README.md in this directory explains it.
# Only Go is needed. Example: bench/run.sh -rounds 3 throughput
set -eu
cd "$(dirname "$0")"
mkdir -p out/bin
# The requirements of this module follow those of the one above: let the go
# command adjust them instead of asking the reader to.
# No version stamp: git refuses checkouts that belong to another user, and the
# report asks git itself.
export GOFLAGS="$(go env GOFLAGS) -mod=mod -buildvcs=false"
go build -o out/bin/bench ./cmd/bench
exec out/bin/bench "$@"
