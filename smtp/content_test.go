package smtp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
)

// sized claims another size than it has.
type sized struct {
	smtp.Content
	size int64
}

func (s sized) Size() int64 { return s.size }

// modes are the ways to send, by what the server does not offer.
func modes() map[string][]string {
	return map[string][]string{"BDAT": nil, "DATA": {"CHUNKING"}, "lockstep": {"CHUNKING", "PIPELINING"}, "lockstep BDAT": {"PIPELINING"}}
}

func TestFaultyContent(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef\r\n", 30_000) // 1.5 MB
	tests := []struct {
		name    string
		content smtp.Content
		class   smtp.Class
	}{
		{"bare LF", text("a: b\n\r\n"), smtp.ClassPermanent},
		{"bare LF at the start", text("\na: b\r\n"), smtp.ClassPermanent},
		{"double LF", text("a: b\r\n\n"), smtp.ClassPermanent},
		{"bare CR", text("a: b\r\r\n"), smtp.ClassPermanent},
		{"bare CR in a line", text("a: \rb\r\n"), smtp.ClassPermanent},
		{"CR at the end", text("a: b\r\n\r"), smtp.ClassPermanent},
		{"smuggled end", text("a: b\r\n\r\nx\n.\nMAIL FROM:<x@example.com>\r\n"), smtp.ClassPermanent},
		{"smuggled end with CR", text("a: b\r\n\r\nx\r.\rMAIL FROM:<x@example.com>\r\n"), smtp.ClassPermanent},
		{"no CRLF at the end", text("a: b"), smtp.ClassPermanent},
		{"empty", text(""), smtp.ClassPermanent},
		{"8-bit octets not announced", text("a: \xc3\xa4\r\n"), smtp.ClassPermanent},
		{"shorter than announced", sized{text(hello), 100}, smtp.ClassPermanent},
		{"longer than announced", sized{text(hello), 10}, smtp.ClassPermanent},
		{"negative size", sized{text(hello), -1}, smtp.ClassPermanent},
		{"source fails", failing{1000, 500}, smtp.ClassTransient},
		{"source fails at once", failing{1000, 0}, smtp.ClassTransient},
		{"source fails at its end", failing{1700, 1700}, smtp.ClassTransient},
		{"no such file", smtp.Reader(10, func() (io.ReadCloser, error) { return nil, os.ErrNotExist }), smtp.ClassTransient},
		{"large, bare LF", text(big + "x\n"), smtp.ClassPermanent},
		{"large, bare CR", text(big + "x\r" + big), smtp.ClassPermanent},
		{"large, no CRLF at the end", text(big + "x"), smtp.ClassPermanent},
		{"large, shorter than announced", sized{text(big), int64(len(big)) + 1}, smtp.ClassPermanent},
		{"large, longer than announced", sized{text(big), int64(len(big)) - 2}, smtp.ClassPermanent},
		{"large, source fails", failing{17 << 17, 1 << 20}, smtp.ClassTransient},
		{"large, source fails at its end", failing{17 << 17, 17 << 17}, smtp.ClassTransient},
	}
	for mode, without := range modes() {
		for _, tt := range tests {
			t.Run(tt.name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				s := smtptest.StartT(t, smtptest.Config{Without: without})
				c := dial(t, config(s))
				out, err := c.Send(context.Background(), bob(), tt.content)
				e := asError(t, err)
				if e.Class != tt.class || out.Recipients[0].Err == nil || smtp.Stale(err) {
					t.Errorf("class %s: %v", e.Class, err)
				}
				if strings.Contains(tt.name, "source fails") && !errors.Is(err, errSource) {
					t.Errorf("the cause is lost: %v", err)
				}
				if tt.name != "negative size" {
					closes(t, c)
				}
				c.Close()
				if err := s.WaitSessionsClosed(context.Background(), 1); err != nil {
					t.Fatal(err)
				}
				if n := len(s.Transactions()); n != 0 {
					t.Errorf("%d messages were accepted", n)
				}
				for _, a := range s.Attempts() {
					if a.Complete || a.Size > max(tt.content.Size(), 0) {
						t.Errorf("%d octets arrived, complete %v", a.Size, a.Complete)
					}
				}
			})
		}
	}
}

// trickle hands content on in small pieces, so that line ends and dots fall
// on every boundary.
type trickle struct {
	b []byte
	n int
}

func (p trickle) Size() int64 { return int64(len(p.b)) }

func (p trickle) WriteTo(w io.Writer) (n int64, err error) {
	for b := p.b; len(b) > 0 && err == nil; {
		k := min(p.n, len(b))
		_, err = w.Write(b[:k])
		n += int64(k)
		b = b[k:]
	}
	return n, err
}

// exactly gives n octets of content.
func exactly(n int) []byte {
	b := bytes.Repeat([]byte("a line of sixty-four octets, as such lines tend to be, more or\r\n"), n/64-1)
	return append(b, strings.Repeat("x", n-len(b)-2)+"\r\n"...)
}

// What arrives is what was sent, octet for octet, in as many round trips as
// promised.
func TestContentArrives(t *testing.T) {
	t.Parallel()
	tricky := "a: b\r\n\r\n.\r\n..\r\n...x\r\n.x\r\nx.\r\n\r\n.\r\n\r\n"
	contents := map[string][]byte{
		"short":      []byte(hello),
		"dots":       []byte(tricky),
		"dot first":  []byte(".\r\n"),
		"dots only":  []byte(strings.Repeat(".\r\n", 25_000)),
		"64 KiB":     exactly(64 << 10),
		"64 KiB + 1": exactly(64<<10 + 1),
		"1 MiB":      exactly(1 << 20),
		"1 MiB + 1":  exactly(1<<20 + 1),
		"1.2 MB":     bytes.Repeat([]byte(".a line\r\n and another\r\n"), 50_000),
	}
	for _, tlsMode := range []smtp.TLSMode{smtp.TLSNone, smtp.TLSStartTLS} {
		for mode, without := range modes() {
			for name, b := range contents {
				t.Run(name+"/"+mode+"/"+string(tlsMode), func(t *testing.T) {
					t.Parallel()
					s := smtptest.StartT(t, smtptest.Config{Without: without})
					c := dial(t, tlsConfig(s, tlsMode))
					sources := []smtp.Content{
						smtp.Bytes(b),
						smtp.Reader(int64(len(b)), func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }),
						trickle{b, 4097},
					}
					if len(b) < 200 {
						sources = append(sources, trickle{b, 1}, trickle{b, 2}, trickle{b, 3})
					}
					for i, source := range sources {
						out := mustSend(t, c, bob(), source)
						got, err := s.WaitTransactions(context.Background(), i+1)
						if err != nil {
							t.Fatal(err)
						}
						if !bytes.Equal(got[i].Content, b) {
							t.Fatalf("source %d: other octets arrived", i)
						}
						trips := map[string]int{"BDAT": 1, "DATA": 2, "lockstep": 4, "lockstep BDAT": 3}[mode]
						if mode == "BDAT" && len(b) > 64<<10 {
							trips = 2
						}
						if mode == "lockstep BDAT" {
							trips += (len(b) - 1) >> 20
						}
						if out.RoundTrips != trips {
							t.Errorf("%d round trips, want %d", out.RoundTrips, trips)
						}
						if tlsMode == smtp.TLSNone && len(b) < 1<<15 && got[i].Flights != trips {
							t.Errorf("the server saw %d flights, want %d", got[i].Flights, trips)
						}
						if out.Octets < int64(len(b)) || out.Octets > int64(len(b)*2+1000) {
							t.Errorf("%d octets counted", out.Octets)
						}
					}
					if l := s.Lint(); len(l) > 0 {
						t.Errorf("the server complains: %v", l)
					}
				})
			}
		}
	}
}

// A refused recipient costs no content over 64 KiB.
func TestRefusedBeforeLargeContent(t *testing.T) {
	t.Parallel()
	for mode, without := range modes() {
		s := smtptest.StartT(t, smtptest.Config{Without: without, Rules: []smtptest.Rule{on("RCPT", "", smtptest.Reply("550 5.1.1 no"))}})
		c := dial(t, config(s))
		if _, err := c.Send(context.Background(), bob(), long(1<<20)); !smtp.IsPermanent(err) {
			t.Errorf("%s: %v", mode, err)
		}
		if n := s.Sessions()[0].ContentOctets(); n > 10 {
			t.Errorf("%s: %d octets of content were sent", mode, n)
		}
		s.ClearRules()
	}
}

// RFC 2920 §3.1: a server that says 354 although it refused everybody gets a
// lone dot, and what it says to that means nothing.
func TestLoneDot(t *testing.T) {
	t.Parallel()
	for _, after := range []string{"250 2.0.0 fine", "554 5.5.1 no recipients"} {
		s := smtptest.StartT(t, smtptest.Config{Without: []string{"CHUNKING"}, Rules: []smtptest.Rule{
			{Command: "RCPT", Match: "bob", Action: smtptest.Reply("550 5.1.1 no such user")},
			{Command: "DATA", Nth: 1, Action: smtptest.Reply("354 go on")},
			{Command: smtptest.CommandContent, Nth: 1, Action: smtptest.Reply(after)},
		}})
		c := dial(t, config(s))
		out, err := c.Send(context.Background(), bob(), text(hello))
		if !smtp.IsPermanent(err) || asError(t, err).Code != 550 || !out.Content.IsZero() {
			t.Errorf("%v, %v", err, out.Content)
		}
		if out := mustSend(t, c, envelope("carol@example.com"), text(hello)); out.RoundTrips != 2 {
			t.Errorf("%d round trips after that", out.RoundTrips)
		}
		if err := c.Noop(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// The server need not hear the whole content before it says no.
func TestEarlyRefusal(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		mode   string
		action smtptest.Action
		class  smtp.Class
		code   int
	}{
		{"552 during DATA", "DATA", smtptest.AtOctet(200<<10, smtptest.Reply("552 5.3.4 too big")), smtp.ClassPermanent, 552},
		{"452 during DATA", "DATA", smtptest.AtOctet(200<<10, smtptest.Reply("452 4.3.1 full")), smtp.ClassTransient, 452},
		{"552 during DATA and no more reading", "DATA", smtptest.AtOctet(200<<10, smtptest.Sequence(smtptest.Reply("552 5.3.4 too big"), smtptest.Stall())), smtp.ClassPermanent, 552},
		{"421 during DATA", "DATA", smtptest.AtOctet(200<<10, smtptest.Close421("bye")), smtp.ClassTransient, 421},
		{"250 during DATA", "DATA", smtptest.AtOctet(200<<10, smtptest.Reply("250 thank you")), smtp.ClassTransient, 0},
		{"lost during DATA", "DATA", smtptest.DropAtOctet(200 << 10), smtp.ClassTransient, 0},
		{"552 to a block", "BDAT", smtptest.Reply("552 5.3.4 too big"), smtp.ClassPermanent, 552},
		{"452 to a block", "BDAT", smtptest.Reply("452 4.3.1 full"), smtp.ClassTransient, 452},
		{"421 to a block", "BDAT", smtptest.Close421("bye"), smtp.ClassTransient, 421},
		{"503 to a block", "BDAT", smtptest.Reply("503 5.5.1 what"), smtp.ClassTransient, 503},
		{"lost during a block", "BDAT", smtptest.DropAtOctet(200 << 10), smtp.ClassTransient, 0},
		{"552 to a block, one at a time", "lockstep BDAT", smtptest.Reply("552 5.3.4 too big"), smtp.ClassPermanent, 552},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			command := "BDAT"
			if tt.mode == "DATA" {
				command = "DATA"
			}
			s := smtptest.StartT(t, smtptest.Config{Without: modes()[tt.mode], Rules: []smtptest.Rule{{Command: command, Nth: 1, Action: tt.action}}})
			c := dial(t, config(s))
			content := long(20 << 20)
			out, err := c.Send(context.Background(), bob(), content)
			e := asError(t, err)
			if e.Class != tt.class || e.Code != tt.code || smtp.Stale(err) {
				t.Errorf("class %s, code %d: %v", e.Class, e.Code, err)
			}
			if out.Octets > 15<<20 {
				t.Errorf("%d octets were written after the refusal", out.Octets)
			}
			if len(s.Transactions()) > 0 {
				t.Error("the message was accepted")
			}
			if tt.mode == "DATA" || tt.code == 421 || tt.code == 503 || tt.code == 0 {
				closes(t, c)
			} else {
				mustSend(t, c, bob(), text(hello)) // RSET clears the way
			}
		})
	}
}

// A block refused and the whole accepted: nobody can know what the server has.
func TestBlockRefusedWholeAccepted(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{Rules: []smtptest.Rule{
		{Command: "BDAT", Nth: 1, Action: smtptest.Reply("451 4.3.0 oops")},
		{Command: "BDAT", Nth: 2, Action: smtptest.Reply("250 2.0.0 got it all")},
	}})
	c := dial(t, config(s))
	_, err := c.Send(context.Background(), bob(), long(1<<20+50))
	// With luck the refusal is seen before the second block begins.
	if !smtp.MaybeAccepted(err) && asError(t, err).Code != 451 {
		t.Errorf("%v", err)
	}
}

func TestReaderContent(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	bad := errors.New("close failed")
	c := smtp.Reader(3, func() (io.ReadCloser, error) { return closer{strings.NewReader("abcdef"), bad}, nil })
	if n, err := c.WriteTo(&b); n > 4 || !errors.Is(err, bad) {
		t.Errorf("%d, %v", n, err)
	}
}

type closer struct {
	io.Reader
	err error
}

func (c closer) Close() error { return c.err }
