package auth_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/postrider/postrider/auth"
)

// Whatever holds a secret shows none, however it is printed, logged or marshalled, also inside other values.
func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	const text = "correct-horse-battery-staple-0123456789"
	hmac := must(auth.NewHMACKey("kid-1", []byte(text)))
	ed := testKeys()[auth.EdDSA]
	api := must(auth.GenerateAPIKey(id(tenantA), false))
	issued := must(issuerOf(t, auth.IssuerConfig{Key: hmac}).Issue(grantA()))
	operator, _ := auth.GenerateOperatorKey()
	for name, c := range map[string]struct {
		value  any
		secret []string
	}{
		"Secret":       {auth.NewSecret(text), []string{text}},
		"HMAC key":     {hmac, []string{text, "99 111 114", "636f7272"}},
		"Ed25519 key":  {ed, []string{"PrivateKey"}},
		"API key":      {api, []string{api.Reveal()[30:]}},
		"Issued":       {issued, []string{issued.Token.Reveal()}},
		"operator key": {operator, []string{operator.Reveal()[12:]}},
		"IssuerConfig": {auth.IssuerConfig{Key: hmac}, []string{text, "99 111 114", "636f7272"}},
	} {
		var printed bytes.Buffer
		for _, value := range []any{c.value, &c.value, []any{c.value}, map[string]any{"k": c.value}, struct{ V any }{c.value}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				fmt.Fprintf(&printed, verb, value)
			}
			if name != "IssuerConfig" { // it holds a function
				printed.Write(must(json.Marshal(value)))
			}
			slog.New(slog.NewJSONHandler(&printed, nil)).Info("x", "v", value)
			slog.New(slog.NewTextHandler(&printed, nil)).Info("x", "v", value)
		}
		for _, secret := range c.secret {
			if strings.Contains(printed.String(), secret) {
				t.Errorf("%s shows %q", name, secret)
			}
		}
	}
	if auth.NewSecret(text).Reveal() != text || !auth.NewSecret("").IsZero() {
		t.Error("Reveal or IsZero")
	}
	if got := hmac.String(); got != `HS256 key "kid-1"` {
		t.Errorf("key prints %s", got)
	}
}
