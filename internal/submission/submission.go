package submission

import (
	"errors"
	"fmt"
	"time"

	"github.com/postrider/postrider/internal/seal"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/mail"
)

const (
	// DefaultGiveUpAfter is how long a message is tried where its relay does not say: three days and not RFC 5321's
	// four to five, since programs that send want to know.
	DefaultGiveUpAfter = 72 * time.Hour
	// MaxAhead is how far ahead a message may be scheduled.
	MaxAhead = 366 * 24 * time.Hour
)

// Config holds the settings of a [Submission]. It is copied by New.
type Config struct {
	// Store keeps what is accepted. Required.
	Store *store.Store
	// Sealer seals the passwords of relays that come with messages. Required.
	Sealer *seal.Sealer
	// RelayKey is at least 16 octets that nobody without the sealing keys can know, such as a hash of them: by a MAC
	// with it a relay that comes with a message is found again. Required.
	RelayKey []byte
	// Limits bounds messages; the zero value: the limits of package mail.
	Limits mail.Limits
	// Hostname is the right side of Message-IDs made here; empty: the domain of From.
	Hostname string
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Submission accepts messages. It is safe for concurrent use.
type Submission struct {
	cfg     Config
	buffers mail.Buffers
	known   cache
}

// minRelayKey is the shortest key that cannot be guessed.
const minRelayKey = 16

// New checks cfg and makes a Submission. The error joins all faults.
func New(cfg Config) (*Submission, error) {
	var faults []error
	if cfg.Store == nil {
		faults = append(faults, errors.New("submission: Config.Store is nil; it is required"))
	}
	if cfg.Sealer == nil {
		faults = append(faults, errors.New("submission: Config.Sealer is nil; it is required"))
	}
	if len(cfg.RelayKey) < minRelayKey {
		faults = append(faults, fmt.Errorf("submission: Config.RelayKey has %d octets; give at least %d", len(cfg.RelayKey), minRelayKey))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	cfg.RelayKey = append([]byte(nil), cfg.RelayKey...)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Submission{cfg: cfg}, nil
}

// Limits are the limits on messages.
func (s *Submission) Limits() mail.Limits { return s.cfg.Limits }

// Codes of faults beside those of package mail.
const (
	CodeSenderNotAllowed mail.FaultCode = "sender_not_allowed" // the relay may not send for this domain
	CodeUnknownRelay     mail.FaultCode = "unknown_relay"      // there is no such relay, or the tenant may not use it
)
