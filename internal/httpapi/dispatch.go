package httpapi

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/postrider/postrider/api"
)

// routed marks the handlers that are ours, among those that ServeMux makes up: 404, 405 and redirects.
type routed struct{ http.Handler }

// dispatch is step 7. ServeMux answers 404 and 405 in plain text and redirects paths that are not clean. Here several
// slashes are taken for one, since a base URL that ends in a slash is the commonest mistake, and the rest is 404.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.URL.Path, "//") {
		r = withSingleSlashes(r)
	}
	if s.cfg.Role == roleDelivery && !forMachines(r.URL.Path) {
		s.byAddress.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			writeProblem(w, r, newProblem(http.StatusNotFound, api.CodeNotFound, "This node has the role delivery and takes no requests: ask one with the role api or all."))
		})).ServeHTTP(w, r)
		return
	}
	found, _ := s.mux.Handler(r)
	if _, ours := found.(routed); ours {
		s.mux.ServeHTTP(w, r) // once more: only this sets the path's values
		return
	}
	s.byAddress.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, r, unrouted(w, r, found))
	})).ServeHTTP(w, r)
}

// The roles of a node that matter here.
const (
	roleAll      = "all"
	roleDelivery = "delivery"
)

// forMachines says whether a path is one of those that every node answers.
func forMachines(path string) bool {
	return path == "/healthz" || path == "/readyz" || path == "/metrics"
}

// unrouted asks ServeMux's own handler whether it is the method that is wrong.
func unrouted(w http.ResponseWriter, r *http.Request, found http.Handler) *problem {
	probe := &discard{header: http.Header{}}
	found.ServeHTTP(probe, r)
	if allow := probe.header.Get("Allow"); probe.status == http.StatusMethodNotAllowed && allow != "" {
		w.Header().Set("Allow", allow)
		return newProblem(probe.status, api.CodeMethodNotAllowed, "This path has other methods: see Allow.")
	}
	return notFound()
}

// discard takes an answer that nobody is to see.
type discard struct {
	header http.Header
	status int
}

// Header implements http.ResponseWriter.
func (d *discard) Header() http.Header { return d.header }

// WriteHeader implements http.ResponseWriter.
func (d *discard) WriteHeader(status int) { d.status = status }

// Write implements http.ResponseWriter.
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

// withSingleSlashes copies r: a handler does not change its request.
func withSingleSlashes(r *http.Request) *http.Request {
	copied := new(http.Request)
	*copied = *r
	copied.URL = new(url.URL)
	*copied.URL = *r.URL
	copied.URL.Path = singleSlashes(r.URL.Path)
	copied.URL.RawPath = singleSlashes(r.URL.RawPath)
	return copied
}

func singleSlashes(path string) string {
	var b strings.Builder
	for i := range len(path) {
		if path[i] != '/' || i == 0 || path[i-1] != '/' {
			b.WriteByte(path[i])
		}
	}
	return b.String()
}
