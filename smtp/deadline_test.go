package smtp_test

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/sasl"
	"github.com/postrider/postrider/smtp/smtptest"
)

// steps are all that a server can fall silent at.
func steps() []step {
	silence, stall := smtptest.Silence(), smtptest.Stall()
	set := func(f func(*smtp.Timeouts, time.Duration)) func(*smtp.Timeouts, time.Duration) { return f }
	big := 200 << 10
	return []step{
		{"greeting", on("GREETING", "", silence), nil, smtp.TLSNone, 0, smtp.PhaseGreeting, smtp.ClassTransient, 5 * time.Minute, set(func(t *smtp.Timeouts, d time.Duration) { t.Greeting = d })},
		{"TLS", on("CONNECT", "", silence), nil, smtp.TLSImplicit, 0, smtp.PhaseTLS, smtp.ClassTransient, time.Minute, set(func(t *smtp.Timeouts, d time.Duration) { t.TLS = d })},
		{"EHLO", on("EHLO", "", silence), nil, smtp.TLSNone, 0, smtp.PhaseGreeting, smtp.ClassTransient, time.Minute, set(func(t *smtp.Timeouts, d time.Duration) { t.Hello = d })},
		{"STARTTLS", on("STARTTLS", "", silence), nil, smtp.TLSStartTLS, 0, smtp.PhaseTLS, smtp.ClassTransient, time.Minute, set(func(t *smtp.Timeouts, d time.Duration) { t.Hello = d })},
		{"AUTH", on("AUTH", "", silence), nil, smtp.TLSNone, 0, smtp.PhaseAuth, smtp.ClassTransient, time.Minute, set(func(t *smtp.Timeouts, d time.Duration) { t.Auth = d })},
		{"MAIL", on("MAIL", "", silence), []string{"CHUNKING"}, smtp.TLSNone, 100, smtp.PhaseMail, smtp.ClassTransient, 5 * time.Minute, set(func(t *smtp.Timeouts, d time.Duration) { t.Mail = d })},
		{"MAIL with content", on("MAIL", "", silence), nil, smtp.TLSNone, 100, smtp.PhaseDot, smtp.ClassUnknown, 5 * time.Minute, set(func(t *smtp.Timeouts, d time.Duration) { t.Mail = d })},
		{"RCPT", on("RCPT", "", silence), []string{"CHUNKING"}, smtp.TLSNone, 100, smtp.PhaseRcpt, smtp.ClassTransient, 5 * time.Minute, set(func(t *smtp.Timeouts, d time.Duration) { t.Rcpt = d })},
		{"DATA", on("DATA", "", silence), []string{"CHUNKING"}, smtp.TLSNone, 100, smtp.PhaseData, smtp.ClassTransient, 2 * time.Minute, set(func(t *smtp.Timeouts, d time.Duration) { t.Data = d })},
		{"block of DATA", on("DATA", "", smtptest.AtOctet(70<<10, stall)), []string{"CHUNKING"}, smtp.TLSNone, big, smtp.PhaseData, smtp.ClassTransient, 3 * time.Minute, set(func(t *smtp.Timeouts, d time.Duration) { t.Block = d })},
		{"block of BDAT", on("BDAT", "", smtptest.AtOctet(70<<10, stall)), nil, smtp.TLSNone, big, smtp.PhaseData, smtp.ClassTransient, 3 * time.Minute, set(func(t *smtp.Timeouts, d time.Duration) { t.Block = d })},
		{"reply to the dot", on(smtptest.CommandContent, "", silence), []string{"CHUNKING"}, smtp.TLSNone, 100, smtp.PhaseDot, smtp.ClassUnknown, 10 * time.Minute, set(func(t *smtp.Timeouts, d time.Duration) { t.Final = d })},
		{"reply to BDAT LAST", on(smtptest.CommandContent, "", silence), nil, smtp.TLSNone, 100, smtp.PhaseDot, smtp.ClassUnknown, 10 * time.Minute, set(func(t *smtp.Timeouts, d time.Duration) { t.Final = d })},
		{"reply to the last block", on(smtptest.CommandContent, "", silence), nil, smtp.TLSNone, big, smtp.PhaseDot, smtp.ClassUnknown, 10 * time.Minute, set(func(t *smtp.Timeouts, d time.Duration) { t.Final = d })},
		{"one at a time", on(smtptest.CommandContent, "", silence), []string{"CHUNKING", "PIPELINING"}, smtp.TLSNone, big, smtp.PhaseDot, smtp.ClassUnknown, 10 * time.Minute, set(func(t *smtp.Timeouts, d time.Duration) { t.Final = d })},
	}
}

type step struct {
	name    string
	rule    smtptest.Rule
	without []string
	mode    smtp.TLSMode
	size    int // of the content; 0: the fault comes before any transaction
	phase   smtp.Phase
	class   smtp.Class
	after   time.Duration // the default deadline
	set     func(*smtp.Timeouts, time.Duration)
}

// start makes the server and the configuration for a step, inside a bubble.
func (st step) start(t *testing.T) smtp.Config {
	s := smtptest.NewT(t, smtptest.Config{Without: st.without, Rules: []smtptest.Rule{st.rule}, Users: map[string]string{"alice": "secret"}})
	cfg := pipeConfig(s)
	cfg.TLSMode = st.mode
	if st.mode != smtp.TLSNone {
		cfg.TLSConfig = s.TLSClientConfig()
	}
	if st.name == "AUTH" {
		cfg.Auth, cfg.DangerouslyAllowPlaintextAuth = alice("secret"), true
	}
	return cfg
}

// run does the step's conversation and gives its error.
func (st step) run(ctx context.Context, t *testing.T, cfg smtp.Config) error {
	c, err := newDialer(t, cfg).Dial(ctx)
	if err != nil {
		if st.size > 0 {
			t.Fatal(err)
		}
		return err
	}
	defer c.Close()
	out, err := c.Send(ctx, bob(), long(st.size))
	if err == nil || out.Recipients[0].Err == nil {
		t.Fatal("the message was sent")
	}
	if !c.Closed() {
		t.Error("the connection stays open")
	}
	return err
}

// TestDeadlines: each step ends by itself, at its own default or as set.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	for _, st := range steps() {
		for _, set := range []bool{false, true} {
			t.Run(st.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					cfg, want := st.start(t), st.after
					if set {
						want = 7 * time.Second
						st.set(&cfg.Timeouts, want)
					}
					begun := time.Now()
					err := st.run(t.Context(), t, cfg)
					if took := time.Since(begun); took != want {
						t.Errorf("ended after %v, want %v", took, want)
					}
					e := asError(t, err)
					if !errors.Is(err, os.ErrDeadlineExceeded) || e.Phase != st.phase || e.Class != st.class {
						t.Errorf("phase %s, class %s: %v", e.Phase, e.Class, err)
					}
					if smtp.Stale(err) {
						t.Error("a deadline is not a stale connection")
					}
				})
			})
		}
	}
}

// TestContext: the end of the context interrupts each step at once, and the
// class is that of the moment.
func TestContext(t *testing.T) {
	t.Parallel()
	for _, st := range steps() {
		for _, cancelled := range []bool{false, true} {
			t.Run(st.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					cfg := st.start(t)
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					defer cancel()
					want := context.DeadlineExceeded
					if cancelled {
						ctx, cancel = context.WithCancel(t.Context())
						want = context.Canceled
						time.AfterFunc(5*time.Second, cancel)
					}
					begun := time.Now()
					err := st.run(ctx, t, cfg)
					if took := time.Since(begun); took != 5*time.Second {
						t.Errorf("ended after %v", took)
					}
					e := asError(t, err)
					if !errors.Is(err, want) || e.Phase != st.phase || e.Class != st.class || smtp.Stale(err) {
						t.Errorf("phase %s, class %s: %v", e.Phase, e.Class, err)
					}
				})
			})
		}
	}
}

func TestDialDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		never := func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		d := newDialer(t, smtp.Config{Host: "localhost", Dial: never})
		begun := time.Now()
		_, err := d.Dial(t.Context())
		if took := time.Since(begun); took != 30*time.Second || !errors.Is(err, os.ErrDeadlineExceeded) || !smtp.IsTransient(err) {
			t.Errorf("after %v: %v", took, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err = d.Dial(ctx); !errors.Is(err, context.DeadlineExceeded) || asError(t, err).Phase != smtp.PhaseDial {
			t.Errorf("%v", err)
		}
	})
}

func TestQuitDeadline(t *testing.T) {
	t.Parallel()
	for _, a := range []smtptest.Action{smtptest.Silence(), smtptest.Stall()} {
		synctest.Test(t, func(t *testing.T) {
			s := smtptest.NewT(t, smtptest.Config{Rules: []smtptest.Rule{on("QUIT", "", a)}})
			c := dial(t, pipeConfig(s))
			begun := time.Now()
			err := c.Quit(t.Context())
			if took := time.Since(begun); took != 5*time.Second || !errors.Is(err, os.ErrDeadlineExceeded) || !c.Closed() {
				t.Errorf("after %v: %v", took, err)
			}
		})
	}
}

// A deadline is for one reply: a server that answers slowly but steadily is
// not cut off, and neither is one that was quick once.
func TestDeadlineIsForEachReply(t *testing.T) {
	t.Parallel()
	for _, without := range [][]string{nil, {"CHUNKING"}, {"CHUNKING", "PIPELINING"}} {
		synctest.Test(t, func(t *testing.T) {
			slow := smtptest.Delay(4*time.Minute, smtptest.Proceed())
			s := smtptest.NewT(t, smtptest.Config{Without: without, Rules: []smtptest.Rule{on("MAIL", "", slow), on("RCPT", "", slow)}})
			c := dial(t, pipeConfig(s))
			for range 3 {
				mustSend(t, c, envelope("a@example.com", "b@example.com", "c@example.com"), text(hello))
				rest(time.Hour)
			}
		})
	}
}

// The context is only for the call: what ends later does no harm.
func TestContextAfterCall(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{})
	c := dial(t, config(s))
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := c.Send(ctx, bob(), text(hello)); err != nil {
		t.Fatal(err)
	}
	cancel()
	mustSend(t, c, bob(), text(hello))
	out, err := c.Send(ctx, bob(), text(hello))
	if !errors.Is(err, context.Canceled) || out.Recipients[0].Err == nil || c.Closed() {
		t.Errorf("with an ended context: %v, closed %v", err, c.Closed())
	}
	mustSend(t, c, bob(), text(hello))
}

func TestTokenSourceSeesContext(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{Users: map[string]string{"alice": "secret"}})
	cfg := tlsConfig(s, smtp.TLSStartTLS)
	ctx, cancel := context.WithCancel(context.Background())
	cfg.Auth = &sasl.Credentials{Username: "alice", Token: func(ctx context.Context, _ bool) (string, error) {
		cancel()
		<-ctx.Done()
		return "", ctx.Err()
	}}
	if _, err := newDialer(t, cfg).Dial(ctx); !errors.Is(err, context.Canceled) || !smtp.IsTransient(err) {
		t.Errorf("%v", err)
	}
}
