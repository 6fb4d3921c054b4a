package auth

import (
	"net/http"
	"strings"
)

// Bearer takes the credential out of a request's header (RFC 6750 §2.1): there must be exactly one Authorization
// field, its scheme Bearer in any case (RFC 9110 §11.1), and behind it one b64token. It never looks at the query
// string, the body or cookies: URLs end up in logs, and cookies are sent by whoever can link to us. The error is an
// *Error with 401.
func Bearer(header http.Header) (Secret, error) {
	text, err := bearer(header)
	if err != nil {
		return Secret{}, err
	}
	return NewSecret(text), nil
}

func bearer(header http.Header) (string, *Error) {
	values := header["Authorization"]
	switch len(values) {
	case 0:
		return "", refusal(CodeMissing, ReasonNoHeader)
	case 1:
	default: // which of them a proxy before us looked at is unknown
		return "", refusal(CodeInvalidRequest, ReasonManyHeaders)
	}
	scheme, rest, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || !isASCII(scheme) { // EqualFold folds the Kelvin sign too
		return "", refusal(CodeMissing, ReasonScheme)
	}
	token := strings.TrimLeft(rest, " ") // RFC 9110 §11.4: 1*SP
	if len(token) > MaxTokenSize {
		return "", invalid(ReasonTooLong)
	}
	if !isB64Token(token) {
		return "", refusal(CodeInvalidRequest, ReasonSyntax)
	}
	return token, nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// isB64Token: 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"=". The comma is not in it, and so two
// fields that a proxy joined are refused like two fields.
func isB64Token(s string) bool {
	s = strings.TrimRight(s, "=")
	if s == "" {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-', c == '.', c == '_', c == '~', c == '+', c == '/':
		default:
			return false
		}
	}
	return true
}
