package submission

import (
	"context"
	"fmt"
	"time"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
)

// Report says what would become of a request.
type Report struct {
	// Relay is where it would go, without its secrets.
	Relay store.Relay
	// MessageID is one that was made for the report; the message itself gets another, unless the request gives it.
	MessageID string
	// Size is the number of octets that it would have.
	Size int64
	// Recipients are the forward-paths, each once.
	Recipients []ReceiptRecipient
	// SendAt is when it would be due; zero: now.
	SendAt time.Time
	// GiveUpAt is when it would no longer be tried.
	GiveUpAt time.Time
	// Holds are the reasons for which it would not leave at once, each one line.
	Holds []string
}

// Validate is Accept without accepting: nothing is stored, and no quota is looked at. Its errors are mail.Faults and
// store.ErrUnavailable.
func (s *Submission) Validate(ctx context.Context, p auth.Principal, q *Request) (Report, error) {
	j, r, err := s.examine(ctx, p, q)
	if err != nil {
		return Report{}, err
	}
	defer r.composed.Release()
	now := s.cfg.Now()
	report := Report{Relay: j.relay, MessageID: r.composed.MessageID(), Size: r.composed.Size(), SendAt: j.sendAt, GiveUpAt: j.giveUpAt(now)}
	for _, one := range r.recipients {
		report.Recipients = append(report.Recipients, ReceiptRecipient{one.address, one.field, store.Queued})
	}
	hold := func(format string, args ...any) { report.Holds = append(report.Holds, fmt.Sprintf(format, args...)) }
	if !j.sendAt.IsZero() {
		hold("It is due at %s.", j.sendAt.UTC().Format(time.RFC3339))
	}
	all, err := s.cfg.Store.PausedAll(ctx)
	if err != nil {
		return Report{}, err
	}
	if all.Kind != store.PauseNone {
		hold("The operator paused all sending: %s", all.Reason)
	}
	if k := j.relay.Pause.Kind; k != store.PauseNone {
		hold("The relay is paused (%s): %s", k, j.relay.Pause.Reason)
	}
	if j.relay.NotBefore.After(now) {
		hold("The relay is not used before %s.", j.relay.NotBefore.UTC().Format(time.RFC3339))
	}
	if l := j.relay.Limits; l.MessagesPerMinute > 0 {
		hold("The relay takes %d messages a minute.", l.MessagesPerMinute)
	}
	if l := j.relay.Limits; l.RecipientsPerDay > 0 {
		hold("The relay takes %d recipients a day.", l.RecipientsPerDay)
	}
	return report, nil
}
