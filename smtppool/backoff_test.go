package smtppool_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/sasl"
	"github.com/postrider/postrider/smtp/smtptest"
	"github.com/postrider/postrider/smtppool"
)

func TestBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := smtptest.NewT(t, smtptest.Config{})
		dials := &refuse{after: 8, then: s.PipeDial}
		p := newPool(t, smtp.Config{Host: "localhost", TLSMode: smtp.TLSNone, Dial: dials.dial}, smtppool.Config{})
		low := time.Second
		for n := 1; n <= 8; n++ {
			begin := time.Now()
			_, err := p.Get(t.Context())
			if time.Since(begin) != 0 || dials.calls() != n {
				t.Fatalf("failure %d came after %s and %d dials", n, time.Since(begin), dials.calls())
			}
			pause, ok := errors.AsType[*smtppool.BackoffError](err)
			if !ok || !errors.Is(err, errRefused) || !smtp.IsTransient(err) || !strings.Contains(err.Error(), "next try in ") {
				t.Fatalf("failure %d: %v", n, err)
			}
			wait := time.Until(pause.Until)
			if wait != pause.Wait || wait > time.Minute || wait < min(low, 46*time.Second) || n < 6 && wait > low*13/10 {
				t.Errorf("failure %d: pause of %s, expected about %s", n, wait, low)
			}
			low *= 2
			// Meanwhile everybody is told at once, and nobody dials.
			pass(wait - 1)
			out, err := p.Send(t.Context(), envelope("bob@example.com", "eve@example.com"), content("x"))
			if !errors.Is(err, errRefused) || len(out.Recipients) != 2 || dials.calls() != n {
				t.Fatalf("in the pause: %v, %d dials", err, dials.calls())
			}
			for i, r := range out.Recipients {
				e, ok := errors.AsType[*smtp.Error](r.Err)
				if !ok || e.Recipient != r.Address || e.Class != smtp.ClassTransient || e.Phase != smtp.PhaseDial || !errors.Is(e, errRefused) {
					t.Errorf("recipient %d: %v", i, r.Err)
				}
			}
			if st := p.Stats(); !st.NextDial.Equal(pause.Until) || !strings.Contains(st.DialError, "refused") || st.DialFailures != int64(n) {
				t.Errorf("%+v", st)
			}
			pass(time.Nanosecond)
		}
		send(t, p, "x")
		if st := p.Stats(); !st.NextDial.IsZero() || st.DialError != "" {
			t.Errorf("after a success: %+v", st)
		}
		// A success begins the count anew.
		dials.mu.Lock()
		dials.after = -1
		dials.mu.Unlock()
		synctest.Wait() // until the server waits for a command
		s.CloseIdle()
		synctest.Wait()
		_, err := p.Get(t.Context())
		if pause, ok := errors.AsType[*smtppool.BackoffError](err); !ok || pause.Wait > 1300*time.Millisecond {
			t.Errorf("got %v", err)
		}
	})
}

// TestWrongPassword: many callers, one attempt at the password, all told, and a long pause.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	client := smtp.Config{
		Auth: &sasl.Credentials{Username: "ann", Password: "wr0ng-pass"}, DangerouslyAllowPlaintextAuth: true,
	}
	bubble(t, smtptest.Config{Users: map[string]string{"ann": "secret"}}, client, smtppool.Config{}, func(t *testing.T, s *smtptest.Server, p *smtppool.Pool) {
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				_, err := p.Get(t.Context())
				pause, ok := errors.AsType[*smtppool.BackoffError](err)
				if !ok || !smtp.IsRelayFault(err) || !smtp.IsAuth(err) || strings.Contains(err.Error(), "wr0ng") {
					t.Errorf("got %v", err)
				} else if pause.Wait < time.Minute || pause.Wait > 78*time.Second {
					t.Errorf("pause of %s", pause.Wait)
				}
			})
		}
		group.Wait()
		pass(time.Minute - 1)
		if out, err := p.Send(t.Context(), envelope("bob@example.com"), content("x")); !smtp.IsRelayFault(out.Recipients[0].Err) || !smtp.IsAuth(err) {
			t.Errorf("got %v", err)
		}
		if n := s.Stats().Sessions; n != 1 {
			t.Errorf("%d attempts", n)
		}
		// When the relay comes round, so does the pool.
		pass(20 * time.Second)
		s.SetUser("ann", "wr0ng-pass")
		send(t, p, "x")
	})
}

// TestPauseWithConnections: those who can be served by a borrowed connection wait for it, pause or not.
func TestPauseWithConnections(t *testing.T) {
	t.Parallel()
	bubble(t, smtptest.Config{MaxSessions: 1}, smtp.Config{}, smtppool.Config{MaxConns: 3}, func(t *testing.T, s *smtptest.Server, p *smtppool.Pool) {
		held := get(t, p)
		var group sync.WaitGroup
		for range 5 {
			group.Go(func() { send(t, p, "x") })
		}
		synctest.Wait()
		if st := p.Stats(); st.Waiting != 5 || st.DialFailures == 0 || st.NextDial.IsZero() {
			t.Errorf("%+v", st)
		}
		pass(10 * time.Second) // further dials, all refused
		held.Release()
		group.Wait()
		if n := s.Stats().Accepted; n != 5 {
			t.Errorf("%d accepted", n)
		}
		if st := p.Stats(); st.DialFailures < 3 || st.DialFailures > 8 || st.Dialled != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// TestPauseEndsForWaiters: the last connection breaks in the pause, and whoever waited for it is told.
func TestPauseEndsForWaiters(t *testing.T) {
	t.Parallel()
	bubble(t, smtptest.Config{MaxSessions: 1}, smtp.Config{}, smtppool.Config{}, func(t *testing.T, _ *smtptest.Server, p *smtppool.Pool) {
		held := get(t, p)
		got := make(chan error, 1)
		go func() {
			_, err := p.Get(t.Context())
			got <- err
		}()
		synctest.Wait()
		_ = held.Close()
		held.Release()
		err := <-got
		if _, ok := errors.AsType[*smtppool.BackoffError](err); !ok {
			t.Errorf("got %v", err)
		}
	})
}

// TestPauseEndsWithADial: whoever still waits when the pause is over gets a new dial by the pool's timer.
func TestPauseEndsWithADial(t *testing.T) {
	t.Parallel()
	refuse := smtptest.Rule{Command: smtptest.CommandGreeting, Nth: 2, Action: smtptest.Close421("4.3.2 too many")}
	bubble(t, smtptest.Config{Rules: []smtptest.Rule{refuse}}, smtp.Config{}, smtppool.Config{}, func(t *testing.T, _ *smtptest.Server, p *smtppool.Pool) {
		held := get(t, p)
		begin := time.Now()
		get(t, p).Release()
		if waited := time.Since(begin); waited < time.Second || waited > 1300*time.Millisecond {
			t.Errorf("waited %s", waited)
		}
		held.Release()
	})
}

// TestSilentServer: a place is lost for one deadline only, and each waiter is told after it.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	mute := smtptest.Rule{Command: smtptest.CommandGreeting, Times: 1, Action: smtptest.Silence()}
	client := smtp.Config{Timeouts: smtp.Timeouts{Greeting: 7 * time.Second}}
	bubble(t, smtptest.Config{Rules: []smtptest.Rule{mute}}, client, smtppool.Config{MaxConns: 1}, func(t *testing.T, _ *smtptest.Server, p *smtppool.Pool) {
		begin := time.Now()
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				_, err := p.Get(t.Context())
				if !errors.Is(err, os.ErrDeadlineExceeded) || !smtp.IsTransient(err) || time.Since(begin) != 7*time.Second {
					t.Errorf("after %s: %v", time.Since(begin), err)
				}
			})
		}
		group.Wait()
		pass(2 * time.Second)
		send(t, p, "x")
	})
}

// TestOneIncident: dials that were under way together and fail one after the other lengthen the pause once.
func TestOneIncident(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := smtptest.NewT(t, smtptest.Config{})
		var log bytes.Buffer
		var n atomic.Int64
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			if i := n.Add(1); i > 1 && i <= 5 {
				<-time.After(time.Duration(i) * time.Millisecond)
				return nil, errRefused
			}
			return s.PipeDial(ctx, network, address)
		}
		p := newPool(t, smtp.Config{Host: "localhost", TLSMode: smtp.TLSNone, Dial: dial},
			smtppool.Config{MaxConns: 5, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		held := get(t, p)
		begin := time.Now()
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				c, err := p.Get(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				c.Release()
			})
		}
		pass(100 * time.Millisecond)
		st := p.Stats()
		if st.DialFailures != 4 || st.NextDial.After(begin.Add(1302*time.Millisecond)) {
			t.Errorf("the pause ends after %s: %+v", st.NextDial.Sub(begin), st)
		}
		group.Wait()
		held.Release()
		if text := log.String(); strings.Count(text, "level=WARN") != 4 || !strings.Contains(text, "next_try_in=1") {
			t.Errorf("log:\n%s", text)
		}
	})
}

// TestOneProbe: without a live connection a burst of callers makes one dial, and the others when it has succeeded.
func TestOneProbe(t *testing.T) {
	t.Parallel()
	slow := smtptest.Config{Rules: []smtptest.Rule{{Command: smtptest.CommandGreeting, Action: smtptest.Delay(time.Second, smtptest.Proceed())}}}
	bubble(t, slow, smtp.Config{}, smtppool.Config{MaxIdleTime: time.Minute}, func(t *testing.T, s *smtptest.Server, p *smtppool.Pool) {
		for round := range 2 {
			before := s.Stats().Sessions
			conns := make(chan *smtppool.Conn, 5)
			for range 5 {
				go func() {
					c, err := p.Get(t.Context())
					if err != nil {
						t.Error(err)
					}
					conns <- c
				}()
			}
			synctest.Wait()
			if n := s.Stats().Sessions - before; n != 1 {
				t.Errorf("round %d: %d dials at first", round, n)
			}
			pass(time.Second)
			if n := s.Stats().Sessions - before; n != 5 {
				t.Errorf("round %d: %d dials after the first success", round, n)
			}
			for range 5 {
				(<-conns).Release()
			}
			pass(2 * time.Minute) // all idle out
		}
	})
}
