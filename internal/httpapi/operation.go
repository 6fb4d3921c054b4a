package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// operation is what one route of the API declares.
type operation struct {
	ID      string // in kebab-case, unique: "create-user"
	Method  string
	Path    string // with wildcards in braces
	Tag     string // the chapter of the document it stands in
	Summary string // one line
	Detail  string // more, if one line does not say all
	Access  access // required
	Status  int    // of success; 0: 200, or 204 if there is no body
	MaxBody int64  // octets; 0: Config.MaxBody
	Errors  []int  // statuses of its own, beside those that every operation can have
}

// Where the document says who may call an operation, and with which kinds of credentials.
const (
	rolesExtension = "x-postrider-roles"
	kindsExtension = "x-postrider-credentials"
)

// operationKey is where the operation stands in huma's Metadata.
const operationKey = "postrider-operation"

// bearerScheme is the name of the one security scheme in the document.
const bearerScheme = "bearer"

// register adds an operation: the one way to. It documents who may call it, guards it with the same value, and
// translates the handler's errors by the one table.
func register[I, O any](s *Server, op operation, handler func(ctx context.Context, in *I) (*O, error)) {
	if op.Access.isNone() || op.ID == "" || op.Summary == "" || op.Tag == "" {
		s.faults = append(s.faults, fmt.Errorf("httpapi: operation %s %s: ID, Tag, Summary and Access are required", op.Method, op.Path))
		return
	}
	if s.operations[op.ID] {
		s.faults = append(s.faults, fmt.Errorf("httpapi: two operations are called %q", op.ID))
	}
	s.operations[op.ID] = true
	h := huma.Operation{
		OperationID: op.ID, Method: op.Method, Path: op.Path, Tags: []string{op.Tag}, Summary: op.Summary, Description: op.Detail,
		DefaultStatus: op.Status,
		Errors:        append(usualErrors(op), op.Errors...),
		Metadata:      map[string]any{operationKey: op},
		Extensions:    map[string]any{rolesExtension: op.Access.words},
		// The chain bounds the body in size and time; huma only adds its own timeout for the same time.
		MaxBodyBytes:    -1,
		BodyReadTimeout: s.cfg.ReadTimeout,
		// A parameter that nothing reads is a mistake of the caller's that it wants to hear of.
		RejectUnknownQueryParameters: true,
	}
	if !op.Access.everyone {
		h.Security = []map[string][]string{{bearerScheme: {}}}
		h.Extensions[kindsExtension] = op.Access.kinds
	}
	huma.Register(s.huma, h, func(ctx context.Context, in *I) (*O, error) {
		out, err := handler(ctx, in)
		if err != nil {
			return nil, problemOf(err).finish(recordOf(ctx))
		}
		return out, nil
	})
}

// usualErrors are the statuses that any operation of this shape can answer with. huma adds 422 and 500 itself.
func usualErrors(op operation) []int {
	statuses := []int{http.StatusTooManyRequests, http.StatusServiceUnavailable}
	if !op.Access.everyone {
		statuses = append(statuses, http.StatusUnauthorized, http.StatusForbidden)
	}
	if strings.Contains(op.Path, "{") {
		statuses = append(statuses, http.StatusNotFound)
	}
	if op.Method != http.MethodGet && op.Method != http.MethodDelete {
		statuses = append(statuses, http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	slices.Sort(statuses)
	return statuses
}

// adapter is where huma hands over its routes. It puts each behind the guard of what it declared, and takes none that
// did not declare anything.
type adapter struct{ s *Server }

// Handle implements huma.Adapter.
func (a adapter) Handle(h *huma.Operation, handler func(huma.Context)) {
	op, declared := h.Metadata[operationKey].(operation)
	if !declared {
		a.s.faults = append(a.s.faults, fmt.Errorf("httpapi: %s %s was registered without saying who may call it", h.Method, h.Path))
		return
	}
	a.s.mux.Handle(op.Method+" "+op.Path, routed{a.s.admit(op, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler(humago.NewContext(h, r, w))
	}))})
}

// ServeHTTP implements huma.Adapter.
func (a adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.s.mux.ServeHTTP(w, r) }

// none is the input of an operation that takes nothing.
type none struct{}

// bodyOf is an answer, or a request, that is only a body.
type bodyOf[T any] struct{ Body T }

// answer wraps a body.
func answer[T any](body T, err error) (*bodyOf[T], error) {
	if err != nil {
		return nil, err
	}
	return &bodyOf[T]{Body: body}, nil
}
