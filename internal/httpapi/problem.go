package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strconv"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/ratelimit"
)

// problem is an answer that is an error: what the caller sees, and beside it what only the log does.
type problem struct {
	api.Problem
	retryAfter int   // seconds; 0: no such field
	cause      error // for the log
}

// GetStatus is what huma answers with.
func (p *problem) GetStatus() int { return p.Status }

// ContentType is the media type of problem documents, whatever huma negotiated: there is only JSON.
func (p *problem) ContentType(string) string { return problemType }

// GetHeaders are further header fields of the answer.
func (p *problem) GetHeaders() http.Header {
	if p.retryAfter == 0 {
		return nil
	}
	return http.Header{"Retry-After": {strconv.Itoa(p.retryAfter)}}
}

// Unwrap returns the cause.
func (p *problem) Unwrap() error { return p.cause }

const (
	problemType = "application/problem+json"
	blank       = "about:blank"

	// The registered types of problems with limits, and their titles (draft-ietf-httpapi-ratelimit-headers).
	typeQuotaExceeded    = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	titleQuotaExceeded   = "Request cannot be satisfied as assigned quota has been exceeded"
	typeReducedCapacity  = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
	titleReducedCapacity = "Request cannot be satisfied due to temporary server capacity constraints"

	// retryUnavailable is when to try again, in seconds, while a database or the like is away: a restart takes as long.
	retryUnavailable = 2
	// retryNoSpace is when to try again while a disk is full: until a person has seen to it.
	retryNoSpace = 30
)

// newProblem makes an answer of the plain kind.
func newProblem(status int, code api.Code, detail string, fields ...api.FieldError) *problem {
	return &problem{Problem: api.Problem{Type: blank, Title: http.StatusText(status), Status: status, Code: code, Detail: detail, Errors: fields}}
}

// because notes the cause for the log.
func (p *problem) because(err error) *problem {
	p.cause = err
	return p
}

// invalid is the answer to a request with fields that cannot be.
func invalid(fields ...api.FieldError) *problem {
	return newProblem(http.StatusUnprocessableEntity, api.CodeInvalid, "The request has fields that cannot be: see errors.", fields...)
}

// notFound is the one answer for what does not exist and for what is another tenant's.
func notFound() *problem {
	return newProblem(http.StatusNotFound, api.CodeNotFound, "There is no such thing here.")
}

// problemOf is the table from errors to answers. Whatever is not in it is a plain 500 that tells nothing.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		copied := *p // some are made once and answered to many
		return &copied
	}
	if e, ok := errors.AsType[*auth.Error](err); ok {
		p := newProblem(e.Status(), api.Code(e.Code), e.Detail()).because(e)
		if e.Status() == http.StatusServiceUnavailable {
			p.retryAfter = retryUnavailable
		}
		return p
	}
	if p := problemOfSubmission(err); p != nil {
		return p
	}
	if p := problemOfStore(err); p != nil {
		return p
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return newProblem(http.StatusRequestEntityTooLarge, api.CodeTooLarge, "The body is larger than "+strconv.FormatInt(tooLarge.Limit, 10)+" octets.")
	}
	switch {
	case errors.Is(err, auth.ErrPasswordShort), errors.Is(err, auth.ErrPasswordLong), errors.Is(err, auth.ErrPasswordText):
		return problemOfPassword(err)
	case errors.Is(err, ratelimit.ErrUnavailable):
		return limiterUnavailable(err)
	case errors.Is(err, context.DeadlineExceeded):
		return unavailable(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return newProblem(http.StatusRequestTimeout, api.CodeTimeout, "The body came too slowly: try again.")
	case errors.Is(err, context.Canceled): // the client has gone: nobody reads this, but the log line has a status
		return newProblem(statusClientGone, api.CodeBadRequest, "The request was canceled.")
	}
	return newProblem(http.StatusInternalServerError, api.CodeInternal,
		"Something went wrong in the service. The request id finds it in its log.").because(err)
}

// statusClientGone is what logs of web servers say of a client that did not wait for the answer.
const statusClientGone = 499

// unavailable is the answer while a part of the service is away.
func unavailable(cause error) *problem {
	p := newProblem(http.StatusServiceUnavailable, api.CodeUnavailable, "A part of the service is away for now: try again.").because(cause)
	p.retryAfter = retryUnavailable
	return p
}

// limiterUnavailable is the answer while requests cannot be counted and may not pass uncounted.
func limiterUnavailable(cause error) *problem {
	p := newProblem(http.StatusServiceUnavailable, api.CodeLimiterUnavailable, "Requests cannot be counted for now: try again.").because(cause)
	p.Type, p.Title, p.retryAfter = typeReducedCapacity, titleReducedCapacity, retryUnavailable
	return p
}

// rateLimited is the answer to a request too many. Retry-After and the fields about limits are set already.
func rateLimited(policy string) *problem {
	p := newProblem(http.StatusTooManyRequests, api.CodeRateLimited, "Too many requests: wait for the seconds of Retry-After.")
	p.Type, p.Title, p.ViolatedPolicies = typeQuotaExceeded, titleQuotaExceeded, []string{policy}
	return p
}

// problemOfPassword says why a new password cannot be used.
func problemOfPassword(err error) *problem {
	fault := api.FieldError{Pointer: "/new_password", Code: api.FieldTooShort, Detail: "The password is too short."}
	switch {
	case errors.Is(err, auth.ErrPasswordLong):
		fault.Code, fault.Detail = api.FieldTooLong, "The password is longer than 1024 octets."
	case errors.Is(err, auth.ErrPasswordText):
		fault.Code, fault.Detail = api.FieldFormat, "The password is not valid UTF-8."
	}
	return invalid(fault)
}

// finish puts the request id into p and notes code and cause for the log line.
func (p *problem) finish(rec *record) *problem {
	p.RequestID = rec.id
	rec.code = string(p.Code)
	if p.Status >= http.StatusInternalServerError {
		rec.cause = p.cause
	}
	return p
}

// writeProblem answers outside of huma.
func writeProblem(w http.ResponseWriter, r *http.Request, p *problem) {
	p = p.finish(recordOf(r.Context()))
	body, err := json.Marshal(&p.Problem)
	if err != nil { // strings and numbers: cannot happen
		body = []byte("{}")
	}
	h := w.Header()
	h.Set("Content-Type", problemType)
	if p.retryAfter > 0 && h.Get("Retry-After") == "" {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(append(body, '\n')) // the record keeps the error
	}
}
