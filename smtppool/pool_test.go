package smtppool_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
	"github.com/postrider/postrider/smtppool"
)

func TestReuse(t *testing.T) {
	t.Parallel()
	bubble(t, smtptest.Config{}, smtp.Config{}, smtppool.Config{}, func(t *testing.T, _ *smtptest.Server, p *smtppool.Pool) {
		numbers(t, p, "open 0 idle 0 in use 0 dialing 0 waiting 0 dialled 0 reused 0 closed map[]")
		a := get(t, p)
		b := get(t, p)
		if a.Reused() || b.Reused() {
			t.Error("a new session counts as reused")
		}
		numbers(t, p, "open 2 idle 0 in use 2 dialing 0 waiting 0 dialled 2 reused 0 closed map[]")
		last := b.Conn
		a.Release()
		b.Release()
		b.Release() // does nothing
		numbers(t, p, "open 2 idle 2 in use 0 dialing 0 waiting 0 dialled 2 reused 0 closed map[]")
		c := get(t, p)
		if c.Conn != last || !c.Reused() {
			t.Error("not the session used last")
		}
		_ = c.Close()
		c.Release()
		synctest.Wait()
		numbers(t, p, "open 1 idle 1 in use 0 dialing 0 waiting 0 dialled 2 reused 1 closed map[broken:1]")
	})
}

func TestCapAndOrder(t *testing.T) {
	t.Parallel()
	bubble(t, smtptest.Config{}, smtp.Config{}, smtppool.Config{MaxConns: 2}, func(t *testing.T, s *smtptest.Server, p *smtppool.Pool) {
		held := []*smtppool.Conn{get(t, p), get(t, p)}
		var mu sync.Mutex
		var order []int
		var group sync.WaitGroup
		for i := range 10 {
			group.Go(func() {
				c, err := p.Get(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				c.Release()
			})
			synctest.Wait() // so that it waits before the next one comes
		}
		numbers(t, p, "open 2 idle 0 in use 2 dialing 0 waiting 10 dialled 2 reused 0 closed map[]")
		if got := s.Stats().Open; got != 2 {
			t.Errorf("%d sessions at the server", got)
		}
		pass(time.Second)
		held[0].Release()
		group.Wait()
		held[1].Release()
		if !slices.IsSorted(order) || len(order) != 10 {
			t.Errorf("order %v", order)
		}
		if got := p.Stats().WaitedSeconds; got != 10 {
			t.Errorf("waited %v s", got)
		}
	})
}

func TestWaiterLeaves(t *testing.T) {
	t.Parallel()
	bubble(t, smtptest.Config{}, smtp.Config{}, smtppool.Config{MaxConns: 1}, func(t *testing.T, _ *smtptest.Server, p *smtppool.Pool) {
		held := get(t, p)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		got := make(chan error, 1)
		go func() {
			_, err := p.Get(ctx)
			got <- err
		}()
		synctest.Wait()
		second := make(chan error, 1)
		go func() {
			c, err := p.Get(t.Context())
			if err == nil {
				c.Release()
			}
			second <- err
		}()
		if err := <-got; !errors.Is(err, context.DeadlineExceeded) || !smtp.IsTransient(err) {
			t.Errorf("got %v", err)
		}
		if n := p.Stats().Waiting; n != 1 {
			t.Errorf("%d waiting", n)
		}
		held.Release()
		if err := <-second; err != nil {
			t.Error(err)
		}
		if _, err := p.Get(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a context that has ended: %v", err)
		}
	})
}

// TestDialOutlivesItsWaiter: a dial is made for the queue, so that the next one gets what the first did not wait for.
func TestDialOutlivesItsWaiter(t *testing.T) {
	t.Parallel()
	slow := smtptest.Config{Rules: []smtptest.Rule{{Command: smtptest.CommandGreeting, Action: smtptest.Delay(10*time.Second, smtptest.Proceed())}}}
	bubble(t, slow, smtp.Config{}, smtppool.Config{}, func(t *testing.T, s *smtptest.Server, p *smtppool.Pool) {
		begin := time.Now()
		leave := func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := p.Get(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		}
		leave()
		c := get(t, p)
		if waited := time.Since(begin); waited != 10*time.Second || s.Stats().Sessions != 1 {
			t.Errorf("after %s, %d sessions", waited, s.Stats().Sessions)
		}
		// Nobody waits: the connection becomes idle.
		leave()
		pass(10 * time.Second)
		synctest.Wait()
		numbers(t, p, "open 2 idle 1 in use 1 dialing 0 waiting 0 dialled 2 reused 0 closed map[]")
		c.Release()
	})
}

func TestIdleExpiry(t *testing.T) {
	t.Parallel()
	bubble(t, smtptest.Config{}, smtp.Config{}, smtppool.Config{MaxIdleTime: 10 * time.Second}, func(t *testing.T, s *smtptest.Server, p *smtppool.Pool) {
		a, b := get(t, p), get(t, p)
		a.Release()
		pass(4 * time.Second)
		b.Release()
		pass(6*time.Second - 1)
		synctest.Wait()
		numbers(t, p, "open 2 idle 2 in use 0 dialing 0 waiting 0 dialled 2 reused 0 closed map[]")
		pass(time.Nanosecond)
		synctest.Wait()
		numbers(t, p, "open 1 idle 1 in use 0 dialing 0 waiting 0 dialled 2 reused 0 closed map[idle:1]")
		// Use makes it young again.
		get(t, p).Release()
		pass(10*time.Second - 1)
		synctest.Wait()
		if n := p.Stats().Idle; n != 1 {
			t.Errorf("%d idle", n)
		}
		pass(time.Nanosecond)
		synctest.Wait()
		numbers(t, p, "open 0 idle 0 in use 0 dialing 0 waiting 0 dialled 2 reused 1 closed map[idle:2]")
		if n := s.Stats().Commands["QUIT"]; n != 2 {
			t.Errorf("%d QUIT", n)
		}
	})
}

func TestMaxAge(t *testing.T) {
	t.Parallel()
	cfg := smtppool.Config{MaxIdleTime: -1, MaxAge: 100 * time.Second}
	bubble(t, smtptest.Config{}, smtp.Config{}, cfg, func(t *testing.T, _ *smtptest.Server, p *smtppool.Pool) {
		a, b := get(t, p), get(t, p)
		a.Release()
		pass(90*time.Second - 1)
		synctest.Wait()
		if n := p.Stats().Open; n != 2 {
			t.Errorf("%d open before their time", n)
		}
		pass(20*time.Second + 1)
		synctest.Wait()
		// The idle one went by itself; the borrowed one is never cut short.
		numbers(t, p, "open 1 idle 0 in use 1 dialing 0 waiting 0 dialled 2 reused 0 closed map[age:1]")
		if b.Closed() {
			t.Error("the borrowed session was closed")
		}
		b.Release()
		synctest.Wait()
		numbers(t, p, "open 0 idle 0 in use 0 dialing 0 waiting 0 dialled 2 reused 0 closed map[age:2]")
	})
	none := smtppool.Config{MaxIdleTime: -1, MaxAge: -1}
	bubble(t, smtptest.Config{}, smtp.Config{}, none, func(t *testing.T, _ *smtptest.Server, p *smtppool.Pool) {
		get(t, p).Release()
		pass(1000 * time.Hour)
		get(t, p).Release()
		numbers(t, p, "open 1 idle 1 in use 0 dialing 0 waiting 0 dialled 1 reused 1 closed map[]")
	})
}

func TestMaxMessages(t *testing.T) {
	t.Parallel()
	for limit, sessions := range map[int]int{0: 1, -1: 1, 1: 7, 3: 3} {
		bubble(t, smtptest.Config{}, smtp.Config{}, smtppool.Config{MaxMessages: limit}, func(t *testing.T, s *smtptest.Server, p *smtppool.Pool) {
			for range 7 {
				send(t, p, "x")
			}
			if got := s.Stats(); got.Sessions != sessions || got.Accepted != 7 {
				t.Errorf("limit %d: %d sessions, %d accepted", limit, got.Sessions, got.Accepted)
			}
			if got := p.Stats().Closed[smtppool.ReasonMessages]; limit > 0 && got != int64(7/limit) {
				t.Errorf("limit %d: closed %d", limit, got)
			}
		})
	}
}

func TestServerClosesIdle(t *testing.T) {
	t.Parallel()
	bubble(t, smtptest.Config{}, smtp.Config{}, smtppool.Config{}, func(t *testing.T, s *smtptest.Server, p *smtppool.Pool) {
		get(t, p).Release()
		a, b := get(t, p), get(t, p)
		a.Release()
		synctest.Wait()
		s.CloseIdle() // both, the borrowed one too
		synctest.Wait()
		numbers(t, p, "open 1 idle 0 in use 1 dialing 0 waiting 0 dialled 2 reused 1 closed map[server_closed:1]")
		b.Release()
		synctest.Wait()
		numbers(t, p, "open 0 idle 0 in use 0 dialing 0 waiting 0 dialled 2 reused 1 closed map[broken:1 server_closed:1]")
		send(t, p, "x")
	})
}

// TestBrokenIsNotReturned: after an interrupted command the session is closed, after a refusal it is kept.
func TestBrokenIsNotReturned(t *testing.T) {
	t.Parallel()
	rules := []smtptest.Rule{
		{Command: "MAIL", Match: "silent@", Action: smtptest.Silence()},
		{Command: "MAIL", Match: "refused@", Action: smtptest.Reply("550 5.1.8 no")},
	}
	bubble(t, smtptest.Config{Rules: rules}, smtp.Config{}, smtppool.Config{}, func(t *testing.T, s *smtptest.Server, p *smtppool.Pool) {
		env := envelope("bob@example.com")
		env.MailFrom = "refused@example.com"
		if _, err := p.Send(t.Context(), env, content("x")); !smtp.IsPermanent(err) {
			t.Errorf("got %v", err)
		}
		send(t, p, "y")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		env.MailFrom = "silent@example.com"
		out, err := p.Send(ctx, env, content("z"))
		if !errors.Is(err, context.DeadlineExceeded) || len(out.Recipients) != 1 || out.Recipients[0].Err == nil {
			t.Errorf("got %v, %+v", err, out)
		}
		synctest.Wait()
		numbers(t, p, "open 0 idle 0 in use 0 dialing 0 waiting 0 dialled 1 reused 2 closed map[broken:1]")
		if n := s.Stats().Sessions; n != 1 {
			t.Errorf("%d sessions", n)
		}
	})
}

type panicking struct{}

func (panicking) Size() int64                      { return 10 }
func (panicking) WriteTo(io.Writer) (int64, error) { panic("content") }

func TestContentPanics(t *testing.T) {
	t.Parallel()
	bubble(t, smtptest.Config{}, smtp.Config{}, smtppool.Config{MaxConns: 1}, func(t *testing.T, s *smtptest.Server, p *smtppool.Pool) {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			_, _ = p.Send(t.Context(), envelope("bob@example.com"), panicking{})
		}()
		send(t, p, "x") // the place is free again
		if got := s.Stats(); got.Accepted != 1 || got.Sessions != 2 {
			t.Errorf("%d accepted in %d sessions", got.Accepted, got.Sessions)
		}
	})
}

// A waiter that gives up in the moment in which it is served leaves the connection to whoever comes next.
func TestServedWhileGivingUp(t *testing.T) {
	t.Parallel()
	bubble(t, smtptest.Config{}, smtp.Config{}, smtppool.Config{MaxConns: 1}, func(t *testing.T, _ *smtptest.Server, p *smtppool.Pool) {
		for range 200 {
			c := get(t, p)
			ctx, cancel := context.WithCancel(t.Context())
			waiting := make(chan struct{})
			go func() {
				defer close(waiting)
				if c, err := p.Get(ctx); err == nil {
					c.Release()
				}
			}()
			synctest.Wait()
			cancel()
			c.Release()
			<-waiting
		}
	})
}

// panicsAgain is content that panics when it is asked for the second time.
type panicsAgain struct {
	smtp.Content
	asked *int
}

func (c panicsAgain) WriteTo(w io.Writer) (int64, error) {
	if *c.asked++; *c.asked > 1 {
		panic("content")
	}
	return c.Content.WriteTo(w)
}

// A place is free again also when content panics on the connection that the message moved to, or in a further
// transaction for recipients that were too many.
func TestContentPanicsLater(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]smtptest.Rule{
		"moved":   {Command: "MAIL", Nth: 2, Action: smtptest.Drop()},
		"surplus": {Command: "RCPT", Match: "carol@", Times: 1, Action: smtptest.Reply("452 4.5.3 too many recipients")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// One message a connection, so that the further transaction is on another.
			limit := map[string]int{"moved": 0, "surplus": 1}[name]
			cfg := smtppool.Config{MaxConns: 1, MaxMessages: limit}
			bubble(t, smtptest.Config{Rules: []smtptest.Rule{rule}}, smtp.Config{}, cfg, func(t *testing.T, _ *smtptest.Server, p *smtppool.Pool) {
				send(t, p, "first")
				pass(time.Minute)
				func() {
					defer func() {
						if recover() == nil {
							t.Error("no panic")
						}
					}()
					_, _ = p.Send(t.Context(), envelope("bob@example.com", "carol@example.com"), panicsAgain{content("x"), new(int)})
				}()
				send(t, p, "last")
			})
		})
	}
}

func TestNewFaults(t *testing.T) {
	t.Parallel()
	_, err := smtppool.New(nil, smtppool.Config{MaxConns: -1, MaxMessages: -2, Backoff: smtppool.Backoff{Min: time.Hour, Max: time.Second, RelayMin: -1}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"dialer is nil", "MaxConns is -1", "MaxMessages is -2", "Backoff.Min 1h0m0s is more than Backoff.Max 1s", "Backoff.RelayMin"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %q", want, err)
		}
	}
	if err := (smtppool.Config{Backoff: smtppool.Backoff{Min: time.Hour}}).Validate(); err != nil {
		t.Errorf("a minimum over the default maximum: %v", err)
	}
}

// refuse is a Dial that fails as a closed port does, and counts.
type refuse struct {
	mu    sync.Mutex
	times []time.Time
	then  func(ctx context.Context, network, address string) (net.Conn, error)
	after int // how many calls fail; -1: all
}

var errRefused = errors.New("connection refused")

func (r *refuse) dial(ctx context.Context, network, address string) (net.Conn, error) {
	r.mu.Lock()
	r.times = append(r.times, time.Now())
	n := len(r.times)
	r.mu.Unlock()
	if r.after < 0 || n <= r.after {
		return nil, errRefused
	}
	return r.then(ctx, network, address)
}

func (r *refuse) calls() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.times)
}
