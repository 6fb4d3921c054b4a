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

// unavailable ends the test because what names something that `make test` would
// have installed.
func unavailable(t testing.TB, what string) {
	t.Helper()
	giveUp(t, what+"; `make test` installs it")
}

// requireRoot ends the test unless it runs as root.
func requireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		giveUp(t, "mail servers change users and need root; run the tests as root")
	}
}

func giveUp(t testing.TB, why string) {
	t.Helper()
	if os.Getenv(requireEnv) == "1" {
		t.Fatalf("relaytest: real server: %s", why)
	}
	t.Skipf("relaytest: real server: %s", why)
}
