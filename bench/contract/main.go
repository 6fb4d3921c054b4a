package contract

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Conn is one connection of a library, or one worker's view of its pool.
// It is used by one goroutine.
type Conn interface {
	// Send builds and sends one message for each id, with the id as its
	// X-Bench-Id field, and returns one error (or nil) for each.
	Send(ids []string) []error
	// Close ends the connection. With a shared pool every view is closed.
	Close() error
}

// Dialer opens a connection that is ready to send. It may return before it is
// connected: the time to the first message counts from before the call.
type Dialer func(o *Options) (Conn, error)

// Result is the JSON line of a driver.
type Result struct {
	Sent        int      `json:"sent"`
	Failed      int      `json:"failed"`
	Seconds     float64  `json:"seconds"`      // first dial to last reply
	FirstMS     float64  `json:"first_ms"`     // first dial to the first message accepted
	WarmSeconds float64  `json:"warm_seconds"` // from when all connections had sent one to the last reply
	WarmN       int      `json:"warm_n"`       // messages but the first of each connection
	P50MS       float64  `json:"p50_ms"`       // of warm calls, divided by the messages of the call
	P99MS       float64  `json:"p99_ms"`
	CPUSeconds  float64  `json:"cpu_s"`        // user and system, first dial to last reply
	AllocKB     float64  `json:"alloc_kb"`     // allocated a message
	PeakRSSKB   int      `json:"peak_rss_kb"`  // of the whole process
	BaseRSSKB   int      `json:"base_rss_kb"`  // before the first dial
	HoldRSSKB   int      `json:"hold_rss_kb"`  // idle mode: after Hold and one garbage collection
	FreedRSSKB  int      `json:"freed_rss_kb"` // idle mode: and with unused pages given back
	Errors      []string `json:"errors,omitempty"`
}

// Main is the main function of a driver: it parses the flags, sends, and prints
// the Result. A message that fails is a line of the result, not an error.
func Main(peer string, dial Dialer) {
	if err := run(peer, dial, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", peer, err)
		os.Exit(1)
	}
}

func run(peer string, dial Dialer, args []string) error {
	o, err := parse(peer, args)
	if err != nil {
		return err
	}
	o.Content, err = makeContent(o.Size, o.Attach)
	if o.Content.AttachPath != "" {
		defer os.Remove(o.Content.AttachPath)
	}
	if err != nil {
		return err
	}
	if o.memProfile != "" {
		runtime.MemProfileRate = 4096 // the default of 512 KiB says little about 200 connections
	}
	if o.cpuProfile != "" {
		f, err := os.Create(o.cpuProfile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
	}
	m := &meter{o: o, errs: map[string]int{}}
	r, err := m.measure(dial)
	if err != nil {
		return err
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}

// writeAllocations writes what was allocated since the start and what is in use now.
func writeAllocations(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}

// meter hands out message ids to the workers and gathers what they saw.
type meter struct {
	o      *Options
	mu     sync.Mutex
	next   int // number of the next message
	start  time.Time
	warm   time.Time // when the last connection had sent its first message
	result Result
	calls  []float64 // milliseconds a message, one entry for each warm call
	errs   map[string]int
}

func (m *meter) measure(dial Dialer) (Result, error) {
	r := &m.result
	r.BaseRSSKB = residentKB()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu := CPUSeconds()
	m.start = time.Now()
	conns := make([]Conn, m.o.Conns)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			c, err := dial(m.o)
			if err != nil {
				m.fail(err, 1)
				return
			}
			conns[i] = c
			m.work(c)
		})
	}
	wg.Wait()
	end := time.Now()
	r.CPUSeconds = CPUSeconds() - cpu
	pprof.StopCPUProfile() // does nothing if none was started
	r.Seconds = end.Sub(m.start).Seconds()
	if r.WarmN > 0 {
		r.WarmSeconds = end.Sub(m.warm).Seconds()
	}
	runtime.ReadMemStats(&after)
	if r.Sent > 0 {
		r.AllocKB = float64(after.TotalAlloc-before.TotalAlloc) / 1024 / float64(r.Sent)
	}
	if m.o.Hold > 0 {
		time.Sleep(m.o.Hold) //nolint:forbidigo // sitting still is what is measured
		runtime.GC()
		//nolint:forbidigo // the collector gives pages back in the background and does not say when it is done
		time.Sleep(200 * time.Millisecond)
		r.HoldRSSKB = residentKB()
		debug.FreeOSMemory()
		r.FreedRSSKB = residentKB()
	}
	var err error
	if m.o.memProfile != "" { // now, while the connections are open
		err = writeAllocations(m.o.memProfile)
	}
	for _, c := range conns {
		if c != nil {
			_ = c.Close() // all messages have had their replies
		}
	}
	r.PeakRSSKB = peakKB()
	slices.Sort(m.calls)
	if n := len(m.calls); n > 0 {
		r.P50MS, r.P99MS = m.calls[n/2], m.calls[n*99/100]
	}
	for e, n := range m.errs {
		r.Errors = append(r.Errors, fmt.Sprintf("%d times: %s", n, e))
	}
	slices.Sort(r.Errors)
	return *r, err
}

// work sends on one connection until no message is left. The first call has one
// message, so that the time to the first message is that of one message.
func (m *meter) work(c Conn) {
	for first := true; ; first = false {
		ids := m.take(first)
		if len(ids) == 0 {
			return
		}
		t := time.Now()
		errs := c.Send(ids)
		now := time.Now()
		bad := 0
		for _, err := range errs {
			if err != nil {
				bad++
				m.fail(err, 1)
			}
		}
		m.mu.Lock()
		m.result.Sent += len(ids) - bad
		if first {
			if m.result.FirstMS == 0 {
				m.result.FirstMS = now.Sub(m.start).Seconds() * 1e3
			}
			m.warm = now
		} else {
			m.result.WarmN += len(ids) - bad
			m.calls = append(m.calls, now.Sub(t).Seconds()*1e3/float64(len(ids)))
		}
		m.mu.Unlock()
		if first && m.o.Hold > 0 {
			return
		}
	}
}

// take returns the ids of the next batch, none when all are taken.
func (m *meter) take(first bool) []string {
	k := max(1, m.o.Batch)
	if first {
		k = 1
	}
	m.mu.Lock()
	k = min(k, m.o.N-m.next)
	lo := m.next
	m.next += k
	m.mu.Unlock()
	ids := make([]string, k)
	for i := range ids {
		ids[i] = m.o.prefix + "-" + strconv.Itoa(lo+i)
	}
	return ids
}

func (m *meter) fail(err error, n int) {
	text := err.Error()
	text = text[:min(len(text), 300)]
	m.mu.Lock()
	m.result.Failed += n
	m.errs[text] += n
	m.mu.Unlock()
}
