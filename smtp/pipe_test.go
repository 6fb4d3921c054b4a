package smtp_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
)

// A net.Pipe has no buffer: the server cannot read on while its reply is not
// read, so a client that writes first and reads afterwards never ends.
func TestNoDeadlock(t *testing.T) {
	t.Parallel()
	var rcpt []string
	for i := range 500 {
		rcpt = append(rcpt, fmt.Sprintf("user%d@example.com", i))
	}
	for mode, without := range modes() {
		for _, size := range []int{100, 1 << 20} {
			s := smtptest.NewT(t, smtptest.Config{Without: without})
			c := dial(t, pipeConfig(s))
			if out := mustSend(t, c, envelope(rcpt...), long(size)); out.Sent() != len(rcpt) {
				t.Errorf("%s: %d sent", mode, out.Sent())
			}
			if err := c.Quit(context.Background()); err != nil {
				t.Errorf("%s: quit: %v", mode, err)
			}
		}
	}
}

// script serves the other end of a pipe with raw octets: each element is
// written when the client has sent the line or text before it.
func script(t *testing.T, parts ...string) smtp.Config {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		r := bufio.NewReader(server)
		for i, p := range parts {
			if i%2 == 0 {
				if _, err := io.WriteString(server, p); err != nil {
					return
				}
				continue
			}
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if strings.HasPrefix(line, p) {
					break
				}
			}
		}
		_, _ = io.Copy(io.Discard, r)
	}()
	t.Cleanup(func() { server.Close(); <-done })
	return smtp.Config{Host: "localhost", TLSMode: smtp.TLSNone, Dial: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
}

func TestReplies(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 13_000)
	tests := []struct {
		name, greeting string
		want           string // text of the greeting; "": refused
	}{
		{"plain", "220 hello\r\n", "hello"},
		{"no text", "220\r\n", ""},
		{"empty text", "220 \r\n", ""},
		{"LF only", "220 hello\n", "hello"},
		{"many lines", "220-a\r\n220-b\r\n220 c\r\n", "a b c"},
		{"enhanced code", "220-2.0.0 a\r\n220 2.0.0 b\r\n", "a b"},
		{"enhanced code of another class", "220 5.0.0 a\r\n", "5.0.0 a"},
		{"control characters", "220 a\x1b[2Jb\xffc\r\n", "a\ufffd[2Jb\ufffdc"},
		{"99 more lines", strings.Repeat("220-\r\n", 99) + "220 x\r\n", strings.Repeat(" ", 99) + "x"},
		{"100 more lines", strings.Repeat("220-\r\n", 100) + "220 x\r\n", "!more than 100 lines"},
		{"long line", "220 " + long + "\r\n", "!more than 12288 octets"},
		{"endless line", "220 " + strings.Repeat("x", 100_000), "!more than 12288 octets"},
		{"large reply", strings.Repeat("220-"+long[:1000]+"\r\n", 70) + "220 x\r\n", "!more than 64 KiB"},
		{"different codes", "220-a\r\n221 b\r\n", "!not an SMTP reply"},
		{"two digits", "22 a\r\n", "!not an SMTP reply"},
		{"four digits", "2200 a\r\n", "!not an SMTP reply"},
		{"letters", "hello\r\n", "!not an SMTP reply"},
		{"1yz", "120 wait\r\n", "!not an SMTP reply"},
		{"6yz", "620 what\r\n", "!not an SMTP reply"},
		{"empty line", "\r\n", "!not an SMTP reply"},
		{"no separator", "220:a\r\n", "!not an SMTP reply"},
		{"unfinished", "220-a\r\n", "!closed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			parts := []string{tt.greeting, "EHLO", "250 ok\r\n"}
			if tt.name == "unfinished" {
				parts = parts[:1]
			}
			cfg := script(t, parts...)
			if tt.name == "unfinished" {
				inner := cfg.Dial
				cfg.Dial = func(ctx context.Context, n, a string) (net.Conn, error) {
					nc, err := inner(ctx, n, a)
					return &cutAfter{Conn: nc, left: len(tt.greeting)}, err
				}
			}
			c, err := newDialer(t, cfg).Dial(context.Background())
			if text, bad := strings.CutPrefix(tt.want, "!"); bad {
				if err == nil || !strings.Contains(err.Error(), text) || !smtp.IsTransient(err) {
					t.Errorf("%v, want %s", err, text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Greeting().Text(); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			c.Close()
		})
	}
}

// cutAfter ends the stream after some octets.
type cutAfter struct {
	net.Conn
	left int
}

func (c *cutAfter) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func TestEHLOForms(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]map[string]string{
		"250 ok\r\n":                                       {},
		"250-x\r\n250 pipelining\r\n":                      {"PIPELINING": ""},
		"250-x\r\n250 Size  100 \r\n":                      {"SIZE": "100"},
		"250-x\r\n250 AUTH=LOGIN PLAIN\r\n":                {"AUTH": "LOGIN PLAIN"},
		"250-x\r\n250 AUTH= LOGIN\r\n":                     {"AUTH": "LOGIN"},
		"250-x\r\n250-\r\n250 LIMITS A=1\r\n":              {"LIMITS": "A=1"},
		"250-x\r\n250-AUTH=LOGIN\r\n250 AUTH CRAM-MD5\r\n": {"AUTH": "LOGIN CRAM-MD5"},
	} {
		c := dial(t, script(t, "220 x\r\n", "EHLO", reply))
		got := c.Extensions()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: %v, want %v", reply, got, want)
		}
		for k, v := range want {
			if p, ok := c.Extension(strings.ToLower(k)); !ok || p != v {
				t.Errorf("%q: %s is %q, %v", reply, k, p, ok)
			}
		}
	}
}
