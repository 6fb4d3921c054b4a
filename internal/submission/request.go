package submission

import (
	"encoding/json"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/mail"
)

// Request is one message that a caller wants sent, decoded and not yet judged. Its contents are read through the
// openers of Message and Raw, several times, so they must last until Accept returns; nothing of them is needed later.
type Request struct {
	// Message is what to send. If Raw is set, only its MailFrom, DSN and RequireTLS count.
	Message mail.Message
	// Raw is a message that exists as RFC 5322 octets; nil: it is made from Message.
	Raw *Raw

	// RelayID chooses a relay of the tenant; uuid.Nil: Relay, else the tenant's default.
	RelayID uuid.UUID
	// Relay is a relay given with the message; nil: none. It excludes RelayID.
	Relay *InlineRelay

	// SendAt is when the first attempt is due; zero: now.
	SendAt time.Time
	// Class is "transactional", "bulk" or empty, which is transactional. Bulk waits behind transactional.
	Class string
	// OnUnknown is "retry", "hold" or empty, which is the tenant's setting.
	OnUnknown string
	// Tags are words to find the message by.
	Tags []string
	// Metadata is a JSON object of the caller's, given back with the message; nil: none.
	Metadata json.RawMessage
}

// Raw is a message in its final form.
type Raw struct {
	// Open gives the octets from the first header field on.
	Open mail.Opener
	// Size is their number.
	Size int64
	// Rcpt are the recipients of the envelope; nil: those of the header's To, Cc and Bcc.
	Rcpt []mail.Address
}

// InlineRelay is a relay that came with a message.
type InlineRelay struct {
	// Host is a domain name or an IP address. Required.
	Host string
	// Port is 1 to 65535; 0: 25, 587 or 465 by TLS.
	Port int
	// TLS is "none", "tls" (STARTTLS) or "ssl" (implicit TLS); empty: "ssl" on port 465, else "tls".
	TLS string
	// Username and Password; both empty: no authentication.
	Username string
	Password Secret
	// HELO is the name given in EHLO; empty: the service's own.
	HELO string
	// CACert is a PEM certificate that the relay's must descend from; empty: the system's.
	CACert string
}

// Secret is a text that no form of printing shows.
type Secret string

// hidden stands for a secret wherever one would be printed.
const hidden = "[hidden]"

// String hides the secret.
func (Secret) String() string { return hidden }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return hidden }

// LogValue hides the secret from logs.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalJSON hides the secret from JSON.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }
