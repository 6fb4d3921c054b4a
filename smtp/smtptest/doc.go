// Package smtptest is a scripted SMTP server for tests, as net/http/httptest
// is an HTTP server for tests. It listens on the loopback interface with real
// TLS under a certificate authority of its own, speaks every common extension,
// answers as its rules say, and records what clients did.
//
//	srv := smtptest.StartT(t, smtptest.Config{
//		Users: map[string]string{"ann": "secret"},
//	})
//	srv.On(smtptest.Rule{Command: "RCPT", Match: "bob@", Action: smtptest.Reply("550 5.1.1 no such user")})
//	// … let the program under test send to srv.Addr() …
//	got, err := srv.WaitTransactions(t.Context(), 1)
//
// The zero Config is a full-featured server that accepts everything. Without a
// rule the server keeps to the RFCs by itself: order of commands and replies
// (RFC 5321), pipelining (RFC 2920), chunking (RFC 3030), SIZE (RFC 1870),
// 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), DSN parameters (RFC 3461), enhanced
// codes (RFC 2034), STARTTLS (RFC 3207), implicit TLS (RFC 8314), REQUIRETLS
// (RFC 8689) and AUTH (RFC 4954) with PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-1,
// SCRAM-SHA-256, XOAUTH2 and OAUTHBEARER.
//
// A [Rule] says when to do something else, an [Action] what: another reply, a
// lost connection, silence, a delay, garbage, octets that nobody asked for.
// Faults of the client that a lenient server would pass over in silence are
// kept as [Lint].
//
// Tests under testing/synctest cannot use real sockets. They make the server
// with [New], which does not listen, and connect with [Server.PipeDial].
//
// The server is also an ordinary receiver that takes any message: give it a
// fixed address, limits, and [Config.Content] to stream to. It does not relay,
// does not check who may send where, and knows no mailboxes.
//
// The package imports only the standard library and a SCRAM library, so that
// any SMTP client's own tests can use it.
package smtptest
