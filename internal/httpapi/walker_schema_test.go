package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// document is what the walker reads of /openapi.json.
type document struct {
	OpenAPI    string                          `json:"openapi"`
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
}

type operation struct {
	ID          string                `json:"operationId"`
	Roles       []string              `json:"x-postrider-roles"`
	Kinds       []string              `json:"x-postrider-credentials"`
	Security    []map[string][]string `json:"security"`
	Summary     string                `json:"summary"`
	Responses   map[string]any        `json:"responses"`
	Parameters  []parameter           `json:"parameters"`
	RequestBody *struct {
		Content map[string]struct {
			Schema schema `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"`
	method, path string
}

type parameter struct {
	Name   string `json:"name"`
	In     string `json:"in"`
	Schema schema `json:"schema"`
}

type schema struct {
	Ref        string            `json:"$ref"`
	Type       any               `json:"type"`
	Format     string            `json:"format"`
	Enum       []any             `json:"enum"`
	Examples   []any             `json:"examples"`
	MinLength  int               `json:"minLength"`
	Minimum    float64           `json:"minimum"`
	Required   []string          `json:"required"`
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
}

// operations reads the document of an installation.
func (in *installation) operations() (document, []operation) {
	in.t.Helper()
	w := in.call(http.MethodGet, "/openapi.json", "", nil)
	doc := read[document](in.t, w, 200)
	var all []operation
	for path, methods := range doc.Paths {
		for method, op := range methods {
			op.method, op.path = strings.ToUpper(method), path
			all = append(all, op)
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return doc, all
}

// request is one way of calling an operation.
type request struct {
	path string
	body any
	more string // what was given beside what is required, for messages
}

// requests are all ways of calling op about the row with an id: with what is required only, and with each optional
// parameter and each optional member beside. Every place that could take an id gets it.
func (op operation) requests(doc document, id string) []request {
	path := op.path
	var queries []parameter
	for _, p := range op.Parameters {
		switch p.In {
		case "path":
			path = strings.ReplaceAll(path, "{"+p.Name+"}", id)
		case "query":
			queries = append(queries, p)
		}
	}
	body, optional := op.body(doc, id)
	list := []request{{path: path, body: body, more: "nothing"}}
	for _, p := range queries {
		value := fmt.Sprint(doc.value(p.Name, p.Schema, id))
		list = append(list, request{path: path + "?" + url.Values{p.Name: {value}}.Encode(), body: body, more: p.Name})
	}
	for name, value := range optional {
		with := map[string]any{name: value}
		for n, v := range body.(map[string]any) {
			with[n] = v
		}
		list = append(list, request{path: path, body: with, more: name})
	}
	return list
}

// takesID reports whether an id can be put anywhere into a call of op.
func (op operation) takesID(doc document) bool {
	const mark = "0192f000-0000-7000-8000-0000000000ff"
	return strings.Contains(fmt.Sprint(op.requests(doc, mark)), mark)
}

// body makes a JSON body with what is required, and says what else could be in it. nil: the operation takes none.
func (op operation) body(doc document, id string) (body any, optional map[string]any) {
	if op.RequestBody == nil {
		return nil, nil
	}
	content, isJSON := op.RequestBody.Content["application/json"]
	if !isJSON {
		return nil, nil
	}
	s := doc.resolve(content.Schema)
	message := map[string]any{"from": "shop@example.com", "to": []string{"zoe@example.net"}, "text_body": "x"}
	if op.ID == "send-batch" {
		return []any{message}, nil
	}
	required, optional := map[string]any{}, map[string]any{}
	if op.ID == "send-message" || op.ID == "validate-message" { // their schema cannot say that one of several is required
		required = message
	}
	for name, property := range s.Properties {
		if slices.Contains(s.Required, name) {
			required[name] = doc.value(name, property, id)
		} else if name != "$schema" && required[name] == nil {
			optional[name] = doc.value(name, property, id)
		}
	}
	return required, optional
}

func (doc document) resolve(s schema) schema {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		return doc.resolve(doc.Components.Schemas[name])
	}
	return s
}

// value makes a value that a schema allows; an id wherever one could stand.
func (doc document) value(name string, s schema, id string) any {
	s = doc.resolve(s)
	switch {
	case len(s.Enum) > 0:
		return s.Enum[0]
	case name == "message_id" || name == "envelope_id" || name == "content_id" || name == "mail_from": // words of mail, not ids of ours
		return "walker@example.com"
	case name == "send_at": // not too far ahead
		return time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	case s.Format == "date-time":
		return "2098-01-02T03:04:05Z"
	case strings.Contains(name, "password"):
		return "a password of the walker"
	case strings.Contains(name, "email"): // never the same twice: that one is taken is not what is asked
		return uuid.NewString() + "@walker.example"
	case name == "name": // likewise
		return "walker-" + uuid.NewString()
	case name == "networks":
		return []string{"192.0.2.0/24"}
	}
	kind := fmt.Sprint(s.Type)
	switch {
	case strings.Contains(kind, "string"):
		switch {
		case s.Format == "uuid", strings.HasSuffix(name, "id"), name == "actor", name == "target":
			return id
		case len(s.Examples) > 0:
			return s.Examples[0]
		}
		return strings.Repeat("x", max(s.MinLength, 1))
	case strings.Contains(kind, "integer"), strings.Contains(kind, "number"):
		return int(max(s.Minimum, 1))
	case strings.Contains(kind, "boolean"):
		return true
	case strings.Contains(kind, "array"):
		if s.Items == nil {
			return []any{}
		}
		return []any{doc.value(name, *s.Items, id)}
	case strings.Contains(kind, "object"):
		object := map[string]any{}
		for n, p := range s.Properties {
			if slices.Contains(s.Required, n) {
				object[n] = doc.value(n, p, id)
			}
		}
		return object
	}
	return nil
}

// TestDocument: what /openapi.json says of itself.
func TestDocument(t *testing.T) {
	t.Parallel()
	in := install(t)
	doc, all := in.operations()
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") || len(all) < 25 {
		t.Fatalf("version %s, %d operations", doc.OpenAPI, len(all))
	}
	ids := map[string]bool{}
	for _, op := range all {
		if op.ID == "" || ids[op.ID] || op.Summary == "" {
			t.Errorf("%s %s: operationId %q, summary %q", op.method, op.path, op.ID, op.Summary)
		}
		ids[op.ID] = true
		open := slices.Equal(op.Roles, []string{"everyone"})
		if len(op.Roles) == 0 || open != (len(op.Security) == 0) || open != (len(op.Kinds) == 0) {
			t.Errorf("%s: roles %v, credentials %v, security %v", op.ID, op.Roles, op.Kinds, op.Security)
		}
		for _, status := range []string{"429", "500", "503"} {
			if op.Responses[status] == nil {
				t.Errorf("%s does not document %s", op.ID, status)
			}
		}
	}
	if !json.Valid(in.server.OpenAPI()) {
		t.Error("OpenAPI is no JSON")
	}
}
