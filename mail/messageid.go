package mail

import (
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"
)

// The octets of randomness in a message: a Message-ID must be unique in the
// world (RFC 5322 §3.6.4), a boundary must appear in no part (RFC 2046 §5.1.1).
// 120 bits make both certain enough that no one has to look.
const (
	idOctets       = 15
	boundaryOctets = 15
	randomOctets   = idOctets + boundaryOctets
)

// nonce is the randomness of one message.
type nonce [randomOctets]byte

// fill reads the nonce from r, crypto/rand if r is nil.
func (n *nonce) fill(r io.Reader) error {
	if r == nil {
		_, _ = rand.Read(n[:]) // never fails, by its documentation
		return nil
	}
	var read nonce // n itself need not be on the heap for a Reader's sake
	if _, err := io.ReadFull(r, read[:]); err != nil {
		return fmt.Errorf("mail: reading from Random: %w", err)
	}
	*n = read
	return nil
}

// base32 is an alphabet of 32 letters and digits that are atext, of one case.
const base32 = "0123456789abcdefghjkmnpqrstvwxyz"

// appendBase32 appends p, a multiple of five octets, five bits a character.
func appendBase32(buf, p []byte) []byte {
	for ; len(p) >= 5; p = p[5:] {
		v := uint64(p[0])<<32 | uint64(p[1])<<24 | uint64(p[2])<<16 | uint64(p[3])<<8 | uint64(p[4])
		for shift := 35; shift >= 0; shift -= 5 {
			buf = append(buf, base32[v>>shift&31])
		}
	}
	return buf
}

// makeMessageID makes a message identifier: the time, for people who read
// logs, randomness, and a domain that the sender answers for.
func makeMessageID(n *nonce, now time.Time, domain string) string {
	var room [128]byte // on the stack, for all but a few
	buf := append(room[:0], '<')
	buf = appendStamp(buf, now)
	buf = append(buf, '.')
	buf = appendBase32(buf, n[:idOctets])
	buf = append(buf, '@')
	buf = append(buf, domain...)
	buf = append(buf, '>')
	return string(buf)
}

// checkIDDomain checks the setting MessageIDDomain; empty is none.
func (fs *Faults) checkIDDomain(domain string) {
	for i := range len(domain) {
		if c := domain[i]; !isAtext(c) && c != '.' {
			fs.add("message_id_domain", CodeInvalidMessageID, "domain %s of Message-IDs has %q in it; give an ASCII domain name", show(domain), c)
			return
		}
	}
	if len(domain) > maxDomainOctets {
		fs.add("message_id_domain", CodeTooLong, "domain %s of Message-IDs has %d octets; at most %d are allowed", show(domain), len(domain), maxDomainOctets)
	}
}

// angled gives a message identifier with its angle brackets.
func angled(id string) string {
	if id == "" || strings.HasPrefix(id, "<") {
		return id
	}
	return "<" + id + ">"
}

// domainOf gives the part of a mailbox behind its @.
func domainOf(mailbox string) string {
	return mailbox[strings.LastIndexByte(mailbox, '@')+1:]
}
