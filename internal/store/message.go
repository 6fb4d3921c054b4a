package store

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Class says which messages go first. Bulk waits for transactional, and is never starved.
type Class int

const (
	// ClassTransactional is what somebody waits for: a password reset, a receipt.
	ClassTransactional Class = 0
	// ClassBulk is everything else.
	ClassBulk Class = 1
)

// RecipientState is where a recipient stands. Events carry the same words.
type RecipientState string

const (
	// Queued waits for its first attempt.
	Queued RecipientState = "queued"
	// Sending has an attempt under way.
	Sending RecipientState = "sending"
	// Sent means that the relay replied 250 after the content and took responsibility.
	// It does not mean that anybody received the message.
	Sent RecipientState = "sent"
	// Deferred was refused for now and will be tried again.
	Deferred RecipientState = "deferred"
	// Failed was refused for good, or given up.
	Failed RecipientState = "failed"
	// Suppressed is on the tenant's suppression list and was never sent to.
	Suppressed RecipientState = "suppressed"
	// Canceled was withdrawn before it was sent.
	Canceled RecipientState = "canceled"
	// Unknown means that the final reply never came after the last octet of content may
	// have been written: the relay may hold the message.
	Unknown RecipientState = "unknown"
)

// open says that a recipient in this state will be tried again by itself.
func (s RecipientState) open() bool { return s == Queued || s == Deferred || s == Sending }

// MessageState sums up a message's recipients: a recipient's word when all that were not
// suppressed or canceled share it, the word of the open ones as long as there are any, and
// otherwise MessagePartial if some are sent, or the worst of the rest (unknown before failed).
type MessageState string

// MessagePartial is a message of which some recipients are sent and others ended otherwise.
const MessagePartial MessageState = "partial"

// What happens after an unknown outcome.
const (
	// OnUnknownRetry makes one further attempt, ten minutes later at the earliest.
	OnUnknownRetry = "retry"
	// OnUnknownHold makes none: a person or the API decides.
	OnUnknownHold = "hold"
)

// MaxSmallContent is the content, in bytes, that NewMessage.Content may hold. Longer content is written with a ContentWriter before.
const MaxSmallContent = 256 << 10

// NewMessage is a message to be accepted.
type NewMessage struct {
	// ID may be uuid.Nil: Accept fills one in. It must be a UUIDv7: lists are in its order.
	ID      uuid.UUID
	UserID  uuid.UUID
	RelayID uuid.UUID
	Class   Class
	// MailFrom is the reverse-path; empty is the null one.
	MailFrom string
	// HeaderFrom, Subject and MessageID are shown in lists. MessageID is the header field's
	// value.
	HeaderFrom string
	Subject    string
	MessageID  string
	// Size is the content's length in bytes. 0 means that of Content.
	Size int64
	// SMTPUTF8, EightBit and RequireTLS are what the message needs from the relay (RFC
	// 6531, 6152, 8689).
	SMTPUTF8   bool
	EightBit   bool
	RequireTLS bool
	// DSN holds the message's DSN parameters (RET, ENVID; RFC 3461) as a JSON object,
	// {"return": "HDRS", "envelope_id": "…"}; nil: none.
	DSN json.RawMessage
	// SendAt is when the first attempt may be made; zero: now.
	SendAt time.Time
	// GiveUpAt is when it is no longer tried; zero: never, which nobody should want.
	GiveUpAt time.Time
	// OnUnknown is OnUnknownRetry, the default, or OnUnknownHold.
	OnUnknown string
	// Tags are words that lists can be filtered by.
	Tags []string
	// Metadata is the caller's own JSON object; nil: none.
	Metadata json.RawMessage
	// Test messages go to the built-in inbox instead of the relay.
	Test       bool
	Recipients []NewRecipient
	// Content is the frozen message, at most MaxSmallContent bytes; else ContentID names
	// what a ContentWriter wrote.
	Content   []byte
	ContentID uuid.UUID
}

// NewRecipient is a forward-path of a new message.
type NewRecipient struct {
	Address string
	// Field is where it stood: to, cc or bcc.
	Field string
	// State is Queued, the default, or Suppressed.
	State RecipientState
	// Notify and ORcpt are its DSN parameters (RFC 3461); empty: none. Notify is "NEVER", or words such as
	// "SUCCESS,FAILURE" with commas between.
	Notify string
	ORcpt  string
}

// Message is an accepted message, without its content.
type Message struct {
	ID         uuid.UUID
	UserID     uuid.UUID
	RelayID    uuid.UUID
	Class      Class
	State      MessageState
	MailFrom   string
	HeaderFrom string
	Subject    string
	MessageID  string
	Size       int64
	SMTPUTF8   bool
	EightBit   bool
	RequireTLS bool
	DSN        json.RawMessage
	OnUnknown  string
	Tags       []string
	Metadata   json.RawMessage
	Test       bool
	// Attempts counts those that were made.
	Attempts  int
	CreatedAt time.Time
	SendAt    time.Time
	GiveUpAt  time.Time
	// FinishedAt is when the last recipient stopped being open; zero: not yet.
	FinishedAt time.Time
	// NextDue is when the next attempt may be made; zero when there is none, one is
	// under way, or it is on hold.
	NextDue time.Time
	// Restored says that it is on hold since the database was restored from a backup: it may have been sent after that.
	Restored bool
	// ContentPurged says that only the content's description is left.
	ContentPurged bool
}

// MessageDetail is a message with its story.
type MessageDetail struct {
	Message
	Recipients []Recipient
	// Attempts stand in their order, the first one first.
	Attempts []AttemptRecord
}

// Recipient is one forward-path of a message and what became of it.
type Recipient struct {
	// N counts from 1.
	N       int
	Address string
	Field   string
	State   RecipientState
	Notify  string
	ORcpt   string
	// Code, Enhanced and Text are the last reply for it; zero when there was none.
	Code      int
	Enhanced  string
	Text      string
	UpdatedAt time.Time
}

// AttemptRecord is one attempt to hand a message to its relay.
type AttemptRecord struct {
	// N counts a message's attempts from 1; Record fills it in.
	N         int
	StartedAt time.Time
	EndedAt   time.Time
	// Phase is how far it came: dial, tls, greeting, auth, mail, rcpt, data, dot, done.
	Phase string
	// Status sums it up in the words of postrider.Status.
	Status string
	// Code, Enhanced and Text are the reply that decided it, or the error in one line.
	Code     int
	Enhanced string
	Text     string
	// Transcript is the redacted dialogue; empty when it was not kept.
	Transcript string
}

// MessageFilter narrows Tenant.Messages. Zero fields do not filter.
type MessageFilter struct {
	UserID    uuid.UUID
	RelayID   uuid.UUID
	State     MessageState
	Recipient string // an address, compared without case
	Tag       string
	From, To  time.Time // accepted in [From, To)
	Test      *bool
	// Restored asks for those on hold since the database was restored.
	Restored bool
}

// Idempotency is what a caller promised to send once: the same Scope, UserID and Key within a day
// make one set of messages.
type Idempotency struct {
	// Scope is the route: "POST /v1/messages".
	Scope  string
	UserID uuid.UUID
	Key    string
	// Fingerprint is a hash of the request's decoded fields.
	Fingerprint [32]byte
	// Response and Status are answered again to whoever repeats the request.
	Response []byte
	Status   int
}
