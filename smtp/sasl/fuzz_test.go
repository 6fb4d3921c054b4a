package sasl_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/postrider/postrider/smtp/sasl"
)

// FuzzChallenge lets a hostile server send any three challenges to each mechanism: nothing may panic, no error
// may hold a secret or a line break, and SCRAM must never believe such a server. In a challenge $NONCE stands
// for the client's nonce, so that the fuzzer gets past the first check.
func FuzzChallenge(f *testing.F) {
	const password, bearer = "hunter2-hunter2", "token-token-token"
	f.Add("SCRAM-SHA-256", "r=$NONCEx,s=QSXCR+Q6sek8bf92,i=4096", "v=AAAA", "")
	f.Add("SCRAM-SHA-1", "r=$NONCEx,s=QSXCR+Q6sek8bf92,i=4096", "e=other-error", "")
	f.Add("SCRAM-SHA-1", "m=x,r=$NONCE,s=,i=0", "v=", "v=")
	f.Add("CRAM-MD5", "<1896.697170952@postoffice.reston.mci.net>", "", "")
	f.Add("PLAIN", "", "", "")
	f.Add("LOGIN", "Username:", "Password:", "Again:")
	f.Add("OAUTHBEARER", `{"status":"invalid_token","scope":"x"}`, "", "")
	f.Add("XOAUTH2", `{"status":400,"schemes":null}`, "", "")
	f.Fuzz(func(t *testing.T, name, one, two, three string) {
		c := &sasl.Credentials{
			Username: "user", Password: password,
			Token: func(context.Context, bool) (string, error) { return bearer, nil },
		}
		m, err := sasl.Choose([]string{name}, true, c)
		if err != nil {
			return
		}
		initial, _, err := m.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, nonce, _ := strings.Cut(string(initial), "r=")
		for _, challenge := range []string{one, two, three} {
			// A derivation of many rounds is right but slow.
			if strings.HasPrefix(name, "SCRAM") && strings.Contains(challenge, "i=") && !strings.Contains(challenge, "i=4096") {
				challenge = strings.ReplaceAll(challenge, "i=", "i=0")
			}
			_, err := m.Next(t.Context(), []byte(strings.ReplaceAll(challenge, "$NONCE", nonce)))
			for _, err := range []error{err, m.Refused()} {
				if err != nil && (strings.Contains(err.Error(), password) || strings.Contains(err.Error(), bearer)) {
					t.Fatalf("a secret is in %q", err)
				}
				if err != nil && strings.ContainsAny(err.Error(), "\r\n\x00") {
					t.Fatalf("not one line: %q", err)
				}
			}
			if err != nil {
				break
			}
		}
		if strings.HasPrefix(m.Name(), "SCRAM") && !errors.Is(m.Accepted(), sasl.ErrServerNotVerified) {
			t.Fatal("a server that does not know the password was believed")
		}
	})
}
