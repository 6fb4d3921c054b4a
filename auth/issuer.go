package auth

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// DefaultLifetime is how long a token is good unless the issuer or the request says otherwise.
const DefaultLifetime = 24 * time.Hour

// maxLifetime bounds tokens on both sides, so that the issuer makes none that the verifier refuses by default. A
// year and a day covers yearly rotation; who needs longer wants an API key, which can be revoked by its row.
const maxLifetime = 366 * 24 * time.Hour

// ClaimNames maps the three claims that are ours to the names that tokens have for them. Empty fields mean the
// default. Registered claims (iss, exp, …) keep their names and may not be named here, but for sub.
type ClaimNames struct {
	TenantID string // default "tenant_id"
	UserID   string // default "user_id"; "sub" with most identity providers, if theirs is a UUID
	Role     string // default "role"
}

func (n ClaimNames) withDefaults() ClaimNames {
	if n.TenantID == "" {
		n.TenantID = "tenant_id"
	}
	if n.UserID == "" {
		n.UserID = "user_id"
	}
	if n.Role == "" {
		n.Role = "role"
	}
	return n
}

// check refuses names that would make one claim mean two things. It wants defaults filled in.
func (n ClaimNames) check() error {
	for _, name := range []string{n.TenantID, n.UserID, n.Role} {
		switch name {
		case "iss", "aud", "exp", "nbf", "iat", "jti":
			return fmt.Errorf("auth: claim %q has a meaning of its own (RFC 7519 §4.1): map to another", name)
		}
	}
	if n.TenantID == n.UserID || n.TenantID == n.Role || n.UserID == n.Role {
		return errors.New("auth: tenant, user and role need claims of different names")
	}
	return nil
}

// IssuerConfig configures an Issuer.
type IssuerConfig struct {
	// Key signs; required, with CanSign. Its id becomes the kid header, left out if empty.
	Key Key
	// Issuer becomes iss; left out if empty.
	Issuer string
	// Audience becomes aud; left out if empty.
	Audience []string
	// Lifetime is how long tokens are good. 0: 24 h. At most 366 days.
	Lifetime time.Duration
	// Claims renames our claims. Zero: tenant_id, user_id, role.
	Claims ClaimNames
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Issuer makes signed tokens. It is safe for concurrent use.
type Issuer struct{ cfg IssuerConfig }

// NewIssuer checks cfg and reports every fault, joined.
func NewIssuer(cfg IssuerConfig) (*Issuer, error) {
	var faults []error
	if !cfg.Key.CanSign() {
		faults = append(faults, errors.New("auth: the issuer needs a key that can sign"))
	}
	cfg.Claims = cfg.Claims.withDefaults()
	if err := cfg.Claims.check(); err != nil {
		faults = append(faults, err)
	}
	if cfg.Lifetime == 0 {
		cfg.Lifetime = DefaultLifetime
	}
	if err := checkLifetime(cfg.Lifetime); err != nil {
		faults = append(faults, err)
	}
	for _, aud := range cfg.Audience {
		if aud == "" {
			faults = append(faults, errors.New("auth: an audience is empty"))
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Audience = append([]string(nil), cfg.Audience...)
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return &Issuer{cfg}, nil
}

func checkLifetime(d time.Duration) error {
	if d < time.Second || d > maxLifetime {
		return fmt.Errorf("auth: a token's lifetime is %s, may be from 1s to %s", d, maxLifetime)
	}
	return nil
}

// Grant is what a token is to say. The ids must be UUIDs in their usual form and the role a known one; anything
// else is refused.
type Grant struct {
	TenantID string
	UserID   string
	Role     Role
	// Lifetime, if not 0, replaces the issuer's.
	Lifetime time.Duration
}

// Issued is a new token and what to remember of it.
type Issued struct {
	// Token is the compact serialisation, for the Authorization header. It is a secret until it expires.
	Token Secret
	// ID is the jti: a UUIDv7, by which the token can be revoked.
	ID        string
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// Issue makes a token. It is good from now on; iat, nbf and exp are in whole seconds.
func (i *Issuer) Issue(g Grant) (Issued, error) {
	var faults []error
	tenant, err := ParseID(g.TenantID)
	if err != nil {
		faults = append(faults, fmt.Errorf("auth: tenant_id of the token: %w", err))
	}
	user, err := ParseID(g.UserID)
	if err != nil {
		faults = append(faults, fmt.Errorf("auth: user_id of the token: %w", err))
	}
	if _, err := ParseRole(string(g.Role)); err != nil {
		faults = append(faults, err)
	}
	lifetime := i.cfg.Lifetime
	if g.Lifetime != 0 {
		lifetime = g.Lifetime
		if err := checkLifetime(lifetime); err != nil {
			faults = append(faults, err)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return Issued{}, err
	}

	now := i.cfg.Now().UTC()
	second := now.Truncate(time.Second)
	id := newID(now)
	issued := Issued{ID: id.String(), IssuedAt: now.Truncate(time.Millisecond), ExpiresAt: second.Add(lifetime).Truncate(time.Second)}
	claims := jwt.MapClaims{
		i.cfg.Claims.TenantID: tenant.String(),
		i.cfg.Claims.UserID:   user.String(),
		i.cfg.Claims.Role:     string(g.Role),
		"iat":                 second.Unix(),
		"nbf":                 second.Unix(),
		"exp":                 issued.ExpiresAt.Unix(),
		"jti":                 issued.ID,
	}
	if i.cfg.Issuer != "" {
		claims["iss"] = i.cfg.Issuer
	}
	if len(i.cfg.Audience) == 1 {
		claims["aud"] = i.cfg.Audience[0] // RFC 7519 §4.1.3: the usual form for one
	} else if len(i.cfg.Audience) > 1 {
		claims["aud"] = i.cfg.Audience
	}
	token := jwt.NewWithClaims(i.cfg.Key.method, claims)
	if i.cfg.Key.id != "" {
		token.Header["kid"] = i.cfg.Key.id
	}
	text, err := token.SignedString(i.cfg.Key.sign)
	if err != nil {
		return Issued{}, fmt.Errorf("auth: signing a token with %s: %w", i.cfg.Key, err)
	}
	if len(text) > MaxTokenSize {
		return Issued{}, fmt.Errorf("auth: the token would have %d octets, may have %d: shorten the audience or the issuer", len(text), MaxTokenSize)
	}
	issued.Token = NewSecret(text)
	return issued, nil
}

// newID makes a UUIDv7 (RFC 9562 §5.7) for the moment now, which need not be the system clock's.
func newID(now time.Time) uuid.UUID {
	var id uuid.UUID
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(now.UnixMilli(), 0)))
	copy(id[:6], ms[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

// timeOfID returns the moment that a UUIDv7 was made at.
func timeOfID(id uuid.UUID) (time.Time, bool) {
	if id.Version() != 7 || id.Variant() != uuid.RFC4122 {
		return time.Time{}, false
	}
	var ms [8]byte
	copy(ms[2:], id[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:]))).UTC(), true
}

// MarshalJSON leaves the token out.
func (i Issued) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID        string    `json:"id"`
		IssuedAt  time.Time `json:"issued_at"`
		ExpiresAt time.Time `json:"expires_at"`
	}{i.ID, i.IssuedAt, i.ExpiresAt})
}
