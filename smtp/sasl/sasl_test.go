package sasl_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"github.com/postrider/postrider/smtp/sasl"
)

const secret = "s3cr3t-pass"

func token(string) sasl.TokenSource {
	return func(context.Context, bool) (string, error) { return "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==", nil }
}

func choose(t *testing.T, c *sasl.Credentials, offered ...string) sasl.Mechanism {
	t.Helper()
	m, err := sasl.Choose(offered, true, c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func start(t *testing.T, m sasl.Mechanism) (string, bool) {
	t.Helper()
	initial, has, err := m.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(initial), has
}

func next(t *testing.T, m sasl.Mechanism, challenge string) string {
	t.Helper()
	response, err := m.Next(t.Context(), []byte(challenge))
	if err != nil {
		t.Fatal(err)
	}
	return string(response)
}

func TestChoose(t *testing.T) {
	t.Parallel()
	password := sasl.Credentials{Username: "u", Password: "p"}
	bearer := sasl.Credentials{Username: "u", Token: token("")}
	both := sasl.Credentials{Username: "u", Password: "p", Token: token("")}
	with := func(c sasl.Credentials, names ...string) sasl.Credentials { c.Mechanisms = names; return c }
	acting := password
	acting.Identity = "other"
	nameless := sasl.Credentials{Token: token("")}
	// SASLprep forbids U+1F600 (unassigned in Unicode 3.2); PLAIN can carry it.
	smiling := sasl.Credentials{Username: "u", Password: "\U0001F600"}
	tests := []struct {
		name    string
		offered string
		c       sasl.Credentials
		want    string // "": no mechanism in common
	}{
		{"best password mechanism", "LOGIN PLAIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256", password, "SCRAM-SHA-256"},
		{"second", "LOGIN PLAIN CRAM-MD5 SCRAM-SHA-1", password, "SCRAM-SHA-1"},
		{"third", "LOGIN PLAIN CRAM-MD5", password, "CRAM-MD5"},
		{"plain before login", "LOGIN PLAIN", password, "PLAIN"},
		{"login", "LOGIN", password, "LOGIN"},
		{"case and old prefix", "auth=login gssapi", password, "LOGIN"},
		{"token", "LOGIN PLAIN XOAUTH2 OAUTHBEARER", bearer, "OAUTHBEARER"},
		{"vendor token", "LOGIN PLAIN XOAUTH2", bearer, "XOAUTH2"},
		{"token without name", "XOAUTH2 OAUTHBEARER", nameless, "OAUTHBEARER"},
		{"XOAUTH2 needs a name", "XOAUTH2", nameless, ""},
		{"both", "XOAUTH2 PLAIN", both, "PLAIN"},
		{"own list sets the order", "SCRAM-SHA-256 PLAIN LOGIN", with(password, "login", "plain"), "LOGIN"},
		{"own list restricts", "SCRAM-SHA-256", with(password, "PLAIN"), ""},
		{"identity rules out", "LOGIN CRAM-MD5", acting, ""},
		{"identity fits", "LOGIN CRAM-MD5 PLAIN", acting, "PLAIN"},
		{"password that SASLprep forbids", "SCRAM-SHA-256 PLAIN", smiling, "PLAIN"},
		{"nothing offered", "", password, ""},
		{"nothing we know", "GSSAPI NTLM", password, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m, err := sasl.Choose(strings.Fields(test.offered), true, &test.c)
			if test.want == "" {
				none, ok := errors.AsType[*sasl.NoMechanismError](err)
				if !ok {
					t.Fatalf("got %v, %v; want a NoMechanismError", m, err)
				}
				if strings.ContainsAny(none.Error(), "\r\n") {
					t.Errorf("not one line: %q", none)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.Name() != test.want {
				t.Errorf("chose %s, want %s", m.Name(), test.want)
			}
			// Without TLS nothing that is in common may be used.
			if _, err := sasl.Choose(strings.Fields(test.offered), false, &test.c); !errors.Is(err, sasl.ErrUnencrypted) {
				t.Errorf("unencrypted: %v", err)
			}
		})
	}
	if _, err := sasl.Choose([]string{"SCRAM-SHA-256"}, true, &smiling); err == nil || strings.Contains(err.Error(), smiling.Password) {
		t.Errorf("a password that SASLprep forbids: %v", err)
	}
	if _, err := sasl.Choose([]string{"PLAIN"}, true, nil); err == nil {
		t.Error("nil credentials accepted")
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		c    sasl.Credentials
		want []string // each in the text; none: valid
	}{
		{"good", sasl.Credentials{Username: "u", Password: "p"}, nil},
		{"token only", sasl.Credentials{Token: token("")}, nil},
		{"empty", sasl.Credentials{}, []string{"neither a password nor a token"}},
		{
			"all at once",
			sasl.Credentials{Username: "a\x00", Password: secret + "\xff", Identity: "x\x01", Port: -1, Mechanisms: []string{"NTLM"}},
			[]string{"user name holds a NUL", "password is not UTF-8", "identity holds a control", "port -1", `"NTLM"`},
		},
		{"no user", sasl.Credentials{Password: secret}, []string{"needs a user name"}},
		{"list does not fit", sasl.Credentials{Username: "u", Password: "p", Mechanisms: []string{"XOAUTH2"}}, []string{"none of the mechanisms XOAUTH2"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := test.c.Validate()
			if (err == nil) != (test.want == nil) {
				t.Fatalf("got %v", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is missing in %q", want, err)
				}
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the password is in %q", err)
			}
		})
	}
}

func TestPlain(t *testing.T) {
	t.Parallel()
	// RFC 4616 §4, both examples.
	for want, c := range map[string]sasl.Credentials{
		"\x00tim\x00tanstaaftanstaaf":         {Username: "tim", Password: "tanstaaftanstaaf"},
		"Ursel\x00Kurt\x00xipj3plmq":          {Identity: "Ursel", Username: "Kurt", Password: "xipj3plmq"},
		"\x00z\u00f6\x00p\u00e4ss w\u00f6rd ": {Username: "z\u00f6", Password: "p\u00e4ss w\u00f6rd "},
	} {
		m := choose(t, &c, "PLAIN")
		if got, has := start(t, m); !has || got != want {
			t.Errorf("got %q", got)
		}
		if _, err := m.Next(t.Context(), nil); err == nil {
			t.Error("a challenge was answered")
		}
		if err := errors.Join(m.Accepted(), m.Refused()); err != nil {
			t.Error(err)
		}
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	c := sasl.Credentials{Username: "user", Password: secret}
	tests := []struct {
		prompts, want []string
	}{
		{[]string{"Username:", "Password:"}, []string{"user", secret}},
		{[]string{"User Name\x00", "Password\x00"}, []string{"user", secret}},
		{[]string{"", ""}, []string{"user", secret}},
		{[]string{"Benutzer", "Kennwort"}, []string{"user", secret}},
		{[]string{"PASSWORD:", "USERNAME:"}, []string{secret, "user"}},
		{[]string{"Username:", "Username:"}, []string{"user", ""}}, // "": refused
		{[]string{"a", "b", "c"}, []string{"user", secret, ""}},
	}
	for _, test := range tests {
		m := choose(t, &c, "LOGIN")
		if _, has := start(t, m); has {
			t.Fatal("initial response")
		}
		for i, prompt := range test.prompts {
			got, err := m.Next(t.Context(), []byte(prompt))
			if string(got) != test.want[i] || (err != nil) != (test.want[i] == "") {
				t.Errorf("%q: got %q, %v", prompt, got, err)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("secret in %q", err)
			}
		}
	}
}

func TestCramMD5(t *testing.T) {
	t.Parallel()
	// RFC 2195 §2.
	m := choose(t, &sasl.Credentials{Username: "tim", Password: "tanstaaftanstaaf"}, "CRAM-MD5")
	if _, has := start(t, m); has {
		t.Fatal("initial response")
	}
	if got := next(t, m, "<1896.697170952@postoffice.reston.mci.net>"); got != "tim b913a602c7eda7a495b4e6e7334d3890" {
		t.Errorf("got %q", got)
	}
	if _, err := m.Next(t.Context(), []byte("<again@example.com>")); err == nil {
		t.Error("a second challenge was answered")
	}
	for _, challenge := range []string{"", strings.Repeat("x", 5000)} {
		start(t, m)
		if _, err := m.Next(t.Context(), []byte(challenge)); err == nil {
			t.Errorf("a challenge of %d octets was answered", len(challenge))
		}
	}
}

func TestOAuthBearer(t *testing.T) {
	t.Parallel()
	// RFC 7628 §4.1 and, for the failure, §4.3.
	c := sasl.Credentials{Username: "user@example.com", Token: token(""), Host: "server.example.com", Port: 143}
	m := choose(t, &c, "OAUTHBEARER")
	got, has := start(t, m)
	want := "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
	if !has || base64.StdEncoding.EncodeToString([]byte(got)) != want {
		t.Errorf("got %q", got)
	}
	challenge, err := base64.StdEncoding.DecodeString("eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3BlbmlkLWNvbmZpZ3VyYXRpb24iOiJodHRwczovL2V4YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1jb25maWd1cmF0aW9uIn0=")
	if err != nil {
		t.Fatal(err)
	}
	if got := next(t, m, string(challenge)); got != "\x01" {
		t.Errorf("answer to the failure: %q", got)
	}
	refusal, ok := errors.AsType[*sasl.OAuthError](m.Refused())
	if !ok || refusal.Status != "invalid_token" || refusal.Scope != "example_scope" {
		t.Errorf("refusal: %#v", refusal)
	}
	if m.Accepted() == nil {
		t.Error("success after a refusal was believed")
	}
	if _, err := m.Next(t.Context(), nil); err == nil {
		t.Error("a second challenge was answered")
	}
	// Identity takes the user name's place, and is escaped (RFC 5801 §4).
	m = choose(t, &sasl.Credentials{Username: "u", Identity: "a,b=c", Token: token("")}, "OAUTHBEARER")
	if got, _ := start(t, m); !strings.HasPrefix(got, "n,a=a=2Cb=3Dc,\x01auth=Bearer ") {
		t.Errorf("got %q", got)
	}
}

func TestXOAuth2(t *testing.T) {
	t.Parallel()
	// The example of Google's page on XOAUTH2.
	c := sasl.Credentials{Username: "someuser@example.com", Token: func(context.Context, bool) (string, error) {
		return "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg", nil
	}}
	m := choose(t, &c, "XOAUTH2")
	got, has := start(t, m)
	if !has || base64.StdEncoding.EncodeToString([]byte(got)) != "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ==" {
		t.Errorf("got %q", got)
	}
	if got := next(t, m, `{"status":"400","schemes":"bearer mac","scope":"https://mail.google.com/"}`); got != "" {
		t.Errorf("answer to the failure: %q", got)
	}
	if err := m.Refused(); err == nil || !strings.Contains(err.Error(), "status 400 (scope https://mail.google.com/)") {
		t.Errorf("refusal: %v", err)
	}
	for challenge, want := range map[string]string{
		`{"status":401}`:             "status 401",
		`{"status":"bad\r\n250 ok"}`: "bad??250 ok",
		`not json`:                   "cannot be read",
		``:                           "cannot be read",
		`{"status":"` + strings.Repeat("x", 9999) + `"}`: "xxx",
	} {
		m := choose(t, &c, "XOAUTH2")
		start(t, m)
		next(t, m, challenge)
		if err := m.Refused(); err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 500 {
			t.Errorf("%q: %v", challenge, err)
		}
	}
}

func TestTokenRefresh(t *testing.T) {
	t.Parallel()
	var asked []bool
	c := sasl.Credentials{Username: "u", Token: func(_ context.Context, refresh bool) (string, error) {
		asked = append(asked, refresh)
		return "abc", nil
	}}
	m := choose(t, &c, "XOAUTH2")
	if sasl.Refreshable(m) {
		t.Error("refreshable before the start")
	}
	start(t, m)
	next(t, m, `{"status":"400"}`)
	if !sasl.Refreshable(m) {
		t.Error("not refreshable after the first refusal")
	}
	start(t, m)
	if err := errors.Join(m.Refused(), m.Accepted()); err != nil {
		t.Errorf("the first refusal is still there: %v", err)
	}
	if sasl.Refreshable(m) {
		t.Error("refreshable twice")
	}
	if !slices.Equal(asked, []bool{false, true}) {
		t.Errorf("asked with %v", asked)
	}
	if sasl.Refreshable(choose(t, &sasl.Credentials{Username: "u", Password: "p"}, "PLAIN")) {
		t.Error("a password is refreshable")
	}
}

func TestTokenFaults(t *testing.T) {
	t.Parallel()
	broken := errors.New("token server is down")
	for _, test := range []struct {
		token string
		err   error
	}{{"", nil}, {"abc\x01def", nil}, {"abc def", nil}, {"", broken}} {
		m := choose(t, &sasl.Credentials{Username: "u", Token: func(context.Context, bool) (string, error) { return test.token, test.err }}, "XOAUTH2")
		_, _, err := m.Start(t.Context())
		if err == nil || test.err != nil && !errors.Is(err, test.err) {
			t.Errorf("%q: %v", test.token, err)
		}
		if test.token != "" && strings.Contains(err.Error(), test.token) {
			t.Errorf("the token is in %q", err)
		}
	}
}

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

func TestCredentialsHideSecrets(t *testing.T) {
	t.Parallel()
	c := sasl.Credentials{Username: "user", Password: secret, Identity: "id", Token: token(""), Mechanisms: []string{"PLAIN"}}
	type outer struct {
		Auth *sasl.Credentials
		In   sasl.Credentials
	}
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "c", c, "p", &c)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "c", c, "p", &c, "o", outer{&c, c})
	asJSON, err := json.Marshal(outer{&c, c})
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{c.String(), c.GoString(), logged.String(), string(asJSON)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
		texts = append(texts, fmt.Sprintf(verb, c), fmt.Sprintf(verb, &c), fmt.Sprintf(verb, outer{&c, c}))
	}
	for _, text := range texts {
		for _, bad := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret)} {
			if strings.Contains(text, bad) {
				t.Errorf("the password is in %q", text)
			}
		}
	}
	if got := c.String(); got != `{Username:"user" Identity:"id" Password:[hidden] Token:[hidden] Mechanisms:["PLAIN"]}` {
		t.Errorf("got %s", got)
	}
}

func ExampleChoose() {
	c := &sasl.Credentials{Username: "tim", Password: "tanstaaftanstaaf"}
	m, err := sasl.Choose([]string{"LOGIN", "PLAIN"}, true, c)
	if err != nil {
		fmt.Println(err)
		return
	}
	initial, _, err := m.Start(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("AUTH %s %s\n", m.Name(), base64.StdEncoding.EncodeToString(initial))
	// Output: AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm
}
