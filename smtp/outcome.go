package smtp

// Outcome is what became of one transaction. It is complete even when
// [Conn.Send] returns an error; each recipient that was not sent has an Err.
type Outcome struct {
	// Mail is the reply to MAIL, Content the final reply, the one after the
	// content. Zero: none came.
	Mail, Content Reply
	// Recipients has one entry for each of Envelope.RcptTo, in its order.
	Recipients []RecipientOutcome
	// Phase is the farthest one reached.
	Phase Phase
	// RoundTrips counts how often the client had to wait for the server.
	RoundTrips int
	// Octets counts what was written to the server, before TLS.
	Octets int64

	one [1]RecipientOutcome // backs Recipients when there is one
}

// RecipientOutcome is what became of one forward-path.
type RecipientOutcome struct {
	// Address is that of the envelope.
	Address string
	// Reply is the one that decided: to the content if sent, else that of
	// the refusal. Zero: the failure was not a reply.
	Reply Reply
	// Err is nil if sent: the server has taken responsibility for the
	// message to this recipient (which does not say that it was delivered).
	// Otherwise it is an *Error.
	Err error
}

// Sent counts the recipients that the server accepted the content for.
func (o *Outcome) Sent() int {
	n := 0
	for i := range o.Recipients {
		if o.Recipients[i].Err == nil {
			n++
		}
	}
	return n
}
