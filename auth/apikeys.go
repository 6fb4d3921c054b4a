package auth

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// KeyStore finds the row of an API key. The tenant comes from the key itself, unproved: it is there so that the
// look-up can run under row-level security. The store returns ErrKeyNotFound, maybe wrapped, if the tenant has no
// such key, and any other error if it cannot tell.
type KeyStore interface {
	LookupAPIKey(ctx context.Context, tenant, key uuid.UUID) (APIKeyRecord, error)
}

// APIKeyRecord is what a store keeps of an API key.
type APIKeyRecord struct {
	ID       uuid.UUID
	TenantID uuid.UUID
	UserID   uuid.UUID // in whose name the key acts
	Role     Role
	Scope    Scope
	Hash     KeyHash
	// AllowedNetworks, if not empty, are the only ones that the key may be used from.
	AllowedNetworks []netip.Prefix
	// ExpiresAt ends the key. Zero: it does not expire.
	ExpiresAt time.Time
	// RevokedAt, if not zero, makes the key an unknown one.
	RevokedAt time.Time
}

// APIKeysConfig configures APIKeys.
type APIKeysConfig struct {
	// Store finds keys; required.
	Store KeyStore
	// CacheFor is how long a row found is used without asking again, and so the longest that a revocation takes.
	// 0: 2 s. Negative: each request asks.
	CacheFor time.Duration
	// OnUse hears of each verified use, for "last used". It must not block; writing down every use would make each
	// request a write, so gather them. Nil: nobody does.
	OnUse func(ctx context.Context, key APIKeyRecord, from netip.Addr, at time.Time)
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

const (
	defaultKeyCacheFor = 2 * time.Second
	maxKeyCacheFor     = time.Minute // "effective within seconds" should stay true
	maxCachedKeys      = 10_000
)

// APIKeys verifies API keys. It is safe for concurrent use.
type APIKeys struct {
	cfg APIKeysConfig

	mu    sync.Mutex
	found map[keyName]foundKey
}

type (
	keyName  struct{ tenant, id uuid.UUID }
	foundKey struct {
		record APIKeyRecord
		until  time.Time
	}
)

// NewAPIKeys checks cfg.
func NewAPIKeys(cfg APIKeysConfig) (*APIKeys, error) {
	if cfg.Store == nil {
		return nil, errors.New("auth: API keys: no Store")
	}
	if cfg.CacheFor > maxKeyCacheFor {
		return nil, errors.New("auth: API keys: CacheFor is longer than a minute: revoked keys would be good for so long")
	}
	if cfg.CacheFor == 0 {
		cfg.CacheFor = defaultKeyCacheFor
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &APIKeys{cfg: cfg, found: map[keyName]foundKey{}}, nil
}

// Verify returns whom a key speaks for when it is used from addr. The error is an *Error. An unknown key, one with
// another secret and a revoked one get the same answer, after the same comparison.
func (a *APIKeys) Verify(ctx context.Context, key Secret, from netip.Addr) (Principal, error) {
	p, err := a.verify(ctx, key.Reveal(), from)
	if err != nil {
		return Principal{}, err
	}
	return p, nil
}

func (a *APIKeys) verify(ctx context.Context, text string, from netip.Addr) (Principal, *Error) {
	key, err := ParseAPIKey(text)
	if err != nil {
		return Principal{}, refusal(CodeInvalidKey, ReasonKeyFormat)
	}
	now := a.cfg.Now()
	hash := key.Hash()
	record, err := a.lookup(ctx, key, now)
	notFound := errors.Is(err, ErrKeyNotFound)
	if err != nil && !notFound {
		return Principal{}, unavailable(ReasonKeyStore, err)
	}
	matches := record.Hash.Matches(hash) // also for the empty record of an unknown key
	switch {
	case notFound:
		return Principal{}, refusal(CodeInvalidKey, ReasonKeyUnknown)
	case !matches:
		return Principal{}, refusal(CodeInvalidKey, ReasonKeySecret)
	case !record.RevokedAt.IsZero():
		return Principal{}, refusal(CodeInvalidKey, ReasonKeyRevoked)
	case !record.ExpiresAt.IsZero() && !now.Before(record.ExpiresAt):
		return Principal{}, refusal(CodeExpiredKey, ReasonKeyExpired)
	case len(record.AllowedNetworks) > 0 && !inNetworks(record.AllowedNetworks, from):
		return Principal{}, refusal(CodeNetwork, ReasonKeyNetwork)
	}
	if a.cfg.OnUse != nil {
		a.cfg.OnUse(ctx, record, from, now)
	}
	return Principal{
		TenantID: record.TenantID, UserID: record.UserID, Role: record.Role, Kind: KindAPIKey, Scope: record.Scope,
		TokenID: record.ID.String(), ExpiresAt: record.ExpiresAt, Test: key.test,
	}, nil
}

// lookup asks the store or remembers. Keys not found are not remembered: whoever makes keys up would fill the
// memory, and a new key should work at once.
func (a *APIKeys) lookup(ctx context.Context, key APIKey, now time.Time) (APIKeyRecord, error) {
	name := keyName{key.tenant, key.id}
	if a.cfg.CacheFor > 0 {
		a.mu.Lock()
		f, ok := a.found[name]
		a.mu.Unlock()
		if ok && now.Before(f.until) {
			return f.record, nil
		}
	}
	record, err := a.cfg.Store.LookupAPIKey(ctx, key.tenant, key.id)
	if err != nil {
		return APIKeyRecord{}, err
	}
	if err := record.check(key); err != nil {
		return APIKeyRecord{}, err
	}
	if a.cfg.CacheFor > 0 {
		record.AllowedNetworks = slices.Clone(record.AllowedNetworks)
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.found) >= maxCachedKeys {
			clear(a.found) // it is refilled within seconds
		}
		a.found[name] = foundKey{record, now.Add(a.cfg.CacheFor)}
	}
	return record, nil
}

// Forget drops what is remembered of a key, so that its revocation takes effect in this process at once.
func (a *APIKeys) Forget(tenant, key uuid.UUID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.found, keyName{tenant, key})
}

// check refuses a row that a broken store returned: it must not become a principal.
func (r APIKeyRecord) check(key APIKey) error {
	_, roleErr := ParseRole(string(r.Role))
	_, scopeErr := ParseScope(string(r.Scope))
	if r.ID != key.id || r.TenantID != key.tenant || r.UserID == uuid.Nil || r.Hash.IsZero() {
		return errors.New("auth: the store returned another key's record, or one without user or hash")
	}
	return errors.Join(roleErr, scopeErr)
}

func inNetworks(networks []netip.Prefix, addr netip.Addr) bool {
	if !addr.IsValid() {
		return false
	}
	addr = addr.Unmap().WithZone("") // a socket for both families shows IPv4 as ::ffff:a.b.c.d
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return unmapPrefix(n).Contains(addr) })
}

// unmapPrefix makes ::ffff:192.0.2.0/120 the network that its writer meant.
func unmapPrefix(n netip.Prefix) netip.Prefix {
	if n.Addr().Is4In6() && n.Bits() >= 96 {
		return netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	return n
}
