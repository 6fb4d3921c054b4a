package api

import "time"

// APIKey is a key without its secret.
type APIKey struct { //nolint:revive // an API key is called that, whatever the package is
	ID         string     `json:"id" format:"uuid"`
	UserID     string     `json:"user_id" format:"uuid" doc:"In whose name it acts."`
	Name       string     `json:"name"`
	Role       string     `json:"role" enum:"user,admin" doc:"Counts as no more than the user's role."`
	Scope      string     `json:"scope" enum:"full,sending"`
	Test       bool       `json:"test" doc:"True for keys that send no real mail."`
	Networks   []string   `json:"networks" doc:"The only networks that it may be used from; empty: all."`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty"`
	RevokedAt  *time.Time `json:"revoked_at,omitempty"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty" doc:"To within a few seconds."`
}

// NewAPIKey is a key to be created.
type NewAPIKey struct {
	Name      string     `json:"name" minLength:"1" maxLength:"200" doc:"For people: where the key is used." example:"billing, production"`
	UserID    string     `json:"user_id,omitempty" format:"uuid" doc:"In whose name it shall act. Only admins may name somebody else. Default: the caller."`
	Role      string     `json:"role,omitempty" enum:"user,admin" doc:"No more than the caller's and the user's. Default: user."`
	Scope     string     `json:"scope,omitempty" enum:"full,sending" doc:"sending: may hand in messages and nothing else. Default: full."`
	Test      bool       `json:"test,omitempty" doc:"A key that begins with pr_test_ and sends no real mail."`
	Networks  []string   `json:"networks,omitempty" maxItems:"100" doc:"The only networks that it may be used from, such as 192.0.2.0/24. Default: all."`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"Default: never. A key made with a key ends no later than that."`
}

// CreatedAPIKey is a new key with its text, which is shown this once.
type CreatedAPIKey struct {
	APIKey
	Key string `json:"key" doc:"The key itself: keep it, it is not shown again."`
}

// APIKeyPatch renames a key.
type APIKeyPatch struct { //nolint:revive // an API key is called that, whatever the package is
	Name string `json:"name" minLength:"1" maxLength:"200"`
}

// APIKeys is a page of keys, newest first.
type APIKeys struct { //nolint:revive // an API key is called that, whatever the package is
	Data []APIKey `json:"data"`
	Next string   `json:"next,omitempty" doc:"Goes into after to get the next page; left out on the last one."`
}
