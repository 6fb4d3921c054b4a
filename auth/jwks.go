package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultJWKSInterval    = time.Hour
	defaultJWKSMinInterval = 30 * time.Second
	jwksTimeout            = 10 * time.Second
	jwksMaxSize            = 1 << 20 // octets
	firstRetry             = time.Second
	maxRetry               = 5 * time.Minute // also after a long absence a provider is found again soon
)

// checkJWKS checks what concerns the provider and fills in its defaults.
func (cfg *VerifierConfig) checkJWKS() []error {
	if cfg.JWKSURL == "" {
		return nil
	}
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("auth: verifier: "+format, args...))
	}
	u, err := url.Parse(cfg.JWKSURL)
	switch {
	case err != nil || u.Host == "":
		fault("JWKSURL is not a URL with a host") // the error would quote it, with its password
	case u.User != nil:
		fault("JWKSURL has a user name or password: put credentials into HTTPClient's Transport")
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		fault("JWKSURL begins with %s: whoever can change the answer can sign tokens, so use https (http is for loopback addresses)", u.Scheme)
	}
	if cfg.Issuer == "" {
		fault("JWKSURL needs Issuer: the iss of the provider's tokens")
	}
	if cfg.Audience == "" && !cfg.AnyAudience {
		fault("JWKSURL needs Audience: the provider's tokens for other programs must not be good here (AnyAudience accepts them)")
	}
	if cfg.JWKSInterval < 0 || cfg.JWKSMinInterval < 0 {
		fault("JWKSInterval and JWKSMinInterval cannot be negative")
	}
	if cfg.JWKSInterval == 0 {
		cfg.JWKSInterval = defaultJWKSInterval
	}
	if cfg.JWKSMinInterval == 0 {
		cfg.JWKSMinInterval = defaultJWKSMinInterval
	}
	return faults
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// keySet is one fetched set; it is never changed.
type keySet struct {
	keys       []Key
	generation uint64 // counts changes
	text       string // as fetched, to tell a change
}

// keyFetcher holds a provider's keys and renews them: at intervals, after failures, and when a token names a key
// that is not among them. One goroutine does all fetching; others wait for it.
type keyFetcher struct {
	url         string
	client      http.Client
	interval    time.Duration
	minInterval time.Duration
	logger      *slog.Logger
	now         func() time.Time

	set atomic.Pointer[keySet] // nil until the first set was fetched

	mu     sync.Mutex
	asked  time.Time     // when an unknown kid last caused a refresh
	round  chan struct{} // closed when the fetch that is under way or was asked for is done; nil if none is
	wanted chan struct{} // one token: fetch now
	cancel context.CancelFunc
	done   chan struct{}
}

func startKeyFetcher(ctx context.Context, cfg *VerifierConfig) *keyFetcher {
	f := &keyFetcher{
		url: cfg.JWKSURL, interval: cfg.JWKSInterval, minInterval: cfg.JWKSMinInterval,
		logger: cfg.Logger, now: cfg.Now,
		wanted: make(chan struct{}, 1), done: make(chan struct{}), round: make(chan struct{}),
	}
	if cfg.HTTPClient != nil {
		f.client = *cfg.HTTPClient
	} else {
		// Its own transport: what http.DefaultTransport keeps open would outlive Close.
		f.client.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableKeepAlives: true}
	}
	// A redirect would move the trust to a host that the configuration does not name.
	f.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	ctx, f.cancel = context.WithCancel(ctx)
	go f.run(ctx)
	return f
}

func (f *keyFetcher) close() {
	f.cancel()
	<-f.done
}

// run fetches until ctx ends.
func (f *keyFetcher) run(ctx context.Context) {
	defer close(f.done)
	retry := firstRetry
	for {
		wait := f.interval
		if err := f.fetch(ctx); err != nil && ctx.Err() == nil {
			wait = min(retry, f.interval)
			retry = min(2*retry, maxRetry)
			f.logger.LogAttrs(ctx, slog.LevelWarn, "the identity provider's keys cannot be fetched; those fetched last stay in use",
				slog.String("url", f.url), slog.Any("error", err), slog.Duration("again_in", wait), slog.Bool("have_keys", f.set.Load() != nil))
		} else {
			retry = firstRetry
		}
		f.finishRound()
		// Spread by a tenth, so that the nodes of an installation do not come together.
		timer := time.NewTimer(wait - time.Duration(rand.Int64N(int64(wait/10)+1)))
		select {
		case <-ctx.Done():
			timer.Stop()
			f.finishRound()
			return
		case <-timer.C:
		case <-f.wanted:
			timer.Stop()
		}
		f.beginRound()
	}
}

func (f *keyFetcher) beginRound() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.round == nil {
		f.round = make(chan struct{})
	}
}

func (f *keyFetcher) finishRound() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.round != nil {
		close(f.round)
		f.round = nil
	}
}

// fetch gets the set once.
func (f *keyFetcher) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, jwksTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := f.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the provider answered %d: check JWKSURL", resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, jwksMaxSize+1))
	if err != nil {
		return err
	}
	if len(text) > jwksMaxSize {
		return errors.New("the answer is longer than 1 MiB")
	}
	old := f.set.Load()
	if old != nil && old.text == string(text) {
		return nil
	}
	keys, err := parseJWKS(text)
	if err != nil {
		return fmt.Errorf("the provider's answer: %w", err)
	}
	next := &keySet{keys: keys, generation: 1, text: string(text)}
	if old != nil {
		next.generation = old.generation + 1
	}
	f.set.Store(next)
	return nil
}

// generation counts changes of the keys; what was verified under another generation is verified again, since its
// key may have been withdrawn. A nil fetcher has the generation 0 forever.
func (f *keyFetcher) generation() uint64 {
	if f == nil {
		return 0
	}
	if set := f.set.Load(); set != nil {
		return set.generation
	}
	return 0
}

func (f *keyFetcher) all() []Key {
	if set := f.set.Load(); set != nil {
		return set.keys
	}
	return nil
}

func (f *keyFetcher) byID(kid string) []Key {
	var keys []Key
	for _, k := range f.all() {
		if k.id == kid {
			keys = append(keys, k)
		}
	}
	return keys
}

// lookup returns the keys of a kid. If there is none it waits for a fetch: the one under way, or one that it asks
// for, unless an unknown kid caused one less than minInterval ago.
func (f *keyFetcher) lookup(ctx context.Context, kid string) ([]Key, *Error) {
	if keys := f.byID(kid); len(keys) > 0 {
		return keys, nil
	}
	if round := f.ask(); round != nil {
		select {
		case <-round:
		case <-f.done:
		case <-ctx.Done():
			return nil, unavailable(ReasonProviderAway, ctx.Err())
		}
		if keys := f.byID(kid); len(keys) > 0 {
			return keys, nil
		}
	}
	if f.set.Load() == nil {
		return nil, refusal(CodeUnavailable, ReasonProviderAway)
	}
	return nil, invalid(ReasonUnknownKey)
}

// ask returns a channel that is closed when a fetch is done that sees what is published now or was a moment ago;
// nil if none may be caused.
func (f *keyFetcher) ask() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.round != nil {
		return f.round
	}
	now := f.now()
	if !f.asked.IsZero() && now.Sub(f.asked) < f.minInterval {
		return nil
	}
	select {
	case <-f.done:
		return nil
	default:
	}
	f.asked = now
	f.round = make(chan struct{})
	select {
	case f.wanted <- struct{}{}:
	default: // asked already
	}
	return f.round
}

// KeyIDs lists the ids of the keys in use, own ones first, for a readiness page or a log line.
func (v *Verifier) KeyIDs() []string {
	var ids []string
	for _, k := range v.cfg.Keys {
		ids = append(ids, k.id)
	}
	if v.jwks != nil {
		for _, k := range v.jwks.all() {
			ids = append(ids, k.id)
		}
	}
	return slices.Clip(ids)
}

// Ready reports whether tokens can be verified: false only while a JWKSURL has never answered and there are no own
// keys.
func (v *Verifier) Ready() bool {
	return len(v.cfg.Keys) > 0 || strings.TrimSpace(v.cfg.JWKSURL) == "" || v.jwks.set.Load() != nil
}
