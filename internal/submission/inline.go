package submission

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"hash"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/seal"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/mail"
)

// The ports that go with the three ways of encryption, and the words for them.
const (
	tlsNone, tlsStart, tlsImplicit    = "none", "tls", "ssl"
	portSMTP, portSubmission, portTLS = 25, 587, 465
)

// inlineRelay finds or makes the relay that came with a message: the same settings are the same relay, so that its
// connections and limits are shared.
func (s *Submission) inlineRelay(ctx context.Context, j *judgement, tenant uuid.UUID, given *InlineRelay) error {
	r := complete(*given)
	before := len(j.faults)
	j.checkInline(&r)
	if len(j.faults) > before {
		return nil
	}
	mac := hmac.New(sha256.New, s.cfg.RelayKey)
	writeRelay(mac, tenant, &r)
	var print [sha256.Size]byte
	mac.Sum(print[:0])
	// In the cache, its print stands for the id that is not known yet.
	key := cacheKey{tenant, uuid.UUID(print[:len(uuid.UUID{})])}
	e, err := s.known.get(ctx, key, s.cfg.Now(), func(ctx context.Context, e *cached) (err error) {
		n := store.NewRelay{Host: r.Host, Port: r.Port, TLS: r.TLS, Username: r.Username, HELO: r.HELO, CACert: r.CACert}
		if r.Password != "" {
			if n.SealedPassword, err = s.cfg.Sealer.Seal(tenant, seal.PurposeRelayPassword, []byte(r.Password)); err != nil {
				return err
			}
		}
		e.relay, err = s.cfg.Store.Tenant(tenant).InlineRelay(ctx, n, print)
		return err
	})
	j.relay = e.relay
	return err
}

// complete fills in what goes without saying.
func complete(r InlineRelay) InlineRelay {
	if r.TLS == "" {
		r.TLS = tlsStart
		if r.Port == portTLS {
			r.TLS = tlsImplicit
		}
	}
	if r.Port == 0 {
		switch r.TLS {
		case tlsNone:
			r.Port = portSMTP
		case tlsImplicit:
			r.Port = portTLS
		default:
			r.Port = portSubmission
		}
	}
	r.Host = strings.ToLower(strings.TrimSuffix(strings.Trim(r.Host, "[]"), "."))
	return r
}

// checkInline judges the settings alone; whether the host may be dialled is known when it is.
func (j *judgement) checkInline(r *InlineRelay) {
	const maxPort = 65535
	switch {
	case r.Host == "":
		j.fault("relay.host", mail.CodeRequired, "relay has no host; give a domain name or an IP address")
	case !ValidHost(r.Host):
		j.fault("relay.host", mail.CodeInvalidValue, "relay host is neither a domain name nor an IP address")
	}
	if r.Port < 1 || r.Port > maxPort {
		j.fault("relay.port", mail.CodeInvalidValue, "relay port must be from 1 to %d", maxPort)
	}
	if r.TLS != tlsNone && r.TLS != tlsStart && r.TLS != tlsImplicit {
		j.fault("relay.tls", mail.CodeInvalidValue, "relay tls is not known; use none, tls or ssl")
	}
	switch {
	case r.Password != "" && r.Username == "":
		j.fault("relay.username", mail.CodeRequired, "relay has a password and no username; give both or none")
	case r.Password == "" && r.Username != "":
		j.fault("relay.password", mail.CodeRequired, "relay has a username and no password; give both or none")
	}
	if unprintable(r.Username) {
		j.fault("relay.username", mail.CodeControlCharacter, "relay username has a control character")
	}
	if strings.ContainsRune(string(r.Password), 0) {
		j.fault("relay.password", mail.CodeControlCharacter, "relay password has a NUL character")
	}
	if r.HELO != "" && !ValidHost(r.HELO) {
		j.fault("relay.helo", mail.CodeInvalidValue, "relay helo is not a domain name")
	}
	if r.CACert != "" && !ValidCertificates(r.CACert) {
		j.fault("relay.ca_cert", mail.CodeInvalidValue, "relay ca_cert is not one or several certificates in PEM form")
	}
}

// unprintable tells whether a text has a control character.
func unprintable(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// ValidHost tells whether a text can be the host of a relay: a domain name in ASCII (RFC 1123 §2.1) or an IP address
// without brackets and zone.
func ValidHost(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Zone() == ""
	}
	const maxName, maxLabel = 253, 63
	if len(host) == 0 || len(host) > maxName {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if len(label) == 0 || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			return false
		}
	}
	// What looks like an address and is none, such as 127.1, some resolvers take for one.
	last := host[strings.LastIndexByte(host, '.')+1:]
	_, err := strconv.ParseUint(last, 0, 64)
	return err != nil
}

// ValidCertificates tells whether a text is certificates in PEM form and nothing else.
func ValidCertificates(text string) bool {
	rest := []byte(strings.TrimSpace(text))
	if len(rest) == 0 {
		return false
	}
	for len(rest) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			return false
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return false
		}
	}
	return true
}

// writeRelay hashes a relay's settings so that no two have the same octets.
func writeRelay(h hash.Hash, tenant uuid.UUID, r *InlineRelay) {
	p := printer{h}
	p.text(string(tenant[:]))
	for _, s := range []string{r.Host, strconv.Itoa(r.Port), r.TLS, r.Username, string(r.Password), r.HELO, r.CACert} {
		p.text(s)
	}
}

// printer hashes values, each with its length before it, so that their borders are part of the hash.
type printer struct{ h hash.Hash }

// text hashes one text.
func (p printer) text(s string) {
	p.number(int64(len(s)))
	_, _ = p.h.Write([]byte(s)) // a hash never fails
}

// texts hashes a list.
func (p printer) texts(list []string) {
	p.number(int64(len(list)))
	for _, s := range list {
		p.text(s)
	}
}

// number hashes a number.
func (p printer) number(n int64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n))
	_, _ = p.h.Write(b[:])
}

// flag hashes a bool.
func (p printer) flag(b bool) {
	if b {
		p.number(1)
		return
	}
	p.number(0)
}

// time hashes a time.
func (p printer) time(t time.Time) {
	if t.IsZero() {
		p.number(0)
		return
	}
	p.number(t.UnixNano())
}

// TLSAndPort gives the way of encryption and the port of a relay of which one or both were left out.
func TLSAndPort(tls string, port int) (string, int) {
	r := complete(InlineRelay{TLS: tls, Port: port})
	return r.TLS, r.Port
}
