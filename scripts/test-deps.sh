#!/usr/bin/env bash
# Installs what the tests need beside Go, where it can: a C compiler for the race
# detector, then the real servers, each by the install.sh of its test package: mail
# servers and Python for internal/relaytest, Redis for internal/redistest, PostgreSQL
# for internal/pgtest.
#
# Needs apt-get, and root or a sudo that asks no password. Where these are missing it
# says what it could not do and ends well: the tests then skip what they cannot run
# and the test runner names each. With POSTRIDER_TEST_REQUIRE_SERVERS=1 anything
# missing is a failure. Nothing is asked and no server is started.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'test-deps: %s\n' "$*"; }
has() { command -v "$1" >/dev/null 2>&1; }

# has_compiler: a C compiler that finds the C library's header files.
has_compiler() { printf '#include <stdlib.h>\nint main(void){return 0;}\n' | gcc -x c -o /dev/null - >/dev/null 2>&1; }

# as_root runs a command as root, and fails where that would ask something.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

apt() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" </dev/null
}

install_compiler() {
  if ! has apt-get || ! as_root true 2>/dev/null; then
    say 'cannot install gcc and libc6-dev: needs apt-get, and root or sudo without a password'
    return 1
  fi
  say 'installing gcc and libc6-dev'
  apt update >/dev/null || say 'apt-get update failed: going on with the package lists that are there'
  apt install --no-install-recommends gcc libc6-dev >/dev/null || say 'apt-get install failed, see above'
  has_compiler
}

install_servers() {
  local script=internal/$1/install.sh
  [ -f "$script" ] || return 0
  if as_root true 2>/dev/null; then
    # The names are passed on one by one: sudo drops the environment.
    as_root env POSTRIDER_TEST_REQUIRE_SERVERS="${POSTRIDER_TEST_REQUIRE_SERVERS:-}" \
      POSTRIDER_TEST_EXIM="${POSTRIDER_TEST_EXIM:-}" sh "$script" </dev/null
  else
    sh "$script" </dev/null
  fi
}

has_compiler || install_compiler || {
  say 'MISSING a C compiler: the tests run without the race detector'
  [ "${POSTRIDER_TEST_REQUIRE_SERVERS:-}" != 1 ] || exit 1
}
install_servers relaytest
install_servers redistest
install_servers pgtest
