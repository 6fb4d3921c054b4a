package auth

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Role is what a principal may do inside its tenant. The empty Role is none and passes no check.
type Role string

// The roles. Words of any other spelling are refused wherever a role is read.
const (
	RoleUser  Role = "user"  // its own rows
	RoleAdmin Role = "admin" // every row of its tenant
)

// ParseRole reads a role, letter for letter: "Admin" and "admin " are unknown roles.
func ParseRole(s string) (Role, error) {
	switch r := Role(s); r {
	case RoleUser, RoleAdmin:
		return r, nil
	}
	return "", errUnknownRole
}

var errUnknownRole = errors.New("auth: unknown role; use user or admin")

// Kind is how a principal proved who it is.
type Kind string

// The kinds of credentials.
const (
	KindToken    Kind = "token"    // a JSON Web Token
	KindAPIKey   Kind = "api_key"  // an API key of a tenant
	KindOperator Kind = "operator" // the operator key: of the installation, of no tenant, without a role
)

// Scope bounds what a credential may be used for. The empty Scope is none and passes no check.
type Scope string

// The scopes.
const (
	ScopeFull    Scope = "full"    // all that the role may
	ScopeSending Scope = "sending" // only what RequireScope(ScopeSending) guards: handing in messages
)

// ParseScope reads a scope, letter for letter.
func ParseScope(s string) (Scope, error) {
	switch sc := Scope(s); sc {
	case ScopeFull, ScopeSending:
		return sc, nil
	}
	return "", errors.New("auth: unknown scope; use full or sending")
}

// Principal is a verified caller. The zero Principal is nobody and passes no check. It holds no secret.
type Principal struct {
	TenantID uuid.UUID `json:"tenant_id"` // uuid.Nil for the operator only
	UserID   uuid.UUID `json:"user_id"`   // uuid.Nil for the operator only
	Role     Role      `json:"role,omitempty"`
	Kind     Kind      `json:"kind"`
	Scope    Scope     `json:"scope"`
	// TokenID is the token's jti or the API key's id; empty for a token without jti.
	TokenID string `json:"token_id,omitempty"`
	// Issuer is the token's iss; empty if it has none and for other kinds.
	Issuer string `json:"issuer,omitempty"`
	// IssuedAt is when the token was made; zero if the token does not say and for other kinds. Tokens of this
	// package tell it to the millisecond, by their UUIDv7 jti; others to the second.
	IssuedAt time.Time `json:"issued_at,omitzero"`
	// ExpiresAt is when the credential ends; zero for one that does not.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// Test is true for keys that begin with pr_test_.
	Test bool `json:"test,omitempty"`
}

// String tells kind, tenant, user and role, for logs.
func (p Principal) String() string {
	if p.Kind == KindOperator {
		return string(p.Kind)
	}
	return fmt.Sprintf("%s %s of tenant %s by %s", p.Role, p.UserID, p.TenantID, p.Kind)
}

// HasRole reports whether p has one of the roles and full scope. Without roles it is false.
func (p Principal) HasRole(roles ...Role) bool { return checkRole(p, roles) == nil }

// HasScope reports whether p's credential may be used for scope: full covers sending.
func (p Principal) HasScope(scope Scope) bool { return checkScope(p, scope) == nil }

// MayAccess reports whether p may see and change row: a user its own rows, an admin every row of its own tenant,
// nobody a row of another tenant. The operator has no tenant and so no rows.
func (p Principal) MayAccess(row Row) bool { return checkAccess(p, row) == nil }

// Row says whose a stored row is.
type Row struct {
	TenantID uuid.UUID // uuid.Nil: nobody may access the row
	UserID   uuid.UUID // uuid.Nil: the row is the tenant's as a whole, which only its admins may access
}

// ParseID reads a UUID in its one usual form, 36 characters with hyphens (RFC 9562 §4), upper or lower case. The
// nil UUID is refused: it stands for "none" in this package. The other forms that uuid.Parse takes (urn:uuid:,
// braces, 32 digits) are refused, so that one id has one spelling apart from case.
func ParseID(s string) (uuid.UUID, error) {
	if len(s) != 36 {
		return uuid.Nil, errNotUUID
	}
	id, err := uuid.Parse(s) // of 36 characters it takes that form only
	if err != nil || id == uuid.Nil {
		return uuid.Nil, errNotUUID
	}
	return id, nil
}

var errNotUUID = errors.New("auth: not a UUID; use the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, not all zero")
