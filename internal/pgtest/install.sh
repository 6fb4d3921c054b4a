#!/bin/sh
# Installs PostgreSQL and PgBouncer, which the tests start through internal/pgtest.
#
# Works on Debian and Ubuntu, as root. Safe to run again: what is there stays.
# Makes no cluster and starts no daemon. Prints what it did and what it could not
# do; tests whose server is missing are skipped, so the exit code is 0 unless
# POSTRIDER_TEST_REQUIRE_SERVERS=1.
set -u

say() { printf 'real server: %s\n' "$*"; }
fail() {
	say "could not install PostgreSQL and PgBouncer: $*"
	[ "${POSTRIDER_TEST_REQUIRE_SERVERS:-}" = 1 ] && exit 1
	exit 0
}

server=
for initdb in /usr/lib/postgresql/1[5-9]/bin/initdb /usr/lib/postgresql/[2-9][0-9]/bin/initdb; do
	if [ -x "$initdb" ]; then
		server=${initdb%/bin/initdb}
	fi
done
pooler=
[ -x /usr/sbin/pgbouncer ] && pooler=/usr/sbin/pgbouncer
if [ -n "$server" ] && [ -n "$pooler" ]; then
	say "PostgreSQL is installed: $server, and PgBouncer: $pooler"
	exit 0
fi
command -v apt-get >/dev/null || fail "no apt-get on this system"
[ "$(id -u)" -eq 0 ] || fail "not root"

export DEBIAN_FRONTEND=noninteractive
# Another apt may be running on a shared machine: wait for its lock.
apt_opts="-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3"

# Exit code 101 of policy-rc.d keeps package scripts from starting a daemon.
# A policy which the machine already has is left alone.
policy=/usr/sbin/policy-rc.d
own_policy=0
drop_policy() {
	[ "$own_policy" = 1 ] && rm -f "$policy"
	own_policy=0
}
trap drop_policy EXIT
trap 'exit 130' INT TERM
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 0755 "$policy"
	own_policy=1
fi

# shellcheck disable=SC2086
apt-get $apt_opts -qq update >/dev/null 2>&1 || say "package lists were not updated; trying with the old ones"
if [ -z "$server" ]; then
	# postgresql-common comes first, to be told not to make the cluster main, which the
	# server's package would do.
	# shellcheck disable=SC2086
	out=$(apt-get $apt_opts install -y -q --no-install-recommends postgresql-common 2>&1) || {
		printf '%s\n' "$out" | tail -n 5
		fail "apt-get install failed"
	}
	conf=/etc/postgresql-common/createcluster.d/postrider-tests.conf
	mkdir -p "${conf%/*}" && echo 'create_main_cluster = false' >"$conf"
	# shellcheck disable=SC2086
	out=$(apt-get $apt_opts install -y -q --no-install-recommends postgresql 2>&1) || {
		rm -f "$conf"
		printf '%s\n' "$out" | tail -n 5
		fail "apt-get install failed"
	}
	rm -f "$conf"
fi
# shellcheck disable=SC2086
out=$([ -n "$pooler" ] || apt-get $apt_opts install -y -q --no-install-recommends pgbouncer 2>&1) || {
	printf '%s\n' "$out" | tail -n 5
	fail "apt-get install pgbouncer failed"
}
say "installed what was missing of PostgreSQL and PgBouncer"
exit 0
