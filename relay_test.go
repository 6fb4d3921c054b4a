package postrider_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtp"
)

func TestParseRelay(t *testing.T) {
	for _, c := range []struct {
		url  string
		want postrider.Relay
		text string
	}{
		{"smtp://user:pass@mail.example.com:587", postrider.Relay{Host: "mail.example.com", Port: 587, TLSMode: smtp.TLSStartTLS, Username: "user", Password: "pass"}, "smtp://user:***@mail.example.com:587"},
		{"smtp://mail.example.com", postrider.Relay{Host: "mail.example.com", Port: 587, TLSMode: smtp.TLSStartTLS}, "smtp://mail.example.com:587"},
		{"smtps://u:p@mail.example.com", postrider.Relay{Host: "mail.example.com", Port: 465, TLSMode: smtp.TLSImplicit, Username: "u", Password: "p"}, "smtps://u:***@mail.example.com:465"},
		{"smtp://localhost?tls=none", postrider.Relay{Host: "localhost", Port: 25, TLSMode: smtp.TLSNone}, "smtp://localhost:25?tls=none"},
		{"smtp://localhost:2525/?tls=ssl", postrider.Relay{Host: "localhost", Port: 2525, TLSMode: smtp.TLSImplicit}, "smtps://localhost:2525"},
		{"smtp://[::1]:25", postrider.Relay{Host: "::1", Port: 25, TLSMode: smtp.TLSStartTLS}, "smtp://[::1]:25"},
		{"SMTP://a%40b.example:p%2Fq%23%40@h:1", postrider.Relay{Host: "h", Port: 1, TLSMode: smtp.TLSStartTLS, Username: "a@b.example", Password: "p/q#@"}, "smtp://a%40b.example:***@h:1"},
		{"smtp://u:p@h?auth=plain,login", postrider.Relay{Host: "h", Port: 587, TLSMode: smtp.TLSStartTLS, Username: "u", Password: "p", Mechanisms: []string{"PLAIN", "LOGIN"}}, "smtp://u:***@h:587?auth=PLAIN%2CLOGIN"},
		{"smtp://token-user@h", postrider.Relay{Host: "h", Port: 587, TLSMode: smtp.TLSStartTLS, Username: "token-user"}, "smtp://token-user@h:587"},
	} {
		got, err := postrider.ParseRelay(c.url)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		// A Relay prints without its password, so its fields are compared one by one.
		if got.Host != c.want.Host || got.Port != c.want.Port || got.TLSMode != c.want.TLSMode ||
			got.Username != c.want.Username || got.Password != c.want.Password || strings.Join(got.Mechanisms, " ") != strings.Join(c.want.Mechanisms, " ") {
			t.Errorf("%s: got %v, user %q", c.url, got, got.Username)
		}
		if got.String() != c.text {
			t.Errorf("%s: String() = %s, want %s", c.url, got, c.text)
		}
	}
}

func TestParseRelayRefusesAndSaysWhy(t *testing.T) {
	for url, want := range map[string]string{
		"":                               "it is empty",
		"  ":                             "it is empty",
		"mail.example.com:587":           "it has no scheme",
		"http://h":                       `scheme "http" is not known`,
		"smtp://":                        "it names no host",
		"smtp://u:hunter2@":              "it names no host",
		"smtp://h:0":                     "port",
		"smtp://h:70000":                 "port",
		"smtp://h:x":                     "it cannot be read",
		"smtp://u:hunter2%zz@h":          "percent-encode",
		"smtp://u:hunter2/x@h":           "",
		"smtp://u:hunter2#x@h":           "",
		"smtp://:hunter2@h":              "no user name",
		"smtp://h/path":                  "nothing may follow the host",
		"smtp://h?tls=maybe":             "tls",
		"smtps://u:hunter2@h?tls=tls":    "contradicts",
		"smtp://h?tls=none&tls=ssl":      "more than once",
		"smtp://h?tls=":                  "is empty",
		"smtp://h?tsl=none":              `"tsl" is not known`,
		"smtp://h?auth=,":                "no mechanism",
		"smtp://u:hunter2@h?%zz=hunter2": "parameters cannot be read",
	} {
		_, err := postrider.ParseRelay(url)
		if err == nil {
			t.Errorf("%q was taken", url)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %q does not say %q in one line", url, err, want)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error holds the password: %s", url, err)
		}
	}
}

func TestRelayNeverPrintsThePassword(t *testing.T) {
	r, err := postrider.ParseRelay("smtp://user:hunter2@mail.example.com")
	if err != nil {
		t.Fatal(err)
	}
	object, err := json.Marshal(map[string]any{"relay": r, "pointer": &r})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "relay", r, "pointer", &r, "inside", struct{ R postrider.Relay }{r})
	for _, s := range []string{
		fmt.Sprint(r, &r), fmt.Sprintf("%v %+v %#v %s %q %x %d", r, r, r, r, r, r, r), fmt.Sprintf("%+v", struct{ R postrider.Relay }{r}),
		string(object), log.String(),
	} {
		if strings.Contains(s, "hunter2") || strings.Contains(s, "68756e74657232") {
			t.Errorf("the password shows: %s", s)
		}
	}
}

func FuzzParseRelay(f *testing.F) {
	for _, s := range []string{"smtp://user:pass@mail.example.com:587", "smtps://h", "smtp://[::1]:25?tls=none", "smtp://u:p@h?auth=PLAIN", "smtp://%zz@h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := postrider.ParseRelay(s)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Fatalf("not one line: %q", err)
			}
			return
		}
		// What was read prints as a relay URL that names the same relay.
		again, err := postrider.ParseRelay(r.String())
		if err != nil {
			t.Fatalf("%s: %v", r, err)
		}
		if again.Host != r.Host || again.Port != r.Port || again.TLSMode != r.TLSMode || again.Username != r.Username {
			t.Fatalf("%s became %s", r, again)
		}
	})
}
