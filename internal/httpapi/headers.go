package httpapi

import "net/http"

// security are the values of the header fields that every answer has. They are shared by all answers: a handler may
// set another value, and nobody adds to one.
type security struct {
	nosniff, noStore, policy, referrer, resource, transport []string
}

func newSecurity() security {
	return security{
		nosniff:   []string{"nosniff"},
		noStore:   []string{"no-store"}, // answers are somebody's own
		policy:    []string{"default-src 'none'; frame-ancestors 'none'"},
		referrer:  []string{"no-referrer"},
		resource:  []string{"same-origin"},
		transport: []string{"max-age=31536000"}, // a year (RFC 6797 §6.1.1); sub-domains are not ours to bind
	}
}

// set puts the fields into an answer's header.
func (s *security) set(h http.Header, r *http.Request) {
	h["X-Content-Type-Options"] = s.nosniff
	h["Cache-Control"] = s.noStore
	h["Content-Security-Policy"] = s.policy
	h["Referrer-Policy"] = s.referrer
	h["Cross-Origin-Resource-Policy"] = s.resource
	if r.TLS != nil { // RFC 6797 §7.2: never over plain HTTP
		h["Strict-Transport-Security"] = s.transport
	}
}
