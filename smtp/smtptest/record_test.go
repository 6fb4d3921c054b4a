package smtptest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/postrider/postrider/smtp/smtptest"
)

// TestOneFlight counts the client's round trips.
func TestOneFlight(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{})
	x := hello(t, srv)
	content := strings.Repeat("x", 70) + "\r\n"
	for range 2 {
		x.send("RSET\r\n" + envelope + "BDAT 72 LAST\r\n" + content)
		x.expect("250", "250", "250", "250")
	}
	x.send(envelope + "DATA\r\n")
	x.expect("250", "250", "354")
	x.send(content + ".\r\n")
	x.expect("250")
	x.talk("MAIL FROM:<a@example.com>", "250")
	x.talk("RCPT TO:<b@example.com>", "250")
	x.talk("DATA", "354")
	x.talk(".", "250")
	got := srv.Transactions()
	for i, want := range []int{1, 1, 2, 4} {
		if got[i].Flights != want {
			t.Errorf("transaction %d: %d flights, want %d\n%s", i+1, got[i].Flights, want, srv.Sessions()[0].Dialogue())
		}
	}
	if got[0].Text() != content || got[0].Command != "BDAT" || got[0].Chunks != 1 || got[2].Command != "DATA" {
		t.Errorf("got %+v", got)
	}
	if n := srv.Sessions()[0].Flights(); n != 9 {
		t.Errorf("%d flights in the session, want 9", n)
	}
}

// TestContentKept cuts what is kept, but not size and hash.
func TestContentKept(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcde\r\n"), 10000)
	for _, limit := range []int64{0, 1, 20, -1, int64(len(content))} {
		srv := smtptest.StartT(t, smtptest.Config{MaxContent: limit})
		c, err := gosmtp.Dial(srv.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SendMail("a@example.com", []string{"b@example.com"}, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		got := srv.Transactions()[0]
		want := max(limit, 0)
		if limit == 0 {
			want = int64(len(content))
		}
		if got.Size != int64(len(content)) || !bytes.Equal(got.Content, content[:want]) || got.Sum() != sha256.Sum256(content) {
			t.Errorf("limit %d: size %d, kept %d, sum %x", limit, got.Size, len(got.Content), got.Sum())
		}
		_ = c.Close()
	}
}

// TestGoSMTP uses the parameters that go-smtp knows.
func TestGoSMTP(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{})
	c, err := gosmtp.DialStartTLS(srv.Addr(), srv.TLSClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	err = c.Mail("zoë@example.com", &gosmtp.MailOptions{
		Body: gosmtp.Body8BitMIME, Size: 100, UTF8: true, RequireTLS: true,
		Return: gosmtp.DSNReturnHeaders, EnvelopeID: "id 1",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt("bob@example.com", &gosmtp.RcptOptions{Notify: []gosmtp.DSNNotify{gosmtp.DSNNotifyNever}}); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "Subject: é\n\n..\n.x\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Error(err)
	}
	got := srv.Transactions()[0]
	want := map[string]string{"BODY": "8BITMIME", "SIZE": "100", "SMTPUTF8": "", "REQUIRETLS": "", "RET": "HDRS", "ENVID": "id+201"}
	for k, v := range want {
		if p, ok := got.MailFrom.Params[k]; !ok || p != v {
			t.Errorf("%s is %q", k, p)
		}
	}
	if got.RcptTo[0].Params["NOTIFY"] != "NEVER" || got.MailFrom.Address != "zoë@example.com" || !got.TLS {
		t.Errorf("got %+v", got)
	}
	if got.Text() != "Subject: é\r\n\r\n..\r\n.x\r\n" || len(got.Lint) != 0 {
		t.Errorf("got %q, lint %v", got.Text(), got.Lint)
	}
}

func TestLint(t *testing.T) {
	tests := []struct {
		name    string
		content string
		want    []smtptest.LintKind
	}{
		{"clean", "a\r\n" + strings.Repeat("x", 998) + "\r\n", nil},
		{"empty", "", nil},
		{"bare CR", "a\rb\r\n", []smtptest.LintKind{smtptest.LintBareCR}},
		{"bare CR before CRLF", "a\r\r\n", []smtptest.LintKind{smtptest.LintBareCR}},
		{"bare CR last", "a\r", []smtptest.LintKind{smtptest.LintBareCR, smtptest.LintNoFinalCRLF}},
		{"bare LF", "a\nb\r\n", []smtptest.LintKind{smtptest.LintBareLF}},
		{"long", strings.Repeat("x", 999) + "\r\n", []smtptest.LintKind{smtptest.LintLongLine}},
		{"8-bit", "\xc3\xa9\r\n", []smtptest.LintKind{smtptest.LintEightBit}},
		{"NUL", "a\x00\r\n", []smtptest.LintKind{smtptest.LintNUL}},
		{"no CRLF", "a", []smtptest.LintKind{smtptest.LintNoFinalCRLF}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := smtptest.StartT(t, smtptest.Config{})
			x := hello(t, srv)
			// Octet by octet, so that faults across the seams are found too.
			x.send(envelope)
			x.expect("250", "250")
			for _, b := range []byte(tt.content) {
				x.send("BDAT 1\r\n" + string([]byte{b}))
				x.expect("250")
			}
			x.talk("BDAT 0 LAST", "250")
			// And in one piece.
			x.send(envelope + "BDAT " + itoa(len(tt.content)) + " LAST\r\n" + tt.content)
			x.expect("250", "250", "250")
			for i, tx := range srv.Transactions() {
				var kinds []smtptest.LintKind
				for _, l := range tx.Lint {
					kinds = append(kinds, l.Kind)
				}
				if !slices.Equal(kinds, tt.want) {
					t.Errorf("transaction %d: %v, want %v", i+1, tx.Lint, tt.want)
				}
			}
		})
	}
}

// TestLintPipelining notes what the server did not allow.
func TestLintPipelining(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{Without: []string{"PIPELINING"}})
	x := hello(t, srv)
	x.send("MAIL FROM: <a@example.com>\r\nRSET\r\n")
	x.expect("250", "250")
	x.send("NOOP\r\nNOOP\r\n")
	x.expect("250", "250")
	var kinds []smtptest.LintKind
	for _, l := range srv.Lint() {
		kinds = append(kinds, l.Kind)
	}
	if !slices.Equal(kinds, []smtptest.LintKind{smtptest.LintPipelining, smtptest.LintPathSpace, smtptest.LintPipelinedPast}) {
		t.Errorf("got %v", srv.Lint())
	}
}

// TestSmuggling keeps what an attacker hides behind a false end of content in
// the one message.
func TestSmuggling(t *testing.T) {
	for _, end := range []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r"} {
		srv := smtptest.StartT(t, smtptest.Config{})
		x := hello(t, srv)
		x.send(envelope + "DATA\r\n")
		x.expect("250", "250", "354")
		x.send("a" + end + "MAIL FROM:<evil@example.com>\r\n.\r\n")
		x.expect("250")
		x.talk("QUIT", "221")
		got := srv.Transactions()
		if len(got) != 1 || !strings.HasSuffix(got[0].Text(), "MAIL FROM:<evil@example.com>\r\n") || len(got[0].Lint) == 0 {
			t.Errorf("%q: %+v", end, got)
		}
	}
}

// memory is a writer for Config.Content.
type memory struct {
	bytes.Buffer
	closed  int
	aborted error
	refuse  error
}

func (m *memory) Close() error { m.closed++; return m.refuse }

func (m *memory) CloseWithError(err error) error { m.aborted = err; return nil }

// TestContentWriter streams to the caller.
func TestContentWriter(t *testing.T) {
	var mu sync.Mutex
	var got []*memory
	var refuse error
	var hooked []smtptest.Transaction
	srv := smtptest.StartT(t, smtptest.Config{
		MaxContent: -1, MaxSize: 20,
		Content: func(s *smtptest.Session, e smtptest.Envelope) (io.WriteCloser, error) {
			mu.Lock()
			defer mu.Unlock()
			m := &memory{refuse: refuse}
			got = append(got, m)
			return m, nil
		},
		OnTransaction: func(tx smtptest.Transaction) {
			mu.Lock()
			defer mu.Unlock()
			hooked = append(hooked, tx)
		},
	})
	x := hello(t, srv)
	send := func(content, want string) *memory {
		t.Helper()
		x.send(envelope + "DATA\r\n")
		x.expect("250", "250", "354")
		x.send(content + ".\r\n")
		x.expect(want)
		mu.Lock()
		defer mu.Unlock()
		return got[len(got)-1]
	}
	if m := send("hello\r\n", "250"); m.String() != "hello\r\n" || m.closed != 1 || m.aborted != nil {
		t.Errorf("got %+v", m)
	}
	refuse = errors.New("disk full")
	if m := send("hello\r\n", "451 4.3.0"); m.closed != 1 {
		t.Errorf("got %+v", m)
	}
	refuse = &smtptest.ReplyError{Reply: "552 5.2.2 mailbox full"}
	send("hello\r\n", "552 5.2.2 mailbox full")
	refuse = nil
	if m := send(strings.Repeat("x", 30)+"\r\n", "552 5.3.4"); m.closed != 0 || m.aborted == nil {
		t.Errorf("too large: got %+v", m)
	}
	srv.On(smtptest.Rule{Command: smtptest.CommandContent, Action: smtptest.Reply("550 spam")})
	if m := send("x\r\n", "550 spam"); m.closed != 0 || m.aborted == nil {
		t.Errorf("refused by rule: got %+v", m)
	}
	if len(hooked) != 1 || len(srv.Transactions()) != 1 || len(srv.Attempts()) != 5 || hooked[0].Content != nil {
		t.Errorf("hook %d, accepted %d, attempts %d", len(hooked), len(srv.Transactions()), len(srv.Attempts()))
	}
}

// TestShutdown lets a transaction finish and says goodbye to the idle.
func TestShutdown(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{})
	idle, busy := hello(t, srv), hello(t, srv)
	busy.send(envelope + "DATA\r\n")
	busy.expect("250", "250", "354")
	if err := srv.Sessions()[0].WaitIdle(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(t.Context()) }()
	idle.expect("421 4.3.2")
	if err := idle.eof(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	busy.talk("hello\r\n.", "250")
	busy.expect("421 4.3.2")
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(srv.Transactions()) != 1 {
		t.Error("the transaction was lost")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Errorf("after all is closed: %v", err)
	}
	if _, err := srv.WaitTransactions(t.Context(), 2); !errors.Is(err, net.ErrClosed) {
		t.Errorf("waiting on a closed server: %v", err)
	}
}

// TestKeepRecords forgets what is old.
func TestKeepRecords(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{KeepRecords: 2, MaxSessions: 1})
	for range 4 {
		x := hello(t, srv)
		x.send(envelope + "BDAT 2 LAST\r\n\r\n")
		x.expect("250", "250", "250")
		full, err := net.Dial("tcp", srv.Addr())
		if err != nil {
			t.Fatal(err)
		}
		wrap(t, full).expect("421 4.3.2")
		x.talk("QUIT", "221")
		if err := x.eof(); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		_ = x.c.Close()
		_ = full.Close()
		if err := srv.WaitSessionsClosed(t.Context(), srv.Stats().Sessions); err != nil {
			t.Fatal(err)
		}
	}
	if st := srv.Stats(); st.Accepted != 4 || st.Sessions != 8 || len(srv.Transactions()) != 2 || len(srv.Sessions()) != 2 || st.Commands["MAIL"] != 4 {
		t.Errorf("stats %+v, transactions %d, sessions %d", st, len(srv.Transactions()), len(srv.Sessions()))
	}
	srv.Reset()
	if st := srv.Stats(); st.Accepted != 0 || st.Sessions != 0 || len(srv.Sessions()) != 0 {
		t.Errorf("after Reset: %+v", st)
	}
}

// TestManySessions is for the race detector.
func TestManySessions(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			c, err := gosmtp.Dial(srv.Addr())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for range 5 {
				if err := c.SendMail("a@example.com", []string{"b@example.com"}, strings.NewReader("x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if _, err := srv.WaitTransactions(t.Context(), 100); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if n := len(srv.Transactions()); n != 100 {
		t.Errorf("%d messages", n)
	}
}

func TestConfigFaults(t *testing.T) {
	_, err := smtptest.Start(smtptest.Config{MaxSize: -1, Mechanisms: []string{"FOO"}, Extensions: []string{"A\r\nB"}})
	for _, want := range []string{"MaxSize", "FOO", "line break"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}
