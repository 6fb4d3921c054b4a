package sasl_test

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"github.com/postrider/postrider/smtp/sasl"
)

func scramServer(t testing.TB, hash scram.HashGeneratorFcn, user, password string, iterations int) *scram.ServerConversation {
	t.Helper()
	client, err := hash.NewClient(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "0123456789abcdef", Iters: iterations})
	if err != nil {
		t.Fatal(err)
	}
	server, err := hash.NewServer(func(name string) (scram.StoredCredentials, error) {
		if name != user {
			return scram.StoredCredentials{}, errors.New("unknown user")
		}
		return stored, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return server.NewConversation()
}

func TestScramConversation(t *testing.T) {
	t.Parallel()
	for name, hash := range map[string]scram.HashGeneratorFcn{sasl.ScramSHA1: scram.SHA1, sasl.ScramSHA256: scram.SHA256} {
		for _, identity := range []string{"", "other,=user"} {
			server := scramServer(t, hash, "us=er,x", "p\u00e4ss", 4096)
			m := choose(t, &sasl.Credentials{Username: "us=er,x", Password: "p\u00e4ss", Identity: identity}, name)
			message, has := start(t, m)
			if !has || !strings.HasPrefix(message, "n,") {
				t.Fatalf("first message %q", message)
			}
			for !server.Done() {
				challenge, err := server.Step(message)
				if err != nil {
					t.Fatal(err)
				}
				if m.Accepted() == nil {
					t.Error("success was believed before the server's proof")
				}
				message = next(t, m, challenge)
			}
			if message != "" || !server.Valid() || server.AuthzID() != identity {
				t.Errorf("%s: message %q, valid %t, identity %q", name, message, server.Valid(), server.AuthzID())
			}
			if err := m.Accepted(); err != nil {
				t.Error(err)
			}
			if _, err := m.Next(t.Context(), nil); err == nil {
				t.Error("one challenge too many was answered")
			}
		}
	}
}

func TestScramHostileServer(t *testing.T) {
	t.Parallel()
	nonce := func(first string) string { return first[strings.Index(first, "r=")+2:] }
	tests := []struct {
		name  string
		reply func(nonce string) string
		final string // sent if the first reply was answered
	}{
		{"too many iterations", func(n string) string { return "r=" + n + "x,s=QSXCR+Q6sek8bf92,i=1000001" }, ""},
		{"absurd iterations", func(n string) string { return "r=" + n + "x,s=QSXCR+Q6sek8bf92,i=99999999999999999999" }, ""},
		{"too few iterations", func(n string) string { return "r=" + n + "x,s=QSXCR+Q6sek8bf92,i=1" }, ""},
		{"negative iterations", func(n string) string { return "r=" + n + "x,s=QSXCR+Q6sek8bf92,i=-4096" }, ""},
		{"other nonce", func(string) string { return "r=other,s=QSXCR+Q6sek8bf92,i=4096" }, ""},
		{"empty salt", func(n string) string { return "r=" + n + "x,s=,i=4096" }, ""},
		{"extension", func(n string) string { return "m=ext,r=" + n + "x,s=QSXCR+Q6sek8bf92,i=4096" }, ""},
		{"empty", func(string) string { return "" }, ""},
		{"huge", func(n string) string { return "r=" + n + strings.Repeat("x", 20000) + ",s=QSXCR+Q6sek8bf92,i=4096" }, ""},
		{"wrong signature", func(n string) string { return "r=" + n + "x,s=QSXCR+Q6sek8bf92,i=4096" }, "v=" + base64.StdEncoding.EncodeToString(make([]byte, 32))},
		{"empty signature", func(n string) string { return "r=" + n + "x,s=QSXCR+Q6sek8bf92,i=4096" }, "v="},
		{"error", func(n string) string { return "r=" + n + "x,s=QSXCR+Q6sek8bf92,i=4096" }, "e=invalid-proof"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := choose(t, &sasl.Credentials{Username: "user", Password: secret}, "SCRAM-SHA-256")
			first, _ := start(t, m)
			_, err := m.Next(t.Context(), []byte(test.reply(nonce(first))))
			if test.final != "" {
				if err != nil {
					t.Fatal(err)
				}
				_, err = m.Next(t.Context(), []byte(test.final))
			}
			if err == nil {
				t.Error("the server's message was taken")
			} else if strings.Contains(err.Error(), secret) {
				t.Errorf("the password is in %q", err)
			}
			if !errors.Is(m.Accepted(), sasl.ErrServerNotVerified) {
				t.Error("success was believed")
			}
		})
	}
	m := choose(t, &sasl.Credentials{Username: "user", Password: secret}, "SCRAM-SHA-256")
	if _, err := m.Next(t.Context(), nil); err == nil {
		t.Error("a challenge before the start was answered")
	}
	first, _ := start(t, m)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Next(ctx, []byte("r="+nonce(first)+"x,s=QSXCR+Q6sek8bf92,i=4096")); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}
