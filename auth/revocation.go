package auth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Revocations says which tokens are good no longer. It is asked for every request, so it should answer from memory.
// An error refuses the request with 503.
type Revocations interface {
	Revoked(ctx context.Context, p Principal) (bool, error)
}

// Revocation ends tokens before their time: the one token with TokenID, or all of the user's tokens issued up to
// Before. Exactly one of TokenID and UserID is set.
type Revocation struct {
	TenantID uuid.UUID // whose token or user it is; a revocation never reaches another tenant's
	TokenID  string    // a jti
	UserID   uuid.UUID
	Before   time.Time // with UserID: tokens issued at this moment or earlier, and those that do not say when
	// Until is when the last such token has expired and the revocation can be forgotten. Zero: 366 days from now.
	Until time.Time
}

func (r Revocation) check() error {
	switch {
	case r.TenantID == uuid.Nil:
		return errors.New("auth: a revocation needs the tenant whose token or user it is")
	case (r.TokenID == "") == (r.UserID == uuid.Nil):
		return errors.New("auth: a revocation names either a token or a user")
	case r.UserID != uuid.Nil && r.Before.IsZero():
		return errors.New("auth: the revocation of a user's tokens needs the moment up to which they were issued")
	}
	return nil
}

// RevocationSource is where the nodes of an installation find each other's revocations: a table, say.
type RevocationSource interface {
	// RevocationsSince returns what was added after cursor, and the cursor for the next call. The first cursor is
	// empty. What is returned twice does no harm, so a source that cannot order commits exactly goes back a little.
	RevocationsSince(ctx context.Context, cursor string) (added []Revocation, next string, err error)
}

// RevocationConfig configures a RevocationList.
type RevocationConfig struct {
	// Source is asked by Run. Nil: only what Revoke is told counts, which is enough for one process.
	Source RevocationSource
	// Interval is the time between two questions. 0: 1 s, which with the question itself is how long a revocation
	// takes to reach every node.
	Interval time.Duration
	// MaxStale makes every answer an error (503) when Source has not answered for so long. 0: what is known goes
	// on counting, however old.
	MaxStale time.Duration
	// OnError hears that Source failed. Nil: nobody does.
	OnError func(ctx context.Context, err error)
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// RevocationList is Revocations in memory. It is safe for concurrent use. It grows with the tokens revoked and not
// yet expired, about 150 octets each.
type RevocationList struct {
	cfg    RevocationConfig
	synced atomic.Int64 // nanoseconds since 1970 of the last answer of Source

	mu     sync.RWMutex
	tokens map[tokenName]time.Time // until
	users  map[userName]userEnd
	swept  time.Time
}

type (
	tokenName struct {
		tenant uuid.UUID
		id     string
	}
	userName struct{ tenant, user uuid.UUID }
	userEnd  struct{ before, until time.Time }
)

// NewRevocationList checks cfg. The list is usable at once; with a Source, call Sync before the first request and
// Run beside the program.
func NewRevocationList(cfg RevocationConfig) (*RevocationList, error) {
	if cfg.Interval < 0 || cfg.MaxStale < 0 {
		return nil, errors.New("auth: revocations: Interval and MaxStale cannot be negative")
	}
	if cfg.Interval == 0 {
		cfg.Interval = time.Second
	}
	if cfg.MaxStale > 0 && cfg.MaxStale < 2*cfg.Interval {
		return nil, fmt.Errorf("auth: revocations: MaxStale is %s; give at least twice the interval of %s", cfg.MaxStale, cfg.Interval)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &RevocationList{cfg: cfg, tokens: map[tokenName]time.Time{}, users: map[userName]userEnd{}}, nil
}

// Revoke takes effect here at once. It does not write to Source: do that first, in the transaction that is the
// reason for the revocation.
func (l *RevocationList) Revoke(revocations ...Revocation) error {
	for _, r := range revocations {
		if err := r.check(); err != nil {
			return err
		}
	}
	now := l.cfg.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range revocations {
		if r.Until.IsZero() {
			r.Until = now.Add(maxLifetime)
		}
		r.Until = r.Until.Add(maxLeeway) // a verifier may grant it
		if r.TokenID != "" {
			name := tokenName{r.TenantID, r.TokenID}
			if r.Until.After(l.tokens[name]) {
				l.tokens[name] = r.Until
			}
			continue
		}
		name := userName{r.TenantID, r.UserID}
		end := l.users[name]
		if r.Before.After(end.before) {
			end.before = r.Before
		}
		if r.Until.After(end.until) {
			end.until = r.Until
		}
		l.users[name] = end
	}
	l.sweepLocked(now)
	return nil
}

// sweepLocked forgets what no good token can meet any more, at most once a minute: it walks everything.
func (l *RevocationList) sweepLocked(now time.Time) {
	if now.Sub(l.swept) < time.Minute {
		return
	}
	l.swept = now
	for name, until := range l.tokens {
		if now.After(until) {
			delete(l.tokens, name)
		}
	}
	for name, end := range l.users {
		if now.After(end.until) {
			delete(l.users, name)
		}
	}
}

// Revoked implements Revocations. Only tokens are revoked by this list: an API key is revoked in its KeyStore.
func (l *RevocationList) Revoked(_ context.Context, p Principal) (bool, error) {
	if l.cfg.Source != nil && l.cfg.MaxStale > 0 {
		if age := l.cfg.Now().Sub(time.Unix(0, l.synced.Load())); age > l.cfg.MaxStale {
			return false, errStale
		}
	}
	if p.Kind != KindToken {
		return false, nil
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if p.TokenID != "" {
		if _, ok := l.tokens[tokenName{p.TenantID, p.TokenID}]; ok {
			return true, nil
		}
	}
	if end, ok := l.users[userName{p.TenantID, p.UserID}]; ok {
		return !p.IssuedAt.After(end.before), nil
	}
	return false, nil
}

var errStale = errors.New("auth: the source of revocations has not answered for too long")

// Len counts the revocations that are held.
func (l *RevocationList) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.tokens) + len(l.users)
}

// Sync asks Source once for everything. Without a Source it does nothing.
func (l *RevocationList) Sync(ctx context.Context) error {
	_, err := l.sync(ctx, "")
	return err
}

func (l *RevocationList) sync(ctx context.Context, cursor string) (string, error) {
	if l.cfg.Source == nil {
		return "", nil
	}
	asked := l.cfg.Now()
	added, next, err := l.cfg.Source.RevocationsSince(ctx, cursor)
	if err != nil {
		return cursor, err
	}
	for _, r := range added {
		// One bad row must not keep the others from counting.
		if err := l.Revoke(r); err != nil && l.cfg.OnError != nil {
			l.cfg.OnError(ctx, err)
		}
	}
	l.synced.Store(asked.UnixNano())
	return next, nil
}

// Run asks Source every Interval until ctx ends; then it returns nil. Failures go to OnError and are tried again.
func (l *RevocationList) Run(ctx context.Context) error {
	if l.cfg.Source == nil {
		<-ctx.Done()
		return nil
	}
	ticker := time.NewTicker(l.cfg.Interval)
	defer ticker.Stop()
	cursor := ""
	for {
		next, err := l.sync(ctx, cursor)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			cursor = next
		case l.cfg.OnError != nil:
			l.cfg.OnError(ctx, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
