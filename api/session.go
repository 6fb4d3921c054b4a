package api

import "time"

// LoginRequest asks for tokens by password.
type LoginRequest struct {
	Tenant   string `json:"tenant" minLength:"1" maxLength:"63" doc:"The tenant's name or id." example:"acme"`
	Email    string `json:"email" minLength:"1" maxLength:"254" doc:"The user's address." example:"ann@example.com"`
	Password string `json:"password" minLength:"1" maxLength:"1024" doc:"The user's password."`
}

// Tokens are what a login and a refresh answer with.
type Tokens struct {
	AccessToken      string    `json:"access_token" doc:"Goes into the field Authorization of requests, after Bearer."`
	TokenType        string    `json:"token_type" enum:"Bearer" doc:"Always Bearer."`
	ExpiresAt        time.Time `json:"expires_at" doc:"When the access token ends."`
	ExpiresIn        int       `json:"expires_in" doc:"The same in seconds from now."`
	RefreshToken     string    `json:"refresh_token" doc:"Gets new tokens once, see /v1/refresh."`
	RefreshExpiresAt time.Time `json:"refresh_expires_at" doc:"When the refresh token ends."`
	TenantID         string    `json:"tenant_id" format:"uuid"`
	UserID           string    `json:"user_id" format:"uuid"`
	Role             string    `json:"role" enum:"user,admin"`
}

// RefreshRequest asks for new tokens. The refresh token can be used once: using it again ends the session, since one of
// the two who have it has stolen it.
type RefreshRequest struct {
	RefreshToken string `json:"refresh_token" minLength:"1" maxLength:"200" doc:"The newest one of the session."`
}

// LogoutRequest ends a session.
type LogoutRequest struct {
	RefreshToken string `json:"refresh_token,omitempty" maxLength:"200" doc:"Ends the session that this refresh token is of, too."`
}

// ChangePasswordRequest sets a new password for the caller. All sessions and tokens end, this one too.
type ChangePasswordRequest struct {
	CurrentPassword string `json:"current_password" minLength:"1" maxLength:"1024"`
	NewPassword     string `json:"new_password" minLength:"1" maxLength:"1024" doc:"At least 10 characters, at most 1024 octets."`
}

// Me is who the caller is, and what its credential may do.
type Me struct {
	Kind      string     `json:"kind" enum:"token,api_key,operator" doc:"How the caller proved who it is."`
	TenantID  string     `json:"tenant_id,omitempty" format:"uuid"`
	Tenant    string     `json:"tenant,omitempty" doc:"The tenant's name."`
	UserID    string     `json:"user_id,omitempty" format:"uuid"`
	Email     string     `json:"email,omitempty"`
	Name      string     `json:"name,omitempty"`
	Role      string     `json:"role,omitempty" enum:"user,admin"`
	Scope     string     `json:"scope,omitempty" enum:"full,sending"`
	TokenID   string     `json:"token_id,omitempty" doc:"The id of the token or of the API key."`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"When the credential ends, if it does."`
	Test      bool       `json:"test,omitempty" doc:"True for API keys that send no real mail."`
}

// RevokeTokensRequest makes access tokens bad before they expire: the one named, or all of a user's. Exactly one member
// is given.
type RevokeTokensRequest struct {
	TokenID string `json:"token_id,omitempty" maxLength:"200" pattern:"^[!-~]+$" doc:"The jti of one token. Users may revoke their own only."`
	UserID  string `json:"user_id,omitempty" format:"uuid" doc:"All tokens and sessions of this user so far. Users may name themselves only."`
}
