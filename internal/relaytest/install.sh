#!/bin/sh
# Installs the real mail servers which the tests start through
# internal/relaytest: Postfix from the distribution's packages, and Exim
# unpacked beside it (the two conflict as packages).
#
# Works on Debian and Ubuntu, as root. Safe to run again: what is there stays.
# Starts no daemon and configures no mail system. Prints what it did and what
# it could not do; tests whose server is missing are skipped, so the exit code
# is 0 unless POSTRIDER_TEST_REQUIRE_SERVERS=1.
set -u

root=$(cd "$(dirname "$0")/../.." && pwd)
exim_dir="$root/.cache/exim"
exim="$exim_dir/usr/sbin/exim4"
packages="postfix sasl2-bin libsasl2-modules libsasl2-modules-db python3"
failed=0

say() { printf 'real server: %s\n' "$*"; }
fail() {
	say "could not: $*"
	failed=1
}

finish() {
	if [ "$failed" -ne 0 ] && [ "${POSTRIDER_TEST_REQUIRE_SERVERS:-}" = 1 ]; then
		exit 1
	fi
	exit 0
}

export DEBIAN_FRONTEND=noninteractive
# Another apt may be running on a shared machine: wait for its lock.
apt_opts="-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3"

installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

updated=0
update_lists() {
	[ "$updated" = 1 ] && return 0
	# shellcheck disable=SC2086
	apt-get $apt_opts -qq update >/dev/null 2>&1 || return 1
	updated=1
}

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

install_packages() {
	missing=""
	for p in $packages; do
		installed "$p" || missing="$missing $p"
	done
	if [ -z "$missing" ]; then
		say "postfix and its companions are installed"
		return
	fi
	if [ "$(id -u)" -ne 0 ]; then
		fail "install$missing (not root)"
		return
	fi
	update_lists || say "package lists were not updated; trying with the old ones"
	# Without a main.cf of its own, Postfix does not serve this machine's mail.
	if command -v debconf-set-selections >/dev/null; then
		echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
	fi
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 0755 "$policy"
		own_policy=1
	fi
	# shellcheck disable=SC2086
	if out=$(apt-get $apt_opts install -y -q --no-install-recommends $missing 2>&1); then
		say "installed$missing"
	else
		fail "install$missing"
		printf '%s\n' "$out" | tail -n 5
	fi
	drop_policy
}

# missing_libraries prints the shared libraries which Exim lacks.
missing_libraries() {
	LD_LIBRARY_PATH="$exim_libs" ldd "$exim" 2>/dev/null | awk '/not found/ { print $1 }'
}

# direct_libraries prints the library packages which the named ones depend on.
direct_libraries() {
	apt-cache depends -i "$@" | awk '$1 == "Depends:" && $2 ~ /^lib/ { print $2 }' | sort -u
}

unpack_exim() {
	multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")
	exim_libs="$exim_dir/usr/lib/$multiarch:$exim_dir/lib/$multiarch"
	if [ -x "$exim" ] && [ -z "$(missing_libraries)" ]; then
		say "exim is unpacked in $exim_dir"
		return
	fi
	update_lists || say "package lists were not updated; trying with the old ones"
	work=$(mktemp -d) || return
	# apt downloads as the user _apt if it may write here, and warns if not.
	chmod 0777 "$work"
	if ! (cd "$work" && apt-get -qq download exim4-daemon-light >/dev/null 2>&1); then
		fail "download exim4-daemon-light"
		rm -rf "$work"
		return
	fi
	mkdir -p "$exim_dir"
	dpkg -x "$work"/exim4-daemon-light_*.deb "$exim_dir"
	# The harness runs it as root; a second set-uid mailer must not lie about.
	chmod 0755 "$exim"
	# Libraries which the machine lacks come from the packages that Exim's
	# package depends on, then from those that these depend on, and so on.
	level=exim4-daemon-light
	for _ in 1 2 3 4; do
		[ -n "$(missing_libraries)" ] || break
		next=""
		for dep in $(direct_libraries $level); do
			installed "$dep" && continue
			(cd "$work" && apt-get -qq download "$dep" >/dev/null 2>&1) || continue
			dpkg -x "$work/${dep}"_*.deb "$exim_dir"
			next="$next $dep"
		done
		[ -n "$next" ] || break
		level=$next
	done
	rm -rf "$work"
	lost=$(missing_libraries | tr '\n' ' ')
	if [ -n "$lost" ]; then
		fail "find shared libraries of exim: $lost"
		return
	fi
	say "unpacked exim in $exim_dir"
}

# Exim insists on a user named Debian-exim. The harness shows it a private
# passwd file in a mount namespace; where namespaces are forbidden, only a
# real user helps.
exim_user() {
	[ "$(id -u)" -eq 0 ] || return
	if unshare -m true 2>/dev/null || getent passwd Debian-exim >/dev/null; then
		return
	fi
	if useradd --system --no-create-home --home-dir /nonexistent \
		--shell /usr/sbin/nologin --user-group Debian-exim 2>/dev/null; then
		say "added system user Debian-exim (mount namespaces are not allowed here)"
	else
		fail "add user Debian-exim (mount namespaces are not allowed here)"
	fi
}

if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
	fail "install Postfix and Exim: no apt-get on this system"
	finish
fi
install_packages
unpack_exim
exim_user
finish
