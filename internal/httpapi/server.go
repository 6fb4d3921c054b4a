package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/egress"
	"github.com/postrider/postrider/internal/httpapi/intake"
	"github.com/postrider/postrider/internal/seal"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/submission"
	"github.com/postrider/postrider/ratelimit"
)

// Config configures a Server.
type Config struct {
	// Store is the database; required.
	Store *store.Store

	// Issuer makes the tokens of those who log in; required, with Tokens knowing its key.
	Issuer *auth.Issuer
	// Tokens verifies tokens; required. It needs no Revocations: the Server asks the Store about every caller.
	Tokens *auth.Verifier
	// OtherTokens are asked about tokens that Tokens does not know, such as an identity provider's.
	OtherTokens []*auth.Verifier
	// Operator is the hash of the operator key. Zero: nobody can call the operator's operations.
	Operator auth.KeyHash
	// Passwords hashes and checks passwords; required.
	Passwords *auth.Passwords
	// AutoCreate registers tenants and users whom a verified token names and nobody has heard of: only for an outside
	// issuer that is the authority for who exists.
	AutoCreate bool
	// SessionLifetime is how long somebody who logged in can go on without the password. Each refresh begins it anew.
	// 0: 30 days.
	SessionLifetime time.Duration

	// Limiter counts requests; required.
	Limiter ratelimit.Limiter
	// Limits say how often whom may ask. The zero value is off; start from DefaultLimits.
	Limits Limits
	// Proxies are trusted to say in X-Forwarded-For who called them. Empty: none.
	Proxies []netip.Prefix
	// CORS says which pages of other origins may call the API. Zero: none.
	CORS CORS

	// Submission accepts messages, Intake reads them; required.
	Submission *submission.Submission
	Intake     *intake.Decoder
	// Sealer seals the passwords of relays; required.
	Sealer *seal.Sealer
	// Egress dials relays that are to be checked; required.
	Egress *egress.Dialer
	// MaxMessageBody is the largest body in octets of the operations that take messages. 0: what Intake reads by default.
	MaxMessageBody int64

	// MaxBody is the largest body in octets that operations read which do not say otherwise. 0: 1 MiB.
	MaxBody int64
	// ReadTimeout is how long a client may take to send a body, and one second more for each 64 KiB. 0: 30 s.
	ReadTimeout time.Duration
	// WriteTimeout is how long a client may take to read each 256 KiB of an answer. 0: 30 s.
	WriteTimeout time.Duration

	// Metrics takes this package's metrics, and is what /metrics shows. Nil: a new one.
	Metrics *prometheus.Registry
	// MetricsNetworks may read /metrics without the operator key, beside this machine itself.
	MetricsNetworks []netip.Prefix
	// Tracing makes a span of each request. Nil, or one that does nothing: no spans, and no cost.
	Tracing trace.TracerProvider
	// Ready names the parts of the program that are not ready, for /readyz, beside the database, which is asked anyway.
	// Nil: there are none.
	Ready func(ctx context.Context) []NotReady
	// Stopping is closed when the service begins to stop: requests that only wait for a result are then answered without one,
	// instead of being cut off at the end. Nil: never.
	Stopping <-chan struct{}
	// Role is what this node does: "api", "delivery" or "all". With "delivery" only the pages for machines are served, and whatever else is asked
	// for is answered with 404 and a line that says so. Empty: "all".
	Role string
	// Version is the program's, for the OpenAPI document. Empty: "0".
	Version string
	// Logger gets a line for each request. Nil: nothing is logged.
	Logger *slog.Logger
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

const (
	defaultSession = 30 * 24 * time.Hour
	defaultMaxBody = 1 << 20
	// defaultTimeout suits people on bad links, and stops who means to hold a connection open.
	defaultTimeout = 30 * time.Second
)

// Server answers HTTP. It is safe for concurrent use.
type Server struct {
	cfg        Config
	store      *store.Store
	standing   *standing
	keys       *auth.APIKeys
	guard      *auth.Middleware
	byAddress  *ratelimit.Middleware
	byCaller   *ratelimit.Middleware
	uses       uses
	denials    *store.Denials
	metrics    *metrics
	security   security
	mux        *http.ServeMux
	huma       huma.API
	operations map[string]bool // by id
	document   []byte
	handler    http.Handler
	faults     []error // of registrations, until New has returned
}

// New checks cfg, reports every fault, joined, and registers every route.
func New(cfg Config) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.fill()
	s := &Server{cfg: cfg, store: cfg.Store, security: newSecurity(), mux: http.NewServeMux(), operations: make(map[string]bool)}
	var err error
	if s.metrics, err = newMetrics(cfg.Metrics); err != nil {
		return nil, err
	}
	s.uses.lost = s.metrics.keyUsesLost
	s.denials = store.NewDenials(store.DenialsConfig{Write: cfg.Store.AddAudit, Now: cfg.Now, Logger: cfg.Logger})
	s.standing = &standing{
		look: s.lookStanding, now: cfg.Now,
		hits: s.metrics.standing.WithLabelValues("memory"), misses: s.metrics.standing.WithLabelValues("store"),
	}
	if cfg.AutoCreate {
		s.standing.register = s.registerMember
	}
	if err := errors.Join(s.newLimiters(), s.newGuard()); err != nil {
		return nil, err
	}
	s.newDocument()
	s.routes()
	s.machineRoutes()
	s.faults = append(s.faults, s.checkRoutes(), s.finishDocument())
	if err := errors.Join(s.faults...); err != nil {
		return nil, err
	}
	s.handler = s.chain()
	return s, nil
}

// check names what is missing or cannot be.
func (c *Config) check() error {
	var faults []error
	for name, missing := range map[string]bool{
		"Store": c.Store == nil, "Issuer": c.Issuer == nil, "Tokens": c.Tokens == nil, "Passwords": c.Passwords == nil, "Limiter": c.Limiter == nil,
		"Submission": c.Submission == nil, "Intake": c.Intake == nil, "Sealer": c.Sealer == nil, "Egress": c.Egress == nil,
	} {
		if missing {
			faults = append(faults, fmt.Errorf("httpapi: Config.%s is nil; it is required", name))
		}
	}
	for name, d := range map[string]time.Duration{"SessionLifetime": c.SessionLifetime, "ReadTimeout": c.ReadTimeout, "WriteTimeout": c.WriteTimeout} {
		if d < 0 {
			faults = append(faults, fmt.Errorf("httpapi: Config.%s is %s; use a positive time, or 0 for the default", name, d))
		}
	}
	if c.MaxMessageBody < 0 {
		faults = append(faults, fmt.Errorf("httpapi: Config.MaxMessageBody is %d; use a positive number of octets, or 0 for %d", c.MaxMessageBody, intake.DefaultMaxOctets))
	}
	if c.MaxBody < 0 {
		faults = append(faults, fmt.Errorf("httpapi: Config.MaxBody is %d; use a positive number of octets, or 0 for 1 MiB", c.MaxBody))
	}
	slices.SortFunc(faults, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errors.Join(append(faults, c.CORS.check())...)
}

// fill sets the defaults.
func (c *Config) fill() {
	c.SessionLifetime = cmp.Or(c.SessionLifetime, defaultSession)
	c.MaxBody = cmp.Or(c.MaxBody, defaultMaxBody)
	c.MaxMessageBody = cmp.Or(c.MaxMessageBody, intake.DefaultMaxOctets)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, defaultTimeout)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, defaultTimeout)
	c.Version = cmp.Or(c.Version, "0")
	c.Role = cmp.Or(c.Role, roleAll)
	c.Limits = c.Limits.named()
	c.Proxies = slices.Clone(c.Proxies)
	c.MetricsNetworks = slices.Clone(c.MetricsNetworks)
	if _, off := c.Tracing.(tracenoop.TracerProvider); off {
		c.Tracing = nil
	}
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

// Handler answers every request.
func (s *Server) Handler() http.Handler { return s.handler }

// OpenAPI is the document that /openapi.json answers with.
func (s *Server) OpenAPI() []byte { return slices.Clone(s.document) }

const (
	// headerTimeout is how long a client may take for the header of a request: a few kB.
	headerTimeout = 10 * time.Second
	// idleTimeout is how long a connection stays open between requests.
	idleTimeout = 2 * time.Minute
	// maxHeader is room for the longest token that is looked at, 8 KiB, and all else that browsers send.
	maxHeader = 32 << 10
)

// HTTPServer is a server for Handler with the bounds that a handler cannot set: on the time and the size of a
// request's header, and on idle connections. The caller sets Addr or a listener, TLS, and BaseContext.
func (s *Server) HTTPServer() *http.Server {
	return &http.Server{
		Handler: s.handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug), // what it says is about clients' TLS and lost connections
	}
}
