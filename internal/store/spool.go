package store

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
)

// ClaimRequest asks for messages of one turn.
type ClaimRequest struct {
	Relay  uuid.UUID
	Tenant uuid.UUID
	Class  Class
	// Limit is how many at most; 0 means 1.
	Limit int
	// Node is the claiming node's incarnation: a UUID made when it started.
	Node uuid.UUID
	// Now decides what is due; zero means the store's clock.
	Now time.Time
}

// ErrNotMine says that a claim has passed to another node, which decides about the message from now on.
var ErrNotMine = errors.New("store: the claim is another node's")

// Claimed is a message that this node alone may send now, with its open recipients.
type Claimed struct {
	MessageID uuid.UUID
	TenantID  uuid.UUID
	RelayID   uuid.UUID
	ContentID uuid.UUID
	Class     Class
	// ClaimedAt is the ClaimRequest's Now: which of a node's claims of the message this is.
	ClaimedAt time.Time
	// Attempt is the number of the attempt that this claim is for, from 1.
	Attempt   int
	CreatedAt time.Time
	// GiveUpAt is zero when the message is tried for ever.
	GiveUpAt   time.Time
	MailFrom   string
	Size       int64
	SMTPUTF8   bool
	EightBit   bool
	RequireTLS bool
	Test       bool
	DSN        json.RawMessage
	OnUnknown  string
	// UnknownBefore says that an earlier attempt ended unknown: after one more such end
	// nothing more is tried.
	UnknownBefore bool
	Recipients    []ClaimedRecipient
	// Content is the message if it is short (at most 32 KiB); nil: OpenContent.
	Content []byte
}

// ClaimedRecipient is an open recipient of a claimed message.
type ClaimedRecipient struct {
	N       int
	Address string
	// State is where it stood before this claim: Queued, Deferred, or Unknown if this is its one further
	// attempt after an unknown end (RecipientOutcome.Again).
	State  RecipientState
	Notify string
	ORcpt  string
}

// Outcome is what one attempt led to.
type Outcome struct {
	Node      uuid.UUID
	MessageID uuid.UUID
	TenantID  uuid.UUID
	Attempt   AttemptRecord
	// Recipients are those that the attempt decided. Those left out keep their state.
	Recipients []RecipientOutcome
	// NextDue is when the open recipients are tried again. Zero: never, those still open fail.
	NextDue time.Time
	// Release returns the message untried, due at NextDue (zero: at once): no attempt is counted and
	// nothing else of the outcome is looked at.
	Release bool
	// ClaimedAt is Claimed.ClaimedAt. Given with Release it keeps a late one from ending a later claim of the same node. Zero: any claim of the node is meant.
	ClaimedAt time.Time

	untried bool // given up without an attempt: none is counted
}

// RecipientOutcome is what an attempt led to for one recipient.
type RecipientOutcome struct {
	N int
	// State is Sent, Deferred, Failed, Canceled or Unknown.
	State RecipientState
	// Again says of an Unknown recipient that it is open still: the next claim, at Outcome.NextDue, has it once
	// more. Without it Unknown is the end. Of no meaning with other states: Deferred is open, the rest is not.
	Again    bool
	Code     int
	Enhanced string
	Text     string
}
