package contract

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// CPUSeconds is the user and system time of this process so far.
func CPUSeconds() float64 {
	u, ok := usage()
	if !ok {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func usage() (syscall.Rusage, bool) {
	var u syscall.Rusage
	return u, syscall.Getrusage(syscall.RUSAGE_SELF, &u) == nil
}

// residentKB is the resident set size now. Only Linux tells it without cgo;
// elsewhere it is 0 and the idle figures are missing.
func residentKB() int { return status("VmRSS:") }

// peakKB is the largest resident set size so far.
func peakKB() int {
	if n := status("VmHWM:"); n > 0 {
		return n
	}
	u, ok := usage()
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" { // the only one that counts bytes
		return int(u.Maxrss / 1024)
	}
	return int(u.Maxrss)
}

func status(key string) int {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(b)) {
		if f := strings.Fields(l); len(f) > 1 && f[0] == key {
			n, _ := strconv.Atoi(f[1]) // 0 if the kernel ever changes the form
			return n
		}
	}
	return 0
}
