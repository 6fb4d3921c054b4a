package api

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Problem is the answer to every request that failed (RFC 9457), with the media type application/problem+json. Client
// returns it as the error.
type Problem struct {
	Type   string `json:"type" doc:"A URI that names the kind of problem; about:blank if the status says all." example:"about:blank"`
	Title  string `json:"title" doc:"The same for every problem of this type." example:"Not Found"`
	Status int    `json:"status" doc:"The status of the answer." example:"404"`
	Detail string `json:"detail,omitempty" doc:"What is wrong and how to mend it, for people."`
	Code   Code   `json:"code" doc:"What is wrong, for programs: this word does not change." example:"not_found"`
	// RequestID is in the answer's X-Request-Id and in the service's log.
	RequestID string `json:"request_id,omitempty" doc:"Names the request in the log of the service."`
	// Errors are the parts of the request that are at fault, all at once.
	Errors []FieldError `json:"errors,omitempty" doc:"The parts of the request that are at fault."`
	// ViolatedPolicies are the names of the limits that refused, with CodeRateLimited.
	ViolatedPolicies []string `json:"violated-policies,omitempty" doc:"The limits that refused the request, by their names in RateLimit-Policy."`
	// RetryAfter is what the field Retry-After of the answer said; 0 if there was none. Only Client sets it.
	RetryAfter time.Duration `json:"-"`
}

// Temporary reports whether the same request may succeed later: after RetryAfter, or a second if that is 0. It was not
// carried out; only with the status 502 or 504, which proxies answer, is that unknown.
func (p *Problem) Temporary() bool {
	return p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable || p.Status == http.StatusBadGateway || p.Status == http.StatusGatewayTimeout
}

// FieldError is one part of a request that is at fault. It never repeats what was sent, but for what is wrong in a message: an
// address or a file name, cut short.
type FieldError struct {
	Pointer   string    `json:"pointer,omitempty" doc:"Where it is in the body, as a JSON Pointer (RFC 6901)." example:"/email"`
	Parameter string    `json:"parameter,omitempty" doc:"Which parameter of path, query or header it is." example:"limit"`
	Code      FieldCode `json:"code" doc:"What is wrong with it, for programs." example:"required"`
	Detail    string    `json:"detail,omitempty" doc:"What is wrong with it, for people."`
}

// Error tells status, code, detail and the fields at fault in one line.
func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", p.Status, p.Code)
	if p.Detail != "" {
		b.WriteString(": " + p.Detail)
	}
	for _, e := range p.Errors {
		fmt.Fprintf(&b, " [%s%s: %s]", e.Pointer, e.Parameter, e.Code)
	}
	if p.RequestID != "" {
		b.WriteString(" (request " + p.RequestID + ")")
	}
	return b.String()
}

// Code says what went wrong with a request. Each has one HTTP status.
type Code string

// The codes of this API. Those of refused credentials are the constants of package auth's Code: missing_credentials,
// invalid_token, expired_token, revoked_token, invalid_api_key, insufficient_role and so on.
const (
	CodeBadRequest         Code = "bad_request"            // 400: the request cannot be read
	CodeInvalidJSON        Code = "invalid_json"           // 400: the body is not JSON
	CodeBodyMissing        Code = "body_missing"           // 400: the operation needs a body
	CodeInvalidCursor      Code = "invalid_cursor"         // 400: after is not the next of an earlier answer
	CodeWrongCredentials   Code = "wrong_credentials"      // 401: unknown tenant or account, wrong password, or suspended
	CodeInvalidRefresh     Code = "invalid_refresh_token"  // 401: unknown, ended or expired refresh token
	CodeReusedRefresh      Code = "reused_refresh_token"   // 401: the refresh token was used before; its session has ended
	CodeForbidden          Code = "forbidden"              // 403: not allowed
	CodeNotFound           Code = "not_found"              // 404: there is no such thing, or it is not yours
	CodeMethodNotAllowed   Code = "method_not_allowed"     // 405: see Allow
	CodeNotAcceptable      Code = "not_acceptable"         // 406: Accept names nothing that can be answered
	CodeTimeout            Code = "request_timeout"        // 408: the body came too slowly
	CodeConflict           Code = "conflict"               // 409: it contradicts what is stored
	CodeLastAdmin          Code = "last_admin"             // 409: a tenant keeps one active admin
	CodeTooLarge           Code = "body_too_large"         // 413
	CodeURITooLong         Code = "uri_too_long"           // 414
	CodeUnsupportedMedia   Code = "unsupported_media_type" // 415
	CodeInvalid            Code = "invalid_request"        // 422: see errors
	CodeHeaderTooLarge     Code = "header_too_large"       // 431
	CodeRateLimited        Code = "rate_limited"           // 429: see Retry-After
	CodeInternal           Code = "internal_error"         // 500: the request id finds it in the service's log
	CodeUnavailable        Code = "unavailable"            // 503: for now; see Retry-After
	CodeLimiterUnavailable Code = "limiter_unavailable"    // 503: requests cannot be counted at present
)

// FieldCode says what is wrong with one field or parameter.
type FieldCode string

// The codes of fields.
const (
	FieldRequired    FieldCode = "required"     // it is missing
	FieldUnknown     FieldCode = "unknown"      // the operation knows no such field
	FieldType        FieldCode = "wrong_type"   // another JSON type is needed
	FieldTooShort    FieldCode = "too_short"    // too few characters or items
	FieldTooLong     FieldCode = "too_long"     // too many characters or items
	FieldOutOfRange  FieldCode = "out_of_range" // the number is too small or too large
	FieldNotOneOf    FieldCode = "not_one_of"   // it is none of the words allowed
	FieldFormat      FieldCode = "wrong_format" // it is no address, id, time, … as needed
	FieldInvalid     FieldCode = "invalid"      // it cannot be, see detail
	FieldTaken       FieldCode = "taken"        // another one has this value
	FieldNotAllowed  FieldCode = "not_allowed"  // the caller may not set it so
	FieldWrong       FieldCode = "wrong"        // it does not match what is stored
	FieldNotTogether FieldCode = "not_together" // it does not go with another field
)
