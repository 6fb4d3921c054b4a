package sink_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/bench/sink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, cfg sink.Config) *sink.Server {
	t.Helper()
	cfg.User, cfg.Password = "user", "pass"
	s, err := sink.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func trust(t *testing.T, s *sink.Server) *tls.Config {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.CertPEM()) {
		t.Fatal("the certificate cannot be read")
	}
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
}

// TestNetSMTP sends with the standard library in each TLS mode, with and without
// the delay line, and compares the round trips counted with those that the
// protocol needs.
func TestNetSMTP(t *testing.T) {
	const content = "Subject: x\r\nX-Bench-Id: one\r\n\r\n.dot\r\n"
	for _, mode := range []struct {
		name     string
		starttls bool
		implicit bool
		turns    int64 // greeting, EHLO, AUTH, MAIL, RCPT, DATA, content and what TLS adds
	}{
		{"plain", false, false, 7},
		{"STARTTLS", true, false, 10},
		{"implicit TLS", false, true, 8},
	} {
		for _, rtt := range []time.Duration{0, 10 * time.Millisecond} {
			t.Run(fmt.Sprintf("%s %v", mode.name, rtt), func(t *testing.T) {
				t.Parallel()
				s := start(t, sink.Config{RTT: rtt})
				begin := time.Now()
				c := dial(t, s, mode.implicit)
				if mode.starttls {
					check(t, c.StartTLS(trust(t, s)))
				}
				check(t, c.Auth(smtp.PlainAuth("", "user", "pass", "127.0.0.1")))
				check(t, c.Mail("a@example.com"))
				check(t, c.Rcpt("b@example.com"))
				w, err := c.Data()
				check(t, err)
				_, err = io.WriteString(w, content)
				check(t, err)
				check(t, w.Close())
				took := time.Since(begin)
				check(t, c.Quit())
				got := s.Stats()

				want := sink.Stats{
					Messages: 1, Bytes: int64(len(content)), RcptTo: 1, Data: 1, UniqueIDs: 1, AuthOK: 1, Conns: 1, MaxOpen: 1,
					Turns: mode.turns, Commands: got.Commands, Handshakes: got.Handshakes,
				}
				if got != want {
					t.Errorf("counted %+v\nwant    %+v", got, want)
				}
				// One more than the turns: the TCP handshake, which loopback hides.
				if least := time.Duration(mode.turns+1) * rtt; took < least {
					t.Errorf("took %v, but %d round trips of %v need %v", took, mode.turns+1, rtt, least)
				}
			})
		}
	}
}

func dial(t *testing.T, s *sink.Server, implicit bool) *smtp.Client {
	t.Helper()
	if !implicit {
		c, err := smtp.Dial(s.Addr())
		check(t, err)
		return c
	}
	nc, err := tls.Dial("tcp", s.TLSAddr(), trust(t, s))
	check(t, err)
	c, err := smtp.NewClient(nc, "127.0.0.1")
	check(t, err)
	return c
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestPipelinedBDAT sends two transactions as one group and finds one turn, and
// the faults of their contents.
func TestPipelinedBDAT(t *testing.T) {
	s := start(t, sink.Config{})
	nc, err := net.Dial("tcp", s.Addr())
	check(t, err)
	defer nc.Close()
	r := bufio.NewReader(nc)
	expect(t, r, "220 ")
	send(t, nc, "EHLO x\r\n")
	expect(t, r, "250 ")
	s.Reset()
	long := "X-Bench-Id: same\r\n\r\n" + strings.Repeat("é", 600) + "\r\n"
	bare := "X-Bench-Id: same\r\n\r\nbare\n"
	send(t, nc, "MAIL FROM:<a@example.com> BODY=8BITMIME\r\nRCPT TO:<b@example.com>\r\n"+
		fmt.Sprintf("BDAT 10\r\n%sBDAT %d LAST\r\n%s", long[:10], len(long)-10, long[10:])+
		"MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\n"+
		fmt.Sprintf("BDAT %d LAST\r\n%s", len(bare), bare))
	for range 8 {
		expect(t, r, "250 ")
	}
	got := s.Stats()
	want := sink.Stats{
		MaxOpen: 1, Messages: 2, Bytes: int64(len(long) + len(bare)), RcptTo: 3, Bdat: 3, Commands: 8, Pipelined: 7,
		Turns: got.Turns, UniqueIDs: 1, DupIDs: 1, BareLF: 1, LongLine: 1,
	}
	if got != want {
		t.Errorf("counted %+v\nwant    %+v", got, want)
	}
	send(t, nc, "BDAT 0 LAST\r\n")
	expect(t, r, "554 5.5.1 ")
	send(t, nc, "BDAT x\r\n")
	expect(t, r, "501 5.5.4 ")
}

// TestOmit leaves out extensions.
func TestOmit(t *testing.T) {
	s := start(t, sink.Config{Omit: []string{"chunking", "enhancedstatuscodes", "STARTTLS", "auth"}})
	c := dial(t, s, false)
	for _, k := range []string{"CHUNKING", "STARTTLS", "AUTH", "ENHANCEDSTATUSCODES"} {
		if ok, _ := c.Extension(k); ok {
			t.Errorf("%s is offered", k)
		}
	}
	if ok, _ := c.Extension("PIPELINING"); !ok {
		t.Error("PIPELINING is not offered")
	}
	var reply *textproto.Error
	if err := c.Rcpt("b@example.com"); !errors.As(err, &reply) || reply.Code != 503 || reply.Msg != "MAIL first" {
		t.Errorf("RCPT without MAIL: %v", err)
	}
	if err := c.StartTLS(trust(t, s)); err == nil {
		t.Error("STARTTLS works although it is left out")
	}
	check(t, c.Close())
}

func send(t *testing.T, w io.Writer, text string) {
	t.Helper()
	_, err := io.WriteString(w, text)
	check(t, err)
}

// expect reads replies up to the last line of one, which must begin so.
func expect(t *testing.T, r *bufio.Reader, prefix string) {
	t.Helper()
	for {
		l, err := r.ReadString('\n')
		check(t, err)
		if len(l) > 3 && l[3] == '-' {
			continue
		}
		if !strings.HasPrefix(l, prefix) {
			t.Fatalf("got %q, want %q", l, prefix)
		}
		return
	}
}
