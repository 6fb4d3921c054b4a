package merge_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/merge"
	"github.com/postrider/postrider/mail"
)

// disk is what a machine finds after it died: the results, the notes of rows under
// way (nil: none), and who had been sent a message by then.
type disk struct {
	results, sending []byte
	sent             []string
}

func snapshot(path string, s *sender) disk {
	var d disk
	// The other way round than they are written: what is missing in the first
	// may be in the second, as on a disk that keeps no order.
	d.results, _ = os.ReadFile(path)
	d.sending, _ = os.ReadFile(path + ".sending")
	s.mu.Lock()
	defer s.mu.Unlock()
	for a := range s.sent {
		d.sent = append(d.sent, a)
	}
	return d
}

// checkResume starts again from a disk: no row may be sent twice, none may be lost, and what
// may have been sent must be told as unknown or sent.
func checkResume(t *testing.T, d disk, rows string, n int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "results.csv")
	if err := os.WriteFile(path, d.results, 0o600); err != nil {
		t.Fatal(err)
	}
	if d.sending != nil {
		if err := os.WriteFile(path+".sending", d.sending, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var s sender
	cfg := config(rows, path, &s)
	cfg.Resume = true
	if _, err := run(t, cfg); err != nil {
		t.Fatalf("%v\nresults %q\nsending %q", err, d.results, d.sending)
	}
	all := results(t, path)
	for i := range n {
		address := fmt.Sprintf("r%d@example.net", i+1)
		before, now := slices.Contains(d.sent, address), s.sent[address]
		answers := all[i+1]
		last := ""
		if len(answers) > 0 {
			last = answers[len(answers)-1]
		}
		switch {
		case before && now > 0:
			t.Errorf("%s was sent twice", address)
		case now > 1:
			t.Errorf("%s was sent %d times in the second run", address, now)
		case !before && now == 0 && last != "unknown":
			t.Errorf("%s was lost; its answers are %v", address, answers)
		case last == "":
			t.Errorf("%s has no answer", address)
		}
	}
	if t.Failed() {
		t.Fatalf("results %q\nsending %q\nsent %v", d.results, d.sending, d.sent)
	}
}

// TestDeathAtAnyMoment takes the disk before and after each message and goes on from each.
func TestDeathAtAnyMoment(t *testing.T) {
	const n = 12
	rows := write(t, "rows.csv", people(n))
	path := filepath.Join(t.TempDir(), "results.csv")
	var s sender
	var mu sync.Mutex
	var disks []disk
	take := func() {
		mu.Lock()
		defer mu.Unlock()
		disks = append(disks, snapshot(path, &s))
	}
	cfg := config(rows, path, &s)
	cfg.Send = func(ctx context.Context, m *mail.Message) (*postrider.Result, error) {
		take()
		r, err := s.send(ctx, m)
		take()
		return r, err
	}
	cfg.Each = func(merge.Answer) error { take(); return nil }
	if _, err := run(t, cfg); err != nil {
		t.Fatal(err)
	}
	take()
	for _, d := range disks {
		checkResume(t, d, rows, n)
	}
}

// TestTornFiles cuts the files at every octet: what was written last may not be there whole.
func TestTornFiles(t *testing.T) {
	const n = 4
	rows := write(t, "rows.csv", people(n))
	path := filepath.Join(t.TempDir(), "results.csv")
	var s sender
	var whole disk
	cfg := config(rows, path, &s)
	cfg.Concurrency = 1
	cfg.Each = func(a merge.Answer) error {
		if a.Row == n {
			whole = snapshot(path, &s)
		}
		return nil
	}
	if _, err := run(t, cfg); err != nil {
		t.Fatal(err)
	}
	whole.results, _ = os.ReadFile(path)
	for cut := range len(whole.results) {
		// All rows are noted as under way. Whatever of the answers is left, none is sent again.
		checkResume(t, disk{whole.results[:cut], whole.sending, whole.sent}, rows, n)
	}
	header := strings.IndexByte(string(whole.sending), '\n') + 1
	lines := strings.SplitAfter(string(whole.results), "\n")
	for cut := header; cut < len(whole.sending); cut++ {
		// A row is sent when its note is there whole: as many rows as whole notes.
		noted := strings.Count(string(whole.sending[header:cut]), "\n")
		checkResume(t, disk{[]byte(lines[0]), whole.sending[:cut], numbered(noted)}, rows, n)
	}
}

func numbered(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("r%d@example.net", i+1))
	}
	return all
}

// TestDeathWhileResuming breaks off again and again at random.
func TestDeathWhileResuming(t *testing.T) {
	const n = 40
	rows := write(t, "rows.csv", people(n))
	path := filepath.Join(t.TempDir(), "results.csv")
	var s sender
	for life := 0; ; life++ {
		var mu sync.Mutex
		var at *disk
		deadAfter := 1 + rand.IntN(12)
		begun := 0
		cfg := config(rows, path, &s)
		cfg.Resume = true
		// After its death a machine sends nothing; what it writes is thrown away below.
		cfg.Send = func(ctx context.Context, m *mail.Message) (*postrider.Result, error) {
			mu.Lock()
			defer mu.Unlock()
			if at != nil {
				return &postrider.Result{Status: postrider.StatusRetry}, nil
			}
			r, err := s.send(ctx, m)
			if begun++; begun == deadAfter {
				d := snapshot(path, &s)
				at = &d
			}
			return r, err
		}
		if _, err := run(t, cfg); err != nil {
			t.Fatal(err)
		}
		if at == nil {
			break
		}
		if err := errors.Join(os.WriteFile(path, at.results, 0o600), os.WriteFile(path+".sending", at.sending, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	all := results(t, path)
	for i := range n {
		address := fmt.Sprintf("r%d@example.net", i+1)
		if s.sent[address] != 1 && (s.sent[address] != 0 || !slices.Contains(all[i+1], "unknown")) {
			t.Errorf("%s was sent %d times; its answers are %v", address, s.sent[address], all[i+1])
		}
	}
}

// TestDiskFull lets writing fail in the middle: no further row is begun.
func TestDiskFull(t *testing.T) {
	for name, fill := range map[string]func(*merge.Run) error{"results": merge.BreakResults, "notes": merge.BreakNotes} {
		t.Run(name, func(t *testing.T) {
			rows := write(t, "rows.csv", people(1000))
			path := filepath.Join(t.TempDir(), "results.csv")
			var s sender
			var r *merge.Run
			cfg := config(rows, path, &s)
			cfg.Each = func(a merge.Answer) error {
				if a.Row == 5 {
					return fill(r)
				}
				return nil
			}
			r, err := merge.Prepare(cfg)
			if err != nil {
				t.Fatal(err)
			}
			sum, err := r.Go(t.Context(), t.Context())
			if _, ok := errors.AsType[*merge.StorageError](err); !ok {
				t.Errorf("error %v", err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error of several lines: %v", err)
			}
			// What is known and could not be written is said: each success is in the file or in the error.
			told := strings.Count(err.Error(), " success")
			written := strings.Count(snapshotResults(t, path), ",success,")
			if n := sum.Count["success"]; name == "results" && told+written != n {
				t.Errorf("%d rows were sent, %d are in the file and %d in the error: %v", n, written, told, err)
			}
			if n := sum.Count["success"]; n == 1000 {
				t.Error("all rows were sent")
			}
			d := snapshot(path, &s)
			if d.sending == nil {
				t.Fatal("the notes are gone: what was sent would be sent again")
			}
			checkResume(t, d, rows, 1000)
		})
	}
}

func snapshotResults(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestConstantMemory sends 100 000 rows and compares what is held after the first tenth and at the end.
func TestConstantMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	const n = 100_000
	rows := write(t, "rows.csv", people(n))
	held := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	// What is answered is not kept by this sender.
	send := func(context.Context, *mail.Message) (*postrider.Result, error) {
		return &postrider.Result{Status: postrider.StatusSuccess, MessageID: "<x@example.com>"}, nil
	}
	path := filepath.Join(t.TempDir(), "results.csv")
	cfg := config(rows, path, &sender{})
	cfg.Send, cfg.Concurrency = send, 200 // many share each sync of the disk
	for _, c := range []struct {
		resume bool
		bound  int64
	}{{false, 1 << 20}, {true, 1 << 20}} {
		var early, late uint64
		count := 0
		cfg.Resume = c.resume
		cfg.Each = func(merge.Answer) error {
			switch count++; count {
			case n / 10:
				early = held()
			case n - 1:
				late = held()
			}
			return nil
		}
		before := held()
		if sum, err := run(t, cfg); err != nil || sum.Rows != n {
			t.Fatal(sum, err)
		}
		if !c.resume {
			if count != n || int64(late)-int64(early) > c.bound {
				t.Errorf("%d rows; %d octets held after a tenth, %d at the end", count, early, late)
			}
			continue
		}
		// Taken up again, there is nothing to do; eight octets a row are held meanwhile and then let go.
		if after := held(); count != 0 || int64(after)-int64(before) > c.bound {
			t.Errorf("%d rows sent again; %d octets held before, %d after", count, before, after)
		}
	}
}

func FuzzResume(f *testing.F) {
	head := "row,row_hash,to,status,message_id,smtp_code,enhanced_code,smtp_error,sent_at\n"
	f.Add([]byte(head+"1,c3a5c85c97cb3128,r1@example.net,success,,,,,\n"), []byte("81\n1 c3a5c85c97cb3128\n2 1\n"))
	f.Add([]byte(head[:20]), []byte("0\n"))
	f.Add([]byte(""), []byte("x"))
	rows := filepath.Join(f.TempDir(), "rows.csv")
	if err := os.WriteFile(rows, []byte(people(3)), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, results, sending []byte) {
		path := filepath.Join(t.TempDir(), "results.csv")
		if err := errors.Join(os.WriteFile(path, results, 0o600), os.WriteFile(path+".sending", sending, 0o600)); err != nil {
			t.Fatal(err)
		}
		var s sender
		cfg := config(rows, path, &s)
		cfg.Resume = true
		if _, err := run(t, cfg); err != nil {
			return
		}
		for _, a := range s.addresses() {
			if !strings.HasSuffix(a, "×1") {
				t.Errorf("sent %s", a)
			}
		}
	})
}
