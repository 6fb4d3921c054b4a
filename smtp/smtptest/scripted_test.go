package smtptest_test

import (
	"testing"
	"time"

	"github.com/postrider/postrider/smtp/smtptest"
)

// TestScriptedChunks has rules decide about chunks, each after its octets.
func TestScriptedChunks(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{})
	srv.On(smtptest.Rule{Command: "BDAT", Nth: 1, Action: smtptest.Reply("451 4.3.0 not this one")})
	srv.On(smtptest.Rule{Command: "BDAT", Match: "LAST", Nth: 2, Action: smtptest.Reply("552 5.3.4 too large")})
	srv.On(smtptest.Rule{Command: "BDAT", Match: "LAST", Nth: 3, Action: smtptest.Reply("250 2.6.0 taken")})
	srv.On(smtptest.Rule{Command: "BDAT", Match: "LAST", Nth: 4, Action: smtptest.Delay(time.Nanosecond, smtptest.Proceed())})
	srv.On(smtptest.Rule{Command: smtptest.CommandContent, Action: smtptest.Reply("450 4.7.1 greylisted")})
	x := hello(t, srv)
	x.send(envelope + "BDAT 2\r\nabBDAT 2 LAST\r\ncdRSET\r\n")
	x.expect("250", "250", "451", "503", "250")
	for _, want := range []string{"552", "250 2.6.0", "450 4.7.1"} {
		x.send(envelope + "BDAT 2 LAST\r\n\r\n")
		x.expect("250", "250", want)
	}
	if got := srv.Transactions(); len(got) != 1 || got[0].Reply.String() != "250 2.6.0 taken" {
		t.Errorf("got %+v", got)
	}
	if got := srv.Attempts(); len(got) != 4 || got[0].Complete || got[0].Size != 2 || got[3].Reply.Code != 450 {
		t.Errorf("got %+v", got)
	}
	srv.ClearRules()
	x.send(envelope + "BDAT 2 LAST\r\n\r\n")
	x.expect("250", "250", "250")
	log := x.log(srv)
	if last := log[len(log)-2]; last.Verb != "BDAT" || last.Reply.Code != 250 || last.Scripted {
		t.Errorf("log of BDAT LAST: %v", last)
	}
}

// log gives the log of the only session.
func (x *raw) log(srv *smtptest.Server) []smtptest.Command {
	x.t.Helper()
	sessions, err := srv.WaitSessions(x.t.Context(), 1)
	if err != nil {
		x.t.Fatal(err)
	}
	return sessions[0].Commands()
}

// TestAuthMalformed ends exchanges that go wrong.
func TestAuthMalformed(t *testing.T) {
	srv := authServer(t)
	srv.On(smtptest.Rule{Command: "AUTH", Match: "FOO", Action: smtptest.Reply("334 ")})
	x := hello(t, srv)
	for line, want := range map[string]string{"%%%": "501 5.5.2", "eA==": "535", "a\x01b": "500"} {
		x.talk("AUTH PLAIN", "334")
		x.talk(line, want)
	}
	x.talk("AUTH FOO", "334")
	x.talk("eA==", "535")
	x.talk("AUTH CRAM-MD5", "334")
	x.talk("YW5u", "535")
	x.talk("AUTH SCRAM-SHA-256", "334")
	x.talk("bixhPSxuPWEscj1i", "535")
}

// TestSilentToTimeouts stays silent past the server's own timeout.
func TestSilentToTimeouts(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{Timeout: time.Millisecond})
	srv.On(smtptest.Rule{Command: smtptest.CommandConnect, Action: smtptest.Silence()})
	c, err := srv.PipeDial(t.Context(), "tcp", "localhost:25")
	if err != nil {
		t.Fatal(err)
	}
	x := wrap(t, c)
	x.send("EHLO x\r\n")
	if err := srv.WaitCommand(t.Context(), smtptest.CommandConnect, 1); err != nil {
		t.Fatal(err)
	}
	if srv.Sessions()[0].Closed() {
		t.Error("silence ended")
	}
	_ = c.Close()
	if err := srv.WaitSessionsClosed(t.Context(), 1); err != nil {
		t.Error(err)
	}
}
