package api

import "time"

// Event is one thing that happened to a message or a relay.
type Event struct {
	Seq          int64     `json:"seq" doc:"Its number: events are numbered as they are committed, without one appearing later behind a number that was read."`
	At           time.Time `json:"at"`
	Kind         string    `json:"kind" doc:"A recipient's new state (queued, sent, deferred, failed, suppressed, canceled, unknown), relay_paused or relay_resumed."`
	MessageID    string    `json:"message_id,omitempty" format:"uuid" doc:"The id of the message."`
	RelayID      string    `json:"relay_id,omitempty" format:"uuid"`
	Recipient    string    `json:"recipient,omitempty" doc:"Left out if the event is the whole message's."`
	Attempt      int       `json:"attempt,omitempty"`
	SMTPCode     int       `json:"smtp_code,omitempty"`
	EnhancedCode string    `json:"enhanced_code,omitempty"`
	Text         string    `json:"text,omitempty"`
}

// Events is a page of events, the oldest first.
type Events struct {
	Data []Event `json:"data"`
	Next int64   `json:"next" doc:"Goes into after to get what happens then: also when data is empty."`
}

// Stats count what happened in a time, by the hour.
type Stats struct {
	From    time.Time    `json:"from"`
	To      time.Time    `json:"to"`
	Waiting int64        `json:"waiting" doc:"Messages that have open recipients now."`
	Total   Counts       `json:"total"`
	Relays  []RelayStats `json:"relays"`
}

// Counts are numbers of messages and recipients.
type Counts struct {
	Accepted   int64            `json:"accepted" doc:"Messages."`
	Recipients map[string]int64 `json:"recipients" doc:"How many recipients came into each state. One that is deferred twice counts twice."`
}

// RelayStats are the counts of one relay.
type RelayStats struct {
	RelayID string `json:"relay_id" format:"uuid"`
	Counts
}
