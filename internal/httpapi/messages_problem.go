package httpapi

import (
	"errors"
	"math"
	"net/http"
	"os"
	"strings"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/internal/httpapi/intake"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/submission"
	"github.com/postrider/postrider/mail"
)

// problemOfMessage answers what is wrong with a message, with the places in the body that it came in. Other errors
// pass.
func problemOfMessage(err error, m *intake.Decoded) error {
	faults, ok := errors.AsType[mail.Faults](err)
	if !ok {
		return err
	}
	p := invalid(messageErrors(faults, m)...)
	p.Detail = "The message cannot be sent as it is: see errors."
	return p
}

// messageErrors are the faults of a message, by the places in the body.
func messageErrors(faults mail.Faults, m *intake.Decoded) []api.FieldError {
	out := make([]api.FieldError, len(faults))
	for i, f := range faults {
		out[i] = api.FieldError{Pointer: m.Pointer(f.Field), Code: fieldCode(f.Code), Detail: f.Detail}
	}
	return out
}

// fieldErrors are the faults of a body's shape.
func fieldErrors(faults []intake.Fault) []api.FieldError {
	var out []api.FieldError
	for _, f := range faults {
		out = append(out, api.FieldError{Pointer: f.Pointer, Parameter: f.Header, Code: fieldCode(f.Code), Detail: f.Detail})
	}
	return out
}

// fieldCode says a fault in the words that this API has for it; those of package mail have no other.
func fieldCode(code mail.FaultCode) api.FieldCode {
	switch code {
	case intake.CodeInvalidType:
		return api.FieldType
	case intake.CodeUnknownField:
		return api.FieldUnknown
	case mail.CodeConflict:
		return api.FieldNotTogether
	}
	return api.FieldCode(code)
}

// coveredBy tells whether one of the faults stands at the place, above it or below it.
func coveredBy(known []api.FieldError, pointer string) bool {
	for _, k := range known {
		if k.Pointer == pointer || strings.HasPrefix(pointer, k.Pointer+"/") || strings.HasPrefix(k.Pointer, pointer+"/") {
			return true
		}
	}
	return false
}

// problemOfSubmission is the part of the table about messages that are handed in; nil if err is none of its errors.
func problemOfSubmission(err error) *problem {
	if e, ok := errors.AsType[*intake.Error](err); ok {
		return problemOfIntake(e)
	}
	if quota, ok := errors.AsType[*store.QuotaError](err); ok {
		p := newProblem(http.StatusTooManyRequests, api.CodeQuotaExceeded, "The tenant's quota "+quota.Name+" is used up: wait for the seconds of Retry-After, or ask the operator for more.")
		p.Type, p.Title, p.ViolatedPolicies = typeQuotaExceeded, titleQuotaExceeded, []string{quota.Name}
		p.retryAfter = max(1, int(math.Ceil(quota.RetryAfter.Seconds())))
		return p
	}
	if key, ok := errors.AsType[*submission.KeyError](err); ok {
		return newProblem(http.StatusBadRequest, api.CodeInvalidKey, "The header field Idempotency-Key cannot be read.",
			api.FieldError{Parameter: "Idempotency-Key", Code: api.FieldFormat, Detail: sentence(key.Reason)})
	}
	if faults, ok := errors.AsType[mail.Faults](err); ok { // a relay that was taken away during a batch
		fields := make([]api.FieldError, len(faults))
		for i, f := range faults {
			fields[i] = api.FieldError{Pointer: "/" + f.Field, Code: fieldCode(f.Code), Detail: f.Detail}
		}
		return invalid(fields...)
	}
	switch {
	case errors.Is(err, store.ErrIdempotencyMismatch):
		return newProblem(http.StatusUnprocessableEntity, api.CodeIdempotencyMismatch, "This Idempotency-Key was used with another request in the last 24 hours: use a new one.")
	case errors.Is(err, store.ErrInFlight):
		p := newProblem(http.StatusConflict, api.CodeIdempotencyInFlight, "A request with this Idempotency-Key has not ended yet: try again.")
		p.retryAfter = 1
		return p
	case errors.Is(err, store.ErrClaimed):
		p := newProblem(http.StatusConflict, api.CodeMessageClaimed, "The message is being sent now: try again when the attempt has ended.")
		p.retryAfter = 1
		return p
	case errors.Is(err, store.ErrFinished):
		return newProblem(http.StatusConflict, api.CodeMessageFinished, "No recipient of the message is left for this.")
	case errors.Is(err, store.ErrInUse):
		return newProblem(http.StatusConflict, api.CodeRelayInUse, "Messages wait for this relay: cancel them, or wait until they are sent.")
	case errors.Is(err, store.ErrNotOwner):
		return newProblem(http.StatusForbidden, api.CodeForbidden, "The relay is the operator's to change.")
	case errors.Is(err, store.ErrContentGone):
		return newProblem(http.StatusGone, api.CodeContentGone, "The content was removed when its time was over.")
	}
	return nil
}

// problemOfIntake says why a body could not be read.
func problemOfIntake(e *intake.Error) *problem {
	detail := sentence(e.Detail)
	switch e.Kind {
	case intake.Malformed:
		p := newProblem(http.StatusBadRequest, api.CodeMalformed, detail)
		if e.Pointer != "" {
			p.Errors = []api.FieldError{{Pointer: e.Pointer, Code: api.FieldFormat, Detail: detail}}
		}
		return p
	case intake.Unsupported:
		return newProblem(http.StatusUnsupportedMediaType, api.CodeUnsupportedMedia, detail)
	case intake.TooLarge:
		return newProblem(http.StatusRequestEntityTooLarge, api.CodeTooLarge, detail)
	case intake.NoSpace:
		p := newProblem(http.StatusServiceUnavailable, api.CodeNoSpace, detail).because(e.Err)
		p.retryAfter = retryUnavailable
		return p
	}
	if errors.Is(e, os.ErrDeadlineExceeded) {
		return newProblem(http.StatusRequestTimeout, api.CodeTimeout, "The body came too slowly: try again.")
	}
	return newProblem(http.StatusBadRequest, api.CodeBadRequest, detail).because(e.Err)
}
