package smtp_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/sasl"
	"github.com/postrider/postrider/smtp/smtptest"
)

// TestBeforeContentEnds: when the hook runs, the server has not got all content yet, and
// it runs once, whichever way the content goes.
func TestBeforeContentEnds(t *testing.T) {
	tests := []struct {
		name    string
		without []string
		size    int
		idle    bool
	}{
		{name: "whole", size: 1000},
		{name: "whole, after a rest", size: 1000, idle: true},
		{name: "BDAT blocks", size: 3 << 20},
		{name: "BDAT without pipelining", without: []string{"PIPELINING"}, size: 100 << 10},
		{name: "DATA", without: []string{"CHUNKING"}, size: 1000},
		{name: "DATA, large", without: []string{"CHUNKING"}, size: 1 << 20},
		{name: "DATA without pipelining", without: []string{"CHUNKING", "PIPELINING"}, size: 1000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := smtptest.NewT(t, smtptest.Config{Without: tt.without})
				c := dial(t, pipeConfig(srv))
				if tt.idle {
					rest(2 * time.Second)
				}
				content := long(tt.size)
				calls := 0
				env := bob()
				env.BeforeContentEnds = func(context.Context) error {
					calls++
					synctest.Wait() // the server has read what was written
					if got := srv.Sessions()[0].ContentOctets(); got >= int64(calls)*content.Size() {
						t.Errorf("all of %d octets have been written before the hook returned", got)
					}
					if len(srv.Transactions()) != calls-1 {
						t.Error("the message was accepted before the hook returned")
					}
					return nil
				}
				mustSend(t, c, env, content)
				mustSend(t, c, env, content)
				if calls != 2 {
					t.Errorf("the hook was called %d times in 2 transactions", calls)
				}
				c.Close()
			})
		})
	}
}

func TestBeforeContentEndsRefuses(t *testing.T) {
	refusal := errors.New("not now")
	for _, tt := range []struct {
		name   string
		size   int
		closed bool
	}{
		{name: "nothing was written", size: 1000},
		{name: "in the middle", size: 1 << 20, closed: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := smtptest.StartT(t, smtptest.Config{})
			c := dial(t, config(srv))
			env := bob()
			env.BeforeContentEnds = func(context.Context) error { return refusal }
			out, err := c.Send(t.Context(), env, long(tt.size))
			if !errors.Is(err, refusal) || !smtp.IsTransient(err) || smtp.MaybeAccepted(err) || smtp.Stale(err) {
				t.Errorf("error %v", err)
			}
			if !errors.Is(out.Recipients[0].Err, refusal) {
				t.Errorf("recipient: %v", out.Recipients[0].Err)
			}
			if c.Closed() != tt.closed {
				t.Errorf("closed: %v", c.Closed())
			}
			if tt.closed {
				if err := srv.WaitSessionsClosed(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
			} else {
				mustSend(t, c, bob(), text(hello))
			}
			for _, tx := range srv.Transactions() {
				if tx.Size > 1000 {
					t.Error("the server accepted the message")
				}
			}
		})
	}
}

// TestBeforeContentEndsTakesLong: the connection dies while the hook works, before
// anything was written. The transaction may move.
func TestBeforeContentEndsTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewT(t, smtptest.Config{})
		c := dial(t, pipeConfig(srv))
		env := bob()
		env.BeforeContentEnds = func(context.Context) error {
			rest(time.Minute)
			srv.Sessions()[0].Close()
			synctest.Wait()
			return nil
		}
		if _, err := c.Send(t.Context(), env, text(hello)); !smtp.Stale(err) {
			t.Errorf("error %v, want one that lets the transaction move", err)
		}
	})
}

// TestBeforeContentEndsWhenAllAreRefused: nobody will have the content, so nobody is asked
// where the replies are known in time.
func TestBeforeContentEndsWhenAllAreRefused(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{Without: []string{"CHUNKING"}})
	srv.On(smtptest.Rule{Command: "RCPT", Action: smtptest.Reply("550 5.1.1 nobody here")})
	c := dial(t, config(srv))
	env := bob()
	env.BeforeContentEnds = func(context.Context) error {
		t.Error("the hook was called")
		return nil
	}
	if _, err := c.Send(t.Context(), env, text(hello)); !smtp.IsPermanent(err) {
		t.Errorf("error %v", err)
	}
}

func TestEnvelopeTrace(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{})
	var all []string
	cfg := config(srv)
	cfg.Trace = func(l smtp.TraceLine) { all = append(all, l.Dir+": "+l.Text) }
	c := dial(t, cfg)
	opening := len(all)
	var mine []string
	env := bob()
	env.Trace = func(l smtp.TraceLine) {
		if l.Conn != 1 || l.Time.IsZero() {
			t.Errorf("line %+v", l)
		}
		mine = append(mine, l.Dir+": "+l.Text)
	}
	mustSend(t, c, env, text(hello))
	want := len(all)
	mustSend(t, c, bob(), text(hello))
	got := strings.Join(mine, "\n")
	if got != strings.Join(all[opening:want], "\n") {
		t.Errorf("of one transaction:\n%s\nof all:\n%s", got, strings.Join(all, "\n"))
	}
	if !strings.HasPrefix(got, "C: MAIL FROM:<alice@example.com>") || !strings.Contains(got, "octets of content)") || !strings.Contains(got, "S: 250 ") {
		t.Errorf("the trace is\n%s", got)
	}
}

func TestAuthFunc(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{Users: map[string]string{"ann": "secret"}})
	cfg := config(srv)
	cfg.DangerouslyAllowPlaintextAuth = true
	asked := 0
	password := "secret"
	var fault error
	cfg.AuthFunc = func(context.Context) (*sasl.Credentials, error) {
		asked++
		if fault != nil {
			return nil, fault
		}
		return &sasl.Credentials{Username: "ann", Password: password}, nil
	}
	d := newDialer(t, cfg)
	for n := range 2 {
		c, err := d.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if name, _ := srv.Sessions()[n].User(); name != "ann" || asked != n+1 {
			t.Errorf("user %q, asked %d times", name, asked)
		}
		c.Close()
	}

	srv.On(smtptest.Rule{Command: smtptest.CommandAuthResponse, Action: smtptest.Reply("535 5.7.8 no")})
	srv.On(smtptest.Rule{Command: "AUTH", Action: smtptest.Reply("535 5.7.8 not with mellon")})
	password = "mellon"
	_, err := d.Dial(t.Context())
	if !smtp.IsAuth(err) || strings.Contains(err.Error(), "mellon") {
		t.Errorf("a refused password: %v", err)
	}
	fault = errors.New("the key is lost")
	if _, err = d.Dial(t.Context()); !errors.Is(err, fault) || !smtp.IsRelayFault(err) {
		t.Errorf("no credentials: %v", err)
	}
	fault = &smtp.Error{Phase: smtp.PhaseAuth, Class: smtp.ClassTransient, Err: errors.New("later")}
	if _, err = d.Dial(t.Context()); !smtp.IsTransient(err) {
		t.Errorf("credentials that are not there yet: %v", err)
	}

	cfg.Auth = &sasl.Credentials{Username: "ann", Password: "secret"}
	if _, err := smtp.NewDialer(cfg); err == nil || !strings.Contains(err.Error(), "Auth and AuthFunc") {
		t.Errorf("both: %v", err)
	}
}

// TestBeforeContentEndsIsStrict: a connection that rested and is closed as the envelope arrives
// costs nothing, as no content has left.
func TestBeforeContentEndsIsStrict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewT(t, smtptest.Config{})
		srv.On(smtptest.Rule{Command: "MAIL", Action: smtptest.Drop()})
		c := dial(t, pipeConfig(srv))
		rest(2 * time.Second)
		env := bob()
		env.BeforeContentEnds = func(context.Context) error {
			t.Error("the hook was called")
			return nil
		}
		if _, err := c.Send(t.Context(), env, text(hello)); !smtp.Stale(err) {
			t.Errorf("error %v", err)
		}
	})
}
