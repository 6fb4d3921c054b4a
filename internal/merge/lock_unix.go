//go:build unix

package merge

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lock keeps a second run away from the same results, which gets errLocked; the lock
// ends with the process.
func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errLocked
	}
	return err
}
