package smtppool_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/sasl"
	"github.com/postrider/postrider/smtp/smtptest"
	"github.com/postrider/postrider/smtppool"
)

// TestAnyOrder does things to a pool in any order and checks after each what must always hold: the cap, the order of
// the waiters, and that nobody waits while something could serve him.
func TestAnyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.IntRange(1, 4).Draw(rt, "cap")
		ops := rapid.SliceOfN(rapid.IntRange(0, 8), 1, 40).Draw(rt, "operations")
		picks := rapid.SliceOfN(rapid.IntRange(0, 1000), len(ops), len(ops)).Draw(rt, "picks")
		var fault string
		synctest.Test(t, func(t *testing.T) { fault = play(t, limit, ops, picks) })
		if fault != "" {
			rt.Fatal(fault)
		}
	})
}

// player keeps what TestAnyOrder expects of the pool.
type player struct {
	mu      sync.Mutex
	held    []*smtppool.Conn
	waiting []int // callers that wait, in the order in which they came
	cancel  map[int]context.CancelFunc
	fault   string
}

func (pl *player) failf(format string, args ...any) {
	if pl.fault == "" {
		pl.fault = fmt.Sprintf(format, args...)
	}
}

func (pl *player) remove(id int) (place int) {
	for i, other := range pl.waiting {
		if other == id {
			pl.waiting = append(pl.waiting[:i:i], pl.waiting[i+1:]...)
			return i
		}
	}
	return -1
}

func play(t *testing.T, limit int, ops, picks []int) string {
	s := smtptest.NewT(t, smtptest.Config{})
	dials := &refuse{then: s.PipeDial}
	p := newPool(t, smtp.Config{Host: "localhost", TLSMode: smtp.TLSNone, Dial: dials.dial}, smtppool.Config{
		MaxConns: limit, MaxIdleTime: 20 * time.Second, MaxAge: 60 * time.Second, MaxMessages: 4,
	})
	pl := &player{cancel: map[int]context.CancelFunc{}}
	for i, op := range ops {
		pick := picks[i]
		switch op {
		case 0, 1, 2:
			ctx, cancel := context.WithCancel(t.Context())
			pl.mu.Lock()
			pl.waiting = append(pl.waiting, i)
			pl.cancel[i] = cancel
			pl.mu.Unlock()
			go pl.get(ctx, p, i)
		case 3, 4, 5:
			if len(pl.held) == 0 {
				break
			}
			at := pick % len(pl.held)
			c := pl.held[at]
			pl.held = append(pl.held[:at:at], pl.held[at+1:]...)
			if op == 4 {
				_ = c.Close()
			}
			if op == 5 && !c.Closed() {
				if _, err := c.Send(t.Context(), envelope("bob@example.com"), content("x")); err != nil {
					pl.failf("step %d: %v", i, err)
				}
			}
			c.Release()
		case 6:
			pass(time.Duration(pick) * 50 * time.Millisecond)
		case 7:
			s.CloseIdle() // the borrowed ones too
		case 8:
			pl.mu.Lock()
			if pick%2 == 0 && len(pl.waiting) > 0 {
				pl.cancel[pl.waiting[pick%len(pl.waiting)]]()
			} else { // the relay becomes unreachable, or reachable again
				dials.mu.Lock()
				dials.after = -1 - dials.after
				dials.mu.Unlock()
			}
			pl.mu.Unlock()
		}
		synctest.Wait()
		st := p.Stats()
		pl.mu.Lock()
		switch {
		case st.Open+st.Dialing > limit || s.Stats().Open > limit:
			pl.failf("step %d: over the cap of %d: %+v", i, limit, st)
		case st.InUse != len(pl.held) || st.Waiting != len(pl.waiting):
			pl.failf("step %d: %d held, %d waiting, but %+v", i, len(pl.held), len(pl.waiting), st)
		case st.Waiting > 0 && st.Idle > 0:
			pl.failf("step %d: somebody waits beside an idle connection: %+v", i, st)
		case st.Waiting > 0 && st.InUse == 0 && st.Dialing == 0:
			pl.failf("step %d: somebody waits for nothing: %+v", i, st)
		case st.Waiting > 0 && st.NextDial.IsZero() && st.Open+st.Dialing < limit:
			pl.failf("step %d: somebody waits beside a free place: %+v", i, st)
		}
		pl.mu.Unlock()
		if pl.fault != "" {
			break
		}
	}
	for _, c := range pl.held {
		c.Release()
	}
	for _, cancel := range pl.cancel {
		cancel()
	}
	synctest.Wait()
	return pl.fault
}

// get borrows for caller id. Whoever gets a connection must have been the first of the queue.
func (pl *player) get(ctx context.Context, p *smtppool.Pool, id int) {
	c, err := p.Get(ctx)
	pl.mu.Lock()
	defer pl.mu.Unlock()
	place := pl.remove(id)
	_, paused := errors.AsType[*smtppool.BackoffError](err)
	switch {
	case err == nil:
		pl.held = append(pl.held, c)
		if place != 0 && ctx.Err() == nil {
			// Several may be served in one step; their goroutines then run in any order.
			if st := p.Stats(); st.Waiting > place {
				pl.failf("caller %d was served before %d others", id, place)
			}
		}
	case !paused && !errors.Is(err, context.Canceled):
		pl.failf("caller %d: %v", id, err)
	}
}

// TestTimersUnderLoad lets connections age and idle out within milliseconds of real time, over TLS and with a login, while
// callers come with short deadlines, and closes the pool in the middle of it.
func TestTimersUnderLoad(t *testing.T) {
	t.Parallel()
	s := smtptest.StartT(t, smtptest.Config{Users: map[string]string{"ann": "secret"}, RequireAuth: true, RequireTLS: true})
	p := newPool(t, smtp.Config{
		Host: s.Host(), Port: s.Port(), TLSConfig: s.TLSClientConfig(),
		Auth: &sasl.Credentials{Username: "ann", Password: "secret", Mechanisms: []string{"PLAIN"}},
	}, smtppool.Config{MaxConns: 5, MaxIdleTime: time.Millisecond, MaxAge: 30 * time.Millisecond, MaxMessages: 20})
	var sent sync.Map
	var group sync.WaitGroup
	for g := range 50 {
		group.Go(func() {
			for i := 0; ; i++ {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond<<(i%9))
				_, err := p.Send(ctx, envelope("bob@example.com"), content(fmt.Sprintf("%d-%d", g, i)))
				cancel()
				switch {
				case err == nil:
					sent.Store(fmt.Sprintf("Subject: %d-%d\r\n\r\nbody\r\n", g, i), true)
				case errors.Is(err, smtppool.ErrClosed):
					return
				}
			}
		})
	}
	if _, err := s.WaitTransactions(t.Context(), 300); err != nil {
		t.Error(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	group.Wait()
	taken := map[string]int{}
	for _, tr := range s.Transactions() {
		taken[tr.Text()]++
	}
	for text, n := range taken {
		if n > 1 {
			t.Errorf("%q was taken %d times", text, n)
		}
	}
	sent.Range(func(text, _ any) bool {
		if id, _ := text.(string); taken[id] != 1 {
			t.Errorf("%q was sent and taken %d times", id, taken[id])
		}
		return true
	})
	if st := p.Stats(); st.DialFailures > 0 {
		t.Errorf("%+v", st)
	}
}
