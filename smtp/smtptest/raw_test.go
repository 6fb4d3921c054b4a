package smtptest_test

import (
	"bufio"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/smtp/smtptest"
)

// raw is a client that says exactly what a test wants said.
type raw struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

// dial connects to a server and reads the greeting.
func dial(t *testing.T, addr string) *raw {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	x := wrap(t, c)
	x.expect("220")
	return x
}

func wrap(t *testing.T, c net.Conn) *raw {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	// Only so that a fault shows its place instead of hanging.
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &raw{t: t, c: c, r: bufio.NewReader(c)}
}

// hello connects, says EHLO and forgets the answer.
func hello(t *testing.T, srv *smtptest.Server) *raw {
	t.Helper()
	x := dial(t, srv.Addr())
	x.talk("EHLO client.example", "250")
	return x
}

func (x *raw) send(octets string) {
	x.t.Helper()
	if _, err := x.c.Write([]byte(octets)); err != nil {
		x.t.Fatal(err)
	}
}

// reply reads a reply and gives its lines.
func (x *raw) reply() []string {
	x.t.Helper()
	var lines []string
	for {
		l, err := x.r.ReadString('\n')
		if err != nil {
			x.t.Fatalf("after %q: %v", lines, err)
		}
		l = strings.TrimSuffix(l, "\r\n")
		lines = append(lines, l)
		if len(l) < 4 || l[3] != '-' {
			return lines
		}
	}
}

// expect reads replies that must begin as given.
func (x *raw) expect(starts ...string) {
	x.t.Helper()
	for _, want := range starts {
		got := x.reply()
		if last := got[len(got)-1]; !strings.HasPrefix(last, want) {
			x.t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// talk sends a line and reads replies.
func (x *raw) talk(line string, starts ...string) {
	x.t.Helper()
	x.send(line + "\r\n")
	x.expect(starts...)
}

// eof expects the end of the connection without a further octet.
func (x *raw) eof() error {
	x.t.Helper()
	b, err := x.r.ReadByte()
	if err == nil {
		x.t.Fatalf("got octet %q, want the connection closed", b)
	}
	return err
}

func (x *raw) startTLS(srv *smtptest.Server) {
	x.t.Helper()
	x.talk("STARTTLS", "220")
	c := tls.Client(x.c, srv.TLSClientConfig())
	if err := c.Handshake(); err != nil {
		x.t.Fatal(err)
	}
	x.c, x.r = c, bufio.NewReader(c)
}

// TestDialogues goes through sessions line by line. A line that begins with a
// digit is what a reply must begin with, any other is sent, without > if it begins
// so. Behind a backslash stand octets to send without CRLF.
func TestDialogues(t *testing.T) {
	tests := []struct {
		name   string
		config smtptest.Config
		script string
	}{
		{name: "order of commands", script: `
			MAIL FROM:<a@example.com>
			503 5.5.1|503 EHLO
			EHLO
			501
			EHLO x
			250
			RCPT TO:<b@example.com>
			503 5.5.1
			DATA
			503 5.5.1
			MAIL FROM:<a@example.com>
			250 2.1.0
			MAIL FROM:<a@example.com>
			503 5.5.1
			DATA
			554 5.5.1
			RCPT TO:<b@example.com>
			250 2.1.5
			DATA
			354
			..
			.
			250 2.0.0
			DATA
			503
			NOOP
			250
			VRFY x
			252
			EXPN x
			502
			HELP
			214
			RSET
			250
			NONSENSE
			500 5.5.2
			STARTTLS x
			501
			AUTH PLAIN
			502
			QUIT
			221 2.0.0`},
		{name: "RSET and EHLO end a transaction", script: `
			EHLO x
			250
			MAIL FROM:<>
			250
			RSET
			250
			MAIL FROM:<>
			250
			EHLO x
			250
			RCPT TO:<b@example.com>
			503`},
		{name: "paths", script: `
			EHLO x
			250
			MAIL FROM:a@example.com
			501 5.5.4
			MAIL FROM <a@example.com>
			501
			MAIL FROM:<a@example.com>x
			501
			MAIL FROM:<nobody>
			553 5.1.7
			MAIL FROM:<zoë@example.com>
			553 5.6.7
			MAIL FROM:<zoë@example.com> SMTPUTF8
			250
			RSET
			250
			MAIL FROM:<"a> b\""@example.com> BODY=8BITMIME SIZE=10 RET=HDRS ENVID=a+2Bb AUTH=<>
			555 5.5.4
			MAIL FROM:<"a> b\""@example.com> BODY=8BITMIME SIZE=10 RET=HDRS ENVID=a+2Bb
			250
			RCPT TO:<>
			553 5.1.3
			RCPT TO:<postmaster>
			250
			RCPT TO:<b@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@example.com
			250
			RCPT TO:<b@example.com> ORCPT=utf-8;zoë@example.com
			250
			RCPT TO:<b@example.com> ORCPT=utf-8;zo\x{EB}@example.com
			250
			RCPT TO:<b@example.com> ORCPT=rfc822;zoë@example.com
			501 5.5.4
			RCPT TO:<b@example.com> ORCPT=utf-8;zoë=@example.com
			501 5.5.4
			RCPT TO:<b@example.com> NOTIFY=NEVER,DELAY
			501 5.5.4
			RCPT TO:<b@example.com> FOO=1
			555 5.5.4`},
		{name: "SIZE", config: smtptest.Config{MaxSize: 10}, script: `
			EHLO x
			250
			MAIL FROM:<a@example.com> SIZE=11
			552 5.3.4
			MAIL FROM:<a@example.com> SIZE=x
			501
			MAIL FROM:<a@example.com>
			250
			RCPT TO:<b@example.com>
			250
			DATA
			354
			>0123456789
			.
			552 5.3.4
			MAIL FROM:<a@example.com> SIZE=10
			250
			RCPT TO:<b@example.com>
			250
			BDAT 11
			\01234567890
			552 5.3.4
			BDAT 1 LAST
			\0
			503
			RSET
			250`},
		{name: "chunks", script: `
			EHLO x
			250
			BDAT 3
			\abc
			503 5.5.1
			MAIL FROM:<a@example.com> BODY=BINARYMIME
			250
			BDAT 4 LAST
			\abcd
			503 5.5.1
			BDAT 0 LAST
			503 5.5.1
			RSET
			250
			MAIL FROM:<a@example.com> BODY=BINARYMIME
			250
			RCPT TO:<b@example.com>
			250
			DATA
			503
			BDAT x
			501
			BDAT 3 FIRST
			501
			BDAT 3
			\a` + "\x00" + `b
			250
			RCPT TO:<c@example.com>
			503
			DATA
			503
			BDAT 0 LAST
			250
			BDAT 2 LAST
			\ab
			503`},
		{name: "without extensions", config: smtptest.Config{Extensions: []string{}}, script: `
			EHLO x
			250 localhost
			MAIL FROM:<a@example.com> SIZE=1
			555
			MAIL FROM:<a@example.com> BODY=8BITMIME
			555
			MAIL FROM:<a@example.com>
			250 sender ok
			BDAT 0 LAST
			502
			STARTTLS
			502`},
		{name: "HELO only", config: smtptest.Config{HELOOnly: true}, script: `
			EHLO x
			500
			HELO x
			250 localhost
			MAIL FROM:<a@example.com>
			250`},
		{name: "require TLS", config: smtptest.Config{RequireTLS: true}, script: `
			EHLO x
			250
			MAIL FROM:<a@example.com>
			530 5.7.0
			NOOP
			250`},
		{name: "require AUTH", config: smtptest.Config{RequireAuth: true, Users: map[string]string{"ann": "s"}}, script: `
			EHLO x
			250
			MAIL FROM:<a@example.com>
			530 5.7.0
			AUTH
			501
			AUTH FOO
			504 5.5.4
			AUTH PLAIN %%%
			501 5.5.2
			AUTH CRAM-MD5 eA==
			501
			AUTH PLAIN
			334
			*
			501 5.7.0
			AUTH LOGIN
			334 VXNlcm5hbWU6
			YW5u
			334 UGFzc3dvcmQ6
			eA==
			535 5.7.8
			AUTH PLAIN AGFubgBz
			235 2.7.0
			AUTH PLAIN AGFubgBz
			503
			MAIL FROM:<a@example.com> AUTH==
			501
			MAIL FROM:<a@example.com> AUTH=<>
			250`},
		{name: "limits", config: smtptest.Config{MaxRecipients: 1, MaxErrors: 2, MaxLine: 50}, script: `
			EHLO x
			250
			MAIL FROM:<a@example.com>
			250
			RCPT TO:<b@example.com>
			250
			RCPT TO:<c@example.com>
			452 4.5.3
			NOOP ` + strings.Repeat("x", 50) + `
			500 5.5.2
			NOOP ` + strings.Repeat("x", 50000) + `
			500 5.5.2
			GET / HTTP/1.1
			421 4.7.0`},
		{name: "bare LF", script: `
			\NOOP` + "\n" + `
			500`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := smtptest.StartT(t, tt.config)
			x := dial(t, srv.Addr())
			for line := range strings.SplitSeq(tt.script, "\n\t\t\t") {
				switch {
				case line == "":
				case line[0] >= '0' && line[0] <= '9' && len(line) > 2 && strings.Trim(line[:3], "0123456789") == "":
					got := x.reply()
					if last := got[len(got)-1]; !hasOneOf(last, line) {
						t.Fatalf("got %q, want %q\n%s", got, line, srv.Sessions()[0].Dialogue())
					}
				case line[0] == '>':
					x.send(line[1:] + "\r\n")
				case line[0] == '\\':
					x.send(line[1:])
				default:
					x.send(line + "\r\n")
				}
			}
		})
	}
}

// hasOneOf reports whether s begins with one of the starts that | separates.
func hasOneOf(s, starts string) bool {
	for start := range strings.SplitSeq(starts, "|") {
		if strings.HasPrefix(s, start) {
			return true
		}
	}
	return false
}
