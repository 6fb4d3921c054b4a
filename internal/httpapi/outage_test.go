package httpapi_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/internal/redistest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
	"github.com/postrider/postrider/ratelimit"
	"github.com/postrider/postrider/ratelimit/redislimit"
)

// load sends requests from several callers at a time until it is stopped, and counts the answers by status.
type load struct {
	stop   chan struct{}
	done   sync.WaitGroup
	counts sync.Map // *atomic.Int64 by status
	answer chan struct{}
}

func startLoad(t *testing.T, callers int, send func() int) *load {
	l := &load{stop: make(chan struct{}), answer: make(chan struct{}, 1)}
	for range callers {
		l.done.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				n, _ := l.counts.LoadOrStore(send(), new(atomic.Int64))
				n.(*atomic.Int64).Add(1)
				select {
				case l.answer <- struct{}{}:
				default:
				}
			}
		})
	}
	t.Cleanup(l.end)
	return l
}

func (l *load) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.done.Wait()
}

func (l *load) count(status int) int64 {
	if n, ok := l.counts.Load(status); ok {
		return n.(*atomic.Int64).Load()
	}
	return 0
}

// await waits until so many more answers of a status have come.
func (l *load) await(t *testing.T, status int, more int64) {
	t.Helper()
	for want := l.count(status) + more; l.count(status) < want; {
		select {
		case <-t.Context().Done():
			t.Fatalf("no more answers of %d", status)
		case <-l.answer:
		}
	}
}

// only checks that there were no answers of other statuses.
func (l *load) only(t *testing.T, allowed ...int) {
	t.Helper()
	l.end()
	l.counts.Range(func(status, n any) bool {
		for _, a := range allowed {
			if status == a {
				return true
			}
		}
		t.Errorf("%d answers of %d", n.(*atomic.Int64).Load(), status)
		return true
	})
}

// TestPostgresRestartedUnderLoad: requests fail with 503 while it is away, and succeed again by themselves.
func TestPostgresRestartedUnderLoad(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Config{NoSync: true})
	url := server.AdminURL(storetest.Database(t, server))
	st, err := store.Open(t.Context(), store.Config{URL: url, MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	in := installOn(t, st)
	token := in.token(in.a.user)
	_, key := in.key(in.a.user)
	for _, stop := range []struct {
		name string
		how  func(testing.TB)
	}{{"stopped", server.Stop}, {"killed", server.Kill}} {
		t.Run(stop.name, func(t *testing.T) {
			var turn atomic.Int64
			l := startLoad(t, 4, func() int {
				credential := token
				if turn.Add(1)%2 == 0 {
					credential = key
				}
				return call(t, in.handler, http.MethodGet, "/v1/me", credential, nil).Code
			})
			l.await(t, 200, 50)
			stop.how(t)
			l.await(t, 503, 20)
			if w := in.call("GET", "/readyz", "", nil); w.Code != 503 {
				t.Errorf("readyz while it is away: %d", w.Code)
			}
			if w := in.call("GET", "/healthz", "", nil); w.Code != 200 {
				t.Errorf("healthz while it is away: %d", w.Code)
			}
			server.Restart(t)
			l.await(t, 200, 200)
			l.only(t, 200, 503)
			if w := in.call("GET", "/readyz", "", nil); w.Code != 200 {
				t.Errorf("readyz afterwards: %d %s", w.Code, w.Body)
			}
		})
	}
}

// TestRedisRestartedUnderLoad: while it is away each node counts for itself, or refuses with 503 if told so.
func TestRedisRestartedUnderLoad(t *testing.T) {
	t.Parallel()
	for _, refuse := range []bool{false, true} {
		server := redistest.Start(t)
		client := must(redislimit.Open(server.URL(), 0))
		t.Cleanup(func() { _ = client.Close() })
		limiter := must(redislimit.New(redislimit.Config{Client: client, Refuse: refuse, Retry: 1}))
		in := install(t, func(c *httpapi.Config) {
			c.Limiter = limiter
			c.Limits = httpapi.Limits{User: ratelimit.Policy{Limit: ratelimit.MaxLimit, Window: ratelimit.DefaultPolicy().Window}}
		})
		token := in.token(in.a.user)
		l := startLoad(t, 3, func() int { return call(t, in.handler, http.MethodGet, "/v1/me", token, nil).Code })
		l.await(t, 200, 50)
		server.Kill()
		if refuse {
			l.await(t, 503, 20)
		} else {
			l.await(t, 200, 50)
		}
		server.Restart()
		l.await(t, 200, 100)
		if refuse {
			l.only(t, 200, 503)
		} else {
			l.only(t, 200)
		}
	}
}

// TestTwoNodesShareLimits: who is limited on one is limited on the other.
func TestTwoNodesShareLimits(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	node := func(c *httpapi.Config) {
		client := must(redislimit.Open(server.URL(), 0))
		t.Cleanup(func() { _ = client.Close() })
		c.Limiter = must(redislimit.New(redislimit.Config{Client: client}))
		c.Limits = httpapi.Limits{User: ratelimit.Policy{Limit: 10, Window: ratelimit.DefaultPolicy().Window}}
	}
	in := install(t, node)
	other, _ := in.serverOf(node)
	token := in.token(in.a.user)
	passed := 0
	for range 10 {
		for _, handler := range []http.Handler{in.handler, other.Handler()} {
			if call(t, handler, http.MethodGet, "/v1/me", token, nil).Code == 200 {
				passed++
			}
		}
	}
	if passed != 10 {
		t.Errorf("%d requests passed, want 10", passed)
	}
}
