package relaytest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// PostfixConfig says how a private Postfix behaves. The zero value is a server
// without users: its submission ports then let nobody in, PlainAddr does.
type PostfixConfig struct {
	// Users maps user names to passwords for AUTH (RFC 4954). A name without
	// "@" belongs to the realm localhost. Neither may contain a line break.
	Users map[string]string

	// Mechanisms are the SASL mechanisms offered. Empty means PLAIN, LOGIN,
	// CRAM-MD5, SCRAM-SHA-1 and SCRAM-SHA-256.
	Mechanisms []string

	// MessageSizeLimit is the largest message in octets, announced as SIZE
	// (RFC 1870). Zero means Postfix's own 10 240 000; negative means none.
	MessageSizeLimit int64

	// RejectRecipients are refused with 550 5.1.1, DeferRecipients with
	// 451 4.7.1, both in the reply to RCPT. Whole addresses, any case.
	RejectRecipients []string
	DeferRecipients  []string

	// RecipientReplies maps further addresses to the 4yz or 5yz reply to their
	// RCPT, such as "452 4.2.2 Mailbox full".
	RecipientReplies map[string]string

	// DiscardEHLO are EHLO keywords not to announce: chunking, pipelining,
	// 8bitmime, smtputf8, dsn, starttls, size, auth, enhancedstatuscodes.
	DiscardEHLO []string

	// ClientMessageRate is how many messages one client address may begin in
	// 60 seconds; the next MAIL gets 450 4.7.1. Zero means no limit.
	ClientMessageRate int

	// Extra are further main.cf parameters. They win over everything above.
	// To refuse content after the final dot, for instance:
	// "header_checks": "regexp:{{/^Subject: refuse/ REJECT 5.7.1 not this}}".
	Extra map[string]string
}

// Postfix is a running private Postfix. Every domain is local to it.
type Postfix struct {
	// Addr is the submission port (RFC 6409) as host:port: plain, with
	// STARTTLS (RFC 3207), AUTH only after TLS, mail only after AUTH.
	Addr string
	// TLSAddr is the same with implicit TLS (RFC 8314).
	TLSAddr string
	// PlainAddr needs neither TLS nor AUTH and offers no STARTTLS. It does
	// offer AUTH, so that a client can be caught sending a password in clear.
	PlainAddr string
	// CAFile is the certificate authority as a PEM file, CAPool the same for
	// crypto/tls. The certificate is for localhost, 127.0.0.1 and ::1.
	CAFile string
	CAPool *x509.CertPool

	t       testing.TB
	auth    *authority
	dir     string
	process *process
	mail    *maildir
}

// postfixMaster returns Postfix's master program, or "" if there is none.
func postfixMaster() string {
	for _, dir := range []string{"/usr/lib/postfix/sbin", "/usr/libexec/postfix", "/usr/lib/postfix"} {
		file := filepath.Join(dir, "master")
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file
		}
	}
	return ""
}

// StartPostfix starts a private Postfix on free loopback ports and waits until
// it answers. At the end of the test it is stopped and its files are removed.
// It skips the test if Postfix is not installed or the test is not root.
func StartPostfix(t testing.TB, cfg PostfixConfig) *Postfix {
	t.Helper()
	requireRoot(t)
	master := postfixMaster()
	if master == "" {
		unavailable(t, "Postfix is not installed")
	}
	if len(cfg.Users) > 0 {
		if _, err := exec.LookPath("saslpasswd2"); err != nil {
			unavailable(t, "saslpasswd2 (sasl2-bin) is not installed")
		}
	}
	dir := serverDir(t, "postfix")
	p, err := newPostfix(t, dir, master, cfg)
	if err != nil {
		t.Fatalf("relaytest: set up Postfix: %v", err)
	}
	t.Cleanup(p.Kill)
	p.start()
	return p
}

func newPostfix(t testing.TB, dir, master string, cfg PostfixConfig) (*Postfix, error) {
	ids, err := lookupPostfixIDs()
	if err != nil {
		return nil, err
	}
	if err := ids.makeTree(dir); err != nil {
		return nil, err
	}
	auth, err := newAuthority(dir, 0)
	if err != nil {
		return nil, err
	}
	addrs, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	p := &Postfix{
		Addr: addrs[0], TLSAddr: addrs[1], PlainAddr: addrs[2],
		CAFile: auth.caFile, CAPool: auth.pool,
		t: t, auth: auth, dir: dir,
		mail: &maildir{
			dir:   filepath.Join(dir, "mail", "inbox"),
			field: "delivered-to:",
			known: map[string]stored{},
		},
	}
	if err := writePostfixConfig(p, cfg); err != nil {
		return nil, err
	}
	if err := writeSASL(dir, ids, cfg); err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "etc")
	p.process = &process{
		// -d keeps it in its process group.
		argv: []string{master, "-d", "-c", conf},
		env:  []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "MAIL_CONFIG=" + conf, "LANG=C"},
		out:  filepath.Join(dir, "stdout.log"),
	}
	return p, nil
}

func (p *Postfix) start() {
	p.t.Helper()
	if err := p.process.start(); err != nil {
		p.t.Fatalf("relaytest: start Postfix: %v", err)
	}
	err := p.process.waitGreeting(p.t.Context(), []string{p.Addr, p.PlainAddr}, []string{p.TLSAddr})
	if err != nil {
		p.process.stop(false)
		p.t.Fatalf("relaytest: start Postfix: %v\n%s%s", err, p.complaints(), tail(p.Log()))
	}
}

// complaints returns what Postfix's tools have against the configuration. The
// server itself says nothing before it has read it all (its words go to syslog,
// where there is one) and passes over misspelt parameters.
func (p *Postfix) complaints() string {
	etc := filepath.Join(p.dir, "etc")
	var stderr strings.Builder
	for _, argv := range [][]string{
		{"postconf", "-c", etc, "-n"},
		{"postmap", "-c", etc, "-q", "x", "static:x"},
	} {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stderr = &stderr
		// Its failure is the text on stderr.
		_ = cmd.Run()
	}
	return stderr.String()
}

// TLSConfig returns a client configuration that trusts this server only.
func (p *Postfix) TLSConfig() *tls.Config { return p.auth.clientConfig() }

// Messages returns what has arrived for a mailbox, as stored: trace fields
// first, lines ending in LF ([WithoutTrace] gives what the client transmitted).
// The mailbox is the envelope recipient, any case. Oldest first; none is nil.
func (p *Postfix) Messages(mailbox string) [][]byte {
	p.t.Helper()
	messages, err := p.mail.read(mailbox)
	if err != nil {
		p.t.Fatalf("relaytest: read mail: %v", err)
	}
	return messages
}

// WaitMessages waits until at least n messages for the mailbox have arrived and
// returns all of them like Messages. It fails when ctx ends.
func (p *Postfix) WaitMessages(ctx context.Context, mailbox string, n int) ([][]byte, error) {
	return p.mail.wait(ctx, mailbox, n)
}

// Log returns the mail log so far.
func (p *Postfix) Log() string {
	return readLog(filepath.Join(p.dir, "stdout.log"), filepath.Join(p.dir, "mail.log"))
}

// Stop ends the server in order. Queue and stored mail stay for Restart. It
// does nothing if the server is not running.
func (p *Postfix) Stop() { p.process.stop(true) }

// Kill ends the server at once, with all its processes, as a crash would.
func (p *Postfix) Kill() { p.process.stop(false) }

// Restart stops the server if it runs and starts it again on the same ports
// with the same queue and stored mail.
func (p *Postfix) Restart() {
	p.t.Helper()
	p.Stop()
	p.start()
}
