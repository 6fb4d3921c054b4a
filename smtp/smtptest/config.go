package smtptest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config describes a server. The zero value is a full-featured server on free
// ports of 127.0.0.1 that accepts every message from anybody, with or without
// TLS. It is copied when the server starts.
type Config struct {
	// Addr is the address of the listener for plain text and STARTTLS.
	// "": 127.0.0.1:0, a free port. "-": no such listener.
	Addr string
	// TLSAddr is the address of the listener for implicit TLS (RFC 8314).
	// "": 127.0.0.1:0, a free port. "-": no such listener.
	TLSAddr string
	// Hostname is the name in the greeting and in the reply to EHLO.
	// "": localhost.
	Hostname string

	// Extensions are the lines of the reply to EHLO, without code, in their
	// order. What is offered is also what works: without CHUNKING here, BDAT is
	// answered 502. Unknown keywords are offered and otherwise ignored. "SIZE"
	// alone gets MaxSize as its parameter, "AUTH" alone gets the mechanisms.
	// STARTTLS is left out once TLS is active, REQUIRETLS until it is.
	//
	// nil: PIPELINING, SIZE, STARTTLS, AUTH (if there are Users), ENHANCEDSTATUSCODES,
	// 8BITMIME, DSN, SMTPUTF8, CHUNKING, BINARYMIME, REQUIRETLS. Empty but
	// not nil: none.
	Extensions []string
	// TLSExtensions replaces Extensions while TLS is active, so that what is
	// offered changes after STARTTLS. nil: as Extensions.
	TLSExtensions []string
	// Without names keywords that are not offered although the lists above
	// have them: the default less one or two extensions.
	Without []string
	// HELOOnly makes a server of before 1993: EHLO is answered 500, only HELO
	// works, and there are no extensions.
	HELOOnly bool

	// Users maps user names to passwords for AUTH. For OAUTHBEARER and XOAUTH2
	// the password is the access token. Server.SetUser changes it later.
	Users map[string]string
	// Mechanisms are the SASL mechanisms offered. nil: SCRAM-SHA-256,
	// SCRAM-SHA-1, CRAM-MD5, PLAIN, LOGIN, OAUTHBEARER, XOAUTH2.
	Mechanisms []string
	// RequireAuth answers MAIL with 530 5.7.0 until AUTH has succeeded.
	RequireAuth bool
	// RequireTLS answers everything but EHLO, HELO, STARTTLS, NOOP, RSET and
	// QUIT with 530 5.7.0 until TLS is active, and does not offer AUTH before.
	RequireTLS bool

	// TLSConfig is used instead of the server's own; it is cloned. Where it has
	// no certificate, the generated one for localhost, 127.0.0.1 and ::1 is used,
	// where it has no ClientCAs, the server's own authority. nil: TLS 1.2 or newer.
	TLSConfig *tls.Config
	// ClientAuth says whether clients are asked for a certificate. Whatever
	// was shown is recorded in the session's TLS state. Certificates of the
	// server's own authority are made by Server.ClientCertificate.
	ClientAuth tls.ClientAuthType

	// Rules are the script; Server.On adds to it.
	Rules []Rule

	// MaxSize is the largest message in octets, as SIZE announces it
	// (RFC 1870). Larger ones are answered 552 5.3.4, in MAIL if announced
	// there, else after the content. 0: no limit.
	MaxSize int64
	// MaxRecipients is the number of recipients accepted in a transaction;
	// further ones are answered 452 4.5.3. 0: no limit.
	MaxRecipients int
	// MaxLine is the longest command line in octets with its CRLF; longer ones
	// are answered 500. Lines of an AUTH exchange may have 12288 octets
	// (RFC 4954 §4). 0: 4096, which leaves room for all extensions.
	MaxLine int
	// MaxErrors is the number of lines that are no commands, or not well
	// formed, after which a session is answered 421 4.7.0 and closed. Refusals
	// by rules, and commands out of order, do not count. 0: 100. -1: no limit.
	MaxErrors int
	// MaxSessions is the number of open sessions; further ones are answered
	// 421 4.3.2 and closed. 0: no limit.
	MaxSessions int
	// Timeout ends a session, with 421 4.4.2, when the client says nothing for so
	// long. It also bounds each write. 0: no timeout.
	Timeout time.Duration

	// MaxContent is the number of octets of each message that are kept in
	// Transaction.Content. Of a larger one the beginning, size and hash are
	// kept. 0: 64 MiB. -1: none.
	MaxContent int64
	// KeepRecords bounds what is remembered, for servers that run long: the
	// newest so many transactions, closed sessions, and commands of each session.
	// 0: everything. -1: nothing of transactions and closed sessions.
	KeepRecords int

	// Content, if set, gets the content of each transaction as it arrives, in
	// constant memory (set MaxContent to -1). It is called when the content
	// begins. Close means that the content is complete and is about to be
	// accepted: an error from it, or from Write, or from Content itself refuses
	// the message with 451 4.3.0, or with the reply of a *ReplyError. If the
	// content stays incomplete or is refused otherwise, CloseWithError is called
	// instead of Close where the writer has it, as *io.PipeWriter and
	// *os.File-like wrappers may; a writer without it gets no further call.
	// Calls for different sessions are concurrent.
	Content func(s *Session, e Envelope) (io.WriteCloser, error)
	// OnTransaction, if set, is called for every accepted message, before
	// the client is told. Calls for different sessions are concurrent.
	OnTransaction func(t Transaction)
}

// ReplyError is an error for Config.Content and its writer to return: Reply,
// such as "552 5.2.2 mailbox full", is what the client gets.
type ReplyError struct {
	// Reply is one line with a code of 4yz or 5yz; anything else counts as
	// 451 4.3.0.
	Reply string
}

// Error gives the reply.
func (e *ReplyError) Error() string { return "smtptest: refused: " + e.Reply }

const (
	defaultMaxContent = 64 << 20
	defaultMaxLine    = 4096
	defaultMaxErrors  = 100
	authLineOctets    = 12288 // RFC 4954 §4
)

// withDefaults gives a copy of c that shares nothing with it and has no zero
// value left that stands for something else.
func (c Config) withDefaults() Config {
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	if c.TLSAddr == "" {
		c.TLSAddr = "127.0.0.1:0"
	}
	if c.Hostname == "" {
		c.Hostname = "localhost"
	}
	if c.MaxContent == 0 {
		c.MaxContent = defaultMaxContent
	}
	if c.MaxLine == 0 {
		c.MaxLine = defaultMaxLine
	}
	if c.MaxErrors == 0 {
		c.MaxErrors = defaultMaxErrors
	}
	if c.Mechanisms == nil {
		c.Mechanisms = mechanismNames()
	}
	if c.Extensions == nil {
		c.Extensions = []string{"PIPELINING", "SIZE", "STARTTLS"}
		if len(c.Users) > 0 || c.RequireAuth {
			c.Extensions = append(c.Extensions, "AUTH")
		}
		c.Extensions = append(c.Extensions, "ENHANCEDSTATUSCODES", "8BITMIME", "DSN", "SMTPUTF8",
			"CHUNKING", "BINARYMIME", "REQUIRETLS")
	}
	if c.TLSExtensions == nil {
		c.TLSExtensions = c.Extensions
	}
	c.Extensions = slices.Clone(c.Extensions)
	c.TLSExtensions = slices.Clone(c.TLSExtensions)
	c.Without = slices.Clone(c.Without)
	c.Mechanisms = slices.Clone(c.Mechanisms)
	c.Users = maps.Clone(c.Users)
	if c.Users == nil {
		c.Users = map[string]string{}
	}
	c.Rules = slices.Clone(c.Rules)
	return c
}

// validate gives all faults of a configuration, joined.
func (c *Config) validate() error {
	var faults []error
	bad := func(format string, a ...any) { faults = append(faults, fmt.Errorf("smtptest: "+format, a...)) }
	for name, v := range map[string]int64{
		"MaxSize": c.MaxSize, "MaxRecipients": int64(c.MaxRecipients), "MaxLine": int64(c.MaxLine),
		"MaxSessions": int64(c.MaxSessions), "Timeout": int64(c.Timeout),
	} {
		if v < 0 {
			bad("Config.%s is negative; 0 means its default", name)
		}
	}
	if c.MaxErrors < -1 || c.MaxContent < -1 || c.KeepRecords < -1 {
		bad("Config.MaxErrors, MaxContent and KeepRecords may not be less than -1")
	}
	for i, r := range c.Rules {
		// A NaN compares false to both.
		if !(r.Chance >= 0 && r.Chance <= 1) {
			bad("Config.Rules[%d].Chance is %g; a probability is from 0 to 1", i, r.Chance)
		}
	}
	for _, m := range c.Mechanisms {
		if !slices.Contains(mechanismNames(), m) {
			bad("Config.Mechanisms has %q; known are %s", m, strings.Join(mechanismNames(), ", "))
		}
	}
	for _, lines := range [][]string{c.Extensions, c.TLSExtensions, {c.Hostname}} {
		for _, l := range lines {
			if strings.ContainsAny(l, "\r\n") {
				bad("%q holds a line break; give each extension as an element of its own", l)
			}
		}
	}
	return errors.Join(faults...)
}

// offer gives the lines of the reply to EHLO.
func (c *Config) offer(tlsActive bool) []string {
	if c.HELOOnly {
		return nil
	}
	list := c.Extensions
	if tlsActive {
		list = c.TLSExtensions
	}
	var lines []string
	for _, line := range list {
		keyword, params, _ := strings.Cut(line, " ")
		keyword = strings.ToUpper(keyword)
		if slices.ContainsFunc(c.Without, func(w string) bool { return strings.EqualFold(w, keyword) }) {
			continue
		}
		switch keyword {
		case "STARTTLS":
			// RFC 3207 §4.2: not offered once TLS is active.
			if tlsActive {
				continue
			}
		case "REQUIRETLS":
			// RFC 8689 §2: only of use, and only offered, under TLS.
			if !tlsActive {
				continue
			}
		case "AUTH":
			if c.RequireTLS && !tlsActive {
				continue
			}
			if params == "" {
				line = "AUTH " + strings.Join(c.Mechanisms, " ")
			}
		case "SIZE":
			if params == "" && c.MaxSize > 0 {
				line = "SIZE " + strconv.FormatInt(c.MaxSize, 10)
			}
		}
		lines = append(lines, line)
	}
	return lines
}
