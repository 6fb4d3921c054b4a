//go:build unix && !(linux && (amd64 || arm64))

package smtp

import "syscall"

// readable says whether a read of the socket would return at once.
func readable(fd uintptr) bool {
	var b [1]byte
	n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	// An octet, or the end (n is 0), or a broken connection; not "nothing yet".
	return n > 0 || err == nil || err != syscall.EAGAIN && err != syscall.EINTR
}
