// Package report turns the raw results of a benchmark into a page of Markdown:
// the goals of the library beside its figures, and a table for each part.
//
// It measures nothing; cmd/bench does, and writes the raw results as JSON lines
// that this package reads back.
package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/postrider/postrider/bench/contract"
	"github.com/postrider/postrider/bench/sink"
)

// Ours and Bound are the peers that the goals speak of beside the other libraries.
const (
	Ours   = "postrider"
	Bound  = "raw/bdat"
	Stream = "raw/stream"
)

// The parts of the benchmark; each has one raw file.
const (
	Throughput = "throughput"
	First      = "first"
	Warm       = "warm"
	Attach     = "attach"
	Idle       = "idle"
)

// Parts are all parts, in the order of the report.
func Parts() []string { return []string{Throughput, First, Warm, Attach, Idle} }

// Header is the first line of a raw file: what was measured, where and when.
type Header struct {
	Part     string            `json:"part"`
	Started  time.Time         `json:"started"`
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	System   string            `json:"system"`
	Go       string            `json:"go"`
	Load     string            `json:"load"`     // load averages at the start, empty if the system does not tell
	Rounds   int               `json:"rounds"`   // interleaved rounds
	Revision string            `json:"revision"` // of this repository, empty if not known
	Versions map[string]string `json:"versions"` // peer to module versions
	Missing  map[string]string `json:"missing"`  // peers that did not build, and why
}

// Run is one run of one driver against the sink.
type Run struct {
	Peer   string          `json:"peer"`
	Mode   string          `json:"mode"` // "plain", "starttls", "tls"
	Size   int             `json:"size"` // bytes of text and HTML
	Conns  int             `json:"conns"`
	N      int             `json:"n"`
	Round  int             `json:"round"`
	RTTMS  float64         `json:"rtt_ms"` // emulated round trip, 0 for none
	Driver contract.Result `json:"driver"`
	Sink   sink.Stats      `json:"sink"`
	CPU    float64         `json:"sink_cpu_s"`
}

// Rate is messages a second, from the first dial to the last reply.
func (r Run) Rate() float64 {
	if r.Driver.Seconds == 0 {
		return 0
	}
	return float64(r.Driver.Sent) / r.Driver.Seconds
}

// CPUPer1000 is seconds of CPU time for 1,000 messages.
func (r Run) CPUPer1000() float64 {
	if r.Driver.Sent == 0 {
		return 0
	}
	return r.Driver.CPUSeconds / float64(r.Driver.Sent) * 1000
}

// shortfall is how much smaller than asked for the text and HTML of a message
// may be: the content is made of whole words.
const shortfall = 40

// Fault says what is wrong with a run, "" if nothing: a message that failed, was
// lost, cut or came twice makes its speed worthless.
func (r Run) Fault() string {
	switch {
	case r.Driver.Failed > 0 || len(r.Driver.Errors) > 0:
		return fmt.Sprintf("%d of %d failed: %v", r.Driver.Failed, r.N, r.Driver.Errors)
	case r.Sink == (sink.Stats{}): // a part that runs several drivers at once has no counts of each
	case r.Sink.UniqueIDs != int64(r.Driver.Sent) || r.Sink.DupIDs > 0:
		return fmt.Sprintf("%d sent, but %d arrived and %d twice", r.Driver.Sent, r.Sink.UniqueIDs, r.Sink.DupIDs)
	case r.Sink.Bytes < r.Sink.Messages*int64(r.Size-shortfall):
		return fmt.Sprintf("%d messages had only %d bytes together", r.Sink.Messages, r.Sink.Bytes)
	case r.Sink.BareLF+r.Sink.LongLine+r.Sink.Undeclared > 0:
		return fmt.Sprintf("messages with bare LF %d, long lines %d, undeclared 8-bit %d", r.Sink.BareLF, r.Sink.LongLine, r.Sink.Undeclared)
	}
	return ""
}

// Part is a raw file read back.
type Part struct {
	Header
	Runs []Run
}

// Path is the raw file of a part.
func Path(dir, part string) string { return filepath.Join(dir, part+".jsonl") }

// Read reads the raw files in dir. A part without a file is absent from the map.
func Read(dir string) (map[string]Part, error) {
	parts := map[string]Part{}
	for _, name := range Parts() {
		p, err := read(Path(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		parts[name] = p
	}
	return parts, nil
}

func read(path string) (Part, error) {
	var p Part
	f, err := os.Open(path)
	if err != nil {
		return p, err
	}
	defer f.Close()
	d := json.NewDecoder(bufio.NewReader(f))
	if err := d.Decode(&p.Header); err != nil {
		return p, fmt.Errorf("%s: %w", path, err)
	}
	for d.More() {
		var r Run
		if err := d.Decode(&r); err != nil {
			return p, fmt.Errorf("%s: %w", path, err)
		}
		p.Runs = append(p.Runs, r)
	}
	return p, nil
}
