package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// DeliveryRelay returns a relay with what delivery needs to use it.
func (s *Store) DeliveryRelay(ctx context.Context, id uuid.UUID) (DeliveryRelay, error) {
	var d DeliveryRelay
	err := s.asDelivery(ctx, readOne, func(q tx) (err error) {
		var state json.RawMessage
		d = DeliveryRelay{}
		d.Relay, err = scanRelay(q.row(ctx, "select "+relayColumns+`, c.sealed, r.state from relays r left join relay_credentials c on c.relay_id = r.id
			where r.id = $1 and r.deleted_at is null`, id).Scan, &d.SealedPassword, &state)
		if err != nil {
			return err
		}
		if state != nil {
			if err := json.Unmarshal(state, &d.State); err != nil {
				return fmt.Errorf("store: the state of relay %s: %w", id, err)
			}
		}
		d.State.NotBefore = d.NotBefore
		d.SealTenant = d.OwnerTenant
		return nil
	})
	return d, err
}

// SaveRelayState keeps what the next node needs to know. node is the incarnation that drains the relay: ErrNotMine if
// another has resolved claims on it since.
func (s *Store) SaveRelayState(ctx context.Context, id uuid.UUID, state RelayState, node uuid.UUID) error {
	state.Reason = cleanReply(state.Reason, maxReplyText)
	text, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("store: the state of relay %s: %w", id, err)
	}
	return s.asDelivery(ctx, readWrite, func(q tx) error {
		// A pause for a refused password has its own not_before, which is later.
		n, err := q.exec(ctx, `update relays set state = $2, not_before = case when pause_kind = 'auth' then not_before else $3 end
			where id = $1 and (drained_by is null or drained_by = $4)`, id, json.RawMessage(text), state.NotBefore, node)
		if err == nil && n == 0 {
			return ErrNotMine
		}
		return err
	})
}

// PauseAuth pauses a relay that refused our password, until it is changed or resumed, or until a probe, one message sent
// at probeAt or later, shows that the password is taken again. A relay paused by somebody stays so.
func (s *Store) PauseAuth(ctx context.Context, id uuid.UUID, reason string, probeAt time.Time) error {
	return s.changePause(ctx, id, Pause{Kind: PauseAuth, Reason: cleanReply(reason, maxReplyText), At: s.now()}, probeAt)
}

// ResumeAuth ends such a pause.
func (s *Store) ResumeAuth(ctx context.Context, id uuid.UUID) error {
	return s.changePause(ctx, id, Pause{}, time.Time{})
}

func (s *Store) changePause(ctx context.Context, id uuid.UUID, p Pause, notBefore time.Time) error {
	return s.asDelivery(ctx, readWrite, func(q tx) error {
		old, err := scanRelay(q.row(ctx, "select "+relayColumns+" from relays r where r.id = $1 and r.deleted_at is null"+forUpdate(q), id).Scan)
		if err != nil {
			return err
		}
		switch {
		case old.Pause.Kind != PauseNone && old.Pause.Kind != PauseAuth:
			return nil
		case old.Pause.Kind == PauseNone && p.Kind == PauseNone:
			return nil
		case old.Pause.Kind == PauseAuth && p.Kind == PauseAuth:
			p.At = old.Pause.At // since when it stands; only the next probe is put off
		}
		if _, err := q.exec(ctx, "update relays set pause_kind = $2, pause_reason = $3, paused_at = $4, not_before = $5 where id = $1",
			id, p.Kind, p.Reason, p.At, notBefore); err != nil || old.Pause.Kind == p.Kind {
			return err
		}
		kind, text := EventRelayPaused, p.Reason
		if p.Kind == PauseNone {
			kind, text = EventRelayResumed, "the relay accepts the password again"
		}
		q.setTenant(old.OwnerTenant)
		return relayEvent(ctx, q, old, kind, text, s.now())
	})
}
