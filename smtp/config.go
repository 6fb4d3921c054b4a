package smtp

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/postrider/postrider/smtp/sasl"
)

// Config says which server a [Dialer] talks to, and how. Host is required;
// every other field has a usable zero value. It is copied by [NewDialer].
type Config struct {
	// Host is the server's name or IP address, without a port.
	Host string
	// Port is 1 to 65535; 0: that of TLSMode (25, 587 or 465).
	Port int
	// TLSMode protects the connection; "": TLSStartTLS.
	TLSMode TLSMode
	// LocalName is what EHLO says (RFC 5321 §4.1.1.1): a domain name or an
	// address literal. "": os.Hostname if that is a full domain name, else
	// the literal of the local address.
	LocalName string
	// TLSConfig holds certificate pools, client certificates and the like;
	// nil: the system's pool. It is cloned once. TLS 1.2 is the least that is
	// spoken, ServerName is Host unless set, and a session cache is added
	// unless set. InsecureSkipVerify without VerifyConnection is refused; see
	// DangerouslySkipTLSVerify.
	TLSConfig *tls.Config
	// Auth are the credentials for AUTH; nil: no authentication.
	Auth *sasl.Credentials
	// AuthFunc gives the credentials whenever a connection has come to AUTH,
	// so that a password need not lie in memory between connections. ctx is
	// that of the opening. An error is ClassRelay, unless it holds an *Error.
	// nil: Auth is used; not both.
	AuthFunc func(ctx context.Context) (*sasl.Credentials, error)
	// Timeouts bound each step.
	Timeouts Timeouts
	// Dial opens the transport connection; nil: a net.Dialer. It must obey
	// ctx, which ends after Timeouts.Dial.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Strict holds the content back on a connection that was idle for more
	// than a second, until the first reply shows that it is alive. One
	// further round trip then, and a connection lost to idleness never
	// leaves the outcome to be inferred. False: content leaves with the
	// envelope, and if the connection is lost before any octet came back,
	// nothing is taken to have been accepted (see Stale).
	Strict bool
	// DangerouslyAllowPlaintextAuth permits sending a password over a
	// connection without TLS, where anyone on the way can read it.
	DangerouslyAllowPlaintextAuth bool
	// DangerouslySkipTLSVerify accepts any certificate for any name, so that
	// anyone on the way can pose as the server.
	DangerouslySkipTLSVerify bool
	// Trace is called with each line of the dialogue, secrets blotted out
	// and content summarised; nil: no trace. Calls for one connection come
	// one at a time; it should be quick and must not call the connection.
	Trace func(TraceLine)
}

// Timeouts bound each step of a conversation (RFC 5321 §4.5.3.2). A zero
// field means the default named beside it; none can be endless.
type Timeouts struct {
	// Dial is for name lookup and connecting: 30 s.
	Dial time.Duration
	// TLS is for the handshake: 1 min.
	TLS time.Duration
	// Greeting is for the server's first reply: 5 min.
	Greeting time.Duration
	// Hello is for the replies to EHLO, HELO and STARTTLS: 1 min.
	Hello time.Duration
	// Auth is for each reply during AUTH: 1 min.
	Auth time.Duration
	// Mail is for the reply to MAIL, RSET and NOOP: 5 min.
	Mail time.Duration
	// Rcpt is for each reply to RCPT: 5 min.
	Rcpt time.Duration
	// Data is for the reply to DATA: 2 min.
	Data time.Duration
	// Block is for each write, and for the reply to each BDAT block but the
	// last: 3 min.
	Block time.Duration
	// Final is for the reply to the content: 10 min. A server that is slow
	// here has the message, and giving up early makes copies (RFC 1047).
	Final time.Duration
	// Quit is for QUIT and its reply: 5 s.
	Quit time.Duration
}

// defaultTimeouts are the minima of RFC 5321 §4.5.3.2, except where the client
// alone waits: nobody needs 5 minutes for a name lookup or for QUIT.
func defaultTimeouts() Timeouts {
	return Timeouts{
		Dial:     30 * time.Second,
		TLS:      time.Minute,
		Greeting: 5 * time.Minute,
		Hello:    time.Minute,
		Auth:     time.Minute,
		Mail:     5 * time.Minute,
		Rcpt:     5 * time.Minute,
		Data:     2 * time.Minute,
		Block:    3 * time.Minute,
		Final:    10 * time.Minute,
		Quit:     5 * time.Second,
	}
}

// TraceLine is one line of the dialogue.
type TraceLine struct {
	// Conn numbers the connections of one Dialer, from 1.
	Conn uint64
	// Time is when the line was written or read.
	Time time.Time
	// Dir is "C" for what the client said, "S" for the server, "*" for a
	// remark (connected, TLS, closed).
	Dir string
	// Text is the line without CRLF.
	Text string
}
