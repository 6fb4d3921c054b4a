package httpapi

import (
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/internal/store"
)

func messageOf(m store.Message) api.Message {
	tags := m.Tags
	if tags == nil {
		tags = []string{}
	}
	return api.Message{
		ID: m.ID.String(), UserID: m.UserID.String(), RelayID: m.RelayID.String(), State: string(m.State), MessageID: m.MessageID, MailFrom: m.MailFrom,
		From: m.HeaderFrom, Subject: m.Subject, Size: m.Size, Class: classOf(m.Class), OnUnknown: m.OnUnknown, Tags: tags, Metadata: m.Metadata,
		Test: m.Test, Attempts: m.Attempts, CreatedAt: m.CreatedAt.UTC(), SendAt: timeOrNone(m.SendAt), GiveUpAt: timeOrNone(m.GiveUpAt),
		FinishedAt: timeOrNone(m.FinishedAt), NextDue: timeOrNone(m.NextDue), Hold: holdOf(m),
	}
}

// holdOf is why a message waits for somebody's decision.
func holdOf(m store.Message) string {
	if m.Restored {
		return "restored"
	}
	return ""
}

func classOf(c store.Class) string {
	if c == store.ClassBulk {
		return "bulk"
	}
	return "transactional"
}

func detailOf(m store.MessageDetail) api.MessageDetail {
	d := api.MessageDetail{
		Message: messageOf(m.Message), Result: resultOf(m),
		Recipients: each(m.Recipients, func(r store.Recipient) api.MessageRecipient {
			return api.MessageRecipient{
				Address: r.Address, Field: r.Field, State: string(r.State), SMTPCode: r.Code, EnhancedCode: r.Enhanced, Text: r.Text, UpdatedAt: r.UpdatedAt.UTC(),
			}
		}),
		History: each(m.Attempts, func(a store.AttemptRecord) api.MessageAttempt {
			return api.MessageAttempt{
				Number: a.N, StartedAt: a.StartedAt.UTC(), EndedAt: a.EndedAt.UTC(), Phase: a.Phase, Status: a.Status, SMTPCode: a.Code, EnhancedCode: a.Enhanced, Text: a.Text,
			}
		}),
	}
	for _, a := range m.Attempts {
		if a.Transcript != "" {
			d.Transcript = a.Transcript
		}
	}
	return d
}

// The words for a whole send; see package postrider's Status.
const (
	resultSuccess    = "success"
	resultPartial    = "partial"
	resultRejected   = "rejected"
	resultFailed     = "failed"
	resultRetry      = "retry"
	resultTempFailed = "temp_failed"
	resultUnknown    = "unknown"
)

// resultOf tells the story of a message in the keys of postrider send --json; nil before the first attempt has ended.
func resultOf(m store.MessageDetail) *api.Result {
	if len(m.Attempts) == 0 && m.FinishedAt.IsZero() {
		return nil
	}
	r := &api.Result{
		Status: statusOf(m), MessageID: orNull(m.MessageID), RecipientFailures: map[string]string{},
		RetryCount: max(len(m.Attempts)-1, 0), Recipients: make([]api.ResultRecipient, 0, len(m.Recipients)), Attempts: make([]api.ResultAttempt, 0, len(m.Attempts)),
	}
	decided := false
	var sentAt time.Time
	for _, one := range m.Recipients {
		sent := one.State == store.Sent
		if sent && one.UpdatedAt.After(sentAt) {
			sentAt = one.UpdatedAt
		}
		text := replyText(one)
		out := api.ResultRecipient{Address: one.Address, Status: string(one.State), SMTPCode: orNull(one.Code), EnhancedCode: orNull(one.Enhanced), Attempts: len(m.Attempts)}
		if one.Code != 0 {
			out.SMTPText = orNull(one.Text)
		}
		if sent {
			out.Phase = orNull("done")
		} else {
			r.RecipientFailures[one.Address] = text
			out.Error = orNull(text)
		}
		r.Recipients = append(r.Recipients, out)
		r.IsRetryable = r.IsRetryable || one.State == store.Deferred
		// The first recipient that was not sent decides; if there is none, the first one does.
		if first := len(r.Recipients) == 1; first || !sent && !decided {
			r.SMTPCode, r.EnhancedCode = orNull(one.Code), orNull(one.Enhanced)
			if decided = !sent; decided {
				r.SMTPError = orNull(text)
			}
		}
	}
	r.SentAt = timeOrNone(sentAt)
	for _, a := range m.Attempts {
		out := api.ResultAttempt{
			Number: a.N, StartedAt: a.StartedAt.UTC(), DurationMS: float64(a.EndedAt.Sub(a.StartedAt).Microseconds()) / 1000,
			Phase: orNull(a.Phase), SMTPCode: orNull(a.Code), EnhancedCode: orNull(a.Enhanced),
		}
		if a.Status != resultSuccess {
			out.Error = orNull(a.Text)
		}
		r.Attempts = append(r.Attempts, out)
	}
	return r
}

// replyText is the relay's word on a recipient, or what is known without one.
func replyText(r store.Recipient) string {
	switch {
	case r.Code != 0 && r.Enhanced != "":
		return strconv.Itoa(r.Code) + " " + r.Enhanced + " " + r.Text
	case r.Code != 0:
		return strconv.Itoa(r.Code) + " " + r.Text
	case r.Text != "":
		return r.Text
	case r.State == store.Sent:
		return ""
	}
	return string(r.State)
}

// statusOf sums up all recipients in the words of package postrider.
func statusOf(m store.MessageDetail) string {
	var open, sent, unknown, transient, permanent, other int
	for _, r := range m.Recipients {
		switch r.State {
		case store.Queued, store.Sending, store.Deferred:
			open++
		case store.Sent:
			sent++
		case store.Unknown:
			unknown++
		case store.Failed:
			if r.Code/100 == 5 {
				permanent++
			} else {
				transient++ // given up: refused for now, or never reached
			}
		default: // suppressed, canceled
			other++
		}
	}
	switch {
	case open > 0 && m.FinishedAt.IsZero():
		return resultRetry
	case sent == len(m.Recipients):
		return resultSuccess
	case sent > 0:
		return resultPartial
	case unknown > 0:
		return resultUnknown
	case transient > 0:
		return resultTempFailed
	case permanent > 0 && other == 0 && len(m.Attempts) > 0:
		if phase := m.Attempts[len(m.Attempts)-1].Phase; phase == "mail" || phase == "rcpt" {
			return resultRejected
		}
	}
	return resultFailed
}

func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func summaryOf(r store.Relay) api.RelaySummary {
	out := api.RelaySummary{ID: r.ID.String(), Name: r.Name, Host: r.Host, Paused: pauseOf(pauseForTenant(r)), NotBefore: timeOrNone(r.NotBefore)}
	if r.ID == uuid.Nil {
		out.ID = ""
	}
	return out
}
