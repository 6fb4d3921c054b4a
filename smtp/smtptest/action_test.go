package smtptest_test

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/smtp/smtptest"
)

// envelope goes as far as the recipients.
const envelope = "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n"

func TestReplyByMatchAndNth(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{Rules: []smtptest.Rule{
		{Command: "EHLO", Session: 2, Action: smtptest.Reply("250-localhost", "250 XFOO bar")},
	}})
	srv.On(smtptest.Rule{Command: "RCPT", Match: "BOB@", Action: smtptest.Reply("550 5.1.1 no such user")})
	srv.On(smtptest.Rule{Command: "RCPT", Nth: 3, Action: smtptest.Reply("251-will", "forward")})
	srv.On(smtptest.Rule{Command: "NOOP", Times: 1, Action: smtptest.Reply("nonsense")})
	x := hello(t, srv)
	x.talk("MAIL FROM:<a@example.com>", "250")
	x.talk("RCPT TO:<bob@example.com>", "550 5.1.1")
	x.talk("RCPT TO:<cy@example.com>", "250")
	x.talk("RCPT TO:<dan@example.com>", "251 forward")
	x.talk("NOOP", "nonsense")
	x.talk("NOOP", "250")
	x.send("BDAT 2 LAST\r\n\r\n")
	x.expect("250")
	got := srv.Transactions()[0]
	if want := []string{"cy@example.com", "dan@example.com"}; !slices.Equal(got.Recipients(), want) {
		t.Errorf("recipients %q, want %q", got.Recipients(), want)
	}
	if r := got.RcptTo[0].Reply; r.Code != 550 || r.Lines[0] != "5.1.1 no such user" {
		t.Errorf("reply kept: %v", r)
	}
	dial(t, srv.Addr()).talk("EHLO y", "250 XFOO bar")
}

func TestEachSession(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{})
	srv.On(smtptest.Rule{Command: "NOOP", Nth: 2, EachSession: true, Action: smtptest.Close421("4.3.2 enough")})
	for range 2 {
		x := hello(t, srv)
		x.talk("NOOP", "250")
		x.talk("NOOP", "421 4.3.2 enough")
		if err := x.eof(); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	}
	if err := srv.WaitSessionsClosed(t.Context(), 2); err != nil {
		t.Error(err)
	}
}

// TestLostConnections has the server break off at every stage.
func TestLostConnections(t *testing.T) {
	drop := smtptest.Drop()
	tests := []struct {
		name     string
		rule     smtptest.Rule
		send     string
		want     []string
		octets   int64
		accepted int
	}{
		{"connect", smtptest.Rule{Command: smtptest.CommandConnect, Action: drop}, "", nil, 0, 0},
		{"greeting", smtptest.Rule{Command: smtptest.CommandGreeting, Action: smtptest.ReplyThenDrop("554 go away")}, "", []string{"554"}, 0, 0},
		{"EHLO", smtptest.Rule{Command: "EHLO", Action: drop}, "EHLO x\r\n", []string{"220"}, 0, 0},
		{"RCPT after MAIL was answered", smtptest.Rule{Command: "RCPT", Action: drop}, "EHLO x\r\n" + envelope, []string{"220", "250", "250"}, 0, 0},
		{"DATA", smtptest.Rule{Command: "DATA", Action: drop}, "EHLO x\r\n" + envelope + "DATA\r\n", []string{"220", "250", "250", "250"}, 0, 0},
		{"after 354", smtptest.Rule{Command: "DATA", Action: smtptest.ReplyThenDrop("354 go")}, "EHLO x\r\n" + envelope + "DATA\r\n", []string{"220", "250", "250", "250", "354"}, 0, 0},
		{
			"in content",
			smtptest.Rule{Command: "DATA", Action: smtptest.DropAtOctet(5)},
			"EHLO x\r\n" + envelope + "DATA\r\n0123456789\r\n.\r\n",
			[]string{"220", "250", "250", "250", "354"},
			5, 0,
		},
		{
			"in content, by CONTENT",
			smtptest.Rule{Command: smtptest.CommandContent, Action: smtptest.DropAtOctet(7)},
			"EHLO x\r\n" + envelope + "BDAT 10 LAST\r\n0123456789",
			[]string{"220", "250", "250", "250"},
			7, 0,
		},
		{
			"after content",
			smtptest.Rule{Command: smtptest.CommandContent, Action: drop},
			"EHLO x\r\n" + envelope + "DATA\r\n01\r\n.\r\n",
			[]string{"220", "250", "250", "250", "354"},
			4, 0,
		},
		{
			"accepted and no reply",
			smtptest.Rule{Command: smtptest.CommandContent, Action: smtptest.Sequence(smtptest.Accept(), drop)},
			"EHLO x\r\n" + envelope + "BDAT 2 LAST\r\n\r\n",
			[]string{"220", "250", "250", "250"},
			2, 1,
		},
		{"before a chunk", smtptest.Rule{Command: "BDAT", Action: drop}, "EHLO x\r\n" + envelope + "BDAT 2\r\n\r\n", []string{"220", "250", "250", "250"}, 0, 0},
		{
			"after a chunk",
			smtptest.Rule{Command: "BDAT", Action: smtptest.DropAfterRead()},
			"EHLO x\r\n" + envelope + "BDAT 2\r\n\r\n",
			[]string{"220", "250", "250", "250"},
			2, 0,
		},
		{
			"early refusal",
			smtptest.Rule{Command: smtptest.CommandContent, Action: smtptest.AtOctet(3, smtptest.ReplyThenDrop("552 5.3.4 enough"))},
			"EHLO x\r\n" + envelope + "BDAT 10 LAST\r\n0123456789",
			[]string{"220", "250", "250", "250", "552"},
			3, 0,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := smtptest.StartT(t, smtptest.Config{Rules: []smtptest.Rule{tt.rule}})
			c, err := net.Dial("tcp", srv.Addr())
			if err != nil {
				t.Fatal(err)
			}
			x := wrap(t, c)
			x.send(tt.send)
			x.expect(tt.want...)
			if err := x.eof(); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
				t.Error(err)
			}
			if err := srv.WaitSessionsClosed(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			if n := srv.Sessions()[0].ContentOctets(); n != tt.octets {
				t.Errorf("%d content octets, want %d", n, tt.octets)
			}
			if n := len(srv.Transactions()); n != tt.accepted {
				t.Errorf("%d accepted, want %d", n, tt.accepted)
			}
		})
	}
}

func TestReset(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{})
	srv.On(smtptest.Rule{Command: "NOOP", Action: smtptest.Reset()})
	x := hello(t, srv)
	x.send("NOOP\r\n")
	if err := x.eof(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a connection reset", err)
	}
}

func TestOctetsNobodyAskedFor(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{})
	srv.On(smtptest.Rule{Command: "NOOP", Nth: 1, Action: smtptest.Garbage()})
	srv.On(smtptest.Rule{Command: "NOOP", Nth: 2, Action: smtptest.Sequence(smtptest.Reply("250 a"), smtptest.Write("250 b\r\n"))})
	srv.On(smtptest.Rule{Command: "NOOP", Nth: 3, Action: smtptest.ReplyInPieces(0, "25", "0-a\r", "\n250 ", "b")})
	x := hello(t, srv)
	x.send("NOOP\r\n")
	if l, err := x.r.ReadString('\r'); err != nil || !strings.Contains(l, "no reply") {
		t.Fatalf("got %q, %v", l, err)
	}
	if l, err := x.r.ReadString('\n'); err != nil {
		t.Fatalf("got %q, %v", l, err)
	}
	x.talk("NOOP", "250 a", "250 b")
	x.talk("NOOP", "250 b")
	session := srv.Sessions()[0]
	if err := session.WaitIdle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := session.Write("421 4.4.2 idle too long\r\n"); err != nil {
		t.Fatal(err)
	}
	x.expect("421 4.4.2")
	srv.CloseIdle()
	if err := x.eof(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// TestInjection puts a reply behind the 220 to STARTTLS, in the same write.
func TestInjection(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{})
	srv.On(smtptest.Rule{Command: "STARTTLS", Action: smtptest.Sequence(smtptest.Reply("220 go"), smtptest.Write("250 injected\r\n"))})
	x := hello(t, srv)
	x.talk("STARTTLS", "220", "250 injected")
}

// TestSilence shows that neither a silent nor a stalled session holds up Close.
func TestSilence(t *testing.T) {
	for _, a := range []smtptest.Action{smtptest.Silence(), smtptest.Stall(), smtptest.Delay(1e15, smtptest.Proceed())} {
		srv := smtptest.StartT(t, smtptest.Config{Timeout: 1e15})
		srv.On(smtptest.Rule{Command: smtptest.CommandContent, Action: a})
		x := hello(t, srv)
		x.send(envelope + "BDAT 2 LAST\r\n\r\n")
		x.expect("250", "250")
		if err := srv.WaitCommand(t.Context(), smtptest.CommandContent, 1); err != nil {
			t.Fatal(err)
		}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if err := x.eof(); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}
		if got := srv.Attempts(); len(got) != 1 || got[0].Accepted || !got[0].Complete || got[0].Size != 2 {
			t.Errorf("got %+v", got)
		}
	}
}

// TestRefusedGreeting and everything else after it.
func TestRefusedGreeting(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{Rules: []smtptest.Rule{
		{Command: smtptest.CommandGreeting, Action: smtptest.Reply("554 no service")},
	}})
	c, err := net.Dial("tcp", srv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	x := wrap(t, c)
	x.expect("554")
	x.talk("EHLO x", "503")
	x.talk("QUIT", "221")
}

// TestLoneDot is the server of RFC 2920 §3.1 that says 354 though it has
// refused every recipient.
func TestLoneDot(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{})
	srv.On(smtptest.Rule{Command: "RCPT", Action: smtptest.Reply("550 no")})
	srv.On(smtptest.Rule{Command: "DATA", Action: smtptest.Reply("354 go on")})
	x := hello(t, srv)
	x.send(envelope + "DATA\r\n")
	x.expect("250", "550", "354")
	x.talk(".", "554 5.5.1")
	if len(srv.Transactions()) != 0 {
		t.Error("accepted for nobody")
	}
}

// TestSynctest runs delays and timeouts of hours on the clock of a bubble.
func TestSynctest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewT(t, smtptest.Config{Timeout: 2 * time.Hour})
		srv.On(smtptest.Rule{Command: "EHLO", Nth: 1, Action: smtptest.Delay(time.Hour, smtptest.Proceed())})
		c, err := srv.PipeDial(t.Context(), "tcp", "localhost:25")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		x := wrap(t, c)
		if err := c.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		x.expect("220")
		x.talk("EHLO x", "250")
		if d := time.Since(began); d != time.Hour {
			t.Errorf("answered after %v", d)
		}
		x.startTLS(srv)
		x.talk("EHLO x", "250")
		x.expect("421 4.4.2")
		if d := time.Since(began); d != 3*time.Hour {
			t.Errorf("timeout after %v", d)
		}
	})
}
