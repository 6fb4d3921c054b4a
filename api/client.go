package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ClientConfig configures a Client.
type ClientConfig struct {
	// URL is where the service is, such as https://mail.example; required.
	URL string
	// Token is an API key, an access token or the operator key. Empty: only Login and Refresh can be called.
	Token string
	// HTTPClient sends the requests. Nil: one with a timeout of 60 s.
	HTTPClient *http.Client
	// UserAgent names the program in the service's log. Empty: "postrider-go".
	UserAgent string
}

const (
	defaultClientTimeout = time.Minute
	defaultUserAgent     = "postrider-go"
	// maxAnswer is more than any answer of the service: a proxy that sends a film does not fill the memory.
	maxAnswer = 16 << 20
)

// Client calls a service. It is safe for concurrent use. It does not try again: Problem.Temporary says when that is
// worth it.
type Client struct {
	base  *url.URL
	token string
	http  *http.Client
	agent string
}

// NewClient checks cfg.
func NewClient(cfg ClientConfig) (*Client, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil || base.Scheme != "https" && base.Scheme != "http" || base.Host == "" || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("api: ClientConfig.URL is no URL of a service: write it as https://mail.example")
	}
	if base.User != nil {
		return nil, errors.New("api: ClientConfig.URL holds a password: credentials go into Token")
	}
	if strings.ContainsFunc(cfg.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("api: ClientConfig.Token holds spaces or other characters that no token has")
	}
	client := cfg.HTTPClient
	if client == nil {
		client = &http.Client{Timeout: defaultClientTimeout}
	}
	return &Client{base: base, token: cfg.Token, http: client, agent: cmp.Or(cfg.UserAgent, defaultUserAgent)}, nil
}

// WithToken is a Client of the same service for another credential.
func (c *Client) WithToken(token string) *Client {
	copied := *c
	copied.token = token
	return &copied
}

// String tells where the service is, and not the token.
func (c *Client) String() string { return "api client of " + c.base.String() }

// Do calls an operation that has no method here. in is the body, nil for none; out takes the answer, nil if it is of no
// interest. An answer that is not 2xx is a *Problem. path begins with a slash and may have a query.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	ref, err := url.Parse(path)
	if err != nil || !strings.HasPrefix(path, "/") {
		return fmt.Errorf("api: %.100q is no path", path)
	}
	target := c.base.JoinPath(ref.EscapedPath())
	target.RawQuery = ref.RawQuery
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("api: the request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	r.Header.Set("Accept", "application/json, application/problem+json")
	r.Header.Set("User-Agent", c.agent)
	resp, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read to its end, or is of no use
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("api: the answer to %s %s: %w", method, ref.Path, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return problemOf(resp, text)
	}
	if out == nil || len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("api: the answer to %s %s is not what this client knows: %w", method, ref.Path, err)
	}
	return nil
}

// problemOf reads a problem document. What is none, from a proxy say, becomes one with the status alone.
func problemOf(resp *http.Response, text []byte) *Problem {
	p := &Problem{}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind != "application/problem+json" || json.Unmarshal(text, p) != nil || p.Code == "" {
		p = &Problem{Type: "about:blank", Title: http.StatusText(resp.StatusCode), Code: Code("http_" + strconv.Itoa(resp.StatusCode))}
	}
	p.Status = resp.StatusCode
	p.RequestID = cmp.Or(p.RequestID, resp.Header.Get("X-Request-Id"))
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		p.RetryAfter = time.Duration(seconds) * time.Second
	}
	return p
}

// Login gets tokens for a password. WithToken makes a Client of them.
func (c *Client) Login(ctx context.Context, req LoginRequest) (Tokens, error) {
	return call[Tokens](ctx, c, http.MethodPost, "/v1/login", req)
}

// Refresh gets new tokens for a refresh token, once. A refresh token whose answer was lost is used up: log in again.
func (c *Client) Refresh(ctx context.Context, refreshToken string) (Tokens, error) {
	return call[Tokens](ctx, c, http.MethodPost, "/v1/refresh", RefreshRequest{RefreshToken: refreshToken})
}

// Logout ends the token and, with its refresh token, the session.
func (c *Client) Logout(ctx context.Context, refreshToken string) error {
	return c.Do(ctx, http.MethodPost, "/v1/logout", LogoutRequest{RefreshToken: refreshToken}, nil)
}

// Me tells who the caller is.
func (c *Client) Me(ctx context.Context) (Me, error) {
	return call[Me](ctx, c, http.MethodGet, "/v1/me", nil)
}

// ChangePassword sets the caller's password. All its sessions and tokens end.
func (c *Client) ChangePassword(ctx context.Context, req ChangePasswordRequest) error {
	return c.Do(ctx, http.MethodPost, "/v1/me/password", req, nil)
}

// RevokeTokens makes tokens bad before they expire.
func (c *Client) RevokeTokens(ctx context.Context, req RevokeTokensRequest) error {
	return c.Do(ctx, http.MethodPost, "/v1/tokens/revoke", req, nil)
}

// call is Do with a typed answer.
func call[T any](ctx context.Context, c *Client, method, path string, in any) (T, error) {
	var out T
	err := c.Do(ctx, method, path, in, &out)
	return out, err
}

// Page asks for a part of a list.
type Page struct {
	Limit int    // the greatest number of entries, at most 200; 0: 50
	After string // the Next of the page before; empty: the first page
}

// path adds the page to a path.
func (p Page) path(path string) string {
	q := url.Values{}
	if p.Limit != 0 {
		q.Set("limit", strconv.Itoa(p.Limit))
	}
	if p.After != "" {
		q.Set("after", p.After)
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}
