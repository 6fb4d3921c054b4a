package sasl_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

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
