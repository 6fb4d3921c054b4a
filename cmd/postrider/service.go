package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/telemetry"
	"github.com/postrider/postrider/ratelimit"
	"github.com/postrider/postrider/ratelimit/redislimit"
)

// service is the running whole. Its parts stop in the reverse order of their start: first no more requests, then the
// loops behind them, then the database.
type service struct {
	plan     *plan
	logger   *slog.Logger
	registry *prometheus.Registry
	front    *front
	measured *storeMetrics
	node     *node // nil until the database is there

	work    sync.WaitGroup // everything that runs beside
	failed  chan error     // the first thing that ended by itself
	closers []io.Closer    // in the order of opening
}

// serve runs the service until p.ctx ends, which is a good end, or a part of it fails.
func (pl *plan) serve(p *program, logger *slog.Logger) (err error) {
	begun := time.Now()
	v := &service{plan: pl, logger: logger, registry: telemetry.NewRegistry(versionText()), failed: make(chan error, 1)}
	// What is accepted is finished after the signal, so the work goes on when p.ctx ends.
	work, endWork := context.WithCancel(context.WithoutCancel(p.ctx))
	defer func() {
		endWork()
		v.work.Wait()
		for i := len(v.closers) - 1; i >= 0; i-- {
			err = errors.Join(err, v.closers[i].Close())
		}
	}()
	if v.front, err = pl.listen(p.ctx, telemetry.MetricsHandler(v.registry, logger), logger); err != nil {
		return err
	}
	v.run("heap", func() error { return roomyHeap(work) })
	v.run("listener", v.front.run)
	v.run("certificate", func() error { return pl.certificate.run(work, logger) })
	logger.Info("listening", "urls", v.front.urls())
	// Delivery begins to end with the signal, while requests in flight finish.
	sending, endSending := context.WithCancel(p.ctx)
	defer func() {
		endSending()
		v.stopFront(pl.settings)
	}()

	server, st, err := v.assemble(p.ctx, work)
	if err != nil {
		if p.ctx.Err() != nil { // told to stop while it waited for the database
			return nil
		}
		return err
	}
	v.run("http api", func() error { return server.Run(work) })
	v.run("node", func() error { return v.node.run(sending, work, v) })
	if v.delivers() {
		v.run("upkeep", func() error { return st.RunUpkeep(work, store.UpkeepConfig{MarkFile: markFile(v.plan.settings)}) })
	}
	v.front.open(server.Handler())
	logger.Info("ready", "after", time.Since(begun), "role", pl.settings.Role)
	v.front.announce(p, begun)
	select {
	case <-p.ctx.Done():
		logger.Info("stopping", "within", pl.settings.ShutdownTimeout)
		return nil
	case err := <-v.failed:
		return err
	}
}

// run runs a part beside the others. If it ends by itself with an error, the service ends.
func (v *service) run(name string, part func() error) {
	v.work.Go(func() {
		if err := part(); err != nil {
			select {
			case v.failed <- fmt.Errorf("%s: %w", name, err):
			default: // something else failed first
			}
		}
	})
}

// stopFront lets requests in flight finish.
func (v *service) stopFront(s *config.Settings) {
	ctx, cancel := context.WithTimeout(context.Background(), s.ShutdownTimeout)
	defer cancel()
	if err := v.front.shutdown(ctx); err != nil {
		v.logger.Warn("requests were cut off that did not finish in time", "within", s.ShutdownTimeout)
	}
}

// assemble opens what the service stands on and puts the parts together. It waits for a database that is away until
// ctx ends; what it starts ends with work.
func (v *service) assemble(ctx, work context.Context) (*httpapi.Server, *store.Store, error) {
	s, k := v.plan.settings, v.plan.keys
	traces, err := telemetry.NewTraces(work, telemetry.TraceConfig{Endpoint: s.OTLPEndpoint, Version: versionText(), Hostname: s.Hostname, Logger: v.logger})
	if err != nil {
		return nil, nil, s.Fault("otlp_endpoint", "%v", err)
	}
	v.closers = append(v.closers, closer(func() error {
		last, cancel := context.WithTimeout(context.Background(), 5*time.Second) // a collector must not hold us up
		defer cancel()
		return traces.Shutdown(last)
	}))
	if v.measured, err = newStoreMetrics(v.registry); err != nil {
		return nil, nil, err
	}
	st, err := v.openStore(ctx)
	if err != nil {
		return nil, nil, err
	}
	v.closers = append(v.closers, st)
	if err := v.measured.watch(v.registry, st); err != nil {
		return nil, nil, err
	}
	if v.node, err = v.join(ctx, st); err != nil {
		return nil, nil, err
	}
	v.closers = append(v.closers, closer(v.node.leave))
	issuer, err := newIssuer(s, k)
	if err != nil {
		return nil, nil, err
	}
	cfg := verifierConfig(s, k)
	cfg.Logger = v.logger
	tokens, err := auth.NewVerifier(work, cfg)
	if err != nil {
		return nil, nil, err
	}
	v.closers = append(v.closers, tokens)
	var others []*auth.Verifier
	if s.JWKSURL != "" && s.Role != config.RoleDelivery {
		provider, err := auth.NewVerifier(work, auth.VerifierConfig{
			JWKSURL: s.JWKSURL, Issuer: s.JWKSIssuer, Audience: s.JWKSAudience, Roles: v.plan.roles, Logger: v.logger,
			Claims: auth.ClaimNames{TenantID: s.JWKSClaimTenant, UserID: s.JWKSClaimUser, Role: s.JWKSClaimRole},
		})
		if err != nil {
			return nil, nil, s.Fault("jwks_url", "%v", err)
		}
		v.closers = append(v.closers, provider)
		others = append(others, provider)
	}
	passwords, err := auth.NewPasswords(auth.PasswordConfig{})
	if err != nil {
		return nil, nil, err
	}
	limiter, err := v.limiter()
	if err != nil {
		return nil, nil, err
	}
	api := httpapi.Config{
		Store: st, Issuer: issuer, Tokens: tokens, OtherTokens: others, Operator: k.operator, Passwords: passwords,
		AutoCreate: s.TenantAutocreate, SessionLifetime: s.RefreshExpiry,
		Limiter: limiter, Limits: v.plan.limits, Proxies: s.TrustedProxies,
		CORS:    httpapi.CORS{Origins: s.CORSOrigins, Credentials: s.CORSCredentials},
		MaxBody: s.BodyLimit, ReadTimeout: s.ReadTimeout, WriteTimeout: s.WriteTimeout,
		Metrics: v.registry, MetricsNetworks: s.MetricsAllow, Tracing: traces.Provider(), Ready: v.ready, Stopping: ctx.Done(), Role: s.Role,
		Version: versionText(), Logger: v.logger,
	}
	if err := v.takeIn(&api, st); err != nil {
		return nil, nil, err
	}
	server, err := httpapi.New(api)
	return server, st, err
}

// limiter counts in Redis, or in this process.
func (v *service) limiter() (ratelimit.Limiter, error) {
	s := v.plan.settings
	memory, err := ratelimit.NewMemory(ratelimit.MemoryConfig{})
	if err != nil || s.RedisURL.IsZero() {
		return memory, err
	}
	client, err := redislimit.Open(s.RedisURL.Reveal(), 0)
	if err != nil {
		return nil, s.Fault("redis_url", "%v", err)
	}
	v.closers = append(v.closers, client)
	redis.SetLogger(redisLog{v.logger}) // the library's own goes to standard error, in a form of its own
	limiter, err := redislimit.New(redislimit.Config{Client: client, Prefix: limiterName, Refuse: s.RateLimitRedisAway == "refuse", Memory: memory, Logger: v.logger})
	if err != nil {
		return nil, err
	}
	up := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "postrider_redis_up", Help: "1 while rate limits are counted in Redis, 0 while it is away."}, func() float64 {
		if limiter.Stats().Up {
			return 1
		}
		return 0
	})
	return limiter, v.registry.Register(up)
}

// closer makes a function an io.Closer.
type closer func() error

// Close calls it.
func (c closer) Close() error { return c() }

// redisLog takes what the Redis client says about its connections. That Redis is away is told by the limiter.
type redisLog struct{ logger *slog.Logger }

// Printf is called by the client.
func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	l.logger.DebugContext(ctx, fmt.Sprintf(format, args...))
}
