//go:build unix

package smtp

import (
	"net"
	"syscall"
)

// peek looks at a socket without taking anything from it.
type peek struct {
	plain bool // the socket is all there is: nothing above it keeps what it has read
	raw   syscall.RawConn
	look  func(fd uintptr)
	found bool
}

// newPeek gives nil where nc is no socket.
func newPeek(nc net.Conn) *peek {
	s, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	p := &peek{raw: raw}
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		p.plain = true
	}
	p.look = func(fd uintptr) { p.found = readable(fd) }
	return p
}

// await returns when a Read would return at once, or at the socket's deadline.
func (p *peek) await() error { return p.raw.Read(readable) }

// pending says whether a Read would return at once.
func (p *peek) pending() bool {
	p.found = false
	// Control and not Read, which would wait for the reader goroutine's Read.
	return p.raw.Control(p.look) == nil && p.found
}
