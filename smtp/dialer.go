package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/smtp/sasl"
	"golang.org/x/net/idna"
)

// Dialer is a checked [Config] with what connections share: the TLS session
// cache and write buffers. It is safe for concurrent use.
type Dialer struct {
	cfg       Config
	address   string // host:port
	localName string // "": the literal of the local address
	tls       *tls.Config
	auth      *sasl.Credentials
	timeouts  Timeouts
	patience  [expectations]time.Duration // timeouts, by what is waited for
	flights   sync.Pool                   // *flight
	buffers   sync.Pool                   // *[]byte, for flights
	offers    [2]atomic.Pointer[offer]    // the last one without and with TLS
	conns     atomic.Uint64
}

// NewDialer checks the configuration. The error joins every fault found; none
// of them shows a secret.
func NewDialer(cfg Config) (*Dialer, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("smtp: "+format, args...)) }

	d := &Dialer{cfg: cfg}
	mode, err := ParseTLSMode(string(cfg.TLSMode))
	if err != nil {
		faults = append(faults, err)
	}
	d.cfg.TLSMode = mode
	if cfg.Port < 0 || cfg.Port > 65535 {
		fault("port %d is not between 1 and 65535 (0 for the default)", cfg.Port)
	}
	if cfg.Port == 0 {
		d.cfg.Port = mode.DefaultPort()
	}
	host, err := hostName(cfg.Host)
	if err != nil {
		fault("%w", err)
	}
	d.cfg.Host = host
	d.address = net.JoinHostPort(host, strconv.Itoa(d.cfg.Port))
	if d.localName, err = localName(cfg.LocalName); err != nil {
		fault("%w", err)
	}
	if d.timeouts, err = cfg.Timeouts.withDefaults(); err != nil {
		fault("%w", err)
	}
	if cfg.Auth != nil {
		if d.auth, err = d.complete(cfg.Auth); err != nil {
			faults = append(faults, err)
		}
	}
	if cfg.Auth != nil && cfg.AuthFunc != nil {
		fault("Auth and AuthFunc are both set: use one of them")
	}
	if cfg.TLSConfig != nil && cfg.TLSConfig.InsecureSkipVerify && cfg.TLSConfig.VerifyConnection == nil && !cfg.DangerouslySkipTLSVerify {
		fault("TLSConfig.InsecureSkipVerify is set: set DangerouslySkipTLSVerify instead, or add the relay's CA to TLSConfig.RootCAs")
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	d.tls = clientTLS(&d.cfg)
	d.patience = d.timeouts.patience()
	return d, nil
}

// complete gives checked credentials that know the server.
func (d *Dialer) complete(c *sasl.Credentials) (*sasl.Credentials, error) {
	auth := *c
	if auth.Host == "" {
		// RFC 7628 §3.1: OAUTHBEARER tells which server was meant.
		auth.Host, auth.Port = d.cfg.Host, d.cfg.Port
	}
	return &auth, auth.Validate()
}

// clientTLS is the configuration of every handshake.
func clientTLS(cfg *Config) *tls.Config {
	var t *tls.Config
	if cfg.TLSConfig != nil {
		t = cfg.TLSConfig.Clone()
	} else {
		t = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	// RFC 8997: TLS 1.0 and 1.1 must not be used for mail.
	t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
	if t.ServerName == "" {
		t.ServerName = cfg.Host
	}
	if t.ClientSessionCache == nil {
		// A Dialer talks to one server; a few tickets serve many connections.
		t.ClientSessionCache = tls.NewLRUClientSessionCache(16)
	}
	if cfg.DangerouslySkipTLSVerify {
		t.InsecureSkipVerify = true
	}
	// Small first records help pages that render while they load. A message
	// is of use only when it is whole.
	t.DynamicRecordSizingDisabled = true
	return t
}

// withDefaults fills the zero fields.
func (t Timeouts) withDefaults() (Timeouts, error) {
	def := defaultTimeouts()
	var faults []error
	for _, f := range []struct {
		name string
		d    *time.Duration
		def  time.Duration
	}{
		{"Dial", &t.Dial, def.Dial},
		{"TLS", &t.TLS, def.TLS},
		{"Greeting", &t.Greeting, def.Greeting},
		{"Hello", &t.Hello, def.Hello},
		{"Auth", &t.Auth, def.Auth},
		{"Mail", &t.Mail, def.Mail},
		{"Rcpt", &t.Rcpt, def.Rcpt},
		{"Data", &t.Data, def.Data},
		{"Block", &t.Block, def.Block},
		{"Final", &t.Final, def.Final},
		{"Quit", &t.Quit, def.Quit},
	} {
		switch {
		case *f.d < 0:
			faults = append(faults, fmt.Errorf("timeout %s is %v: use a positive duration, or 0 for %v", f.name, *f.d, f.def))
		case *f.d == 0:
			*f.d = f.def
		}
	}
	return t, errors.Join(faults...)
}

// hostName checks a server's name and gives its ASCII form (RFC 5890).
func hostName(host string) (string, error) {
	if host == "" {
		return "", errors.New("no host: set the relay's name or address")
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return host, nil
	}
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil {
		// Underscores are not for host names, but networks of containers use them.
		ascii = host
	}
	for _, c := range []byte(ascii) {
		if !isNameOctet(c) && c != '.' {
			return "", fmt.Errorf("host %q is not a host name or address (a port goes into Port)", host)
		}
	}
	return ascii, nil
}

// localName checks the EHLO name, or looks for one (RFC 5321 §4.1.1.1). ""
// means the literal of each connection's local address.
func localName(name string) (string, error) {
	if name == "" {
		h, err := os.Hostname()
		if err != nil || !strings.Contains(strings.Trim(h, "."), ".") || !isDomain(h) {
			return "", nil
		}
		return strings.TrimSuffix(h, "."), nil
	}
	if literal, ok := strings.CutPrefix(name, "["); ok {
		literal, ok = strings.CutSuffix(literal, "]")
		a, err := netip.ParseAddr(strings.TrimPrefix(literal, "IPv6:"))
		if !ok || err != nil || a.Is6() != strings.HasPrefix(literal, "IPv6:") {
			return "", fmt.Errorf("LocalName %q is not an address literal like [192.0.2.1] or [IPv6:2001:db8::1]", name)
		}
		return name, nil
	}
	ascii := name
	if a, err := idna.Lookup.ToASCII(name); err == nil {
		ascii = a
	}
	if !isDomain(ascii) {
		return "", fmt.Errorf("LocalName %q is not a domain name or address literal", name)
	}
	return strings.TrimSuffix(ascii, "."), nil // RFC 5321 §4.1.2 has no dot at the end
}

// isDomain says whether s is a domain of letters, digits, hyphens and dots
// (RFC 5321 §4.1.2), underscores being let through as resolvers do.
func isDomain(s string) bool {
	if len(s) > 255 || s == "" {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !isNameOctet(c) {
				return false
			}
		}
	}
	return true
}

func isNameOctet(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// addressLiteral is what EHLO says when there is no name (RFC 5321 §4.1.3).
func addressLiteral(a net.Addr) string {
	if t, ok := a.(*net.TCPAddr); ok {
		if ip := t.AddrPort().Addr().Unmap().WithZone(""); ip.Is4() {
			return "[" + ip.String() + "]"
		} else if ip.IsValid() {
			return "[IPv6:" + ip.String() + "]"
		}
	}
	return "[127.0.0.1]"
}

// Dial opens a session: connection, TLS, greeting, EHLO, STARTTLS, AUTH. Any
// error is an *Error. ctx bounds the opening only.
func (d *Dialer) Dial(ctx context.Context) (*Conn, error) {
	dialCtx, cancel := context.WithTimeout(ctx, d.timeouts.Dial)
	defer cancel()
	dial := d.cfg.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	nc, err := dial(dialCtx, "tcp", d.address)
	if err != nil {
		if ctx.Err() == nil && dialCtx.Err() != nil {
			err = fmt.Errorf("no connection to %s after %v: %w", d.address, d.timeouts.Dial, os.ErrDeadlineExceeded)
		} else if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		return nil, &Error{Phase: PhaseDial, Class: ClassTransient, Err: err}
	}
	return d.Start(ctx, nc)
}

// Start opens a session on a connection that exists already: a tunnel, one end
// of a net.Pipe. It does all that [Dialer.Dial] does after connecting, and
// owns nc from now on: nc is closed if it fails, after a QUIT where the server
// still listens. Any error is an *Error.
func (d *Dialer) Start(ctx context.Context, nc net.Conn) (*Conn, error) {
	c := newConn(d, nc)
	if err := c.open(ctx); err != nil {
		if c.listening() {
			// RFC 5321 §4.1.1.10: not without QUIT, also after a refusal.
			_ = c.Quit(ctx) // the failure that counts is err
		}
		c.die(err)
		c.await()
		return nil, err
	}
	return c, nil
}
