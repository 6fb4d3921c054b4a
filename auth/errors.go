package auth

import (
	"errors"
	"net/http"
)

// Code is a stable word for the reason of a refusal, made for the caller: it tells what the caller can mend and
// nothing that helps to forge. Each Code has one HTTP status and one sentence.
type Code string

// The codes.
const (
	CodeMissing        Code = "missing_credentials"        // 401: no Authorization header, or another scheme
	CodeInvalidRequest Code = "invalid_authorization"      // 401: the header is not RFC 6750's
	CodeInvalidToken   Code = "invalid_token"              // 401: the token is not one of ours, or not well-formed
	CodeExpiredToken   Code = "expired_token"              // 401: the token was good and has expired
	CodeRevoked        Code = "revoked_token"              // 401: the token was good and has been revoked
	CodeInvalidKey     Code = "invalid_api_key"            // 401: unknown key, wrong secret, mistyped or revoked
	CodeExpiredKey     Code = "expired_api_key"            // 401: the key was good and has expired
	CodeNotRegistered  Code = "not_registered"             // 403: verified, but tenant or user is unknown here
	CodeSuspended      Code = "suspended"                  // 403: verified, but tenant or user is suspended
	CodeRole           Code = "insufficient_role"          // 403: another role is needed
	CodeScope          Code = "insufficient_scope"         // 403: the credential is for sending only
	CodeKind           Code = "wrong_credential_kind"      // 403: another kind of credential is needed
	CodeNetwork        Code = "network_not_allowed"        // 403: the key may not be used from this address
	CodeAccess         Code = "access_denied"              // 403: the row is another's
	CodeUnavailable    Code = "authentication_unavailable" // 503: a store or the identity provider does not answer
)

// what is said and answered for each code.
func (c Code) facts() (status int, detail string) {
	switch c {
	case CodeMissing:
		return http.StatusUnauthorized, "This needs credentials: send the header Authorization: Bearer with a token or an API key."
	case CodeInvalidRequest:
		return http.StatusUnauthorized, "Send exactly one Authorization header, with the scheme Bearer and one token or API key."
	case CodeInvalidToken:
		return http.StatusUnauthorized, "The token is not valid here: get a new one."
	case CodeExpiredToken:
		return http.StatusUnauthorized, "The token has expired: get a new one."
	case CodeRevoked:
		return http.StatusUnauthorized, "The token has been revoked: log in again."
	case CodeInvalidKey:
		return http.StatusUnauthorized, "The API key is not valid: check that it was copied whole and has not been revoked."
	case CodeExpiredKey:
		return http.StatusUnauthorized, "The API key has expired: create a new one."
	case CodeNotRegistered:
		return http.StatusForbidden, "The token is valid, but its tenant or user is not registered here: ask the operator to add it."
	case CodeSuspended:
		return http.StatusForbidden, "The tenant or user is suspended: ask the operator."
	case CodeRole:
		return http.StatusForbidden, "Your role does not allow this: ask an admin of your tenant."
	case CodeScope:
		return http.StatusForbidden, "The API key may only be used for sending: use one with full access."
	case CodeKind:
		return http.StatusForbidden, "This needs another kind of credential."
	case CodeNetwork:
		return http.StatusForbidden, "The API key may not be used from this address: add its network to the key."
	case CodeAccess:
		return http.StatusForbidden, "You may not access this."
	case CodeUnavailable:
		return http.StatusServiceUnavailable, "Credentials cannot be checked at the moment: try again in a few seconds."
	}
	return http.StatusInternalServerError, "The request could not be authorised."
}

// Error is a refusal. Error() tells code and reason for logs; it holds no part of the credential. Answer callers
// with Code, Status and Detail only: Reason and the wrapped error help whoever probes.
type Error struct {
	Code   Code
	Reason Reason // finer than Code, for logs and audit
	Err    error  // the cause, nil if Reason says all
}

// Error tells code, reason and cause.
func (e *Error) Error() string {
	s := "auth: " + string(e.Code) + " (" + string(e.Reason) + ")"
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Status is the HTTP status of the refusal: 401, 403 or 503.
func (e *Error) Status() int {
	status, _ := e.Code.facts()
	return status
}

// Detail is one sentence for the caller: what is wrong and how to mend it.
func (e *Error) Detail() string {
	_, detail := e.Code.facts()
	return detail
}

func refusal(code Code, reason Reason) *Error { return &Error{Code: code, Reason: reason} }

// invalid refuses a token.
func invalid(reason Reason) *Error { return refusal(CodeInvalidToken, reason) }

// unavailable wraps a failure of a store or of the identity provider.
func unavailable(reason Reason, err error) *Error {
	return &Error{Code: CodeUnavailable, Reason: reason, Err: err}
}

// asError turns whatever a hook returned into a refusal.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return unavailable(ReasonHook, err)
}

// What the program's hooks answer with; each may be wrapped.
var (
	ErrNotRegistered = errors.New("auth: tenant or user is not registered")
	ErrSuspended     = errors.New("auth: tenant or user is suspended")
	ErrKeyNotFound   = errors.New("auth: no such API key")
)
