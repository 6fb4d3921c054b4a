package store

import (
	"net/netip"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
)

// ActorKind says in what way somebody acts.
type ActorKind string

// The kinds of actors.
const (
	ActorToken    ActorKind = "token"    // a user by a JSON Web Token
	ActorAPIKey   ActorKind = "api_key"  // a user by an API key
	ActorOperator ActorKind = "operator" // the operator key
	ActorCommand  ActorKind = "command"  // somebody at the command line of the server
	ActorSystem   ActorKind = "system"   // the service by itself
)

// Actor is who does something, for the audit entry that commits with it.
type Actor struct {
	Kind     ActorKind
	TenantID uuid.UUID // uuid.Nil for who belongs to no tenant
	UserID   uuid.UUID // uuid.Nil likewise
	TokenID  string    // the token's jti or the API key's id
	Role     string
	// Addr and UserAgent are personal data: they are kept apart and can be erased.
	Addr      netip.Addr
	UserAgent string
	RequestID string
}

// ActorOf is the actor that a verified caller is. Addr, UserAgent and RequestID are the caller's to fill in.
func ActorOf(p auth.Principal) Actor {
	return Actor{Kind: ActorKind(p.Kind), TenantID: p.TenantID, UserID: p.UserID, TokenID: p.TokenID, Role: string(p.Role)}
}
