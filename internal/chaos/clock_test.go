package chaos_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clockEnv names the file that has the offset of a process' wall clock, in seconds, as eight octets.
const clockEnv = "CHAOS_CLOCK"

// What the overlay puts into package time. The file is mapped, so that a clock jumps in the middle of whatever the process does.
const (
	clockLine = "sec, nsec, mono := runtimeNow()\n"
	clockCode = `package time

import (
	"internal/runtime/atomic"
	"syscall"
	"unsafe"
)

var chaosClock = chaosMap()

func chaosMap() *int64 {
	path, ok := syscall.Getenv("` + clockEnv + `")
	if !ok {
		return nil
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("chaos clock: " + err.Error())
	}
	mem, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("chaos clock: " + err.Error())
	}
	return (*int64)(unsafe.Pointer(&mem[0]))
}

func chaosOffset() int64 {
	if chaosClock == nil {
		return 0
	}
	return atomic.Loadint64(chaosClock)
}
`
)

// overlay writes into dir what makes the go command build a program whose wall clock can be set, and gives the argument of -overlay.
// time.Now is changed in the standard library's source, so the clock moves for all of the program and its libraries, and timers and
// the monotonic clock do not: as when somebody sets a machine's clock. A file that the process reads would not do: only what is given
// a clock of ours would see it.
func overlay(dir string) (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	text, err := os.ReadFile(filepath.Join(source, "time.go"))
	if err != nil {
		return "", err
	}
	begin := strings.Index(string(text), "\nfunc Now() Time {\n")
	if begin < 0 || !strings.Contains(string(text)[begin:], clockLine) {
		return "", errors.New("time.Now of this Go release is not what the chaos clock knows how to change")
	}
	changed := string(text)[:begin] + strings.Replace(string(text)[begin:], clockLine, clockLine+"\tsec += chaosOffset()\n", 1)
	now, code, list := filepath.Join(dir, "time.go"), filepath.Join(dir, "chaos.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(source, "time.go"): now, filepath.Join(source, "chaos.go"): code}})
	if err != nil {
		return "", err
	}
	return list, errors.Join(os.WriteFile(now, []byte(changed), 0o600), os.WriteFile(code, []byte(clockCode), 0o600), os.WriteFile(list, replace, 0o600))
}

// clock is the wall clock of a node.
type clock struct{ path string }

// newClock makes one that is right.
func newClock(t *testing.T, dir string) *clock {
	t.Helper()
	c := &clock{filepath.Join(dir, "clock")}
	c.set(t, 0)
	return c
}

// set makes the clock differ from the right time; negative: it is behind.
func (c *clock) set(t *testing.T, by time.Duration) {
	t.Helper()
	f, err := os.OpenFile(c.path, os.O_CREATE|os.O_WRONLY, 0o600) // never cut short: it is mapped
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var octets [8]byte
	binary.NativeEndian.PutUint64(octets[:], uint64(int64(by/time.Second)))
	if _, err := f.WriteAt(octets[:], 0); err != nil {
		t.Fatal(err)
	}
}
