package httpapi_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/egress"
	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/httpapi/intake"
	"github.com/postrider/postrider/internal/seal"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
	"github.com/postrider/postrider/internal/submission"
	"github.com/postrider/postrider/ratelimit"
)

// secretOfTests signs the tokens of all tests.
const secretOfTests = "a secret that only tests know, of more than 32 octets"

const passwordOfTests = "correct horse battery"

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// cheap hashes as fast as is allowed: what a hash costs is auth's to test.
func cheap() *auth.Passwords {
	return must(auth.NewPasswords(auth.PasswordConfig{Memory: 19 << 10, Iterations: 2, Parallelism: 1, MaxConcurrent: 4}))
}

var es256 = sync.OnceValue(func() auth.Key {
	return must(auth.NewPrivateKey("es", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))))
})

func hmacKey() auth.Key { return must(auth.NewHMACKey("hs", []byte(secretOfTests))) }

// installation is a service with two tenants, and the credentials of everybody in it.
type installation struct {
	t        testing.TB
	store    *store.Store
	server   *httpapi.Server
	handler  http.Handler
	issuer   *auth.Issuer
	operator auth.Secret
	hash     auth.KeyHash
	log      *syncBuffer
	a, b     tenant
}

// tenant is one of the two.
type tenant struct {
	name        string
	id          uuid.UUID
	admin, user store.User
}

// unlimited are no limits at all.
func unlimited() httpapi.Limits { return httpapi.Limits{} }

// install makes a Server over a new SQLite store.
func install(t testing.TB, change ...func(*httpapi.Config)) *installation {
	t.Helper()
	return installOn(t, storetest.SQLite(t), change...)
}

// installOn makes a Server with two tenants over an empty store.
func installOn(t testing.TB, st *store.Store, change ...func(*httpapi.Config)) *installation {
	t.Helper()
	operator, hash := auth.GenerateOperatorKey()
	in := &installation{t: t, store: st, operator: operator, hash: hash, issuer: must(auth.NewIssuer(auth.IssuerConfig{Key: hmacKey()}))}
	in.a, in.b = in.newTenant(t, "acme"), in.newTenant(t, "bolt")
	in.server, in.log = in.serverOf(change...)
	in.handler = in.server.Handler()
	return in
}

// hashed is the stored form of passwordOfTests.
var hashed = sync.OnceValue(func() string {
	return must(cheap().Hash(context.Background(), auth.NewSecret(passwordOfTests)))
})

// newTenant makes a tenant with an admin and a user.
func (in *installation) newTenant(t testing.TB, name string) tenant {
	t.Helper()
	by := store.Actor{Kind: store.ActorCommand}
	record, admin, err := in.store.Operator().CreateTenant(t.Context(), store.NewTenant{
		Name: name, Admin: store.NewUser{Email: "admin@" + name + ".example", PasswordHash: hashed()},
	}, by)
	if err != nil {
		t.Fatal(err)
	}
	user, err := in.store.Tenant(record.ID).CreateUser(t.Context(), store.NewUser{
		Email: "user@" + name + ".example", Role: auth.RoleUser, PasswordHash: hashed(),
	}, by)
	if err != nil {
		t.Fatal(err)
	}
	return tenant{name: name, id: record.ID, admin: admin, user: user}
}

// serverOf makes another Server over the same store: another node.
func (in *installation) serverOf(change ...func(*httpapi.Config)) (*httpapi.Server, *syncBuffer) {
	in.t.Helper()
	log := &syncBuffer{}
	server, err := in.tryServer(append([]func(*httpapi.Config){func(c *httpapi.Config) {
		c.Logger = slog.New(slog.NewJSONHandler(log, nil))
	}}, change...)...)
	if err != nil {
		in.t.Fatal(err)
	}
	return server, log
}

// tryServer is serverOf for what may be refused.
func (in *installation) tryServer(change ...func(*httpapi.Config)) (*httpapi.Server, error) {
	in.t.Helper()
	verifier, err := auth.NewVerifier(in.t.Context(), auth.VerifierConfig{Keys: []auth.Key{hmacKey(), es256()}})
	if err != nil {
		in.t.Fatal(err)
	}
	sealer := must(seal.Open(must(seal.Generate())))
	cfg := httpapi.Config{
		Submission: must(submission.New(submission.Config{Store: in.store, Sealer: sealer, RelayKey: []byte(secretOfTests)})),
		Intake:     intake.New(intake.Config{Dir: in.t.TempDir()}), Sealer: sealer, Egress: must(egress.New(egress.Config{})),
		Store: in.store, Issuer: in.issuer, Tokens: verifier, Operator: in.hash, Passwords: cheap(),
		Limiter: must(ratelimit.NewMemory(ratelimit.MemoryConfig{})), Limits: unlimited(),
	}
	for _, c := range change {
		c(&cfg)
	}
	return httpapi.New(cfg)
}

// token logs a user in without asking for the password.
func (in *installation) token(u store.User) string {
	in.t.Helper()
	issued, err := in.issuer.Issue(auth.Grant{TenantID: u.TenantID.String(), UserID: u.ID.String(), Role: u.Role})
	if err != nil {
		in.t.Fatal(err)
	}
	return issued.Token.Reveal()
}

// key makes an API key of a user.
func (in *installation) key(u store.User, change ...func(*store.NewAPIKey)) (auth.APIKey, string) {
	in.t.Helper()
	n := store.NewAPIKey{UserID: u.ID, Name: "of tests", Role: u.Role, Scope: auth.ScopeFull}
	for _, c := range change {
		c(&n)
	}
	key := must(auth.GenerateAPIKey(u.TenantID, n.Test))
	n.ID, n.Hash = key.ID(), key.Hash()
	if _, err := in.store.Tenant(u.TenantID).CreateAPIKey(in.t.Context(), n, store.Actor{Kind: store.ActorCommand}); err != nil {
		in.t.Fatal(err)
	}
	return key, key.Reveal()
}

// call sends one request through the whole chain.
func (in *installation) call(method, path, credential string, body any) *httptest.ResponseRecorder {
	in.t.Helper()
	return call(in.t, in.handler, method, path, credential, body)
}

func call(t testing.TB, handler http.Handler, method, path, credential string, body any) *httptest.ResponseRecorder {
	t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		reader = bytes.NewReader(must(json.Marshal(b)))
	}
	r := httptest.NewRequest(method, path, reader)
	if reader != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if credential != "" {
		r.Header.Set("Authorization", "Bearer "+credential)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

// read decodes an answer of the wanted status.
func read[T any](t testing.TB, w *httptest.ResponseRecorder, status int) T {
	t.Helper()
	var v T
	if w.Code != status {
		t.Fatalf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return v
}

// refused checks that an answer is a problem document of the status and code, and returns it.
func refused(t testing.TB, w *httptest.ResponseRecorder, status int, code api.Code) api.Problem {
	t.Helper()
	p := read[api.Problem](t, w, status)
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q", got)
	}
	if p.Code != code || p.Status != status || p.Type == "" || p.Title == "" || p.RequestID == "" || p.RequestID != w.Header().Get("X-Request-Id") {
		t.Errorf("problem %s, want code %s", w.Body, code)
	}
	return p
}

// syncBuffer is a log that a test reads.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// clock is one that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
