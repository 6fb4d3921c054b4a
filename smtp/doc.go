// Package smtp holds one conversation with an SMTP server, as a client: it
// dials, negotiates TLS, authenticates, and carries one mail transaction after
// another in as few round trips as the server's extensions allow (one, where
// it offers PIPELINING and CHUNKING). For each recipient it hands back the
// reply that decided, and for each failure a class: try again, give up, the
// relay's settings are at fault, or unknown.
//
// It does not keep connections (package smtppool does), does not try again,
// does not look up MX records, and does not know what is in a message:
// package mail composes one, and the [Content] given to [Conn.Send] is
// written as it is, after a check that it cannot break out of the
// transaction.
//
// A [Dialer] is a checked configuration and is shared. A [Conn] is one
// session; its methods are called one at a time.
//
// RFC 5321 (SMTP), 1870 (SIZE), 2034 and 3463 (enhanced codes), 2920
// (PIPELINING), 3030 (CHUNKING; not BINARYMIME), 3207 (STARTTLS), 8314
// (implicit TLS), 4954 (AUTH), 6152 (8BITMIME), 6531 (SMTPUTF8), 3461 (DSN),
// 8689 (REQUIRETLS).
package smtp
