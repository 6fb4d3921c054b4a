package ratelimit_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/postrider/postrider/ratelimit"
)

func BenchmarkMemory(b *testing.B) {
	p := ratelimit.Policy{Name: "user", Limit: 50, Window: time.Minute}
	b.Run("allowed", func(b *testing.B) {
		m := newMemory(b, ratelimit.MemoryConfig{})
		fast := ratelimit.Policy{Name: "user", Limit: 1000, Window: time.Millisecond}
		b.ReportAllocs()
		for b.Loop() {
			allow(b, m, "somebody", fast)
		}
	})
	b.Run("refused", func(b *testing.B) {
		m := newMemory(b, ratelimit.MemoryConfig{})
		b.ReportAllocs()
		for b.Loop() {
			allow(b, m, "somebody", p)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		m := newMemory(b, ratelimit.MemoryConfig{})
		keys := make([]string, 1000)
		for i := range keys {
			keys[i] = "user " + strconv.Itoa(i)
		}
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				allow(b, m, keys[i%len(keys)], p)
			}
		})
	})
	b.Run("flood", func(b *testing.B) { // of new keys, into a full memory
		m := newMemory(b, ratelimit.MemoryConfig{MaxBytes: 1 << 20})
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			allow(b, m, strconv.Itoa(i), p)
		}
	})
}

// discard is a ResponseWriter that costs nothing.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

func BenchmarkMiddleware(b *testing.B) {
	trusted := proxies(b, "10.0.0.0/8")
	byAddr := func(r *http.Request) (string, string, bool) {
		return ratelimit.AddrKey(ratelimit.ClientAddr(r, trusted)), "addr", true
	}
	for name, bench := range map[string]struct {
		key   ratelimit.KeyFunc
		limit int
	}{
		"user allowed":    {fixed("user", "user"), 1000},
		"user refused":    {fixed("user", "user"), 1},
		"address allowed": {byAddr, 1000},
	} {
		b.Run(name, func(b *testing.B) {
			window := time.Millisecond
			if bench.limit == 1 {
				window = time.Hour
			}
			h := newMiddleware(b, ratelimit.Config{
				Limiter:  newMemory(b, ratelimit.MemoryConfig{}),
				Policies: []ratelimit.Policy{{Name: "user", Limit: bench.limit, Window: window}, {Name: "addr", Limit: bench.limit, Window: window}},
				Keys:     []ratelimit.KeyFunc{bench.key},
			}).Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = "10.1.1.1:80"
			r.Header.Set("X-Forwarded-For", "198.51.100.1, 10.2.2.2")
			w := discard{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.h)
				h.ServeHTTP(w, r)
			}
		})
	}
}
