package store

import (
	"time"

	"github.com/google/uuid"
)

// EventKind says what happened: a recipient's new state, or one of the kinds of a relay.
type EventKind string

const (
	// EventRelayPaused tells that a relay stopped; Text says why.
	EventRelayPaused EventKind = "relay_paused"
	// EventRelayResumed tells that it goes on.
	EventRelayResumed EventKind = "relay_resumed"
)

// Event is one thing that happened to a tenant's messages. Events are numbered in the order
// in which they were committed: whoever has read up to a number misses none below it.
type Event struct {
	// Seq counts from 1 for each tenant.
	Seq  int64
	At   time.Time
	Kind EventKind
	// MessageID is uuid.Nil for an event of a relay.
	MessageID uuid.UUID
	RelayID   uuid.UUID
	UserID    uuid.UUID
	// Recipient is the address; empty when the event is the whole message's, or when the
	// message was deleted since.
	Recipient string
	// N is the recipient's number; 0: the whole message.
	N int
	// Attempt is the number of the attempt, 0 if there was none.
	Attempt  int
	Code     int
	Enhanced string
	Text     string
}
