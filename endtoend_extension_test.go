package postrider_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/relaytest"
	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/smtp"
)

func isASCII(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c >= 0x80 })
}

// eightBitLetter has octets over 127 in both bodies.
func eightBitLetter(to ...string) *mail.Message {
	m := letter(to...)
	m.Text = "Größe 42 – für Sie.\n.\nZeile nach dem Punkt, ein langer Satz über Äpfel und Öl.\n"
	m.HTML = "<p>Größe 42 – für Sie.</p>\n"
	return m
}

// TestRealEightBit sends 8-bit content as it is where the relay takes it, and
// encoded where it does not.
func TestRealEightBit(t *testing.T) {
	heavy(t)
	for _, c := range []struct {
		name    string
		discard []string
		eight   bool
	}{
		{"offered", nil, true},
		{"offered, by DATA", []string{"chunking"}, true},
		{"discarded", []string{"8bitmime"}, false},
		{"discarded, by DATA", []string{"8bitmime", "chunking", "pipelining"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			onReal(t, settings{discard: c.discard}, func(t *testing.T, srv realServer) {
				var said dialogue
				client := submit(t, srv, postrider.Config{Compose: mail.ComposeOptions{EightBit: true}, Trace: said.trace})
				m := eightBitLetter("ann@example.net")
				composed := compose(t, m, &mail.ComposeOptions{EightBit: true})
				result, err := client.SendComposed(t.Context(), composed)
				if err != nil || result.MessageID != composed.MessageID() {
					t.Fatalf("%v\n%s", err, &said)
				}
				stored := arrived(t, srv, "ann@example.net")
				content := relaytest.WithoutTrace(stored)
				if isASCII(content) == c.eight {
					t.Errorf("8-bit content: %t, want %t\n%s", !isASCII(content), c.eight, content)
				}
				if body := strings.Contains(said.String(), "BODY=8BITMIME"); body != c.eight {
					t.Errorf("BODY=8BITMIME: %t\n%s", body, &said)
				}
				if c.eight {
					sameOctets(t, stored, composed)
				}
				parsed := relaytest.ParseWithPython(t, stored)
				leaves := parsed.Leaves()
				if len(leaves) != 2 || lf(leaves[0].Text) != m.Text || lf(leaves[1].Text) != m.HTML || parsed.MessageID != result.MessageID {
					t.Errorf("%s: %+v", parsed.Shape(), leaves)
				}
				if len(parsed.Defects) > 0 {
					t.Errorf("defects: %q", parsed.Defects)
				}
			})
		})
	}
}

func lf(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }

// TestRealEightBitThatMayNotChange cannot be sent where 8BITMIME is missing:
// raw content stays as its author made it.
func TestRealEightBitThatMayNotChange(t *testing.T) {
	raw := "From: shop@example.com\r\nTo: ann@example.net\r\nSubject: raw\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGröße\r\n"
	composed, err := mail.ComposeRaw(opener([]byte(raw)), nil)
	if err != nil {
		t.Fatal(err)
	}
	onReal(t, settings{discard: []string{"8bitmime"}}, func(t *testing.T, srv realServer) {
		var said dialogue
		result, err := submit(t, srv, postrider.Config{Trace: said.trace}).SendComposed(t.Context(), composed)
		if result.Status != postrider.StatusFailed || !smtp.IsPermanent(err) || said.said("C", "MAIL") != 0 {
			t.Errorf("%+v: %v\n%s", result, err, &said)
		}
	})
}

func opener(b []byte) mail.Opener {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

// TestRealSMTPUTF8 sends to a local part in UTF-8 where the relay takes it.
func TestRealSMTPUTF8(t *testing.T) {
	onReal(t, settings{}, func(t *testing.T, srv realServer) {
		var said dialogue
		client := submit(t, srv, postrider.Config{Trace: said.trace})
		m := compose(t, letter("ann@example.net", "Zoë <zoë@bücher.example>"), nil)
		result, err := client.SendComposed(t.Context(), m)
		if err != nil || !strings.Contains(said.String(), " SMTPUTF8") {
			t.Fatalf("%+v: %v\n%s", result, err, &said)
		}
		sameOctets(t, arrived(t, srv, "ann@example.net"), m)
		sameOctets(t, arrived(t, srv, result.Recipients[1].Address), m)
		// A domain in UTF-8 alone does not need it.
		if _, err := client.Send(t.Context(), letter("zoe@bücher.example")); err != nil {
			t.Fatal(err)
		}
		if mails := said.commands("MAIL"); len(mails) != 2 || strings.Contains(mails[1], "SMTPUTF8") {
			t.Errorf("%q", mails)
		}
		arrived(t, srv, "zoe@xn--bcher-kva.example")
	})
}

// TestRealWithoutSMTPUTF8 fails the recipient that needs it; the others get the message.
func TestRealWithoutSMTPUTF8(t *testing.T) {
	for _, discard := range [][]string{{"smtputf8"}, {"smtputf8", "8bitmime", "chunking"}} {
		t.Run(strings.Join(discard, " "), func(t *testing.T) {
			onReal(t, settings{discard: discard}, func(t *testing.T, srv realServer) {
				var said dialogue
				client := submit(t, srv, postrider.Config{Trace: said.trace})
				result, err := client.Send(t.Context(), eightBitLetter("Zoë <zoë@example.net>", "ann@example.net", "bob@bücher.example"))
				if result.Status != postrider.StatusPartial || result.IsRetryable || len(result.Attempts) != 1 {
					t.Fatalf("%+v: %v\n%s", result, err, &said)
				}
				zoe := result.Recipients[0]
				if zoe.State != postrider.StateFailed || !smtp.IsPermanent(zoe.Err) || !strings.Contains(zoe.Err.Error(), "SMTPUTF8") {
					t.Errorf("%+v", zoe)
				}
				if n := len(said.commands("RCPT")); n != 2 || strings.Contains(said.String(), "zo\u00eb@") && said.said("C", "RCPT TO:<zo\u00eb") > 0 {
					t.Errorf("%d RCPT\n%s", n, &said)
				}
				for _, mailbox := range []string{"ann@example.net", "bob@xn--bcher-kva.example"} {
					stored := arrived(t, srv, mailbox)
					header, _, _ := bytes.Cut(relaytest.WithoutTrace(stored), []byte("\r\n\r\n"))
					if !isASCII(header) {
						t.Errorf("UTF-8 in the header without SMTPUTF8:\n%s", header)
					}
				}
			})
		})
	}
}

// TestRealDATA shows that a server without CHUNKING gets the same octets, lines of dots and all.
func TestRealDATA(t *testing.T) {
	heavy(t)
	for _, discard := range [][]string{nil, {"chunking"}, {"chunking", "pipelining"}, {"pipelining"}} {
		t.Run("without "+strings.Join(discard, " "), func(t *testing.T) {
			onReal(t, settings{discard: discard}, func(t *testing.T, srv realServer) {
				var said dialogue
				client := submit(t, srv, postrider.Config{Trace: said.trace})
				for i, lines := range []int{1, 30_000} { // small, and over 64 KiB
					m := letter(fmt.Sprintf("ann%d@example.net", i))
					m.Text = strings.Repeat(".\n..\n.dot\n\nplain\n", lines) + "."
					composed := compose(t, m, nil)
					if _, err := client.SendComposed(t.Context(), composed); err != nil {
						t.Fatalf("%v\n%s", err, &said)
					}
					sameOctets(t, arrived(t, srv, fmt.Sprintf("ann%d@example.net", i)), composed)
				}
				chunking := !slices.Contains(discard, "chunking")
				if data, bdat := said.said("C", "DATA"), said.said("C", "BDAT"); (data == 0) != chunking || (bdat == 0) == chunking {
					t.Errorf("%d DATA, %d BDAT", data, bdat)
				}
				if slices.Contains(discard, "pipelining") {
					lockStep(t, &said)
				}
			})
		})
	}
}

// lockStep finds commands that were sent before the reply to the one before.
func lockStep(t *testing.T, d *dialogue) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	waiting := ""
	for _, l := range d.lines {
		verb, _, _ := strings.Cut(strings.ToUpper(l.Text), " ")
		switch {
		case l.Dir == "S":
			waiting = ""
		case l.Dir == "C" && slices.Contains([]string{"EHLO", "MAIL", "RCPT", "DATA", "RSET", "QUIT"}, verb):
			if waiting != "" {
				t.Errorf("%s before the reply to %s", verb, waiting)
			}
			waiting = verb
		}
	}
}

// TestRealDSN asks for a report of success and gets it.
func TestRealDSN(t *testing.T) {
	onReal(t, settings{}, func(t *testing.T, srv realServer) {
		var said dialogue
		client := submit(t, srv, postrider.Config{Trace: said.trace})
		m := letter("ann@example.net")
		m.DSN = &mail.DSN{Notify: []string{"SUCCESS", "FAILURE"}, Return: "HDRS", EnvelopeID: "order+42=x"}
		if _, err := client.Send(t.Context(), m); err != nil {
			t.Fatalf("%v\n%s", err, &said)
		}
		for _, want := range []string{"RET=HDRS", "ENVID=order+2B42+3Dx", "NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;ann@example.net"} {
			if !strings.Contains(said.String(), want) {
				t.Errorf("no %s\n%s", want, &said)
			}
		}
		arrived(t, srv, "ann@example.net")
		if srv.kind == "exim" {
			// It took the parameters; reports it writes by a program under a
			// fixed path, where it is not installed here.
			return
		}
		report := string(arrived(t, srv, "shop@example.com"))
		for _, want := range []string{"multipart/report", "message/delivery-status", "Original-Envelope-Id: order+42=x", "Action: delivered"} {
			if !strings.Contains(strings.ReplaceAll(report, "order+2B42+3Dx", "order+42=x"), want) {
				t.Errorf("the report says no %q:\n%s", want, report)
			}
		}
	})
}

// TestRealWithoutDSN sends without the parameters where the relay does not know them.
func TestRealWithoutDSN(t *testing.T) {
	onReal(t, settings{discard: []string{"dsn"}}, func(t *testing.T, srv realServer) {
		var said dialogue
		m := letter("ann@example.net")
		m.DSN = &mail.DSN{Notify: []string{"SUCCESS"}, Return: "FULL", EnvelopeID: "x"}
		if _, err := submit(t, srv, postrider.Config{Trace: said.trace}).Send(t.Context(), m); err != nil {
			t.Fatalf("%v\n%s", err, &said)
		}
		if s := said.String(); strings.Contains(s, "NOTIFY=") || strings.Contains(s, "ENVID=") || strings.Contains(s, "RET=") {
			t.Errorf("DSN parameters not offered:\n%s", s)
		}
		arrived(t, srv, "ann@example.net")
	})
}

// TestRealClientCertificate shows a certificate to a server that asks for one.
func TestRealClientCertificate(t *testing.T) {
	p := relaytest.StartPostfix(t, relaytest.PostfixConfig{
		Users: map[string]string{user: password},
		Extra: map[string]string{"smtpd_tls_ask_ccert": "yes", "smtpd_tls_received_header": "yes", "smtpd_tls_loglevel": "2"},
	})
	config := p.TLSConfig()
	config.Certificates = []tls.Certificate{selfSigned(t)}
	client := connect(t, "smtp://"+login()+p.Addr, p, postrider.Config{TLSConfig: config})
	if _, err := client.Send(t.Context(), letter("ann@example.net")); err != nil {
		t.Fatal(err)
	}
	if stored := string(arrived(t, p, "ann@example.net")); !strings.Contains(stored, "client.example.com") {
		t.Errorf("no certificate was noted:\n%s", stored)
	}
}

// TestRealLargeAttachment streams 30 MB: what arrives has the same hash, and
// the client never held it. Python needs most of the time, so DATA gets less.
func TestRealLargeAttachment(t *testing.T) {
	heavy(t)
	for _, c := range []struct {
		name    string
		discard []string
		size    int64
	}{{"BDAT", nil, 30_000_000}, {"DATA", []string{"chunking"}, 5_000_000}} {
		t.Run(c.name, func(t *testing.T) {
			size, discard, want := c.size, c.discard, sha256.New()
			if _, err := io.Copy(want, io.LimitReader(newPattern(), size)); err != nil {
				t.Fatal(err)
			}
			onReal(t, settings{size: -1, discard: discard}, func(t *testing.T, srv realServer) {
				client := submit(t, srv, postrider.Config{Compose: mail.ComposeOptions{Limits: &mail.Limits{AttachmentOctets: -1}}})
				before := liveHeap()
				var most uint64
				m := letter("ann@example.net")
				m.Attachments = []mail.Attachment{{Filename: "film.bin", Size: size, Open: func() (io.ReadCloser, error) {
					p := newPattern()
					p.each, p.look = int(size/5), func() { most = max(most, liveHeap()) }
					return io.NopCloser(io.LimitReader(p, size)), nil
				}}}
				result, err := client.Send(t.Context(), m)
				if err != nil || result.Attempts[0].Octets < size {
					t.Fatalf("%+v: %v", result, err)
				}
				if most > before+5_000_000 {
					t.Errorf("%d octets were held to send %d", most-before, size)
				}
				parsed := relaytest.ParseWithPython(t, arrived(t, srv, "ann@example.net"))
				leaves := parsed.Leaves()
				if len(leaves) != 2 || leaves[1].SHA256 != hex.EncodeToString(want.Sum(nil)) || int64(leaves[1].Size) != size || len(parsed.Defects) > 0 {
					t.Errorf("%s, defects %q", parsed.Shape(), parsed.Defects)
				}
			})
		})
	}
}

// liveHeap gives the octets that are in use.
func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// pattern is endless content: a block whose length divides nothing, again and
// again. It calls look each time that so many octets have been read.
type pattern struct {
	block         []byte
	n, seen, each int
	look          func()
}

func newPattern() *pattern {
	p := &pattern{block: make([]byte, 100_003)}
	for i := range p.block {
		p.block[i] = byte((uint64(i) * 0x9E3779B97F4A7C15) >> 56)
	}
	return p
}

func (p *pattern) Read(b []byte) (int, error) {
	n := copy(b, p.block[p.n:])
	p.n = (p.n + n) % len(p.block)
	if p.seen += n; p.each > 0 && p.seen >= p.each {
		p.seen = 0
		p.look()
	}
	return n, nil
}
