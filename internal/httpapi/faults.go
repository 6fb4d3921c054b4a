package httpapi

import (
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/api"
)

// installErrors makes huma's own errors ours. huma keeps the two functions in variables of its package, so this is
// done once in a program, before the first route is registered, and is the same for every Server.
func installErrors() { installOnce.Do(install) }

var installOnce sync.Once //nolint:gochecknoglobals // huma's variables are global, so is the guard of their writing

func install() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return humaProblem(status, msg, errs)
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		p := humaProblem(status, msg, errs)
		if ctx == nil {
			return p
		}
		return p.finish(recordOf(ctx.Context()))
	}
}

// humaProblem translates what huma found wrong with a request. huma's texts and details may hold what the caller sent;
// none of that passes.
func humaProblem(status int, msg string, errs []error) *problem {
	for _, err := range errs { // a body that could not be read arrives as 500 with its cause
		if _, ok := errors.AsType[*huma.ErrorDetail](err); !ok && err != nil {
			return problemOf(err)
		}
	}
	switch status {
	case http.StatusBadRequest:
		if msg == "request body is required" {
			return newProblem(status, api.CodeBodyMissing, "This operation needs a JSON body.")
		}
		return newProblem(status, api.CodeInvalidJSON, "The body is not valid JSON in UTF-8.")
	case http.StatusNotAcceptable:
		return newProblem(status, api.CodeNotAcceptable, "Answers are application/json.")
	case http.StatusRequestTimeout:
		return newProblem(status, api.CodeTimeout, "The body came too slowly: try again.")
	case http.StatusRequestEntityTooLarge:
		return newProblem(status, api.CodeTooLarge, "The body is too large.")
	case http.StatusUnsupportedMediaType:
		return newProblem(status, api.CodeUnsupportedMedia, "The body must be application/json.")
	case http.StatusUnprocessableEntity:
		fields := make([]api.FieldError, 0, len(errs))
		for _, err := range errs {
			if d, ok := errors.AsType[*huma.ErrorDetail](err); ok {
				fields = append(fields, fieldError(d))
			}
		}
		return invalid(fields...)
	}
	return newProblem(http.StatusInternalServerError, api.CodeInternal,
		"Something went wrong in the service. The request id finds it in its log.").because(errors.New("huma: " + msg))
}

// fieldError says what huma found wrong with one field, from the words of its own that are known to hold nothing of
// the caller's.
func fieldError(d *huma.ErrorDetail) api.FieldError {
	var fault api.FieldError
	place, rest, _ := strings.Cut(d.Location, ".")
	switch place {
	case "path", "query", "header", "cookie":
		fault.Parameter = knownName(rest)
	default:
		fault.Pointer = pointer(d.Location)
	}
	fault.Code, fault.Detail = fieldFault(d.Message)
	switch fault.Code {
	case api.FieldRequired: // huma points at the object; we point at what is missing in it
		if name, ok := strings.CutPrefix(d.Message, "expected required property "); ok {
			fault.Pointer += "/" + knownName(strings.TrimSuffix(name, " to be present"))
		}
	case api.FieldUnknown:
		if place == "query" {
			fault.Pointer = ""
		}
	}
	return fault
}

// fieldFault is the table from huma's messages to codes and our words.
func fieldFault(msg string) (api.FieldCode, string) {
	has := func(prefix string) bool { return strings.HasPrefix(msg, prefix) }
	switch {
	case has("expected required property"), has("required "):
		return api.FieldRequired, "It is required."
	case has("unexpected property"), has("unknown query parameter"):
		return api.FieldUnknown, "This operation knows no such field."
	case has("expected length >= "), has("expected array length >= "):
		return api.FieldTooShort, sentence(msg)
	case has("expected length <= "), has("expected array length <= "):
		return api.FieldTooLong, sentence(msg)
	case has("expected number >"), has("expected number <"):
		return api.FieldOutOfRange, sentence(msg)
	case has("expected value to be one of"):
		return api.FieldNotOneOf, sentence(msg)
	case has("expected string to be "), has("expected string to match"):
		// What stands behind the colon is an error of a parser, which may quote its input.
		head, _, _ := strings.Cut(msg, ":")
		return api.FieldFormat, sentence(head)
	case has("expected array items to be unique"):
		return api.FieldInvalid, sentence(msg)
	case has("expected boolean"), has("expected number"), has("expected integer"), has("expected string"), has("expected array"), has("expected object"),
		has("invalid integer"), has("invalid float"), has("invalid boolean"):
		return api.FieldType, sentence(msg)
	}
	return api.FieldInvalid, "It is not valid."
}

// sentence makes huma's words one.
func sentence(msg string) string {
	return strings.ToUpper(msg[:1]) + msg[1:] + "."
}

// pointer turns body.to[0].name into /to/0/name (RFC 6901). Names that nobody would give a field are left out with all
// that follows: they were made up by the caller.
func pointer(location string) string {
	rest := strings.TrimPrefix(location, "body")
	var b strings.Builder
	for part := range strings.FieldsFuncSeq(rest, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		name := knownName(part)
		if name == "" {
			break
		}
		b.WriteString("/" + name)
	}
	return b.String()
}

// knownName returns a name if it looks like a field of ours, or an index, and nothing otherwise.
func knownName(name string) string {
	const longest = 40
	if name == "" || len(name) > longest || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '-'
	}) {
		return ""
	}
	return name
}
