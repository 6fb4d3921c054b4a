package merge_test

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/merge"
	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/smtp"
)

// sender is what rows are given to. It answers as the row's column "answer" says,
// or success.
type sender struct {
	mu   sync.Mutex
	sent map[string]int // by address: how often
	hook func(address string)
}

func (s *sender) send(_ context.Context, m *mail.Message) (*postrider.Result, error) {
	address := m.To[0].Mailbox()
	if s.hook != nil {
		s.hook(address)
	}
	s.mu.Lock()
	if s.sent == nil {
		s.sent = make(map[string]int)
	}
	s.sent[address]++
	s.mu.Unlock()
	r := &postrider.Result{
		Status: postrider.StatusSuccess, MessageID: "<" + address + ">", SMTPCode: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0},
		SentAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Recipients: []postrider.RecipientResult{{Address: address, State: postrider.StateSent}},
	}
	if m.Subject != "" {
		r.Status, r.SMTPError, r.SentAt = postrider.Status(m.Subject), "so it was told", time.Time{}
	}
	return r, r.Err()
}

func (s *sender) addresses() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for a, n := range s.sent {
		all = append(all, fmt.Sprintf("%s×%d", strings.TrimSuffix(a, "@example.net"), n))
	}
	slices.Sort(all)
	return all
}

// people makes a file of rows r1@example.net and so on; answers are by row, "" for success.
func people(n int, answers ...string) string {
	var b strings.Builder
	b.WriteString("email,answer\n")
	for i := range n {
		answer := ""
		if i < len(answers) {
			answer = answers[i]
		}
		fmt.Fprintf(&b, "r%d@example.net,%s\n", i+1, answer)
	}
	return b.String()
}

func config(rows, results string, s *sender) merge.Config {
	return merge.Config{
		Rows: rows, Results: results, Concurrency: 3, Send: s.send,
		Letter: func(columns []string) (*merge.Letter, error) {
			return merge.NewLetter(mail.Message{From: mail.Addr("shop@example.com")},
				merge.Fields{To: []string{"{{email}}"}, Subject: "{{answer}}", Text: "x"}, columns)
		},
	}
}

func run(t *testing.T, cfg merge.Config) (merge.Summary, error) {
	t.Helper()
	r, err := merge.Prepare(cfg)
	if err != nil {
		return merge.Summary{}, err
	}
	return r.Go(t.Context(), t.Context())
}

// results reads a results file: for each row its answers in their order.
func results(t *testing.T, path string) map[int][]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[int][]string)
	for _, l := range lines[1:] {
		row, err := strconv.Atoi(l[0])
		if err != nil {
			t.Fatal(err)
		}
		all[row] = append(all[row], l[3])
	}
	return all
}

func TestRun(t *testing.T) {
	rows := write(t, "rows.csv", people(4, "", "failed", "", "partial"))
	path := filepath.Join(t.TempDir(), "results.csv")
	var s sender
	var told []int
	cfg := config(rows, path, &s)
	cfg.Concurrency = 1
	cfg.Each = func(a merge.Answer) error { told = append(told, a.Row); return nil }
	sum, err := run(t, cfg)
	if err != nil || sum.Rows != 4 || sum.Skipped != 0 || sum.Count["success"] != 2 || sum.Count["failed"] != 1 || !slices.Equal(told, []int{1, 2, 3, 4}) {
		t.Errorf("summary %+v, told %v, %v", sum, told, err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "row,row_hash,to,status,message_id,smtp_code,enhanced_code,smtp_error,sent_at\n" +
		"1,*,r1@example.net,success,<r1@example.net>,250,2.0.0,,2026-01-02T03:04:05Z\n" +
		"2,*,r2@example.net,failed,<r2@example.net>,250,2.0.0,so it was told,\n"
	got := ""
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(line, ",")
		if cells[1] != "row_hash" {
			cells[1] = "*"
		}
		got += strings.Join(cells, ",")
	}
	if !strings.HasPrefix(got, want) {
		t.Errorf("results:\n%s\nwant:\n%s", got, want)
	}
	if left, _ := filepath.Glob(path + ".sending*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the results hold addresses and are open to others: %v, %v", info.Mode(), err)
	}
}

func TestResume(t *testing.T) {
	answers := []string{"success", "partial", "rejected", "failed", "retry", "temp_failed", "invalid", "unknown"}
	for _, c := range []struct {
		resendUnknown    bool
		again            []string
		skipped, unknown int
	}{
		{false, []string{"r3×2", "r4×2", "r5×2", "r6×2", "r7×2"}, 3, 1},
		{true, []string{"r3×2", "r4×2", "r5×2", "r6×2", "r7×2", "r8×2"}, 2, 0},
	} {
		rows := write(t, "rows.csv", people(8, answers...))
		path := filepath.Join(t.TempDir(), "results.csv")
		var s sender
		cfg := config(rows, path, &s)
		if _, err := run(t, cfg); err != nil {
			t.Fatal(err)
		}
		cfg.Resume, cfg.ResendUnknown = true, c.resendUnknown
		r, err := merge.Prepare(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if before := r.Summary(); before.Rows != 8 || before.Skipped != c.skipped || before.SkippedUnknown != c.unknown {
			t.Errorf("before: %+v", before)
		}
		if _, err := r.Go(t.Context(), t.Context()); err != nil {
			t.Fatal(err)
		}
		var again []string
		for _, a := range s.addresses() {
			if strings.HasSuffix(a, "×2") {
				again = append(again, a)
			}
		}
		if !slices.Equal(again, c.again) {
			t.Errorf("resend unknown %v: sent again: %v", c.resendUnknown, again)
		}
	}
}

// TestUnknownStaysUnknown resends a row whose outcome is unknown; that it is refused then
// does not say that the first message was.
func TestUnknownStaysUnknown(t *testing.T) {
	for second, sentInAll := range map[string]string{"failed": "r1×2", "": "r1×2"} {
		path := filepath.Join(t.TempDir(), "results.csv")
		rows := write(t, "rows.csv", "email,answer\nr1@example.net,\n")
		var s sender
		answer := "unknown"
		cfg := config(rows, path, &s)
		cfg.Send = func(ctx context.Context, m *mail.Message) (*postrider.Result, error) {
			m.Subject = answer
			return s.send(ctx, m)
		}
		for _, resume := range []merge.Config{{}, {Resume: true, ResendUnknown: true}, {Resume: true}} {
			cfg.Resume, cfg.ResendUnknown = resume.Resume, resume.ResendUnknown
			if _, err := run(t, cfg); err != nil {
				t.Fatal(err)
			}
			answer = second
		}
		if got := s.addresses(); !slices.Equal(got, []string{sentInAll}) {
			t.Errorf("second answer %q: %v", second, got)
		}
	}
}

func TestPrepareFaults(t *testing.T) {
	var s sender
	rows := write(t, "rows.csv", people(3))
	path := filepath.Join(t.TempDir(), "results.csv")
	cfg := config(rows, path, &s)

	bad := cfg
	bad.Rows = write(t, "bad.csv", people(3)+"one too many,,\n")
	expect(t, bad, "line 5: the row has another number of fields")
	bad.Rows = write(t, "other.csv", "name\nAnn\n")
	expect(t, bad, `there is no column "email"`)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("a run that could not begin has left results, so that it cannot be begun when it is mended")
	}

	first, err := merge.Prepare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	resume := cfg
	resume.Resume = true
	expect(t, resume, "is in use by another run")
	if _, err := first.Go(t.Context(), t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(t, cfg, "exists already: give --resume")

	changed := resume
	changed.Rows = write(t, "rows.csv", strings.Replace(people(3), "r2", "x2", 1))
	expect(t, changed, "row 2 of "+changed.Rows+" has been dealt with in the earlier run and has changed since")
	changed.Rows = write(t, "rows.csv", people(2))
	expect(t, changed, "dealt with row 3, and there are only 2 now")
	changed.Rows = write(t, "rows.csv", people(5))
	if sum, err := run(t, changed); err != nil || sum.Skipped != 3 || sum.Count["success"] != 2 {
		t.Errorf("rows were added: %+v, %v", sum, err)
	}

	for _, content := range []string{"a,b\n1,2\n", "row,row_hash,to,status,message_id,smtp_code,enhanced_code,smtp_error,sent_at\nx,1,,,,,,,\n", "\"\n", "row\n", "some notes\nwithout an end", "xyz"} {
		other := resume
		other.Results = write(t, "notes.csv", content)
		expect(t, other, "it is not a results file of this program")
		if b, err := os.ReadFile(other.Results); err != nil || string(b) != content {
			t.Errorf("a file of another kind was changed to %q", b)
		}
	}
	stale := cfg
	stale.Results = filepath.Join(t.TempDir(), "results.csv")
	if err := os.WriteFile(stale.Results+".sending", []byte("0\n1 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, stale, "is left of an earlier run")

	nowhere := cfg
	nowhere.Results = filepath.Join(t.TempDir(), "no", "results.csv")
	_, err = merge.Prepare(nowhere)
	if _, ok := errors.AsType[*merge.StorageError](err); !ok {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func expect(t *testing.T, cfg merge.Config, want string) {
	t.Helper()
	if _, err := merge.Prepare(cfg); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v; want %q", err, want)
	}
}

// TestStop ends the run from outside: no further row is begun, those under way get their answer.
func TestStop(t *testing.T) {
	rows := write(t, "rows.csv", people(1000))
	path := filepath.Join(t.TempDir(), "results.csv")
	var s sender
	stop, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg := config(rows, path, &s)
	cfg.Each = func(a merge.Answer) error {
		if a.Row == 10 {
			cancel()
		}
		return nil
	}
	var late atomic.Int64
	s.hook = func(string) {
		if stop.Err() != nil {
			late.Add(1)
		}
	}
	r, err := merge.Prepare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := r.Go(t.Context(), stop)
	if !errors.Is(err, merge.ErrInterrupted) {
		t.Errorf("error %v", err)
	}
	// Each worker may have had a row in its hands, and one more was being handed over.
	if n := sum.Count["success"]; n != len(results(t, path)) || late.Load() > int64(cfg.Concurrency)+1 {
		t.Errorf("%d rows sent, %d answers, %d begun after the stop", n, len(results(t, path)), late.Load())
	}
	cfg.Resume, cfg.Each, s.hook = true, nil, nil
	if _, err := run(t, cfg); err != nil {
		t.Fatal(err)
	}
	if got := s.addresses(); len(got) != 1000 || slices.ContainsFunc(got, func(a string) bool { return !strings.HasSuffix(a, "×1") }) {
		t.Errorf("%d rows sent: %v", len(got), got)
	}
}

func TestEachStops(t *testing.T) {
	rows := write(t, "rows.csv", people(1000))
	var s sender
	cfg := config(rows, filepath.Join(t.TempDir(), "results.csv"), &s)
	closed := errors.New("the pipe is closed")
	cfg.Each = func(merge.Answer) error { return closed }
	if sum, err := run(t, cfg); !errors.Is(err, closed) || sum.Count["success"] > 2*cfg.Concurrency+1 {
		t.Errorf("got %+v, %v", sum, err)
	}
}

// TestLinkInTheWay has somebody else's link where the notes are to be written.
func TestLinkInTheWay(t *testing.T) {
	rows := write(t, "rows.csv", people(3))
	other := write(t, "other", "precious")
	path := filepath.Join(t.TempDir(), "results.csv")
	if err := os.Symlink(other, path+".sending.new"); err != nil {
		t.Skip(err)
	}
	var s sender
	if _, err := run(t, config(rows, path, &s)); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(other); err != nil || string(b) != "precious" {
		t.Errorf("the other file holds %q, %v", b, err)
	}
}
