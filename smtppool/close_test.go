package smtppool_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
	"github.com/postrider/postrider/smtppool"
)

func TestClose(t *testing.T) {
	t.Parallel()
	bubble(t, smtptest.Config{}, smtp.Config{}, smtppool.Config{MaxConns: 3}, func(t *testing.T, s *smtptest.Server, p *smtppool.Pool) {
		a, b, c := get(t, p), get(t, p), get(t, p)
		waiting := make(chan error, 1)
		go func() {
			_, err := p.Get(t.Context())
			waiting <- err
		}()
		synctest.Wait()
		closed := make(chan error, 2)
		for range 2 {
			go func() { closed <- p.Close(t.Context()) }()
		}
		if err := <-waiting; !errors.Is(err, smtppool.ErrClosed) {
			t.Errorf("the waiter got %v", err)
		}
		if _, err := p.Get(t.Context()); !errors.Is(err, smtppool.ErrClosed) {
			t.Errorf("got %v", err)
		}
		out, err := p.Send(t.Context(), envelope("bob@example.com"), content("x"))
		if !errors.Is(err, smtppool.ErrClosed) || !smtp.IsTransient(out.Recipients[0].Err) {
			t.Errorf("got %v, %v", err, out.Recipients[0].Err)
		}
		a.Release()
		b.Release()
		synctest.Wait()
		if len(closed) != 0 {
			t.Error("Close did not wait for the last borrower")
		}
		// What is borrowed can still be used to the end.
		if _, err := c.Send(t.Context(), envelope("bob@example.com"), content("y")); err != nil {
			t.Error(err)
		}
		c.Release()
		for range 2 {
			if err := <-closed; err != nil {
				t.Error(err)
			}
		}
		if n := s.Stats().Commands["QUIT"]; n != 3 {
			t.Errorf("%d QUIT", n)
		}
		numbers(t, p, "open 0 idle 0 in use 0 dialing 0 waiting 0 dialled 3 reused 0 closed map[pool_closed:3]")
	})
}

func TestCloseByForce(t *testing.T) {
	t.Parallel()
	bubble(t, smtptest.Config{}, smtp.Config{}, smtppool.Config{}, func(t *testing.T, s *smtptest.Server, p *smtppool.Pool) {
		s.On(smtptest.Rule{Command: "MAIL", Action: smtptest.Silence()})
		sent := make(chan error, 1)
		go func() {
			_, err := p.Send(context.Background(), envelope("bob@example.com"), content("x"))
			sent <- err
		}()
		held := get(t, p)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		err := p.Close(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "2 borrowed") || time.Since(begin) != time.Second {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		if err := <-sent; err == nil {
			t.Error("sent over a closed connection")
		}
		if !held.Closed() {
			t.Error("the borrowed session is open")
		}
		held.Release()
		numbers(t, p, "open 0 idle 0 in use 0 dialing 0 waiting 0 dialled 2 reused 0 closed map[forced:2]")
	})
}

func TestCloseInterruptsDials(t *testing.T) {
	t.Parallel()
	mute := smtptest.Config{Rules: []smtptest.Rule{{Command: smtptest.CommandGreeting, Action: smtptest.Silence()}}}
	bubble(t, mute, smtp.Config{}, smtppool.Config{}, func(t *testing.T, _ *smtptest.Server, p *smtppool.Pool) {
		got := make(chan error, 1)
		go func() {
			_, err := p.Get(t.Context())
			got <- err
		}()
		synctest.Wait()
		begin := time.Now()
		if err := p.Close(t.Context()); err != nil || time.Since(begin) != 0 {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		if err := <-got; !errors.Is(err, smtppool.ErrClosed) {
			t.Errorf("got %v", err)
		}
		if s := p.Stats(); s.DialFailures != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestQuitIsBounded: a server that does not answer QUIT costs its deadline, or less when Close is in a hurry.
func TestQuitIsBounded(t *testing.T) {
	t.Parallel()
	mute := smtptest.Config{Rules: []smtptest.Rule{{Command: "QUIT", Action: smtptest.Silence()}}}
	for limit, want := range map[time.Duration]time.Duration{time.Hour: 5 * time.Second, time.Second: time.Second, 0: 0} {
		bubble(t, mute, smtp.Config{}, smtppool.Config{}, func(t *testing.T, _ *smtptest.Server, p *smtppool.Pool) {
			get(t, p).Release()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			begin := time.Now()
			if err := p.Close(ctx); err != nil || time.Since(begin) != want {
				t.Errorf("limit %s: after %s: %v", limit, time.Since(begin), err)
			}
		})
	}
}
