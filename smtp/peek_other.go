//go:build !unix

package smtp

import "net"

// peek would look at a socket without taking anything from it; not here, so that
// the reader goroutine always reads.
type peek struct{ plain bool }

func newPeek(net.Conn) *peek { return nil }

func (p *peek) pending() bool { return false }

func (p *peek) await() error { return nil }
