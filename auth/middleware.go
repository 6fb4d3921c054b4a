package auth

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Config configures the middleware. At least one of Tokens, APIKeys and Operator is required; a credential of a
// kind that is not configured is refused.
type Config struct {
	// Tokens verifies JSON Web Tokens.
	Tokens *Verifier
	// OtherTokens are asked, in order, about tokens that Tokens does not know: an identity provider beside tokens of
	// one's own, each with its own issuer, audience and claim names. They count only beside Tokens.
	OtherTokens []*Verifier
	// APIKeys verifies API keys, which begin with pr_.
	APIKeys *APIKeys
	// Operator is the hash of the operator key, which begins with pr_operator_. Zero: there is none.
	Operator KeyHash

	// Directory says whether a verified tenant and user are registered. It is asked about every token and API key,
	// not about the operator. It returns nil, ErrNotRegistered or ErrSuspended (both 403), or another error (503). A
	// program whose outside issuer is the authority registers them here and returns nil. Nil: all are registered.
	Directory func(ctx context.Context, p Principal) error
	// ClientAddr tells from which address a request comes, for the allowed networks of API keys. Nil: RemoteAddr,
	// which behind a proxy is the proxy's. An invalid address is in no network.
	ClientAddr func(r *http.Request) netip.Addr
	// Refuse answers refused requests. Nil: Problem.
	Refuse RefuseFunc
	// OnDecision sees every decision, also those that allow, before the request goes on. It must not block.
	OnDecision func(d Decision)
	// Realm is the protection space named in WWW-Authenticate (RFC 9110 §11.5). Empty: "api".
	Realm string
}

// Decision is one answer to "who is this" or "may they".
type Decision struct {
	Allowed bool
	Check   Check
	Reason  Reason
	Code    Code // empty if allowed
	// Principal is the zero Principal if none was verified. A refused principal is named when the credential was
	// good: one that is revoked, expired or forged names nobody.
	Principal Principal
	Request   *http.Request
	Err       error // the cause of the refusal as an *Error, nil if allowed
}

// Check is the question that a Decision answers.
type Check string

// The checks.
const (
	CheckCredential Check = "credential" // the middleware
	CheckOfRole     Check = "role"       // RequireRole
	CheckOfScope    Check = "scope"      // RequireScope
	CheckOfKind     Check = "kind"       // RequireKind
	CheckOfRow      Check = "row"        // CheckAccess
)

// Middleware verifies the credential of each request. It is safe for concurrent use.
type Middleware struct{ cfg Config }

// New checks cfg and reports every fault, joined.
func New(cfg Config) (*Middleware, error) {
	var faults []error
	if cfg.Tokens == nil && cfg.APIKeys == nil && cfg.Operator.IsZero() {
		faults = append(faults, errors.New("auth: middleware: nothing can be verified: give Tokens, APIKeys or Operator"))
	}
	if strings.ContainsAny(cfg.Realm, "\"\\") || strings.ContainsFunc(cfg.Realm, func(r rune) bool { return r < ' ' || r > '~' }) {
		faults = append(faults, errors.New("auth: middleware: Realm may hold printable ASCII without quotes and backslashes"))
	}
	if len(cfg.OtherTokens) > 0 && (cfg.Tokens == nil || slices.Contains(cfg.OtherTokens, nil)) {
		faults = append(faults, errors.New("auth: middleware: OtherTokens need Tokens before them, and none may be nil"))
	}
	cfg.OtherTokens = slices.Clone(cfg.OtherTokens)
	if cfg.Refuse == nil {
		cfg.Refuse = Problem
	}
	if cfg.ClientAddr == nil {
		cfg.ClientAddr = remoteAddr
	}
	if cfg.Realm == "" {
		cfg.Realm = defaultRealm
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return &Middleware{cfg}, nil
}

func remoteAddr(r *http.Request) netip.Addr {
	addr, _ := netip.ParseAddrPort(r.RemoteAddr)
	return addr.Addr()
}

// Handler lets requests with a good credential pass to next, with the Principal in their context, and refuses all
// others.
func (m *Middleware) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, err := m.authenticate(r)
		if err != nil {
			Refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Authenticate is Handler for frameworks that have their own chains: it returns r with the Principal in its
// context. When it fails it returns an *Error and r with what Refuse needs; answer with Refuse(w, r, err).
func (m *Middleware) Authenticate(r *http.Request) (*http.Request, error) {
	r, err := m.authenticate(r)
	if err != nil {
		return r, err
	}
	return r, nil
}

func (m *Middleware) authenticate(r *http.Request) (*http.Request, *Error) {
	p, err := m.verify(r)
	d := Decision{Allowed: err == nil, Check: CheckCredential, Reason: ReasonAuthenticated, Principal: p, Request: r}
	s := &state{guard: m, principal: p}
	if err != nil {
		d.Reason, d.Code, d.Err = err.Reason, err.Code, err
		s.principal = Principal{}
	}
	r = r.WithContext(context.WithValue(r.Context(), stateKey{}, s))
	s.request = r
	if m.cfg.OnDecision != nil {
		m.cfg.OnDecision(d)
	}
	return r, err
}

// verify finds out who r comes from. With an error of the Directory it still returns who it was.
func (m *Middleware) verify(r *http.Request) (Principal, *Error) {
	text, refused := bearer(r.Header)
	if refused != nil {
		return Principal{}, refused
	}
	p, refused := m.verifyText(r, text)
	if refused != nil || p.Kind == KindOperator || m.cfg.Directory == nil {
		return p, refused
	}
	switch err := m.cfg.Directory(r.Context(), p); {
	case err == nil:
		return p, nil
	case errors.Is(err, ErrNotRegistered):
		return p, &Error{Code: CodeNotRegistered, Reason: ReasonNotRegistered, Err: err}
	case errors.Is(err, ErrSuspended):
		return p, &Error{Code: CodeSuspended, Reason: ReasonSuspended, Err: err}
	default:
		return p, asError(err)
	}
}

// verifyText tells the kinds apart by how they begin. A token begins with the base64url of a brace, which is
// never pr_.
func (m *Middleware) verifyText(r *http.Request, text string) (Principal, *Error) {
	switch {
	case strings.HasPrefix(text, operatorPrefix):
		return verifyOperator(m.cfg.Operator, text)
	case strings.HasPrefix(text, keyPrefix):
		if m.cfg.APIKeys == nil {
			return Principal{}, refusal(CodeInvalidKey, ReasonNotAccepted)
		}
		return m.cfg.APIKeys.verify(r.Context(), text, m.cfg.ClientAddr(r))
	case m.cfg.Tokens == nil:
		return Principal{}, invalid(ReasonNotAccepted)
	}
	return m.verifyToken(r.Context(), text)
}

// verifyToken asks each verifier until one knows the token. Expired and revoked are said of tokens that are known,
// so they are final. If none knows it and one could not tell, that is the answer: the token may be good.
func (m *Middleware) verifyToken(ctx context.Context, text string) (Principal, *Error) {
	p, refused := m.cfg.Tokens.verify(ctx, text)
	for _, v := range m.cfg.OtherTokens {
		if refused == nil || refused.Code == CodeExpiredToken || refused.Code == CodeRevoked {
			break
		}
		next, err := v.verify(ctx, text)
		if err == nil || err.Code != CodeInvalidToken || refused.Code == CodeInvalidToken {
			p, refused = next, err
		}
	}
	return p, refused
}

// state is what the middleware leaves in a request's context.
type state struct {
	guard     *Middleware // nil for NewContext
	principal Principal   // zero: nobody
	request   *http.Request
}

type stateKey struct{}

func stateOf(ctx context.Context) *state {
	s, _ := ctx.Value(stateKey{}).(*state)
	if s == nil || s.guard == nil {
		return nil
	}
	return s
}

// FromContext returns the verified caller; ok is false if there is none.
func FromContext(ctx context.Context) (p Principal, ok bool) {
	s, _ := ctx.Value(stateKey{}).(*state)
	if s == nil || s.principal.Kind == "" {
		return Principal{}, false
	}
	return s.principal, true
}

// NewContext puts a principal into a context: for work that a program does in somebody's name outside of a
// request, and for tests of handlers. Inside a request it replaces the principal and keeps hooks and rendering.
func NewContext(ctx context.Context, p Principal) context.Context {
	s := &state{principal: p}
	if outer := stateOf(ctx); outer != nil {
		s.guard, s.request = outer.guard, outer.request
	}
	return context.WithValue(ctx, stateKey{}, s)
}

// decide tells OnDecision and returns err as an error.
func decide(ctx context.Context, check Check, allowed Reason, err *Error) error {
	s := stateOf(ctx)
	if s != nil && s.guard.cfg.OnDecision != nil {
		d := Decision{Allowed: err == nil, Check: check, Reason: allowed, Principal: s.principal, Request: s.request}
		if err != nil {
			d.Reason, d.Code, d.Err = err.Reason, err.Code, err
		}
		s.guard.cfg.OnDecision(d)
	}
	if err != nil {
		return err
	}
	return nil
}
