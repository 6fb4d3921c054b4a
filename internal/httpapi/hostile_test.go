package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/store/storetest"
)

// hostile are texts that some layer below may choke on.
func hostile() []string {
	return []string{
		"\x00", "a\x00b", "\xff", "a\xc3", "\ufeff", "\u202e", "\ud7ff", "' or 1=1 --", `"; drop table users; --`, "%", "%s%n", "{{7*7}}", "${x}", "../../etc/passwd",
		"\r\nX-Role: admin", "\\u0000", "null", "NaN", "-1", "1e999", "9223372036854775808", strings.Repeat("a", 5000), strings.Repeat("é", 200), "🙂", "\t",
	}
}

// TestHostileTexts puts them wherever a caller can put a text: nothing answers 500, and every refusal is a problem
// document.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		t.Parallel()
		in := installOn(t, open())
		doc, all := in.operations()
		credentials := map[string]string{"admin": in.token(in.a.admin), "operator": in.operator.Reveal(), "everyone": ""}
		send := func(op operation, path string, body any, text string) {
			t.Helper()
			if op.ID == "suspend-tenant" || op.ID == "logout" {
				return
			}
			credential := credentials["admin"]
			for _, role := range op.Roles {
				if c, ok := credentials[role]; ok {
					credential = c
				}
			}
			w := in.call(op.method, path, credential, body)
			if w.Code >= 500 || w.Code >= 400 && w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s with %.60q: %d %s", op.method, path, text, w.Code, w.Body)
			}
		}
		for _, op := range all {
			for _, text := range hostile() {
				for _, p := range op.Parameters {
					switch p.In {
					case "query":
						send(op, strings.ReplaceAll(op.path, "{id}", in.a.user.ID.String())+"?"+url.Values{p.Name: {text}}.Encode(), nil, text)
					case "path":
						if text != "../../etc/passwd" && text != "." {
							send(op, strings.ReplaceAll(op.path, "{"+p.Name+"}", url.PathEscape(text)), nil, text)
						}
					}
				}
				body, optional := op.body(doc, in.a.user.ID.String())
				if body == nil || op.ID == "change-password" || op.ID == "create-user" && len(text) > 20 {
					continue
				}
				members, _ := body.(map[string]any)
				for name := range members {
					send(op, strings.ReplaceAll(op.path, "{id}", in.a.user.ID.String()), with(members, name, text), text)
				}
				for name := range optional {
					if !strings.Contains(name, "password") {
						send(op, strings.ReplaceAll(op.path, "{id}", in.a.user.ID.String()), with(members, name, text), text)
					}
				}
			}
		}
	})
}

// with is a body with one member changed.
func with(members map[string]any, name string, value any) map[string]any {
	changed := map[string]any{name: value}
	for n, v := range members {
		if n != name {
			changed[n] = v
		}
	}
	return changed
}

// FuzzRequest sends anything at all as a request of an admin: no panic, no 500, and refusals are problem documents.
func FuzzRequest(f *testing.F) {
	in := install(f)
	token := in.token(in.a.admin)
	doc, all := in.operations()
	for _, op := range all {
		for _, r := range op.requests(doc, in.a.user.ID.String())[:1] {
			text, err := json.Marshal(r.body)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(op.method, r.path, "application/json", "application/json", string(text))
		}
	}
	f.Add("OPTIONS", "//v1/../me?%zz", "text/plain;;", "*/*;q=x", "{")
	f.Add("PATCH", "/v1/tenant/settings", "application/json; charset=latin1", "", `{"retention_days":1e3,"on_unknown":null}`)
	f.Add("POST", "/v1/users", "a/b+json;x=+", "text/html", `{"email":"a@b","EMAIL":"c@d","email":"e@f"}`)
	f.Fuzz(func(t *testing.T, method, path, contentType, accept, body string) {
		if strings.HasSuffix(path, "/password") || strings.Contains(path, "revoke") || strings.Contains(path, "logout") {
			return // the credential would end
		}
		target, err := url.ParseRequestURI(path)
		if err != nil || !strings.HasPrefix(path, "/") || strings.ContainsAny(method, " \r\n\t") || method == "" {
			return // does not get as far as a handler
		}
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Method, r.URL, r.RequestURI = method, target, path
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Accept", accept)
		w := in.send(r)
		if w.Code == 500 || w.Code >= 400 && w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
	})
}
