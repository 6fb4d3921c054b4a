package relaytest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// FreeAddress finds a port of 127.0.0.1 below the range from which the system takes client ports, so that a server that restarts
// finds its port free again.
func FreeAddress(t testing.TB) string {
	t.Helper()
	const low, high = 20000, 32768
	for range 1000 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(low+rand.IntN(high-low)))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no free port on 127.0.0.1")
	return ""
}
