// Package submission takes messages in: it judges a [Request] by the message's own rules (package mail) and by
// policy (which relay, which sender, which quota), renders the message once into the RFC 5322 octets that every
// attempt will send, and hands it to the store. The caller is answered after the commit, so what it was told is
// accepted is on disk.
//
// It knows no HTTP and opens no connection: requests are decoded by package intake, and messages leave by the
// other lane, which meets this one in the store alone.
//
// It obeys RFC 6409 (message submission) where that is about the message, RFC 5321 §4.1.2 (mailboxes) and the
// Idempotency-Key draft of the IETF's httpapi group.
package submission
