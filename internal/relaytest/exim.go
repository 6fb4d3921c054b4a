package relaytest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
)

// eximEnv names the environment variable with the path of an Exim program that
// replaces the unpacked one.
const eximEnv = "POSTRIDER_TEST_EXIM"

// EximConfig says how a private Exim behaves. The zero value is a server
// without users: its submission ports then let nobody in, PlainAddr does.
type EximConfig struct {
	// Users maps user names (compared without case) to passwords for AUTH
	// (RFC 4954). Neither may contain a line break, a name no space or colon.
	Users map[string]string

	// Mechanisms are the SASL mechanisms offered: PLAIN, LOGIN, CRAM-MD5.
	// Empty means all three.
	Mechanisms []string

	// MessageSizeLimit is the largest message in octets, announced as SIZE
	// (RFC 1870). Zero means Exim's own 50 MiB; negative means none.
	MessageSizeLimit int64

	// RejectRecipients are refused with 550 5.1.1, DeferRecipients with
	// 451 4.7.1, both in the reply to RCPT. Whole addresses, any case.
	RejectRecipients []string
	DeferRecipients  []string

	// RecipientReplies maps further addresses to the 4yz or 5yz reply to their
	// RCPT, such as "452 4.2.2 Mailbox full".
	RecipientReplies map[string]string

	// DiscardEHLO are EHLO keywords not to announce: chunking, pipelining,
	// 8bitmime, smtputf8, dsn, starttls, auth.
	DiscardEHLO []string

	// Extra are further options of the main section. They win over everything
	// above.
	Extra map[string]string
}

// Exim is a running private Exim. Every domain is local to it.
type Exim struct {
	// Addr is the submission port (RFC 6409) as host:port: plain, with
	// STARTTLS (RFC 3207), AUTH only after TLS, mail only after AUTH.
	Addr string
	// TLSAddr is the same with implicit TLS (RFC 8314).
	TLSAddr string
	// PlainAddr needs neither TLS nor AUTH. It does offer AUTH, so that a
	// client can be caught sending a password in clear.
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
	// privateUser says that only the server's own passwd file knows its user.
	privateUser bool
}

// eximProgram returns the path of Exim, or "" if there is none: the program
// named by POSTRIDER_TEST_EXIM, or the one unpacked below the module's root.
func eximProgram() string {
	file := os.Getenv(eximEnv)
	if file == "" {
		dir, err := os.Getwd()
		for ; err == nil; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				file = filepath.Join(dir, ".cache", "exim", "usr", "sbin", "exim4")
				break
			}
			if dir == filepath.Dir(dir) {
				return ""
			}
		}
	}
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return file
}

// StartExim starts a private Exim on free loopback ports and waits until it
// answers. At the end of the test it is stopped and its files are removed. It
// skips the test if Exim is not unpacked or the test is not root.
func StartExim(t testing.TB, cfg EximConfig) *Exim {
	t.Helper()
	requireRoot(t)
	program := eximProgram()
	if program == "" {
		unavailable(t, "Exim is not unpacked in .cache/exim and "+eximEnv+" names none")
	}
	dir := serverDir(t, "exim")
	e, err := newExim(t, dir, program, cfg)
	if err != nil {
		t.Fatalf("relaytest: set up Exim: %v", err)
	}
	t.Cleanup(e.Kill)
	e.start()
	return e
}

func newExim(t testing.TB, dir, program string, cfg EximConfig) (*Exim, error) {
	id, private, err := eximUser(dir)
	if err != nil {
		return nil, err
	}
	// The maildir too: deliveries that make it at the same moment disturb each
	// other, and those that lose wait for the next queue run.
	for _, name := range []string{"spool", "log", "mail", "mail/inbox", "mail/inbox/tmp", "mail/inbox/new", "mail/inbox/cur"} {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			return nil, err
		}
		if err := os.Chown(path, id, id); err != nil {
			return nil, err
		}
	}
	auth, err := newAuthority(dir, id)
	if err != nil {
		return nil, err
	}
	addrs, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	e := &Exim{
		Addr: addrs[0], TLSAddr: addrs[1], PlainAddr: addrs[2],
		CAFile: auth.caFile, CAPool: auth.pool,
		t: t, auth: auth, dir: dir, privateUser: private,
		mail: &maildir{
			dir:   filepath.Join(dir, "mail", "inbox"),
			field: "envelope-to:",
			known: map[string]stored{},
		},
	}
	if err := writeEximConfig(e, cfg); err != nil {
		return nil, err
	}
	e.process = &process{
		argv: []string{
			program, "-C", filepath.Join(dir, "exim.conf"),
			"-bdf", "-q10s", "-oP", filepath.Join(dir, "exim.pid"),
		},
		env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", "LD_LIBRARY_PATH=" + eximLibraries(program)},
		out: filepath.Join(dir, "stdout.log"),
	}
	if private {
		e.process.overlays = []string{
			filepath.Join(dir, "passwd"), "/etc/passwd",
			filepath.Join(dir, "group"), "/etc/group",
		}
	}
	return e, nil
}

func (e *Exim) start() {
	e.t.Helper()
	if err := e.process.start(); err != nil {
		e.t.Fatalf("relaytest: start Exim: %v", err)
	}
	if e.privateUser && !e.process.isolated {
		e.process.stop(false)
		unavailable(e.t, "mount namespaces are forbidden and Exim's user "+eximName+" does not exist")
	}
	err := e.process.waitGreeting(e.t.Context(), []string{e.Addr, e.PlainAddr}, []string{e.TLSAddr})
	if err != nil {
		e.process.stop(false)
		e.t.Fatalf("relaytest: start Exim: %v\n%s", err, tail(e.Log()))
	}
}

// TLSConfig returns a client configuration that trusts this server only.
func (e *Exim) TLSConfig() *tls.Config { return e.auth.clientConfig() }

// Messages returns what has arrived for a mailbox, as stored: trace fields
// first, lines ending in LF ([WithoutTrace] gives what the client transmitted).
// The mailbox is the envelope recipient, any case. Oldest first; none is nil.
func (e *Exim) Messages(mailbox string) [][]byte {
	e.t.Helper()
	messages, err := e.mail.read(mailbox)
	if err != nil {
		e.t.Fatalf("relaytest: read mail: %v", err)
	}
	return messages
}

// WaitMessages waits until at least n messages for the mailbox have arrived and
// returns all of them like Messages. It fails when ctx ends.
func (e *Exim) WaitMessages(ctx context.Context, mailbox string, n int) ([][]byte, error) {
	return e.mail.wait(ctx, mailbox, n)
}

// Log returns Exim's main, reject and panic logs so far, one after the other.
func (e *Exim) Log() string {
	logs := filepath.Join(e.dir, "log")
	return readLog(filepath.Join(e.dir, "stdout.log"), filepath.Join(logs, "mainlog"),
		filepath.Join(logs, "rejectlog"), filepath.Join(logs, "paniclog"))
}

// Stop ends the server in order. Queue and stored mail stay for Restart. It
// does nothing if the server is not running.
func (e *Exim) Stop() { e.process.stop(true) }

// Kill ends the server at once, with all its processes, as a crash would.
func (e *Exim) Kill() { e.process.stop(false) }

// Restart stops the server if it runs and starts it again on the same ports
// with the same queue and stored mail.
func (e *Exim) Restart() {
	e.t.Helper()
	e.Stop()
	e.start()
}
