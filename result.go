package postrider

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/smtp"
)

// Status sums up one Send over all recipients.
type Status string

// The words of Status.
const (
	// StatusSuccess: the relay took responsibility for every recipient.
	StatusSuccess Status = "success"
	// StatusPartial: for some recipients, not for others; see Result.Recipients.
	StatusPartial Status = "partial"
	// StatusRejected: the sender or every recipient was refused with 5yz.
	StatusRejected Status = "rejected"
	// StatusFailed: any other permanent refusal: content, size, authentication, certificate.
	StatusFailed Status = "failed"
	// StatusRetry: a transient failure, and tries remain: the context ended before they were used.
	StatusRetry Status = "retry"
	// StatusTempFailed: a transient failure, and the schedule is used up.
	StatusTempFailed Status = "temp_failed"
	// StatusInvalid: the message has faults and nothing was sent; see Result.Faults.
	// That includes content that could not be read any more when it was to be sent.
	StatusInvalid Status = "invalid"
	// StatusUnknown: the content left and no reply came: the relay may hold the message (RFC 1047).
	StatusUnknown Status = "unknown"
)

// State is where one recipient stands after a Send.
type State string

// The words of State.
const (
	// StateSent: the relay replied 250 after the content and took responsibility.
	StateSent State = "sent"
	// StateDeferred: refused for now; sending again later is safe and may work.
	StateDeferred State = "deferred"
	// StateFailed: refused for good, or by a fault of the relay's configuration.
	StateFailed State = "failed"
	// StateUnknown: no reply came after the content; sending again may make a second copy.
	StateUnknown State = "unknown"
)

// Result is the answer of one Send.
type Result struct {
	// Status sums up all recipients.
	Status Status
	// MessageID is the header field Message-ID (RFC 5322 §3.6.4) with its angle
	// brackets: the same on every attempt. Empty if the message was invalid.
	MessageID string
	// SMTPCode and EnhancedCode are those of the reply that decided: the final one
	// on success, else the first recipient's that was not sent. Zero: no reply came.
	SMTPCode     int
	EnhancedCode smtp.EnhancedCode
	// SMTPError is one line for people; empty on success.
	SMTPError string
	// Recipients has one entry for each forward-path, in the order To, Cc, Bcc.
	Recipients []RecipientResult
	// SentAt is when the relay last took responsibility for a recipient; zero: never.
	SentAt time.Time
	// RetryCount is the number of attempts after the first.
	RetryCount int
	// IsRetryable says whether sending again to the recipients in StateDeferred may work.
	IsRetryable bool
	// Attempts lists each attempt in order; empty if the message was invalid.
	Attempts []Attempt
	// Faults of an invalid message, all of them; nil otherwise.
	Faults mail.Faults
}

// RecipientResult is the answer for one recipient.
type RecipientResult struct {
	// Address is the forward-path as sent, without angle brackets.
	Address string
	// State is where the recipient stands.
	State State
	// Reply is the relay's reply that decided; its zero value: none came.
	Reply smtp.Reply
	// Phase is how far the attempt that decided had come.
	Phase smtp.Phase
	// Attempts counts the attempts that included this recipient.
	Attempts int
	// Err is nil when sent, else what smtp's questions (IsTransient, MaybeAccepted, …) can be asked of.
	Err error
}

// Attempt is one try to hand the message to the relay, for the recipients that were open then.
type Attempt struct {
	// Number counts from 1.
	Number int
	// StartedAt is when the attempt began, waiting for a connection included.
	StartedAt time.Time
	// Duration runs from StartedAt to the answer.
	Duration time.Duration
	// Phase is the farthest that was reached.
	Phase smtp.Phase
	// Recipients were asked for, Sent of them accepted.
	Recipients, Sent int
	// RoundTrips counts how often we waited for the relay in the transaction;
	// opening a connection is not counted. Octets is what was written to the relay,
	// commands and content, before TLS.
	RoundTrips int
	Octets     int64
	// Reply is the reply that decided: the final one, or the refusal. Zero: none.
	Reply smtp.Reply
	// Err is nil when all recipients of this attempt were sent.
	Err error
}

// RecipientFailures maps each recipient that was not sent to one line that says why.
// It is never nil.
func (r *Result) RecipientFailures() map[string]string {
	failures := make(map[string]string)
	for i := range r.Recipients {
		if rcpt := &r.Recipients[i]; rcpt.State != StateSent {
			failures[rcpt.Address] = explain(rcpt.Reply, rcpt.Err)
		}
	}
	return failures
}

// Err is nil if Status is StatusSuccess, else a *SendError.
func (r *Result) Err() error {
	if r.Status == StatusSuccess {
		return nil
	}
	return &SendError{Result: r}
}

// SendError says that not every recipient was sent. The questions of package
// smtp can be asked of it; they speak of the first recipient that was not sent.
type SendError struct {
	// Result is the whole answer; never nil.
	Result *Result
}

// Error is one line: the status, what the relay said, and how many recipients it concerns.
func (e *SendError) Error() string {
	r := e.Result
	s := "postrider: " + string(r.Status)
	if r.SMTPError != "" {
		s += ": " + r.SMTPError
	}
	open := 0
	for i := range r.Recipients {
		if r.Recipients[i].State != StateSent {
			open++
		}
	}
	if total := len(r.Recipients); total > 1 {
		s += fmt.Sprintf(" (%d of %d recipients not sent)", open, total)
	}
	return s
}

// Unwrap gives the recipients' errors in order, or the faults of an invalid message.
func (e *SendError) Unwrap() []error {
	var errs []error
	if len(e.Result.Faults) > 0 {
		errs = append(errs, e.Result.Faults)
	}
	for i := range e.Result.Recipients {
		if err := e.Result.Recipients[i].Err; err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// explain gives one line: the relay's own words where it spoke, else the error's.
func explain(reply smtp.Reply, err error) string {
	switch {
	case err != nil && reply.Code == 0:
		return oneLine(err.Error())
	case reply.Code != 0:
		return oneLine(reply.String())
	default:
		return "no reply"
	}
}

func asSMTP(err error) (*smtp.Error, bool) { return errors.AsType[*smtp.Error](err) }

func oneLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}

// MarshalJSON gives the keys status, message_id, smtp_code, enhanced_code,
// smtp_error, recipients, recipient_failures, sent_at, retry_count, is_retryable
// and attempts, always all of them (null where nothing is known), and faults if
// there are any. Times are RFC 3339 in UTC, durations milliseconds.
func (r *Result) MarshalJSON() ([]byte, error) {
	out := resultJSON{
		Status:            r.Status,
		MessageID:         orNull(r.MessageID),
		SMTPCode:          orNull(r.SMTPCode),
		EnhancedCode:      enhancedJSON(r.EnhancedCode),
		SMTPError:         orNull(r.SMTPError),
		Recipients:        make([]recipientJSON, 0, len(r.Recipients)),
		RecipientFailures: r.RecipientFailures(),
		RetryCount:        r.RetryCount,
		IsRetryable:       r.IsRetryable,
		Attempts:          make([]attemptJSON, 0, len(r.Attempts)),
		Faults:            r.Faults,
	}
	if !r.SentAt.IsZero() {
		at := r.SentAt.UTC()
		out.SentAt = &at
	}
	for i := range r.Recipients {
		out.Recipients = append(out.Recipients, r.Recipients[i].json())
	}
	for i := range r.Attempts {
		out.Attempts = append(out.Attempts, r.Attempts[i].json())
	}
	// A Message-ID with its angle brackets stays readable; who marshals with
	// HTML escapes on gets them all the same.
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(out); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

type resultJSON struct {
	Status            Status            `json:"status"`
	MessageID         *string           `json:"message_id"`
	SMTPCode          *int              `json:"smtp_code"`
	EnhancedCode      *string           `json:"enhanced_code"`
	SMTPError         *string           `json:"smtp_error"`
	Recipients        []recipientJSON   `json:"recipients"`
	RecipientFailures map[string]string `json:"recipient_failures"`
	SentAt            *time.Time        `json:"sent_at"`
	RetryCount        int               `json:"retry_count"`
	IsRetryable       bool              `json:"is_retryable"`
	Attempts          []attemptJSON     `json:"attempts"`
	Faults            mail.Faults       `json:"faults,omitempty"`
}

type recipientJSON struct {
	Address      string  `json:"address"`
	Status       State   `json:"status"`
	SMTPCode     *int    `json:"smtp_code"`
	EnhancedCode *string `json:"enhanced_code"`
	SMTPText     *string `json:"smtp_text"`
	Phase        *string `json:"phase"`
	Attempts     int     `json:"attempts"`
	Error        *string `json:"error"`
}

type attemptJSON struct {
	Number       int       `json:"number"`
	StartedAt    time.Time `json:"started_at"`
	DurationMS   float64   `json:"duration_ms"`
	Phase        *string   `json:"phase"`
	Recipients   int       `json:"recipients"`
	Sent         int       `json:"sent"`
	RoundTrips   int       `json:"round_trips"`
	Octets       int64     `json:"octets"`
	SMTPCode     *int      `json:"smtp_code"`
	EnhancedCode *string   `json:"enhanced_code"`
	Error        *string   `json:"error"`
}

func (r *RecipientResult) json() recipientJSON {
	return recipientJSON{
		Address:      r.Address,
		Status:       r.State,
		SMTPCode:     orNull(r.Reply.Code),
		EnhancedCode: enhancedJSON(r.Reply.Enhanced),
		SMTPText:     orNull(oneLine(r.Reply.Text())),
		Phase:        orNull(string(r.Phase)),
		Attempts:     r.Attempts,
		Error:        errorJSON(r.Err),
	}
}

func (a *Attempt) json() attemptJSON {
	return attemptJSON{
		Number:       a.Number,
		StartedAt:    a.StartedAt.UTC(),
		DurationMS:   float64(a.Duration.Microseconds()) / 1000,
		Phase:        orNull(string(a.Phase)),
		Recipients:   a.Recipients,
		Sent:         a.Sent,
		RoundTrips:   a.RoundTrips,
		Octets:       a.Octets,
		SMTPCode:     orNull(a.Reply.Code),
		EnhancedCode: enhancedJSON(a.Reply.Enhanced),
		Error:        errorJSON(a.Err),
	}
}

func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func enhancedJSON(c smtp.EnhancedCode) *string {
	if c == (smtp.EnhancedCode{}) {
		return nil
	}
	s := c.String()
	return &s
}

func errorJSON(err error) *string {
	if err == nil {
		return nil
	}
	s := oneLine(err.Error())
	return &s
}
