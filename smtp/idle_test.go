package smtp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
)

// TestIdleFlight is the connection that the server closes while a flight is on
// its way: by default the flight leaves whole, and what was lost before any
// reply octet was not accepted if the connection had been idle for a second.
func TestIdleFlight(t *testing.T) {
	t.Parallel()
	second := func(command string, a smtptest.Action) smtptest.Rule {
		return smtptest.Rule{Command: command, Nth: 2, Action: a}
	}
	drop, garbage := smtptest.Drop(), smtptest.Garbage()
	tests := []struct {
		name   string
		strict bool
		idle   time.Duration
		first  bool // the transaction is the connection's first
		rule   smtptest.Rule
		class  smtp.Class
		stale  bool
		flies  int // waits of the client in a transaction that succeeds
	}{
		{"idle, no octet came", false, 2 * time.Second, false, second("MAIL", drop), smtp.ClassTransient, true, 1},
		{"idle since opening", false, 2 * time.Second, true, smtptest.Rule{Command: "MAIL", Action: drop}, smtp.ClassTransient, true, 1},
		{"busy, no octet came", false, 0, false, second("MAIL", drop), smtp.ClassUnknown, false, 1},
		{"fresh, no octet came", false, 0, true, smtptest.Rule{Command: "MAIL", Action: drop}, smtp.ClassUnknown, false, 1},
		{"idle, octets came", false, 2 * time.Second, false, second("RCPT", drop), smtp.ClassUnknown, false, 1},
		{"idle, garbage came", false, 2 * time.Second, false, second("MAIL", garbage), smtp.ClassUnknown, false, 1},
		{"idle, silence", false, 2 * time.Second, false, second("MAIL", smtptest.Silence()), smtp.ClassUnknown, false, 1},
		{"idle, 421 first", false, 2 * time.Second, false, second("MAIL", smtptest.Close421("idle")), smtp.ClassTransient, true, 1},
		{"fresh, 421 first", false, 0, true, smtptest.Rule{Command: "MAIL", Action: smtptest.Close421("no")}, smtp.ClassTransient, false, 1},
		{"strict, idle, no octet came", true, 2 * time.Second, false, second("MAIL", drop), smtp.ClassTransient, true, 2},
		{"strict, idle, lost at RCPT", true, 2 * time.Second, false, second("RCPT", drop), smtp.ClassTransient, true, 2},
		{"strict, idle, lost after content", true, 2 * time.Second, false, second(smtptest.CommandContent, drop), smtp.ClassUnknown, false, 2},
		{"strict, busy, no octet came", true, 0, false, second("MAIL", drop), smtp.ClassUnknown, false, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := smtptest.NewT(t, smtptest.Config{Rules: []smtptest.Rule{tt.rule}})
				cfg := pipeConfig(s)
				cfg.Strict = tt.strict
				// A flight arrives at once: over a pipe the server would otherwise drop
				// the connection before the client has written the content.
				cfg.Dial = buffered(s.PipeDial)
				c := dial(t, cfg)
				if !tt.first {
					mustSend(t, c, bob(), text(hello))
				}
				rest(tt.idle)
				out, err := c.Send(context.Background(), bob(), text(hello))
				e := asError(t, err)
				if tt.name == "strict, idle, lost at RCPT" && smtp.MaybeAccepted(err) {
					// The content left after MAIL's reply, before the end was seen.
					tt.class, tt.stale = smtp.ClassUnknown, false
				}
				if e.Class != tt.class || smtp.Stale(err) != tt.stale {
					t.Errorf("class %s, stale %v (%v)", e.Class, smtp.Stale(err), err)
				}
				if out.Recipients[0].Err == nil || !c.Closed() {
					t.Errorf("recipient %v, closed %v", out.Recipients[0].Err, c.Closed())
				}
				c = dial(t, cfg)
				if tt.first {
					s.ClearRules()
				}
				mustSend(t, c, bob(), text(hello))
				rest(tt.idle)
				if out := mustSend(t, c, bob(), text(hello)); out.RoundTrips != tt.flies && tt.idle > 0 {
					t.Errorf("%d round trips, want %d", out.RoundTrips, tt.flies)
				}
			})
		})
	}
}

// buffered makes the client's writes end at once, as a socket does.
func buffered(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		b := &bufferedConn{Conn: nc, queue: make(chan []byte, 100), done: make(chan struct{}), closed: make(chan struct{})}
		go b.run()
		return b, nil
	}
}

type bufferedConn struct {
	net.Conn
	queue        chan []byte
	done, closed chan struct{}
}

func (b *bufferedConn) run() {
	defer close(b.done)
	for {
		select {
		case p := <-b.queue:
			_, _ = b.Conn.Write(p)
		case <-b.closed:
			return
		}
	}
}

func (b *bufferedConn) Write(p []byte) (int, error) {
	select {
	case b.queue <- append([]byte(nil), p...):
		return len(p), nil
	case <-b.closed:
		return 0, net.ErrClosed
	}
}

func (b *bufferedConn) Close() error {
	err := b.Conn.Close()
	select {
	case <-b.closed:
	default:
		close(b.closed)
	}
	<-b.done
	return err
}

// Between transactions the reader sees whatever the server does.
func TestIdleWatch(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(*smtptest.Session){
		"closed":           (*smtptest.Session).Close,
		"421":              func(x *smtptest.Session) { _ = x.Write("421 4.4.2 idle for too long\r\n") },
		"unsolicited":      func(x *smtptest.Session) { _ = x.Write("250 hello again\r\n") },
		"unsolicited byte": func(x *smtptest.Session) { _ = x.Write("2") },
	} {
		for _, mode := range []smtp.TLSMode{smtp.TLSNone, smtp.TLSStartTLS} {
			t.Run(name+" "+string(mode), func(t *testing.T) {
				t.Parallel()
				s := smtptest.StartT(t, smtptest.Config{})
				c := dial(t, tlsConfig(s, mode))
				mustSend(t, c, bob(), text(hello))
				late := c.AfterClose(func() { t.Error("a function that was taken back runs") })
				if !late() || late() {
					t.Error("taking back")
				}
				act(s.Sessions()[0])
				closes(t, c)
				_, err := c.Send(context.Background(), bob(), text(hello))
				if !smtp.Stale(err) || !smtp.IsTransient(err) {
					t.Errorf("%v, stale %v", err, smtp.Stale(err))
				}
				if name == "421" && asError(t, err).Code != 421 {
					t.Errorf("the farewell is lost: %v", err)
				}
				closes(t, c) // at once, now that it is over
			})
		}
	}
}

// A connection reused at once, lost before content was written.
func TestStaleBeforeContent(t *testing.T) {
	t.Parallel()
	for _, without := range [][]string{{"CHUNKING"}, {"CHUNKING", "PIPELINING"}, {"PIPELINING"}} {
		s := smtptest.StartT(t, smtptest.Config{Without: without, Rules: []smtptest.Rule{{Command: "RCPT", Nth: 2, Action: smtptest.Drop()}}})
		c := dial(t, config(s))
		mustSend(t, c, bob(), text(hello))
		_, err := c.Send(context.Background(), bob(), text(hello))
		if !smtp.Stale(err) || !smtp.IsTransient(err) {
			t.Errorf("%v: %v, stale %v", without, err, smtp.Stale(err))
		}
	}
}

// RSET after a refused transaction rides with the next MAIL.
func TestResetIsPipelined(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{Rules: []smtptest.Rule{{Command: smtptest.CommandContent, Nth: 1, Action: smtptest.Reply("554 5.7.1 spam")}}})
	c := dial(t, config(s))
	if _, err := c.Send(context.Background(), bob(), text(hello)); !smtp.IsPermanent(err) || !smtp.IsPolicy(err) {
		t.Errorf("%v", err)
	}
	if out := mustSend(t, c, bob(), text(hello)); out.RoundTrips != 1 {
		t.Errorf("%d round trips", out.RoundTrips)
	}
	mustSend(t, c, bob(), text(hello))
	var verbs []string
	for _, cmd := range s.Commands() {
		verbs = append(verbs, cmd.Verb)
	}
	if got := strings.Join(verbs, " "); strings.Count(got, "RSET") != 1 || !strings.Contains(got, "RSET MAIL") {
		t.Errorf("commands %s", got)
	}
	if c.Messages() != 3 {
		t.Errorf("%d transactions counted", c.Messages())
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{Rules: []smtptest.Rule{on("MAIL", "", smtptest.Silence())}})
	c := dial(t, config(s))
	ran := make(chan struct{})
	c.AfterClose(func() { close(ran) })
	failed := make(chan error)
	go func() {
		_, err := c.Send(context.Background(), bob(), long(100<<10))
		failed <- err
	}()
	if err := s.WaitCommand(context.Background(), "MAIL", 1); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Send(context.Background(), bob(), text(hello)); err == nil {
		t.Error("two calls at a time")
	}
	c.Close()
	if err := <-failed; !smtp.IsTransient(err) || smtp.Stale(err) {
		t.Errorf("the call in progress: %v", err)
	}
	<-ran
	if c.Close() != nil {
		t.Error("closing twice")
	}
	if err := c.Quit(context.Background()); err == nil {
		t.Error("QUIT on a closed connection")
	}
}

// Strict mode on an idle connection: a refusal that came with the first reply
// spares the content, and RSET rides along as always.
func TestStrictRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := smtptest.NewT(t, smtptest.Config{Rules: []smtptest.Rule{
			{Command: "MAIL", Nth: 2, Action: smtptest.Reply("450 4.7.1 later")},
			{Command: "RCPT", Nth: 3, Action: smtptest.Reply("550 5.1.1 no such user")},
			{Command: "RSET", Nth: 2, Action: smtptest.Close421("4.4.2 idle")},
		}})
		cfg := pipeConfig(s)
		cfg.Strict = true
		var tr tracer
		cfg.Trace = tr.line
		c := dial(t, cfg)
		for i, want := range []struct {
			class smtp.Class
			trips int
		}{{"", 2}, {smtp.ClassTransient, 1}, {smtp.ClassPermanent, 2}, {smtp.ClassTransient, 1}} {
			rest(time.Minute)
			out, err := c.Send(context.Background(), bob(), text(hello))
			if class(err) != want.class || out.RoundTrips != want.trips {
				t.Errorf("transaction %d: %v, %d round trips\n%s", i, err, out.RoundTrips, &tr)
			}
			if stale := i == 3; smtp.Stale(err) != stale {
				t.Errorf("transaction %d: stale %v", i, !stale)
			}
		}
		if n := len(s.Transactions()); n != 1 {
			t.Errorf("%d messages", n)
		}
	})
}

// Close may come at any moment.
func TestCloseAnytime(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{})
	for mode := range modes() {
		for i := range 30 {
			c := dial(t, tlsConfig(s, []smtp.TLSMode{smtp.TLSNone, smtp.TLSStartTLS}[i%2]))
			done := make(chan struct{})
			go func() {
				defer close(done)
				for range i {
					if _, err := c.Send(context.Background(), bob(), text(hello)); err != nil {
						return
					}
				}
				c.Close()
			}()
			for range i {
				_ = c.Closed()
				c.AfterClose(func() {})()
			}
			c.Close()
			<-done
			if late := c.AfterClose(func() {}); late() {
				t.Error(mode, ": a function that was called is taken back")
			}
		}
	}
}

var errSource = errors.New("the disk is gone")

// failing writes n octets of content and fails.
type failing struct {
	size int64
	n    int
}

func (f failing) Size() int64 { return f.size }

func (f failing) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, strings.Repeat("line of content\r\n", f.n/17))
	if err == nil {
		err = errSource
	}
	return int64(n), err
}
