package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the kernel's processor times: USER_HZ is 100 on Linux.
const tick = 10 * time.Millisecond

// Names of the shares of a message's cost.
const (
	useNode     = "service"
	useDatabase = "database"
	useSink     = "sink"
	useLoad     = "load"
)

// users are the processes of each name, by their number. A number stands for the process and all below it, except
// that of this process, which stands for itself alone.
type users map[string][]int

// stat is what the kernel says of a process: who started it and the processor time of it, and of its children that
// have ended and were waited for.
type stat struct {
	parent         int
	own, ofTheDead time.Duration
}

// processes reads all of them. What ends meanwhile is left out.
func processes() (map[int]stat, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	all := make(map[int]stat, len(files))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil {
			return nil, err
		}
		// The name before the last parenthesis may hold anything.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(fields) < 15 {
			return nil, fmt.Errorf("%s: %d fields", f, len(fields))
		}
		var n [15]int64
		for _, i := range []int{1, 11, 12, 13, 14} {
			if n[i], err = strconv.ParseInt(fields[i], 10, 64); err != nil {
				return nil, fmt.Errorf("%s: %w", f, err)
			}
		}
		all[pid] = stat{int(n[1]), time.Duration(n[11]+n[12]) * tick, time.Duration(n[13]+n[14]) * tick}
	}
	return all, nil
}

// below returns a process and all that descend from it.
func below(all map[int]stat, root int) []int {
	found := []int{}
	if _, ok := all[root]; ok {
		found = append(found, root)
	}
	for i := 0; i < len(found); i++ {
		for pid, s := range all {
			if s.parent == found[i] && pid != root {
				found = append(found, pid)
			}
		}
	}
	return found
}

// used is the processor time of each name so far.
func (u users) used() (map[string]time.Duration, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	spent := map[string]time.Duration{}
	for name, roots := range u {
		for _, root := range roots {
			if root == os.Getpid() {
				spent[name] += all[root].own
				continue
			}
			for _, pid := range below(all, root) {
				spent[name] += all[pid].own + all[pid].ofTheDead
			}
		}
	}
	return spent, nil
}

// busy is the processor time of all programs together since the machine was started.
func busy() (time.Duration, error) {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadString('\n')
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	// cpu user nice system idle iowait irq softirq steal; guest time is in user.
	for i, v := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 8 {
			continue
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// watch looks at the processors during one run.
type watch struct {
	users  users
	begun  time.Time
	before map[string]time.Duration
	busy   time.Duration
}

// start begins a watch.
func (u users) start() (*watch, error) {
	w := &watch{users: u}
	var err error
	if w.before, err = u.used(); err != nil {
		return nil, err
	}
	if w.busy, err = busy(); err != nil {
		return nil, err
	}
	w.begun = time.Now()
	return w, nil
}

// spent is what one run took.
type spent struct {
	wall    time.Duration
	by      map[string]time.Duration
	foreign float64 // share of the processors that other programs had
}

// end ends the watch.
func (w *watch) end() (spent, error) {
	s := spent{wall: time.Since(w.begun), by: map[string]time.Duration{}}
	after, err := busy()
	if err != nil {
		return s, err
	}
	now, err := w.users.used()
	if err != nil {
		return s, err
	}
	ours := time.Duration(0)
	for name, t := range now {
		s.by[name] = max(0, t-w.before[name])
		ours += s.by[name]
	}
	s.foreign = max(0, (after-w.busy-ours).Seconds()) / (s.wall.Seconds() * float64(runtime.NumCPU()))
	return s, nil
}

// each is the processor time of a name in microseconds for each of n.
func (s spent) each(name string, n int) float64 {
	return float64(s.by[name].Microseconds()) / float64(n)
}

// pss is the memory of processes and all below them in MB; what several share is counted once.
func pss(roots ...int) (float64, error) {
	all, err := processes()
	if err != nil {
		return 0, err
	}
	var kb float64
	for _, root := range roots {
		for _, pid := range below(all, root) {
			n, err := memoryOf(pid, "smaps_rollup", "Pss")
			if err != nil {
				if os.IsNotExist(err) {
					continue // it has ended
				}
				return 0, err
			}
			kb += n
		}
	}
	return kb / 1024, nil
}

// memoryOf reads a line "Name:   123 kB" of a file of a process, in kB; 0 if there is no such line.
func memoryOf(pid int, file, name string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if key, rest, ok := strings.Cut(line, ":"); ok && key == name {
			return strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
		}
	}
	return 0, nil
}
