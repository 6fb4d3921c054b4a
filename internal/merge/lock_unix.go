//go:build unix

package merge

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock keeps a second run away from the same results; the lock ends with the process.
func lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
