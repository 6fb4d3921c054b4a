package auth

import (
	"encoding/json"
	"net/http"
)

// RefuseFunc answers a refused request. Status and WWW-Authenticate (RFC 9110 §11.6.1) are e's: the header is set
// already, the status is to be written with e.Status(). What it shows of e should be Code and Detail only.
type RefuseFunc func(w http.ResponseWriter, r *http.Request, e *Error)

// Problem is the RefuseFunc used if none is given: a problem document (RFC 9457) with type, title, status, detail
// and the extension code.
func Problem(w http.ResponseWriter, _ *http.Request, e *Error) {
	status := e.Status()
	body, _ := json.Marshal(struct { // strings and a number: cannot fail
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Code   Code   `json:"code"`
	}{"about:blank", http.StatusText(status), status, e.Detail(), e.Code})
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// Refuse answers a request with err the way the middleware that it passed does: for handlers in which CheckAccess
// and its kin failed. An err that is no *Error becomes 503. Without the middleware it answers like Problem.
func Refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(err)
	s := stateOf(r.Context())
	realm, refuse := "", RefuseFunc(Problem)
	if s != nil {
		realm, refuse = s.guard.cfg.Realm, s.guard.cfg.Refuse
	}
	if challenge := challenge(realm, e); challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	// RFC 9111 §3.5 lets shared caches keep some answers to requests with credentials; none should keep this one.
	w.Header().Set("Cache-Control", "no-store")
	if e.Status() == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	refuse(w, r, e)
}

// challenge is the value of WWW-Authenticate (RFC 6750 §3). Without credentials it bears no error code (§3.1).
func challenge(realm string, e *Error) string {
	var code string
	switch e.Code {
	case CodeMissing:
	case CodeInvalidRequest:
		code = "invalid_request"
	case CodeRole, CodeScope:
		code = "insufficient_scope"
	default:
		if e.Status() != http.StatusUnauthorized {
			return ""
		}
		code = "invalid_token"
	}
	if realm == "" {
		realm = defaultRealm
	}
	s := `Bearer realm="` + realm + `"`
	if code != "" {
		s += `, error="` + code + `", error_description="` + e.Detail() + `"`
	}
	return s
}

const defaultRealm = "api"
