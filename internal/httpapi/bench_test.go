package httpapi_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/redistest"
	"github.com/postrider/postrider/ratelimit"
	"github.com/postrider/postrider/ratelimit/redislimit"
)

// BenchmarkChain is what a request costs from its first handler to the last octet of its answer, without network and
// without the operation's own work: the log line is formatted and thrown away, metrics are counted, the limiter is asked,
// the caller is looked up (in memory, once a second in SQLite). The operation answers an empty list without asking the
// store.
func BenchmarkChain(b *testing.B) {
	b.Run("HS256/new", func(b *testing.B) { benchToken(b, hmacKey(), -1, nil) })
	b.Run("HS256/seen", func(b *testing.B) { benchToken(b, hmacKey(), 0, nil) })
	b.Run("ES256/new", func(b *testing.B) { benchToken(b, es256(), -1, nil) })
	b.Run("ES256/seen", func(b *testing.B) { benchToken(b, es256(), 0, nil) })
	b.Run("APIKey", func(b *testing.B) {
		in := benchInstall(b, 0, nil)
		_, key := in.key(in.a.user)
		benchCalls(b, in, key, http.StatusOK)
	})
	b.Run("Refused", func(b *testing.B) {
		in := benchInstall(b, 0, nil)
		benchCalls(b, in, "x.y.z", http.StatusUnauthorized)
	})
	b.Run("NotFound", func(b *testing.B) {
		in := benchInstall(b, 0, nil)
		bench(b, in, httptest.NewRequest(http.MethodGet, "/v1/nothing", nil), http.StatusNotFound)
	})
	b.Run("Redis/HS256/seen", func(b *testing.B) { benchToken(b, hmacKey(), 0, redisLimiter(b)) })
	b.Run("Redis/APIKey", func(b *testing.B) {
		in := benchInstall(b, 0, redisLimiter(b))
		_, key := in.key(in.a.user)
		benchCalls(b, in, key, http.StatusOK)
	})
}

func redisLimiter(b *testing.B) ratelimit.Limiter {
	client := must(redislimit.Open(redistest.Start(b).URL(), 0))
	b.Cleanup(func() { _ = client.Close() })
	return must(redislimit.New(redislimit.Config{Client: client, Logger: slog.New(slog.DiscardHandler)}))
}

// benchInstall limits so that some fifty requests are in the window at any moment, as with 50 a minute, and none is
// refused.
func benchInstall(b *testing.B, cache int, limiter ratelimit.Limiter) *installation {
	b.Helper()
	return install(b, func(c *httpapi.Config) {
		c.Tokens = must(auth.NewVerifier(b.Context(), auth.VerifierConfig{Keys: []auth.Key{hmacKey(), es256()}, CacheSize: cache}))
		c.Logger = slog.New(slog.NewJSONHandler(io.Discard, nil))
		p := ratelimit.Policy{Limit: 10_000, Window: ratelimit.MinWindow}
		if limiter != nil {
			c.Limiter, p.Window = limiter, 4*time.Millisecond
		}
		c.Limits = httpapi.Limits{User: p, APIKey: p, Address: p}
	})
}

func benchToken(b *testing.B, key auth.Key, cache int, limiter ratelimit.Limiter) {
	in := benchInstall(b, cache, limiter)
	in.issuer = must(auth.NewIssuer(auth.IssuerConfig{Key: key}))
	benchCalls(b, in, in.token(in.a.user), http.StatusOK)
}

func benchCalls(b *testing.B, in *installation, credential string, status int) {
	r := httptest.NewRequest(http.MethodGet, "/v1/api-keys?user_id="+in.a.admin.ID.String(), nil)
	r.Header.Set("Authorization", "Bearer "+credential)
	r.Header.Set("User-Agent", "a benchmark/1.0")
	bench(b, in, r, status)
}

func bench(b *testing.B, in *installation, r *http.Request, status int) {
	b.Helper()
	w := &benchWriter{header: http.Header{}}
	in.handler.ServeHTTP(w, r)
	if w.status != status {
		b.Fatalf("status %d, want %d", w.status, status)
	}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		in.handler.ServeHTTP(w, r)
	}
	if w.status != status {
		b.Fatalf("status %d at the end", w.status)
	}
}

// benchWriter is an http.ResponseWriter that costs nothing.
type benchWriter struct {
	header http.Header
	status int
}

func (w *benchWriter) Header() http.Header         { return w.header }
func (w *benchWriter) WriteHeader(status int)      { w.status = status }
func (w *benchWriter) Write(p []byte) (int, error) { return len(p), nil }
