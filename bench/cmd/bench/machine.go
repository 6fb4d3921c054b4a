package main

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/postrider/postrider/bench/report"
)

// machine describes where and with what we measure. What the system does not
// tell is left empty.
func machine(ctx context.Context) report.Header {
	h := report.Header{
		CPU: cpuModel(ctx), Cores: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
		Load: load(),
	}
	if out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output(); err == nil {
		h.Revision = strings.TrimSpace(string(out))
	}
	return h
}

func cpuModel(ctx context.Context) string {
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for l := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == "model name" {
				return strings.TrimSpace(v)
			}
		}
	}
	if out, err := exec.CommandContext(ctx, "sysctl", "-n", "machdep.cpu.brand_string").Output(); err == nil {
		return strings.TrimSpace(string(out))
	}
	return "unknown processor"
}

// load is the load average of the last minute.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

// begin is the header of a part that starts now.
func (b *bench) begin(part string) report.Header {
	h := b.header
	h.Part, h.Started, h.Load = part, time.Now(), load()
	return h
}
