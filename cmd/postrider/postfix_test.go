package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/relaytest"
)

// arrived waits for one message and gives it as Python reads it.
func arrived(t *testing.T, p *relaytest.Postfix, mailbox string) *relaytest.Parsed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all, err := p.WaitMessages(ctx, mailbox, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 {
		t.Fatalf("%d messages for %s", len(all), mailbox)
	}
	m := relaytest.ParseWithPython(t, relaytest.WithoutTrace(all[0]))
	for _, d := range m.Defects {
		// The name for old readers beside the RFC 2231 filename; see package mail.
		if !strings.Contains(d, "encoded word inside quoted string") && !strings.Contains(d, "after encoded-word") {
			t.Errorf("Python finds fault with the message for %s: %s", mailbox, d)
		}
	}
	return m
}

// TestPostfix sends from the command line through a real Postfix.
func TestPostfix(t *testing.T) {
	server := relaytest.StartPostfix(t, relaytest.PostfixConfig{
		Users:            map[string]string{"ann": "right horse"},
		MessageSizeLimit: 3_000_000,
		RejectRecipients: []string{"nobody@example.net"},
		DeferRecipients:  []string{"later@example.net"},
	})
	relay := "smtp://ann:right%20horse@" + server.Addr
	base := []string{"--ca-file", server.CAFile, "--no-retry", "--from", "Zoë Ångström <zoe@example.com>"}
	send := func(relay string, more ...string) (int, string, string) {
		p := start(t, append(append([]string{"send", "--relay", relay}, base...), more...)...)
		return p.end(t), p.out.String(), p.errs.String()
	}

	t.Run("attachments over STARTTLS and AUTH", func(t *testing.T) {
		sums, flags := files(t)
		args := append([]string{
			"--to", "Bob <bob@example.net>", "--cc", "cc@example.net", "--bcc", "hidden@example.net", "--subject", "Größe 42 – 日本",
			"--text", "Grüße,\n.\n.dot\nFrom here", "--html", `<p>Grüße <img src="cid:logo"></p>`, "--verbose",
		}, flags...)
		status, stdout, stderr := send(relay, args...)
		if status != exitOK {
			t.Fatalf("exit status %d: %s%s", status, stdout, stderr)
		}
		if !strings.Contains(stderr, " C STARTTLS") || !strings.Contains(stderr, " C AUTH ") || strings.Contains(stderr, "horse") {
			t.Errorf("the dialogue: %s", stderr)
		}
		for _, mailbox := range []string{"bob@example.net", "cc@example.net", "hidden@example.net"} {
			m := arrived(t, server, mailbox)
			if m.Subject != "Größe 42 – 日本" || len(m.From) != 1 || m.From[0].Name != "Zoë Ångström" || len(m.Bcc) > 0 || !strings.Contains(stdout, m.MessageID) {
				t.Errorf("%s got %+v", mailbox, m)
			}
			got := make(map[string]string)
			for _, part := range m.Leaves() {
				if part.Filename != "" {
					got[part.Filename] = part.SHA256
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(sums) {
				t.Errorf("%s: attachments %v, want %v", mailbox, got, sums)
			}
			if shape := m.Shape(); !strings.HasPrefix(shape, "multipart/mixed(multipart/alternative(text/plain, multipart/related(text/html, image/png))") &&
				!strings.HasPrefix(shape, "multipart/mixed(multipart/related(multipart/alternative(text/plain, text/html), image/png)") {
				t.Errorf("the structure is %s", shape)
			}
		}
	})

	t.Run("implicit TLS, raw message", func(t *testing.T) {
		raw := filepath.Join(t.TempDir(), "raw.eml")
		if err := os.WriteFile(raw, []byte("From: zoe@example.com\nTo: raw@example.net\nSubject: raw\n\n.dot\nend"), 0o600); err != nil {
			t.Fatal(err)
		}
		p := start(t, "send", "--relay", "smtps://ann:right%20horse@"+server.TLSAddr, "--ca-file", server.CAFile, "--raw", raw)
		if status := p.end(t); status != exitOK {
			t.Fatalf("exit status %d: %s%s", status, p.out.String(), p.errs.String())
		}
		if m := arrived(t, server, "raw@example.net"); m.Subject != "raw" || m.Root.Text != ".dot\r\nend\r\n" || m.MessageID == "" {
			t.Errorf("got %+v", m)
		}
	})

	t.Run("a refused and a deferred recipient", func(t *testing.T) {
		status, stdout, _ := send(relay, "--to", "some@example.net", "--to", "nobody@example.net", "--to", "later@example.net", "--text", "x", "--json")
		var r struct {
			Status     string
			Recipients []struct {
				Address, Status string
				Code            int `json:"smtp_code"`
			}
		}
		if err := json.Unmarshal([]byte(stdout), &r); err != nil || status != exitUnavailable || r.Status != "partial" {
			t.Fatalf("exit status %d, %v: %s", status, err, stdout)
		}
		if got := fmt.Sprint(r.Recipients); got != "[{some@example.net sent 250} {nobody@example.net failed 550} {later@example.net deferred 451}]" {
			t.Errorf("recipients %s", got)
		}
		arrived(t, server, "some@example.net")
	})

	t.Run("refusals", func(t *testing.T) {
		large := filepath.Join(t.TempDir(), "large.bin")
		if err := os.WriteFile(large, bytes.Repeat([]byte{7}, 4<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			relay  string
			args   []string
			status int
			says   string
		}{
			{relay, []string{"--to", "nobody@example.net", "--text", "x"}, exitUnavailable, "rejected "},
			{relay, []string{"--to", "later@example.net", "--text", "x"}, exitTemporary, "temp_failed "},
			{relay, []string{"--to", "bob@example.net", "--text", "x", "--attach", large}, exitUnavailable, "failed "},
			{"smtp://ann:wrong@" + server.Addr, []string{"--to", "bob@example.net", "--text", "x"}, exitNoAuth, "535 5.7.8"},
			{"smtps://ann:wrong@" + server.TLSAddr, []string{"--to", "bob@example.net", "--text", "x"}, exitNoAuth, "535 5.7.8"},
			{"smtp://ann:right%20horse@" + server.PlainAddr, []string{"--to", "bob@example.net", "--text", "x"}, exitUnavailable, "STARTTLS"},
			{"smtp://ann:right%20horse@" + server.PlainAddr + "?tls=none", []string{"--to", "bob@example.net", "--text", "x"}, exitNoAuth, "unencrypted"},
		} {
			status, stdout, stderr := send(c.relay, c.args...)
			if status != c.status || !strings.Contains(stdout, c.says) || strings.Contains(stdout+stderr, "horse") {
				t.Errorf("%q: exit status %d: %s%s", c.args, status, stdout, stderr)
			}
		}
		if n := len(server.Messages("bob@example.net")); n != 1 {
			t.Errorf("%d messages for bob, of which one was accepted", n)
		}
	})

	t.Run("check", func(t *testing.T) {
		p := start(t, "check", "--relay", relay, "--ca-file", server.CAFile, "--json")
		status := p.end(t)
		var r struct {
			OK         bool
			Extensions map[string]string
			MaxSize    int64 `json:"max_size"`
			TLS        struct{ Version string }
			Mechanism  string  `json:"auth_mechanism"`
			RoundTrip  float64 `json:"round_trip_ms"`
		}
		if err := json.Unmarshal(p.out.Bytes(), &r); err != nil || status != exitOK {
			t.Fatalf("exit status %d, %v: %s%s", status, err, p.out.String(), p.errs.String())
		}
		if _, ok := r.Extensions["PIPELINING"]; !ok || !r.OK || r.MaxSize != 3_000_000 || r.TLS.Version != "TLS 1.3" || r.Mechanism != "SCRAM-SHA-256" || r.RoundTrip <= 0 {
			t.Errorf("got %s", p.out.String())
		}
	})

	t.Run("merge", func(t *testing.T) {
		folder := t.TempDir()
		rows := filepath.Join(folder, "people.csv")
		if err := os.WriteFile(rows, []byte("name,email\nJürgen,m1@example.net\n\"Doe, J\",m2@example.net\nNo,nobody@example.net\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		status, _, stderr := send(relay, "--merge", rows, "--to", "{{name}} <{{email}}>", "--subject", "Für {{name}}", "--text", "Hallo {{name}}")
		if status != exitUnavailable || !strings.Contains(stderr, "3 rows, 0 skipped, 0 left: 1 rejected, 2 success") {
			t.Errorf("exit status %d: %s", status, stderr)
		}
		for mailbox, name := range map[string]string{"m1@example.net": "Jürgen", "m2@example.net": "Doe, J"} {
			if m := arrived(t, server, mailbox); m.Subject != "Für "+name || m.To[0].Name != name {
				t.Errorf("%s got %q for %+v", mailbox, m.Subject, m.To)
			}
		}
	})
}

// files makes attachments of several kinds: their flags, and their hashes by name.
func files(t *testing.T) (sums map[string]string, flags []string) {
	t.Helper()
	folder := t.TempDir()
	sums = make(map[string]string)
	random := make([]byte, 1<<20+17)
	for i := range random {
		random[i] = byte(rand.IntN(256))
	}
	for name, content := range map[string][]byte{
		"random.bin":                         random,
		"empty.dat":                          {},
		"bare.bin":                           []byte("a\nb\rc\r\nd\x00.\r\n.\r\nFrom \n"),
		"Größe – 日本語.pdf":                    random[:3000],
		strings.Repeat("long ", 20) + ".zip": random[:100],
		"logo.png":                           append([]byte("\x89PNG\r\n\x1a\n"), random[:500]...),
	} {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		sums[name] = hex.EncodeToString(sum[:])
		if name == "logo.png" {
			flags = append(flags, "--inline", path+";cid=logo")
		} else {
			flags = append(flags, "--attach", path)
		}
	}
	return sums, flags
}
