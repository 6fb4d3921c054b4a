package httpapi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/submission"
)

// checkSendAt refuses a time too far ahead.
func (s *Server) checkSendAt(at time.Time) error {
	if at.After(s.cfg.Now().Add(submission.MaxAhead)) {
		return invalid(api.FieldError{Pointer: "/send_at", Code: api.FieldOutOfRange, Detail: "It is more than a year ahead."})
	}
	return nil
}

func (s *Server) explainMessage(ctx context.Context, in *ByID) (*bodyOf[api.Explanation], error) {
	m, err := s.ownMessage(ctx, *in)
	if err != nil {
		return nil, err
	}
	e, err := s.explain(ctx, s.tenantOf(ctx), m)
	return answer(e, err)
}

func (s *Server) explain(ctx context.Context, tenant store.Tenant, m store.MessageDetail) (api.Explanation, error) {
	relay, err := tenant.Relay(ctx, m.RelayID)
	gone := errors.Is(err, store.ErrNotFound)
	if err != nil && !gone {
		return api.Explanation{}, err
	}
	e := api.Explanation{State: string(m.State), NextDue: timeOrNone(m.NextDue), Relay: summaryOf(relay)}
	e.Relay.ID = m.RelayID.String()
	for _, r := range m.Recipients {
		if r.State == store.Queued || r.State == store.Deferred || r.State == store.Sending {
			e.Open++
		}
	}
	all, err := s.store.PausedAll(ctx)
	if err != nil {
		return api.Explanation{}, err
	}
	if all.Kind != store.PauseNone && relay.Pause.Kind == store.PauseNone {
		relay.Pause = all
	}
	why := ""
	if relay.NotBefore.After(s.cfg.Now()) {
		// Without it the answer is less exact, and an answer still.
		if d, err := s.store.DeliveryRelay(ctx, relay.ID); err == nil {
			why = d.State.Reason
			if relay.OwnerTenant == uuid.Nil { // the kind of reason, and not what the operator's server said
				why, _, _ = strings.Cut(why, ": ")
			}
		}
	}
	e.Reasons = s.reasons(m, relay, gone, why)
	return e, nil
}

// reasons says what holds a message, the heaviest first.
func (s *Server) reasons(m store.MessageDetail, relay store.Relay, gone bool, notBefore string) []string {
	reasons := []string{}
	say := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }
	now := s.cfg.Now()
	clock := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case !m.FinishedAt.IsZero():
		say("Nothing is left to send: the message ended as %s at %s.", m.State, clock(m.FinishedAt))
		return reasons
	case m.State == store.MessageState(store.Sending):
		say("It is being sent now, or was when its node stopped: then its recipients are settled within seconds of another node taking over.")
		return reasons
	}
	if m.Restored {
		say("It is on hold (restored): the service's database came out of a backup, and whether it was sent after that is not known. The operator decides (postrider restored), or a retry sends it now.")
	}
	switch k := relay.Pause.Kind; {
	case gone:
		say("Its relay has been deleted, or is no longer shared with the tenant.")
	case k == store.PauseAuth && relay.OwnerTenant == uuid.Nil:
		say("The relay refused the operator's user name or password, so it is paused since %s and tried again each hour. The operator has to mend it.", clock(relay.Pause.At))
	case k == store.PauseAuth:
		say("The relay refused our user name or password, so it is paused since %s and tried again each hour: %s. Mend the password, or resume it.", clock(relay.Pause.At), relay.Pause.Reason)
	case k == store.PauseTenant:
		say("The relay was paused at %s: %s.", clock(relay.Pause.At), orElse(relay.Pause.Reason, "no reason was given"))
	case k == store.PauseOperator:
		say("The operator paused sending at %s: %s.", clock(relay.Pause.At), orElse(relay.Pause.Reason, "no reason was given"))
	}
	if relay.NotBefore.After(now) && relay.Pause.Kind != store.PauseAuth { // the pause says so already
		say("The relay is not used before %s: %s.", clock(relay.NotBefore), orElse(notBefore, "it failed several times in a row, or one of its limits is used up"))
	}
	if m.NextDue.After(now) {
		if len(m.Attempts) == 0 {
			say("It is scheduled for %s.", clock(m.NextDue))
		} else {
			last := m.Attempts[len(m.Attempts)-1]
			why := orElse(last.Text, "no reason was recorded")
			if last.Code != 0 {
				why = "The relay said: " + last.Text
			}
			say("Attempt %d ended in %s; the next one is due at %s. %s", last.N, orElse(last.Phase, "dial"), clock(m.NextDue), why)
		}
	}
	if l := relay.Limits.MessagesPerMinute; l > 0 && len(reasons) == 0 {
		say("The relay takes %d messages a minute.", l)
	}
	return reasons
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
