package httpapi

import (
	"errors"
	"net/http"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/internal/store"
)

// problemOfStore is the part of the table about the store; nil if err is none of its errors.
func problemOfStore(err error) *problem {
	if conflict, ok := errors.AsType[*store.ConflictError](err); ok {
		return newProblem(http.StatusConflict, api.CodeConflict, "There is one with this value already: see errors.",
			api.FieldError{Pointer: "/" + conflict.Field, Code: api.FieldTaken, Detail: "Another one has this value."})
	}
	if bad, ok := errors.AsType[*store.InvalidError](err); ok {
		return invalid(api.FieldError{Pointer: "/" + bad.Field, Code: api.FieldInvalid, Detail: sentence(bad.Reason)})
	}
	if _, ok := errors.AsType[*store.CursorError](err); ok {
		return newProblem(http.StatusBadRequest, api.CodeInvalidCursor, "after is not the next of an earlier answer: start again without it.",
			api.FieldError{Parameter: "after", Code: api.FieldInvalid, Detail: "It is not the next of an earlier answer."})
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return notFound()
	case errors.Is(err, store.ErrLastAdmin):
		return newProblem(http.StatusConflict, api.CodeLastAdmin, "This is the tenant's last active admin: make another user admin first.")
	case errors.Is(err, store.ErrNoSpace):
		p := newProblem(http.StatusServiceUnavailable, api.CodeNoSpace, "The service's disk is full: nothing is taken in until its operator makes room.").because(err)
		p.retryAfter = retryNoSpace
		return p
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrDamaged):
		return unavailable(err)
	}
	return nil
}
