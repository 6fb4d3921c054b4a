package inbox

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

//go:embed pages/*.html pages/*.css
var pages embed.FS

// Handler gives the inbox's pages and its JSON:
//
//	GET /                            the list
//	GET /messages/{id}               a message
//	GET /messages/{id}/raw           its octets as they arrived
//	GET /messages/{id}/html          its HTML alone, without scripts
//	GET /messages/{id}/parts/{part}  a part, decoded
//	GET /api/messages, /api/messages/{id}; DELETE /api/messages
//
// What arrived is foreign: HTML is shown in a sandbox without scripts, frames
// or anything from the network (its links open in a new page), of the other
// parts only images are shown and the rest is downloaded, and requests that
// name another host (DNS rebinding) are refused.
func (s *Store) Handler() (http.Handler, error) {
	t, err := template.New("").Funcs(template.FuncMap{"size": sizeText}).ParseFS(pages, "pages/*.html")
	if err != nil {
		return nil, err
	}
	h := &handler{store: s, pages: t}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.list)
	mux.HandleFunc("GET /style.css", h.style)
	mux.HandleFunc("GET /messages/{id}", h.message)
	mux.HandleFunc("GET /messages/{id}/raw", h.raw)
	mux.HandleFunc("GET /messages/{id}/html", h.html)
	mux.HandleFunc("GET /messages/{id}/parts/{part}", h.part)
	mux.HandleFunc("GET /api/messages", h.apiList)
	mux.HandleFunc("GET /api/messages/{id}", h.apiMessage)
	mux.HandleFunc("DELETE /api/messages", h.apiClear)
	protect := http.NewCrossOriginProtection()
	return guard(protect.Handler(mux)), nil
}

type handler struct {
	store *Store
	pages *template.Template
}

// guard sets the headers that keep foreign content harmless, and refuses names
// that another site may have pointed at this address.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil && !strings.EqualFold(host, "localhost") {
			http.Error(w, "call this server by its IP address or as localhost: other names are refused, since foreign pages can make one point here (DNS rebinding)", http.StatusForbidden)
			return
		}
		h := w.Header()
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func (h *handler) list(w http.ResponseWriter, _ *http.Request) {
	h.page(w, "list.html", h.store.List())
}

func (h *handler) style(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, pages, "pages/style.css")
}

func (h *handler) page(w http.ResponseWriter, name string, data any) {
	var b bytes.Buffer
	if err := h.pages.ExecuteTemplate(&b, name, data); err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // the browser may go away
}

func (h *handler) message(w http.ResponseWriter, r *http.Request) {
	v, err := h.store.View(number(r, "id"))
	if err != nil {
		refuse(w, err)
		return
	}
	h.page(w, "message.html", v)
}

func (h *handler) raw(w http.ResponseWriter, r *http.Request) {
	f, err := h.store.Open(number(r, "id"))
	if err != nil {
		refuse(w, err)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.Copy(w, f) // the browser may go away
}

func (h *handler) html(w http.ResponseWriter, r *http.Request) {
	id := number(r, "id")
	v, err := h.store.View(id)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Security-Policy", "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = inlineURLs(v).WriteString(w, v.HTML)
	// Links that a developer clicks open beside the inbox. At the end, since before a
	// doctype it would change how the page is laid out.
	_, _ = io.WriteString(w, `<base target="_blank">`)
}

// inlineURLs puts our own URLs in place of cid: URLs (RFC 2392).
func inlineURLs(v *View) *strings.Replacer {
	ours := make(map[string]string)
	for _, p := range v.Parts {
		if p.ContentID != "" {
			to := fmt.Sprintf("/messages/%d/parts/%d", v.ID, p.Index)
			ours["cid:"+p.ContentID], ours["cid:"+url.QueryEscape(p.ContentID)] = to, to
		}
	}
	// Of two that begin alike the longer comes first, or it would never be found.
	var pairs []string
	for _, from := range slices.SortedFunc(maps.Keys(ours), func(a, b string) int { return len(b) - len(a) }) {
		pairs = append(pairs, from, ours[from])
	}
	return strings.NewReplacer(pairs...)
}

// shownImage reports a type that browsers show without running anything.
func shownImage(mediaType string) bool {
	switch mediaType {
	case "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp":
		return true
	}
	return false
}

func (h *handler) part(w http.ResponseWriter, r *http.Request) {
	begun := false
	err := h.store.WritePart(number(r, "id"), number(r, "part"), func(p Part) {
		begun = true
		disposition := "attachment"
		if shownImage(p.MediaType) {
			disposition = "inline"
			w.Header().Set("Content-Type", p.MediaType)
			// The sandbox that shows the HTML has an origin of its own.
			w.Header().Set("Cross-Origin-Resource-Policy", "cross-origin")
		} else {
			w.Header().Set("Content-Type", "application/octet-stream")
		}
		name := p.Filename
		if name == "" {
			name = fmt.Sprintf("part-%d", p.Index)
		}
		w.Header().Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": name}))
	}, w)
	switch {
	case err != nil && begun:
		// A part that ends too early must not look whole: net/http's way to break off.
		panic(http.ErrAbortHandler)
	case err != nil:
		refuse(w, err)
	}
}

func (h *handler) apiList(w http.ResponseWriter, _ *http.Request) {
	list := h.store.List()
	if list == nil {
		list = []Message{}
	}
	answer(w, map[string]any{"messages": list})
}

func (h *handler) apiMessage(w http.ResponseWriter, r *http.Request) {
	v, err := h.store.View(number(r, "id"))
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, v)
}

func (h *handler) apiClear(w http.ResponseWriter, _ *http.Request) {
	if err := h.store.Clear(); err != nil {
		refuse(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // the client may go away
}

func refuse(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if errors.Is(err, ErrNoMessage) {
		status = http.StatusNotFound
	}
	http.Error(w, err.Error(), status)
}

// number reads a number of the path; what is none finds nothing.
func number(r *http.Request, name string) int {
	n, err := strconv.Atoi(r.PathValue(name))
	if err != nil {
		return -1
	}
	return n
}

func sizeText(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KB", float64(n)/(1<<10))
	default:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	}
}
