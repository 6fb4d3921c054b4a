// Package auth says who is asking and what they may do, for any net/http program: it issues and verifies JSON Web
// Tokens, API keys and passwords, puts a verified Principal into the request's context, and decides by role, scope
// and row. It keeps no tables: users, keys and revocations are the program's, which auth asks through small
// interfaces. It does not limit rates and does not write an audit log; OnDecision hands every decision to those who do.
//
// The service's HTTP layer calls it, and so can any other program:
//
//	key, err := auth.NewHMACKey("2026-11", secret)              // 32 octets or more
//	verifier, err := auth.NewVerifier(ctx, auth.VerifierConfig{Keys: []auth.Key{key}})
//	guard, err := auth.New(auth.Config{Tokens: verifier})
//	mux.Handle("GET /orders", guard.Handler(auth.RequireRole(auth.RoleAdmin)(orders)))
//
// It follows RFC 6750 (bearer tokens), RFC 7515, 7517, 7518, 7519 and 8037 (JOSE), RFC 8725 (best practices for
// tokens), RFC 9106 (Argon2), RFC 9110 §11 (HTTP authentication) and RFC 9457 (problem details, for the default
// refusal). The whole manual is docs/auth.md.
package auth
