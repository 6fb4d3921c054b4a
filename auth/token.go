package auth

import (
	"encoding/base64"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth/internal/strictjson"
)

// MaxTokenSize is the longest token in octets that is looked at; longer ones are refused unread.
const MaxTokenSize = 8 << 10

// maxHeaderSize bounds the part that is read before the signature is checked. Ours have some 60 octets, those of
// identity providers some 150.
const maxHeaderSize = 2 << 10

// compact is a token taken apart but not believed (RFC 7515 §7.1).
type compact struct {
	alg       string
	kid       string
	hasKid    bool
	input     string // what is signed: header and payload as written
	payload   string // still base64url
	signature []byte
}

// parseCompact splits a token and reads its header strictly. It does not look at the claims: they are read when
// the signature has been found good, so that a stranger cannot make us parse them.
func parseCompact(token string) (compact, *Error) {
	if len(token) > MaxTokenSize {
		return compact{}, invalid(ReasonTooLong)
	}
	header, rest, ok := strings.Cut(token, ".")
	if !ok {
		return compact{}, invalid(ReasonFormat)
	}
	payload, signature, ok := strings.Cut(rest, ".")
	if !ok || strings.Contains(signature, ".") || len(header) > maxHeaderSize {
		return compact{}, invalid(ReasonFormat)
	}
	c := compact{input: token[:len(header)+1+len(payload)], payload: payload}
	if c.signature, ok = decodeSegment(signature); !ok {
		return compact{}, invalid(ReasonFormat)
	}
	text, ok := decodeSegment(header)
	if !ok {
		return compact{}, invalid(ReasonFormat)
	}
	members, err := strictjson.Object(text)
	if err != nil {
		return compact{}, &Error{Code: CodeInvalidToken, Reason: ReasonFormat, Err: err}
	}
	if reason := c.readHeader(members); reason != "" {
		return compact{}, invalid(reason)
	}
	return c, nil
}

// readHeader takes alg and kid. Unknown parameters are ignored, as RFC 7515 §4 asks; those that would change
// what is signed or with which key are refused.
func (c *compact) readHeader(members strictjson.Members) Reason {
	for _, m := range members {
		switch string(m.Name) {
		case "crit", "b64": // RFC 7515 §4.1.11, RFC 7797: extensions that we would have to understand
			return ReasonForbidden
		case "jku", "jwk", "x5u", "x5c": // RFC 8725 §3.10: a token does not choose who vouches for it
			return ReasonForbidden
		case "alg":
			if c.alg, _ = strictjson.String(m.Value); c.alg == "" {
				return ReasonHeader
			}
		case "kid":
			var ok bool
			if c.kid, ok = strictjson.String(m.Value); !ok || len(c.kid) > maxKeyID {
				return ReasonHeader
			}
			c.hasKid = true
		case "typ": // RFC 8725 §3.11, RFC 9068 §2.1
			typ, ok := strictjson.String(m.Value)
			typ = strings.ToLower(typ)
			if !ok || typ != "jwt" && typ != "at+jwt" && typ != "application/at+jwt" {
				return ReasonHeader
			}
		}
	}
	if c.alg == "" {
		return ReasonHeader
	}
	return ""
}

// decodeSegment decodes base64url without padding, refusing what encoding/base64 would skip (CR and LF) and bits
// that are left over: one value has one spelling.
func decodeSegment(s string) ([]byte, bool) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, err == nil
}

// tokenClaims are the claims that we look at, each of the right type.
type tokenClaims struct {
	tenant, user           uuid.UUID
	role                   Role
	exp, nbf, iat          int64
	hasExp, hasNbf, hasIat bool
	jti, iss               string
	aud                    []string
}

// maxClaim bounds the strings that we keep or compare.
const maxClaim = 1024

// readClaims reads the payload of a token whose signature is good.
func (v *Verifier) readClaims(payload string) (tokenClaims, *Error) {
	text, ok := decodeSegment(payload)
	if !ok {
		return tokenClaims{}, invalid(ReasonFormat)
	}
	members, err := strictjson.Object(text)
	if err != nil {
		return tokenClaims{}, &Error{Code: CodeInvalidToken, Reason: ReasonClaims, Err: err}
	}
	var c tokenClaims
	for _, m := range members {
		if !c.readRegistered(string(m.Name), m.Value) {
			return tokenClaims{}, invalid(ReasonClaimType)
		}
	}
	names := v.cfg.Claims
	if c.tenant, ok = idClaim(members, names.TenantID); !ok {
		return tokenClaims{}, invalid(ReasonTenantID)
	}
	if c.user, ok = idClaim(members, names.UserID); !ok {
		return tokenClaims{}, invalid(ReasonUserID)
	}
	if c.role, ok = v.roleClaim(members); !ok {
		return tokenClaims{}, invalid(ReasonRole)
	}
	return c, nil
}

// readRegistered takes a claim of RFC 7519 §4.1 and reports whether it has the right type. Others pass.
func (c *tokenClaims) readRegistered(name string, value []byte) (ok bool) {
	switch name {
	case "exp":
		c.exp, c.hasExp = strictjson.Seconds(value)
		return c.hasExp
	case "nbf":
		c.nbf, c.hasNbf = strictjson.Seconds(value)
		return c.hasNbf
	case "iat":
		c.iat, c.hasIat = strictjson.Seconds(value)
		return c.hasIat
	case "jti":
		c.jti, ok = strictjson.String(value)
		return ok && c.jti != "" && len(c.jti) <= maxClaim
	case "iss":
		c.iss, ok = strictjson.String(value)
		return ok && len(c.iss) <= maxClaim
	case "sub":
		_, ok = strictjson.String(value)
		return ok
	case "aud":
		var one string
		if one, ok = strictjson.String(value); ok {
			c.aud = []string{one}
			return true
		}
		c.aud, ok = strictjson.Strings(value)
		return ok && len(c.aud) > 0 // an audience of nobody
	}
	return true
}

func idClaim(members strictjson.Members, name string) (uuid.UUID, bool) {
	value, ok := members.Get(name)
	if !ok {
		return uuid.Nil, false
	}
	text, ok := strictjson.String(value)
	if !ok {
		return uuid.Nil, false
	}
	id, err := ParseID(text)
	return id, err == nil
}

// roleClaim reads the role: a string, as it stands or by way of the configured names. An array is refused even if
// it holds one role: which of several would count is nobody's to guess.
func (v *Verifier) roleClaim(members strictjson.Members) (Role, bool) {
	value, ok := members.Get(v.cfg.Claims.Role)
	if !ok {
		return "", false
	}
	text, ok := strictjson.String(value)
	if !ok {
		return "", false
	}
	if v.cfg.Roles != nil {
		role, ok := v.cfg.Roles[text]
		return role, ok
	}
	role, err := ParseRole(text)
	return role, err == nil
}

// principal is who the claims speak for.
func (c *tokenClaims) principal() Principal {
	p := Principal{
		TenantID: c.tenant, UserID: c.user, Role: c.role, Kind: KindToken, Scope: ScopeFull,
		TokenID: c.jti, Issuer: c.iss, ExpiresAt: time.Unix(c.exp, 0).UTC(),
	}
	if !c.hasIat {
		return p
	}
	p.IssuedAt = time.Unix(c.iat, 0).UTC()
	// iat has whole seconds. Our jti knows the millisecond, which tells a token made just before "revoke all" from
	// one made just after. It counts only inside iat's second.
	if id, err := ParseID(c.jti); err == nil {
		if at, ok := timeOfID(id); ok && at.Unix() == c.iat {
			p.IssuedAt = at
		}
	}
	return p
}
