package sasl_test

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/smtp/sasl"
)

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
