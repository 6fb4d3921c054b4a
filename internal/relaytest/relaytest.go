// Package relaytest starts real mail servers for tests, on loopback only:
// a private Postfix ([StartPostfix]) and a private Exim ([StartExim]), each with
// its own configuration, queue, certificate and users. Whatever a server
// accepts it keeps: every domain is local to it and no mail can leave the
// machine. Tests read what arrived with Messages and WaitMessages.
//
// Two more witnesses belong to it. [ParseWithPython] reads a message with
// Python's email package, which shares no code with ours. [StartProxy] puts a
// delay line in front of any server, counts how often the client had to wait,
// and cuts or freezes connections on demand.
//
// It is test support: only tests import it. It needs root, Linux, and the
// programs that install.sh in this directory installs. Where something is
// missing the test is skipped with a text that contains "real server", or fails
// if the environment variable POSTRIDER_TEST_REQUIRE_SERVERS is 1.
//
// The servers do the protocol work themselves (RFC 5321, 3207, 4954, 8314,
// 6152, 3030, 2920, 3461, 6531); nothing here speaks SMTP.
package relaytest

import (
	"os"
	"testing"
)

// requireEnv, set to 1, turns every skip of this package into a failure.
const requireEnv = "POSTRIDER_TEST_REQUIRE_SERVERS"

// unavailable ends the test because what names something that is not there.
func unavailable(t testing.TB, what string) {
	t.Helper()
	const mend = "; `make test` installs it"
	if os.Getenv(requireEnv) == "1" {
		t.Fatalf("relaytest: real server: %s%s", what, mend)
	}
	t.Skipf("relaytest: real server: %s%s", what, mend)
}

// requireRoot ends the test unless it runs as root: the servers change users.
func requireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		unavailable(t, "not running as root, which mail servers need to change users")
	}
}
