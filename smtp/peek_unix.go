//go:build unix

package smtp

import (
	"net"
	"syscall"
)

// peek looks at a socket without taking anything from it.
type peek struct {
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
	p.look = func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		// An octet, or the end (n is 0), or a broken connection; not "nothing yet".
		p.found = n > 0 || err == nil || err != syscall.EAGAIN && err != syscall.EINTR
	}
	return p
}

// pending says whether a Read would return at once.
func (p *peek) pending() bool {
	p.found = false
	// Control and not Read, which would wait for the reader goroutine's Read.
	return p.raw.Control(p.look) == nil && p.found
}
