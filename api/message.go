package api

import (
	"encoding/json"
	"time"
)

// NewMessage is a message to be sent. Besides JSON it can be handed in as multipart/form-data or, when it exists as RFC 5322
// octets, as message/rfc822; docs/messages.md tells how.
type NewMessage struct {
	// What the members are their doc tags say.
	From     string   `json:"from,omitempty" doc:"The author, header field From: user@example.com, or Name <user@example.com>." example:"Shop <shop@example.com>"`
	Sender   string   `json:"sender,omitempty" doc:"Who sends for the author, if that is another."`
	MailFrom *string  `json:"mail_from,omitempty" doc:"The reverse-path, where failure reports go; the empty string is the null one. Default: sender, else from."`
	To       []string `json:"to,omitempty" doc:"A string, or an array of strings. Of to, cc and bcc together there is at least one."`
	Cc       []string `json:"cc,omitempty" doc:"A string, or an array of strings."`
	Bcc      []string `json:"bcc,omitempty" doc:"A string, or an array of strings. Nobody sees them."`
	ReplyTo  []string `json:"reply_to,omitempty" doc:"A string, or an array of strings."`
	Subject  string   `json:"subject,omitempty"`
	TextBody string   `json:"text_body,omitempty" doc:"The body as plain text. With html_body it is the alternative."`
	HTMLBody string   `json:"html_body,omitempty"`

	// What the members are their doc tags say.
	Attachments []NewAttachment   `json:"attachments,omitempty"`
	Headers     map[string]string `json:"headers,omitempty" doc:"Header fields of your own: an object of names and values, where a value may be an array, or an array of objects with name and value."`

	// What the members are their doc tags say.
	MessageID           string    `json:"message_id,omitempty" doc:"Header field Message-ID. Default: one is made."`
	InReplyTo           string    `json:"in_reply_to,omitempty"`
	References          []string  `json:"references,omitempty"`
	ListUnsubscribe     []string  `json:"list_unsubscribe,omitempty" doc:"https or mailto URIs by which a recipient leaves the list."`
	ListUnsubscribePost bool      `json:"list_unsubscribe_post,omitempty" doc:"One click is enough (RFC 8058)."`
	AutoSubmitted       string    `json:"auto_submitted,omitempty" enum:"no,auto-generated,auto-replied"`
	Priority            string    `json:"priority,omitempty" enum:"high,normal,low" doc:"A hint to the recipient's program. It does not change when the message leaves: that is class."`
	Calendar            *Calendar `json:"calendar,omitempty"`
	DSN                 *DSN      `json:"dsn,omitempty"`
	RequireTLS          bool      `json:"require_tls,omitempty" doc:"Every hop uses verified TLS or refuses the message (RFC 8689)."`

	// What the members are their doc tags say.
	RelayID   string         `json:"relay_id,omitempty" format:"uuid" doc:"The relay to send through. Default: relay, else default_relay_id of the settings, else the only one there is."`
	Relay     *InlineRelay   `json:"relay,omitempty" doc:"A relay that is not kept in the list of relays. It excludes relay_id."`
	SendAt    *time.Time     `json:"send_at,omitempty" doc:"When the first attempt is due, up to a year ahead. Default: now."`
	Class     string         `json:"class,omitempty" enum:"transactional,bulk" doc:"bulk waits behind transactional. Default: transactional."`
	OnUnknown string         `json:"on_unknown,omitempty" enum:"retry,hold" doc:"What happens after a final reply that was lost. Default: as the settings say."`
	Tags      []string       `json:"tags,omitempty" maxItems:"50" doc:"Words to find the message by, of at most 128 octets."`
	Metadata  map[string]any `json:"metadata,omitempty" doc:"An object of your own of at most 16 KiB, given back with the message."`
}

// NewAttachment is a part of a message beside its bodies.
type NewAttachment struct {
	// What the members are their doc tags say.
	Filename    string `json:"filename,omitempty" doc:"Without a path."`
	ContentType string `json:"content_type,omitempty" doc:"Default: by the extension of filename."`
	Content     string `json:"content" contentEncoding:"base64" doc:"The octets as base64 with padding."`
	ContentID   string `json:"content_id,omitempty" doc:"The name by which the HTML refers to it, as cid:…"`
	Inline      bool   `json:"inline,omitempty" doc:"To be shown with the text, not as a file."`
}

// Calendar is an invitation, RFC 6047.
type Calendar struct {
	Method   string `json:"method" doc:"The METHOD inside data." example:"REQUEST"`
	Data     string `json:"data" doc:"The iCalendar object."`
	Filename string `json:"filename,omitempty" doc:"Attach it a second time under this name."`
}

// DSN is a request for delivery status notifications, RFC 3461.
type DSN struct {
	Notify     []string `json:"notify,omitempty" doc:"NEVER alone, or any of SUCCESS, FAILURE and DELAY."`
	Return     string   `json:"return,omitempty" enum:"FULL,HDRS"`
	EnvelopeID string   `json:"envelope_id,omitempty"`
}

// InlineRelay is a relay that comes with a message.
type InlineRelay struct {
	Host     string `json:"host" doc:"A domain name or an IP address."`
	Port     int    `json:"port,omitempty" minimum:"1" maximum:"65535" doc:"Default: 25, 587 or 465, by tls."`
	TLS      string `json:"tls,omitempty" enum:"none,tls,ssl" doc:"none, STARTTLS, or TLS from the first octet. Default: ssl on port 465, else tls."`
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	HELO     string `json:"helo,omitempty" doc:"The name given in EHLO."`
	CACert   string `json:"ca_cert,omitempty" doc:"Certificates in PEM form that the relay's must descend from."`
}

// AcceptedMessage says that a message is on disk and will be sent.
type AcceptedMessage struct {
	// What the members are their doc tags say.
	ID         string              `json:"id" format:"uuid"`
	MessageID  string              `json:"message_id" doc:"Header field Message-ID."`
	RelayID    string              `json:"relay_id" format:"uuid"`
	Size       int64               `json:"size" doc:"Octets of the message as it is sent."`
	SendAt     *time.Time          `json:"send_at,omitempty" doc:"When it is due, if not at once."`
	Test       bool                `json:"test,omitempty" doc:"True for a message of a test key: it goes to the inbox and nowhere else."`
	Recipients []AcceptedRecipient `json:"recipients"`
	Warnings   []FieldError        `json:"warnings,omitempty" doc:"Fields that are not known and were not read."`
	Result     *Result             `json:"result,omitempty" doc:"The final result, if Prefer: wait asked for it and it came in time."`
}

// AcceptedRecipient is one forward-path of a message.
type AcceptedRecipient struct {
	Address string `json:"address"`
	Field   string `json:"field" enum:"to,cc,bcc"`
	State   string `json:"state" enum:"queued,sent,failed,suppressed,canceled,unknown" doc:"queued or suppressed; the others in an answer that has a result."`
}

// AcceptedBatch says what became of a batch.
type AcceptedBatch struct {
	Data   []AcceptedInBatch `json:"data" doc:"The messages that were accepted, in the order of the batch."`
	Errors []RefusedInBatch  `json:"errors,omitempty" doc:"The messages that were not; only with mode=permissive."`
}

// AcceptedInBatch is a message of a batch that was accepted.
type AcceptedInBatch struct {
	Index int `json:"index" doc:"Its place in the batch, from 0."`
	AcceptedMessage
}

// RefusedInBatch is a message of a batch that was not accepted.
type RefusedInBatch struct {
	Index  int          `json:"index" doc:"Its place in the batch, from 0."`
	Errors []FieldError `json:"errors"`
}

// Validation says what would become of a message.
type Validation struct {
	Relay      RelaySummary        `json:"relay" doc:"Where it would go."`
	Size       int64               `json:"size" doc:"Octets of the message as it would be sent."`
	Recipients []AcceptedRecipient `json:"recipients"`
	SendAt     *time.Time          `json:"send_at,omitempty"`
	GiveUpAt   time.Time           `json:"give_up_at" doc:"When it would no longer be tried."`
	Holds      []string            `json:"holds" doc:"Why it would not leave at once, and which limits it would meet."`
	Warnings   []FieldError        `json:"warnings,omitempty"`
}

// RelaySummary is enough of a relay to know which one it is and how it fares.
type RelaySummary struct {
	ID        string     `json:"id" format:"uuid"`
	Name      string     `json:"name,omitempty" doc:"Left out for a relay that came with a message."`
	Host      string     `json:"host"`
	Paused    *Pause     `json:"paused,omitempty"`
	NotBefore *time.Time `json:"not_before,omitempty" doc:"It is not used before."`
}

// Message is an accepted message.
type Message struct {
	// What the members are their doc tags say.
	ID         string          `json:"id" format:"uuid"`
	UserID     string          `json:"user_id" format:"uuid" doc:"Who handed it in."`
	RelayID    string          `json:"relay_id" format:"uuid"`
	State      string          `json:"state" doc:"queued, sending, deferred as long as some recipient is open; then sent, partial, failed, unknown, suppressed or canceled."`
	MessageID  string          `json:"message_id" doc:"Header field Message-ID."`
	MailFrom   string          `json:"mail_from"`
	From       string          `json:"from"`
	Subject    string          `json:"subject"`
	Size       int64           `json:"size"`
	Class      string          `json:"class" enum:"transactional,bulk"`
	OnUnknown  string          `json:"on_unknown" enum:"retry,hold"`
	Tags       []string        `json:"tags"`
	Metadata   json.RawMessage `json:"metadata,omitempty"`
	Test       bool            `json:"test,omitempty"`
	Attempts   int             `json:"attempts" doc:"How many were made."`
	CreatedAt  time.Time       `json:"created_at"`
	SendAt     *time.Time      `json:"send_at,omitempty"`
	GiveUpAt   *time.Time      `json:"give_up_at,omitempty"`
	FinishedAt *time.Time      `json:"finished_at,omitempty" doc:"When its last recipient stopped being open."`
	NextDue    *time.Time      `json:"next_due,omitempty" doc:"When the next attempt may be made."`
	Hold       string          `json:"hold,omitempty" enum:"restored" doc:"Why it waits for somebody's decision. restored: the service's database came out of a backup, and whether the message was sent after that is not known; a retry sends it, a cancel ends it."`
}

// Messages is a page of messages, newest first.
type Messages struct {
	Data []Message `json:"data"`
	Next string    `json:"next,omitempty" doc:"Goes into after to get the next page; left out on the last one."`
}

// MessageDetail is a message with its story.
type MessageDetail struct {
	Message
	Recipients []MessageRecipient `json:"recipients"`
	History    []MessageAttempt   `json:"history" doc:"The attempts, the first one first."`
	Result     *Result            `json:"result" doc:"The same keys as postrider send --json prints; null before the first attempt."`
	Transcript string             `json:"transcript,omitempty" doc:"The dialogue of the last attempt that has one, without secrets."`
}

// MessageRecipient is one forward-path and where it stands.
type MessageRecipient struct {
	Address      string    `json:"address"`
	Field        string    `json:"field" enum:"to,cc,bcc"`
	State        string    `json:"state" enum:"queued,sending,sent,deferred,failed,suppressed,canceled,unknown"`
	SMTPCode     int       `json:"smtp_code,omitempty" doc:"Of the last reply for it."`
	EnhancedCode string    `json:"enhanced_code,omitempty"`
	Text         string    `json:"text,omitempty"`
	UpdatedAt    time.Time `json:"updated_at"`
}

// MessageAttempt is one attempt to hand a message to its relay.
type MessageAttempt struct {
	Number       int       `json:"number"`
	StartedAt    time.Time `json:"started_at"`
	EndedAt      time.Time `json:"ended_at"`
	Phase        string    `json:"phase" doc:"How far it came: dial, tls, greeting, auth, mail, rcpt, data, dot, done."`
	Status       string    `json:"status"`
	SMTPCode     int       `json:"smtp_code,omitempty"`
	EnhancedCode string    `json:"enhanced_code,omitempty"`
	Text         string    `json:"text,omitempty"`
}

// Result has the keys that postrider send --json prints. What a service does not count is null or 0.
type Result struct {
	Status            string            `json:"status" enum:"success,partial,rejected,failed,retry,temp_failed,unknown"`
	MessageID         *string           `json:"message_id"`
	SMTPCode          *int              `json:"smtp_code"`
	EnhancedCode      *string           `json:"enhanced_code"`
	SMTPError         *string           `json:"smtp_error"`
	Recipients        []ResultRecipient `json:"recipients"`
	RecipientFailures map[string]string `json:"recipient_failures"`
	SentAt            *time.Time        `json:"sent_at"`
	RetryCount        int               `json:"retry_count"`
	IsRetryable       bool              `json:"is_retryable"`
	Attempts          []ResultAttempt   `json:"attempts"`
}

// ResultRecipient is one recipient of a Result.
type ResultRecipient struct {
	Address      string  `json:"address"`
	Status       string  `json:"status"`
	SMTPCode     *int    `json:"smtp_code"`
	EnhancedCode *string `json:"enhanced_code"`
	SMTPText     *string `json:"smtp_text"`
	Phase        *string `json:"phase"`
	Attempts     int     `json:"attempts"`
	Error        *string `json:"error"`
}

// ResultAttempt is one attempt of a Result.
type ResultAttempt struct {
	Number       int       `json:"number"`
	StartedAt    time.Time `json:"started_at"`
	DurationMS   float64   `json:"duration_ms"`
	Phase        *string   `json:"phase"`
	Recipients   *int      `json:"recipients" doc:"Null: it is not recorded for each attempt."`
	Sent         *int      `json:"sent" doc:"Null: it is not recorded for each attempt."`
	RoundTrips   *int      `json:"round_trips" doc:"Null: it is not recorded for each attempt."`
	Octets       *int64    `json:"octets" doc:"Null: it is not recorded for each attempt."`
	SMTPCode     *int      `json:"smtp_code"`
	EnhancedCode *string   `json:"enhanced_code"`
	Error        *string   `json:"error"`
}

// Explanation says why a message has not left, or that nothing of it is left to send.
type Explanation struct {
	State   string       `json:"state"`
	Open    int          `json:"open" doc:"How many recipients will be tried."`
	NextDue *time.Time   `json:"next_due,omitempty" doc:"When the next attempt may be made."`
	Relay   RelaySummary `json:"relay"`
	Reasons []string     `json:"reasons" doc:"What holds it, the heaviest first, each one line. Empty: nothing holds it, it is its turn."`
}

// Reschedule moves a message.
type Reschedule struct {
	SendAt time.Time `json:"send_at" doc:"When the next attempt is due."`
}

// Codes of problems with messages.
const (
	CodeInvalidKey          Code = "invalid_idempotency_key"   // 400: the header field Idempotency-Key cannot be read
	CodeMalformed           Code = "malformed_body"            // 400: the body is not what its Content-Type says
	CodeIdempotencyInFlight Code = "idempotency_key_in_flight" // 409: a request with this key has not ended yet
	CodeIdempotencyMismatch Code = "idempotency_key_mismatch"  // 422: this key was used with another request
	CodeMessageClaimed      Code = "message_is_being_sent"     // 409: try again in a moment
	CodeMessageFinished     Code = "message_has_no_recipients" // 409: nothing of the message is left to send or to withdraw
	CodeContentGone         Code = "content_gone"              // 410: the content was removed when its time was over
	CodeQuotaExceeded       Code = "quota_exceeded"            // 429: see violated-policies and Retry-After
	CodeNoSpace             Code = "no_space"                  // 503: there is no room on the service's disk for now
	CodeRelayInUse          Code = "relay_in_use"              // 409: messages wait for it
	CodePartialBatch        Code = "no_message_accepted"       // 422: no message of a permissive batch could be accepted
)

// Codes of fields of messages are, beside those of the other operations, the words of package mail's FaultCode (such as
// invalid_address, too_large, control_character, reserved_header, invalid_base64) and these.
const (
	FieldDuplicate        FieldCode = "duplicate_field"    // it is given twice
	FieldSenderNotAllowed FieldCode = "sender_not_allowed" // the relay may not send for this domain
	FieldUnknownRelay     FieldCode = "unknown_relay"      // there is no such relay, or the tenant may not use it
)
