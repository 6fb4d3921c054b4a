package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"
)

const (
	// DefaultLeeway is how far the clocks of issuer and verifier may be apart.
	DefaultLeeway = 30 * time.Second
	// maxLeeway: more would make expiry mean nothing.
	maxLeeway = 5 * time.Minute
	// defaultCacheSize times about 400 octets an entry is 4 MB.
	defaultCacheSize = 10_000
	// maxKeys bounds the work for a token without kid, which is tried with every key of its algorithm.
	maxKeys = 16
)

// VerifierConfig configures a Verifier. Keys, JWKSURL or both are required.
type VerifierConfig struct {
	// Keys verify tokens; at most 16. During a rotation give the new and the old one. A token with a kid is checked
	// with the key of that id only; one without, with every key of its algorithm.
	Keys []Key

	// JWKSURL is where an outside identity provider publishes its keys (RFC 7517 §5), https, or http on a loopback
	// address. Issuer and Audience are then required, since the provider makes tokens for others too. Symmetric keys
	// in the set are ignored. The URL is fetched at once and refreshed in the background until ctx ends or Close.
	JWKSURL string
	// JWKSInterval is the time between refreshes. 0: 1 h. A failed refresh is tried again after 1 s, doubling; the
	// keys fetched last stay in use.
	JWKSInterval time.Duration
	// JWKSMinInterval is the least time between refreshes that unknown key ids cause. 0: 30 s.
	JWKSMinInterval time.Duration
	// HTTPClient fetches JWKSURL; its redirects are not followed. Nil: one with a timeout of 10 s.
	HTTPClient *http.Client

	// Issuer, if set, must be a token's iss.
	Issuer string
	// Audience, if set, must be in a token's aud. If empty, tokens with an aud are refused (RFC 7519 §4.1.3: they
	// are for somebody else), unless AnyAudience.
	Audience string
	// AnyAudience accepts tokens whatever their aud, if Audience is empty.
	AnyAudience bool
	// Claims renames our claims. Zero: tenant_id, user_id, role.
	Claims ClaimNames
	// Roles maps the words of an outside issuer to roles, letter for letter; words that are not in it are refused.
	// Nil: user and admin.
	Roles map[string]Role
	// Leeway is granted for exp, nbf and iat. 0: 30 s. Negative: none. At most 5 min.
	Leeway time.Duration
	// MaxLifetime refuses tokens whose exp lies further ahead. 0: 366 days.
	MaxLifetime time.Duration

	// CacheSize is how many tokens found good are remembered, so that their signature is not computed again. Keys,
	// expiry and Revocations are honoured all the same. 0: 10 000. Negative: none.
	CacheSize int
	// Revocations is asked about every token, remembered or not. Nil: tokens end by expiry only.
	Revocations Revocations
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Logger gets failed refreshes of JWKSURL. Nil: nothing is logged.
	Logger *slog.Logger
}

// check fills in defaults and returns every fault.
func (cfg *VerifierConfig) check() []error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("auth: verifier: "+format, args...))
	}
	if len(cfg.Keys) == 0 && cfg.JWKSURL == "" {
		fault("no key: give Keys or JWKSURL")
	}
	if len(cfg.Keys) > maxKeys {
		fault("%d keys, may have %d: remove those that no token can carry any more", len(cfg.Keys), maxKeys)
	}
	seen := map[string]bool{}
	for i, k := range cfg.Keys {
		switch {
		case k.alg == "":
			fault("keys[%d] is empty: make it with NewHMACKey, NewPublicKey, NewPrivateKey or ParseKey", i)
		case k.id != "" && seen[k.id]:
			fault("two keys have the id %q: give each its own", k.id)
		}
		seen[k.id] = true
	}
	cfg.Claims = cfg.Claims.withDefaults()
	if err := cfg.Claims.check(); err != nil {
		faults = append(faults, err)
	}
	for word, role := range cfg.Roles {
		if _, err := ParseRole(string(role)); err != nil || word == "" {
			fault("roles maps %q to %q: %w", word, role, errUnknownRole)
		}
	}
	switch {
	case cfg.Leeway == 0:
		cfg.Leeway = DefaultLeeway
	case cfg.Leeway < 0:
		cfg.Leeway = 0
	case cfg.Leeway > maxLeeway:
		fault("a leeway of %s, may be at most %s: set the clocks right", cfg.Leeway, maxLeeway)
	}
	if cfg.MaxLifetime < 0 {
		fault("a negative MaxLifetime")
	} else if cfg.MaxLifetime == 0 {
		cfg.MaxLifetime = maxLifetime
	}
	if cfg.CacheSize == 0 {
		cfg.CacheSize = defaultCacheSize
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return append(faults, cfg.checkJWKS()...)
}

// Verifier checks tokens. It is safe for concurrent use.
type Verifier struct {
	cfg   VerifierConfig
	cache *tokenCache // nil: none
	jwks  *keyFetcher // nil: own keys only
}

// NewVerifier checks cfg and reports every fault, joined. With JWKSURL it starts fetching in the background and
// does not wait: a provider that is away does not keep the program from starting. ctx ends that; call Close to
// wait for it.
func NewVerifier(ctx context.Context, cfg VerifierConfig) (*Verifier, error) {
	if err := errors.Join(cfg.check()...); err != nil {
		return nil, err
	}
	cfg.Keys = slices.Clone(cfg.Keys)
	cfg.Roles = maps.Clone(cfg.Roles)
	v := &Verifier{cfg: cfg}
	if cfg.CacheSize > 0 {
		v.cache = newTokenCache(cfg.CacheSize)
	}
	if cfg.JWKSURL != "" {
		v.jwks = startKeyFetcher(ctx, &v.cfg)
	}
	return v, nil
}

// Close stops the refreshing of JWKSURL and waits until it has stopped. Tokens are verified on, with the keys
// fetched last. It may be called twice.
func (v *Verifier) Close() error {
	if v.jwks != nil {
		v.jwks.close()
	}
	return nil
}

// Verify returns whom a token speaks for. The error is an *Error: 401, or 503 if Revocations or, before any key
// was fetched, the identity provider did not answer. ctx bounds the wait for a refresh of JWKSURL, which at most
// one token with an unknown kid in each JWKSMinInterval causes.
func (v *Verifier) Verify(ctx context.Context, token string) (Principal, error) {
	p, err := v.verify(ctx, token)
	if err != nil {
		return Principal{}, err
	}
	return p, nil
}

func (v *Verifier) verify(ctx context.Context, token string) (Principal, *Error) {
	if len(token) > MaxTokenSize {
		return Principal{}, invalid(ReasonTooLong)
	}
	now := v.cfg.Now()
	generation := v.jwks.generation()
	var (
		hash  tokenHash
		p     Principal
		known bool
	)
	if v.cache != nil {
		hash = sha256.Sum256([]byte(token))
		p, known = v.cache.get(hash, now, generation)
	}
	if !known {
		claims, err := v.verifyAnew(ctx, token, now)
		if err != nil {
			return Principal{}, err
		}
		p = claims.principal()
		if v.cache != nil {
			// A refresh that came in between has raised the generation, and the entry is not used.
			v.cache.put(hash, cached{principal: p, generation: generation, notBefore: claims.begins(v.cfg.Leeway), expires: p.ExpiresAt.Add(v.cfg.Leeway)})
		}
	}
	if v.cfg.Revocations != nil {
		revoked, err := v.cfg.Revocations.Revoked(ctx, p)
		if err != nil {
			return Principal{}, unavailable(ReasonRevocations, err)
		}
		if revoked {
			return Principal{}, refusal(CodeRevoked, ReasonRevoked)
		}
	}
	return p, nil
}

// verifyAnew does the whole check: shape, key, algorithm, signature, and only then the claims.
func (v *Verifier) verifyAnew(ctx context.Context, token string, now time.Time) (tokenClaims, *Error) {
	c, refused := parseCompact(token)
	if refused != nil {
		return tokenClaims{}, refused
	}
	keys, refused := v.candidates(ctx, &c)
	if refused != nil {
		return tokenClaims{}, refused
	}
	if !slices.ContainsFunc(keys, func(k Key) bool { return k.checkSignature(c.input, c.signature) }) {
		return tokenClaims{}, invalid(ReasonSignature)
	}
	claims, refused := v.readClaims(c.payload)
	if refused != nil {
		return tokenClaims{}, refused
	}
	if refused := v.checkClaims(&claims, now); refused != nil {
		return tokenClaims{}, refused
	}
	return claims, nil
}

// candidates returns the keys that may have signed: those of the token's kid, and in any case of its algorithm.
func (v *Verifier) candidates(ctx context.Context, c *compact) ([]Key, *Error) {
	if !c.hasKid {
		return v.candidatesWithoutID(c)
	}
	for _, k := range v.cfg.Keys {
		// A key without an id is for tokens without a kid: the empty kid is not the missing kid.
		if k.id != "" && k.id == c.kid {
			return sameAlgorithm([]Key{k}, c.alg)
		}
	}
	if v.jwks == nil || c.kid == "" {
		return nil, invalid(ReasonUnknownKey)
	}
	keys, err := v.jwks.lookup(ctx, c.kid)
	if err != nil {
		return nil, err
	}
	return sameAlgorithm(keys, c.alg)
}

// candidatesWithoutID: our own keys of the algorithm, and the provider's if it has just one (OpenID Connect Core
// §10.1: with several, a kid must be given).
func (v *Verifier) candidatesWithoutID(c *compact) ([]Key, *Error) {
	keys, refused := sameAlgorithm(v.cfg.Keys, c.alg)
	if v.jwks != nil {
		if theirs, _ := sameAlgorithm(v.jwks.all(), c.alg); len(theirs) == 1 {
			return append(keys, theirs[0]), nil
		}
	}
	return keys, refused
}

func sameAlgorithm(keys []Key, alg string) ([]Key, *Error) {
	var same []Key
	for _, k := range keys {
		if string(k.alg) == alg {
			same = append(same, k)
		}
	}
	if len(same) == 0 {
		return nil, invalid(ReasonAlgorithm)
	}
	return same, nil
}

// checkClaims checks times, issuer and audience (RFC 7519 §4.1).
func (v *Verifier) checkClaims(c *tokenClaims, now time.Time) *Error {
	if !c.hasExp {
		return invalid(ReasonNoExpiry)
	}
	expires := time.Unix(c.exp, 0)
	if expires.After(now.Add(v.cfg.MaxLifetime + v.cfg.Leeway)) {
		return invalid(ReasonTooFar)
	}
	if now.Before(c.begins(v.cfg.Leeway)) {
		return invalid(ReasonNotYet)
	}
	if v.cfg.Issuer != "" && c.iss != v.cfg.Issuer {
		return invalid(ReasonIssuer)
	}
	switch {
	case v.cfg.Audience != "" && !slices.Contains(c.aud, v.cfg.Audience):
		return invalid(ReasonAudience)
	case v.cfg.Audience == "" && !v.cfg.AnyAudience && c.aud != nil:
		return invalid(ReasonAudience)
	}
	// Last, so that "expired" is said only of tokens that were good in all else.
	if !now.Before(expires.Add(v.cfg.Leeway)) {
		return refusal(CodeExpiredToken, ReasonExpired)
	}
	return nil
}

// begins is when the token becomes good: nbf and iat, less the leeway.
func (c *tokenClaims) begins(leeway time.Duration) time.Time {
	var begin int64
	if c.hasNbf {
		begin = c.nbf
	}
	if c.hasIat {
		begin = max(begin, c.iat)
	}
	return time.Unix(begin, 0).Add(-leeway)
}
