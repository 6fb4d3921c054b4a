package smtp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"time"
)

// open takes a new connection to where transactions can begin: TLS, greeting,
// EHLO, STARTTLS, AUTH.
func (c *Conn) open(ctx context.Context) error {
	if err := c.enter(ctx); err != nil {
		return &Error{Phase: PhaseGreeting, Class: ClassTransient, Err: err}
	}
	defer c.leave()
	defer c.opened.Store(true)
	if c.tracing() {
		c.traceLine("*", "connected to "+c.wire.RemoteAddr().String())
	}
	if c.d.cfg.TLSMode == TLSImplicit {
		if err := c.handshake(); err != nil {
			return err
		}
	}
	c.expect(expectGreeting)
	c.startReader()
	r, err := c.next()
	switch {
	case err != nil:
		return lossError(PhaseGreeting, "", err)
	case !r.IsPositive():
		e := replyError(PhaseGreeting, "", r)
		// 554 is the server refusing to serve us at all; that says nothing
		// about the message (RFC 5321 §3.1).
		e.Class = ClassTransient
		return e
	}
	c.greeting = r
	if err := c.hello(); err != nil {
		return err
	}
	if c.d.cfg.TLSMode == TLSStartTLS {
		if err := c.startTLS(); err != nil {
			return err
		}
	}
	if c.d.auth != nil || c.d.cfg.AuthFunc != nil {
		return c.authenticate(ctx)
	}
	return nil
}

// command sends one line and waits for its reply. An error is the end of the
// session; a negative reply is not an error yet.
func (c *Conn) command(phase Phase, verb string, e expectation, parts ...string) (Reply, error) {
	f := c.d.getFlight()
	defer c.d.putFlight(f)
	if err := f.line(c, e, parts...); err != nil {
		return Reply{}, localError(phase, EnhancedCode{5, 5, 2}, err)
	}
	c.send(f)
	r, err := c.next()
	if err != nil {
		return Reply{}, lossError(phase, verb, err)
	}
	return r, nil
}

// hello says EHLO, or HELO to servers that do not know it (RFC 5321 §4.1.4).
func (c *Conn) hello() error {
	name := c.d.localName
	if name == "" {
		name = addressLiteral(c.wire.LocalAddr())
	}
	c.ext = extensions{}
	r, err := c.command(PhaseGreeting, "EHLO", expectHello, "EHLO ", name)
	if err != nil {
		return err
	}
	if r.IsPositive() {
		c.ext = c.offered(r.Lines)
		return nil
	}
	verb := "EHLO"
	if r.IsPermanent() {
		verb = "HELO"
		if r, err = c.command(PhaseGreeting, verb, expectHello, "HELO ", name); err != nil {
			return err
		}
	}
	if !r.IsPositive() {
		return replyError(PhaseGreeting, verb, r)
	}
	return nil
}

// startTLS protects the session or fails; it never goes on without
// (RFC 3207, RFC 8314 §4.1).
func (c *Conn) startTLS() error {
	if _, ok := c.ext.lookup("STARTTLS"); !ok {
		return &Error{
			Phase: PhaseTLS, Command: "STARTTLS", Class: ClassRelay,
			Err: errors.New("the server does not offer STARTTLS; use the port for implicit TLS, or another TLS mode if the way there is safe"),
		}
	}
	r, err := c.command(PhaseTLS, "STARTTLS", expectStartTLS, "STARTTLS")
	if err != nil {
		return err
	}
	if !r.IsPositive() {
		e := replyError(PhaseTLS, "STARTTLS", r)
		if e.Class == ClassPermanent {
			e.Class = ClassRelay // every message would meet the same
		}
		return e
	}
	// The reader has stopped: what follows on the wire belongs to TLS.
	c.await()
	if c.closed.Load() {
		return lossError(PhaseTLS, "STARTTLS", c.deathCause())
	}
	if err := c.handshake(); err != nil {
		return err
	}
	c.startReader()
	// RFC 3207 §4.2: what was learnt before TLS is forgotten.
	return c.hello()
}

// handshake puts TLS on the connection.
func (c *Conn) handshake() error {
	t := tls.Client(c.wire, c.d.tls)
	by := time.Now().Add(c.d.timeouts.TLS)
	c.wire.readBy(by)
	c.wire.writeBy(by)
	err := t.Handshake()
	c.wire.readBy(time.Time{})
	c.wire.writeBy(time.Time{})
	if err != nil {
		e := &Error{Phase: PhaseTLS, Class: tlsClass(err), Err: err}
		if c.closed.Load() {
			e.Err, e.Class = c.deathCause(), ClassTransient
		} else if isTimeout(err) {
			e.Err = &timeoutError{"no TLS handshake in time"}
		}
		return e
	}
	c.tls, c.nc = t, t
	if c.tracing() {
		s := t.ConnectionState()
		c.traceLine("*", tls.VersionName(s.Version)+" "+tls.CipherSuiteName(s.CipherSuite))
	}
	return nil
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}

// tlsClass tells what a failed handshake means. A certificate that is not
// trusted, theirs or ours, stays so until somebody changes the settings; the
// rest may pass.
func tlsClass(err error) Class {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return ClassRelay
	}
	// These come bare from a VerifyConnection of the configuration.
	var (
		name      x509.HostnameError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
	)
	if errors.As(err, &name) || errors.As(err, &authority) || errors.As(err, &invalid) || certificateRefused(err) {
		return ClassRelay
	}
	return ClassTransient
}

// certificateRefused says whether the server turned down our certificate or
// wants one. In TLS 1.3 that comes only after our handshake has ended.
func certificateRefused(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" || op.Err == nil {
		return false
	}
	// The alert's own type is not exported, but prints as this one does.
	// RFC 8446 §6.2: bad, unsupported, revoked, expired or unknown
	// certificate; unknown CA; certificate required.
	for _, alert := range []tls.AlertError{42, 43, 44, 45, 46, 48, 116} {
		if op.Err.Error() == alert.Error() {
			return true
		}
	}
	return false
}
