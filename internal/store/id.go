package store

import "github.com/google/uuid"

// NewID makes a UUIDv7 (RFC 9562 §5.7), strictly greater than those made before in this process, so that rows are
// written to the end of their index.
func NewID() uuid.UUID {
	return uuid.Must(uuid.NewV7()) // fails only if the system has no random numbers, which crypto/rand survives by crashing
}
