package postrider

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/smtp"
)

// CheckReport tells what a relay offers and how it was reached. Fields beyond
// the phase that failed are empty.
type CheckReport struct {
	// OK says that the session was opened, with TLS and authentication as configured.
	OK bool `json:"ok"`
	// Relay is the relay URL without its password.
	Relay string `json:"relay"`
	// Address is the host and port dialled; RemoteAddress the network address that answered.
	Address       string `json:"address"`
	RemoteAddress string `json:"remote_address,omitempty"`
	// TLSMode is none, tls (STARTTLS) or ssl (implicit TLS).
	TLSMode smtp.TLSMode `json:"tls_mode"`
	// Greeting is the text of the relay's 220 reply.
	Greeting string `json:"greeting,omitempty"`
	// Extensions maps each EHLO keyword to its parameters, as offered after TLS.
	Extensions map[string]string `json:"extensions,omitempty"`
	// MaxSize is the limit of extension SIZE in octets (RFC 1870); 0: none stated.
	MaxSize int64 `json:"max_size,omitempty"`
	// TLS describes the encrypted connection; nil: it is not encrypted.
	TLS *TLSReport `json:"tls,omitempty"`
	// AuthOffered lists the SASL mechanisms offered; AuthMechanism is the one used, empty if none.
	AuthOffered   []string `json:"auth_offered,omitempty"`
	AuthMechanism string   `json:"auth_mechanism,omitempty"`
	// RoundTripMS is the time of one NOOP, in milliseconds; ConnectMS the time from
	// dialling until the session was ready to send.
	RoundTripMS float64 `json:"round_trip_ms,omitempty"`
	ConnectMS   float64 `json:"connect_ms,omitempty"`
	// RoundTripsPerMessage is what a message of up to 64 KiB to one recipient costs here.
	RoundTripsPerMessage int `json:"round_trips_per_message,omitempty"`
	// Phase is where it failed and Error why; empty if OK.
	Phase smtp.Phase `json:"phase,omitempty"`
	Error string     `json:"error,omitempty"`
}

// TLSReport describes an encrypted connection.
type TLSReport struct {
	// Version and CipherSuite are by name: "TLS 1.3", "TLS_AES_128_GCM_SHA256".
	Version     string `json:"version"`
	CipherSuite string `json:"cipher_suite"`
	// ServerName is the name that the certificate was asked to be for (RFC 6066 §3).
	ServerName string `json:"server_name"`
	// Resumed says that keys of an earlier session were used again (RFC 8446 §2.2).
	Resumed bool `json:"resumed"`
	// Certificate is the relay's own.
	Certificate CertificateReport `json:"certificate"`
}

// CertificateReport describes the relay's own certificate.
type CertificateReport struct {
	// Subject and Issuer are distinguished names (RFC 4514).
	Subject string `json:"subject"`
	Issuer  string `json:"issuer"`
	// DNSNames are the names that it is for (RFC 5280 §4.2.1.6); names in Subject do not count.
	DNSNames []string `json:"dns_names,omitempty"`
	// NotBefore and NotAfter bound its validity, in UTC.
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	// SHA256 is the hash of the whole certificate, in hexadecimal.
	SHA256 string `json:"sha256"`
}

// Check opens a connection of its own beside the pool, negotiates TLS,
// authenticates, measures one round trip, and says QUIT. The report is never
// nil; the error is nil only if the relay is ready to take mail, else an
// *smtp.Error.
func (c *Client) Check(ctx context.Context) (*CheckReport, error) {
	r := &CheckReport{
		Relay:   c.relay.String(),
		Address: net.JoinHostPort(c.relay.Host, strconv.Itoa(c.relay.Port)),
		TLSMode: c.relay.TLSMode,
	}
	begin := time.Now()
	conn, err := c.dialer.Dial(ctx)
	if err != nil {
		return r.fail(err)
	}
	defer conn.Close()
	r.ConnectMS = milliseconds(time.Since(begin))
	r.RemoteAddress = conn.RemoteAddr().String()
	r.Greeting = oneLine(conn.Greeting().Text())
	r.Extensions = conn.Extensions()
	if size, ok := conn.Extension("SIZE"); ok {
		// A SIZE without a number states no limit (RFC 1870 §3).
		r.MaxSize, _ = strconv.ParseInt(size, 10, 64)
	}
	if offered, ok := conn.Extension("AUTH"); ok {
		r.AuthOffered = strings.Fields(offered)
	}
	r.AuthMechanism = conn.AuthMechanism()
	if state, ok := conn.TLSState(); ok {
		r.TLS = reportTLS(&state)
	}
	_, pipelining := conn.Extension("PIPELINING")
	_, chunking := conn.Extension("CHUNKING")
	switch {
	case pipelining && chunking:
		r.RoundTripsPerMessage = 1
	case pipelining:
		r.RoundTripsPerMessage = 2
	default:
		r.RoundTripsPerMessage = 4
	}
	begin = time.Now()
	if err := conn.Noop(ctx); err != nil {
		return r.fail(err)
	}
	r.RoundTripMS = milliseconds(time.Since(begin))
	// The relay has answered all that was asked; a lost QUIT changes nothing.
	_ = conn.Quit(ctx)
	r.OK = true
	return r, nil
}

func (r *CheckReport) fail(err error) (*CheckReport, error) {
	r.Error = oneLine(err.Error())
	if failure, ok := asSMTP(err); ok {
		r.Phase = failure.Phase
	}
	return r, err
}

func reportTLS(s *tls.ConnectionState) *TLSReport {
	r := &TLSReport{
		Version:     tls.VersionName(s.Version),
		CipherSuite: tls.CipherSuiteName(s.CipherSuite),
		ServerName:  s.ServerName,
		Resumed:     s.DidResume,
	}
	if len(s.PeerCertificates) > 0 {
		r.Certificate = reportCertificate(s.PeerCertificates[0])
	}
	return r
}

func reportCertificate(c *x509.Certificate) CertificateReport {
	sum := sha256.Sum256(c.Raw)
	return CertificateReport{
		Subject:   c.Subject.String(),
		Issuer:    c.Issuer.String(),
		DNSNames:  c.DNSNames,
		NotBefore: c.NotBefore.UTC(),
		NotAfter:  c.NotAfter.UTC(),
		SHA256:    hex.EncodeToString(sum[:]),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
