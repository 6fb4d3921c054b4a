package chaos_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/postrider/postrider/api"
)

// The states in which nothing more happens by itself.
const (
	stateSent    = "sent"
	stateUnknown = "unknown"
)

// longWait is what tells the wait after an unknown outcome, at least ten minutes, from that after a refusal.
const longWait = 2 * time.Minute

// settle waits until each accepted message has arrived or is reported.
func (w *world) settle(t *testing.T, entries []*entry) {
	t.Helper()
	open := map[string]*entry{}
	for _, e := range entries {
		if e.message != "" {
			open[e.message] = e
		}
	}
	if len(open) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		states, err := w.states(ctx, len(w.ledger.all())-entries[0].n) // newest first
		if err != nil {
			t.Fatalf("messages cannot be listed: %v", err)
		}
		for id := range open {
			m, known := states[id]
			if !known { // ids begin with the time, and a node whose clock was ahead goes on from there
				detail := w.story(t, id)
				if detail == nil { // judge has words for that
					delete(open, id)
					continue
				}
				m = detail.Message
			}
			if m.FinishedAt != nil || m.NextDue != nil && time.Until(*m.NextDue) > longWait {
				delete(open, id)
			}
		}
		if len(open) == 0 {
			return
		}
		if !pause(ctx, 100*time.Millisecond) {
			break
		}
	}
	for id, e := range open {
		t.Errorf("message %s (%s) has neither arrived nor been reported within %v: %+v", id, e.id, patience, w.story(t, id))
		if len(open) > 5 {
			t.Fatalf("and %d others", len(open)-1)
		}
	}
}

// decide sends what is unknown again, as a person may, who is told that it may be a second copy, and waits until it has arrived.
// What waits for its ten minutes is left alone.
func (w *world) decide(t *testing.T) {
	t.Helper()
	entries := w.ledger.all()
	states, err := w.states(t.Context(), len(entries))
	if err != nil {
		t.Fatal(err)
	}
	var decided []*entry
	for _, e := range entries {
		if states[e.message].State != stateUnknown {
			continue
		}
		if err := w.caller.askOn(t.Context(), http.MethodPost, "/v1/messages/"+e.message+"/retry", struct{}{}, nil); err != nil {
			t.Errorf("message %s is unknown and cannot be sent again: %v", e.message, err)
			continue
		}
		e.again = true
		decided = append(decided, e)
	}
	w.settle(t, decided)
	for _, e := range decided {
		if m := w.story(t, e.message); m.State != stateSent || w.receiver.count(e.id) == 0 {
			t.Errorf("message %s (%s), sent again, %d copies: %+v", e.message, e.id, w.receiver.count(e.id), m)
		}
	}
}

// states are the newest n messages by id.
func (w *world) states(ctx context.Context, n int) (map[string]api.Message, error) {
	all := map[string]api.Message{}
	for after := ""; len(all) < n; {
		var page api.Messages
		query := url.Values{"limit": {"200"}}
		if after != "" {
			query.Set("after", after)
		}
		if err := w.caller.askOn(ctx, http.MethodGet, "/v1/messages?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		for _, m := range page.Data {
			all[m.ID] = m
		}
		if after = page.Next; after == "" {
			break
		}
	}
	return all, nil
}

// story is what GET /v1/messages/{id} says; nil: that there is no such message.
func (w *world) story(t *testing.T, id string) *api.MessageDetail {
	t.Helper()
	var m api.MessageDetail
	err := w.caller.askOn(t.Context(), http.MethodGet, "/v1/messages/"+id, nil, &m)
	if refused, ok := errors.AsType[*refusedError](err); ok && refused.status == http.StatusNotFound {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return &m
}

// judge holds what arrived against what was promised. got may be nil.
func (w *world) judge(t *testing.T, entries []*entry, got *figures) {
	t.Helper()
	var sum figures
	for _, e := range entries {
		copies := w.receiver.count(e.id)
		if copies > e.most() {
			t.Errorf("message %s (%s), hold %v, arrived %d times: %+v", e.message, e.id, e.hold, copies, w.story(t, e.message))
		}
		if copies > 1 {
			sum.twice++
		}
		if e.message == "" { // nobody was promised anything
			sum.unanswered++
			continue
		}
		sum.accepted++
		if copies > 0 {
			sum.arrived++
		}
		if e.settled && copies > 0 {
			continue
		}
		m := w.story(t, e.message)
		switch {
		case m == nil:
			sum.lost++
			t.Errorf("message %s (%s) was accepted, and is not there; %d copies arrived", e.message, e.id, copies)
		case m.State == stateSent && copies == 0:
			sum.lost++
			t.Errorf("message %s (%s) is sent, and did not arrive: %+v", e.message, e.id, m)
		case m.State == stateSent:
			sum.sent++
		case m.State == stateUnknown:
			sum.unknown++
		case m.NextDue != nil && !e.hold && len(m.History) > 0 && m.History[len(m.History)-1].Status == stateUnknown:
			sum.waiting++
		default: // the relay refused nothing for good
			t.Errorf("message %s (%s) is %s, with %d copies arrived: %+v", e.message, e.id, m.State, copies, m)
		}
		e.settled = true
	}
	if n := w.receiver.unreadable(); n > 0 {
		t.Errorf("%d messages arrived broken", n)
	}
	if got != nil {
		got.add(sum)
	}
}
