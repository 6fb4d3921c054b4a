//go:build linux && (amd64 || arm64)

package smtp

import (
	"syscall"
	"unsafe"
)

// readable says whether a read of the socket would return at once. It is asked before each
// message and by each reader that rests, so it is the bare system call: it never blocks, and
// it takes little of a stack that is to stay small.
func readable(fd uintptr) bool {
	var b byte
	_, _, err := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1,
		syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	// An octet, or the end, or a broken connection; not "nothing yet".
	return err != syscall.EAGAIN && err != syscall.EINTR
}
