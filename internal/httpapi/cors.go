package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/rs/cors"
)

// CORS says which web pages of other origins may call the API from a browser.
type CORS struct {
	// Origins are exact: "https://mail.example" or "http://localhost:3000", without a path and without wildcards.
	// Empty: no page of another origin may.
	Origins []string
	// Credentials lets browsers send cookies and client certificates too. The API uses neither: bearer tokens work
	// without.
	Credentials bool
}

// preflightAge is how long a browser may remember the answer to a preflight, in seconds. Chromium takes no more.
const preflightAge = 7200

// check names every origin that is none.
func (c CORS) check() error {
	var faults []error
	for _, origin := range c.Origins {
		switch u, err := url.Parse(origin); {
		case origin == "" || strings.Contains(origin, "*") || origin == "null":
			faults = append(faults, fmt.Errorf("httpapi: CORS: %q would let any page in: name each origin, such as https://mail.example", origin))
		case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Scheme+"://"+u.Host != origin || strings.ToLower(origin) != origin:
			faults = append(faults, fmt.Errorf("httpapi: CORS: %.100q is no origin: write scheme, host and port in lower case, without a path, such as https://mail.example", origin))
		}
	}
	return errors.Join(faults...)
}

// handler puts the CORS protocol around next. rs/cors takes an empty list for every origin, so it is never given one.
func (c CORS) handler(next http.Handler) http.Handler {
	if len(c.Origins) == 0 {
		return next
	}
	return cors.New(cors.Options{
		AllowedOrigins:   c.Origins,
		AllowCredentials: c.Credentials,
		AllowedMethods:   []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions},
		AllowedHeaders:   []string{"Accept", "Authorization", "Content-Type", "Idempotency-Key", "Prefer", "X-Request-Id"},
		ExposedHeaders: []string{
			"RateLimit", "RateLimit-Policy", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After",
			"X-Request-Id", "Location", "Preference-Applied", "WWW-Authenticate",
		},
		MaxAge: preflightAge,
	}).Handler(next)
}
