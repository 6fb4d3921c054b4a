#!/bin/sh
# Builds the runner for the service and starts it; README.md in this directory explains
# it and says what it needs. Example: bench/service.sh -databases sqlite -parts send
set -eu
cd "$(dirname "$0")"
mkdir -p out/bin
export GOFLAGS="$(go env GOFLAGS) -mod=mod -buildvcs=false"
go build -o out/bin/service ./cmd/service
exec out/bin/service "$@"
