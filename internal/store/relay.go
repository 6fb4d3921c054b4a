package store

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Relay is a server that takes our messages (RFC 5321 §2.3.10), as a tenant or the
// operator described it. Its password is kept apart and sealed: Tenant.RelaySecret.
type Relay struct {
	ID uuid.UUID
	// OwnerTenant is the tenant that made it; uuid.Nil means the operator, who shares
	// it with chosen tenants.
	OwnerTenant uuid.UUID
	// Name is unique among its owner's relays. An inline relay has none.
	Name string
	Host string
	Port int
	// TLS is one of none, tls (STARTTLS, required) and ssl (implicit).
	TLS      string
	Username string
	// HasPassword says that a sealed password is stored.
	HasPassword bool
	// HELO is the name that EHLO says; empty leaves it to the sender.
	HELO string
	// FromDomains are the domains of header From and MAIL FROM that it may send for.
	// Empty means any.
	FromDomains []string
	Limits      RelayLimits
	// RetrySchedule are the waits before the second, third, … attempt. Empty means the
	// service's own schedule.
	RetrySchedule []time.Duration
	// GiveUpAfter is how long after acceptance a message is tried; 0 means the
	// service's default.
	GiveUpAfter time.Duration
	Pause       Pause
	// NotBefore is when it may be used again: an open circuit, a limit that is used up.
	// Zero means now.
	NotBefore time.Time
	// CACert holds the PEM certificates that its certificate is verified against; empty
	// means the system's.
	CACert string
	// DangerouslySkipTLSVerify accepts any certificate.
	DangerouslySkipTLSVerify bool
	// Inline marks a relay that came with a message and is not listed.
	Inline    bool
	CreatedAt time.Time
	UpdatedAt time.Time
}

// RelayLimits are what a relay's owner or provider allows. 0 means the service's
// default for the first two, and no limit for the others.
type RelayLimits struct {
	MaxConns          int `json:"max_conns,omitempty"`
	MessagesPerConn   int `json:"messages_per_conn,omitempty"`
	MessagesPerMinute int `json:"messages_per_minute,omitempty"`
	RecipientsPerDay  int `json:"recipients_per_day,omitempty"`
}

// PauseKind says who holds a relay.
type PauseKind string

const (
	// PauseNone is a relay that nobody holds.
	PauseNone PauseKind = ""
	// PauseTenant was asked for by the tenant that owns the relay.
	PauseTenant PauseKind = "tenant"
	// PauseOperator was asked for by the operator, for one relay or for all.
	PauseOperator PauseKind = "operator"
	// PauseAuth follows a refused authentication (smtp 535, 530, 538). It ends when the
	// relay is changed or resumed, or when a probe succeeds: the relay is due for one
	// when NotBefore has passed.
	PauseAuth PauseKind = "auth"
)

// Pause says that nothing is sent through a relay, and why.
type Pause struct {
	// Kind is PauseNone when the relay is not paused.
	Kind   PauseKind
	Reason string
	At     time.Time
}

// NewRelay is a relay to be made. The fields are those of Relay.
type NewRelay struct {
	// ID may be uuid.Nil: one is made.
	ID                       uuid.UUID
	Name                     string
	Host                     string
	Port                     int
	TLS                      string
	Username                 string
	SealedPassword           []byte // sealed with the owner's id, uuid.Nil for the operator; nil: no password
	HELO                     string
	FromDomains              []string
	Limits                   RelayLimits
	RetrySchedule            []time.Duration
	GiveUpAfter              time.Duration
	CACert                   string
	DangerouslySkipTLSVerify bool
}

// RelayPatch changes the fields that are not nil.
type RelayPatch struct {
	Name     *string
	Host     *string
	Port     *int
	TLS      *string
	Username *string
	// SealedPassword replaces the password; a pointer to an empty slice removes it.
	SealedPassword           *[]byte
	HELO                     *string
	FromDomains              *[]string
	Limits                   *RelayLimits
	RetrySchedule            *[]time.Duration
	GiveUpAfter              *time.Duration
	CACert                   *string
	DangerouslySkipTLSVerify *bool
}

// apply returns r with the patch's fields.
func (p RelayPatch) apply(r Relay) Relay {
	set(&r.Name, p.Name)
	set(&r.Host, p.Host)
	set(&r.Port, p.Port)
	set(&r.TLS, p.TLS)
	set(&r.Username, p.Username)
	set(&r.HELO, p.HELO)
	set(&r.FromDomains, p.FromDomains)
	set(&r.Limits, p.Limits)
	set(&r.RetrySchedule, p.RetrySchedule)
	set(&r.GiveUpAfter, p.GiveUpAfter)
	set(&r.CACert, p.CACert)
	set(&r.DangerouslySkipTLSVerify, p.DangerouslySkipTLSVerify)
	if p.SealedPassword != nil {
		r.HasPassword = len(*p.SealedPassword) > 0
	}
	return r
}

// changed names the fields that the patch sets, for the audit log; never their values.
func (p RelayPatch) changed() []string {
	names := map[string]bool{
		"name": p.Name != nil, "host": p.Host != nil, "port": p.Port != nil, "tls": p.TLS != nil, "username": p.Username != nil,
		"password": p.SealedPassword != nil, "helo": p.HELO != nil, "from_domains": p.FromDomains != nil, "limits": p.Limits != nil,
		"retry_schedule": p.RetrySchedule != nil, "give_up_after": p.GiveUpAfter != nil, "ca_cert": p.CACert != nil,
		"dangerously_skip_tls_verify": p.DangerouslySkipTLSVerify != nil,
	}
	var out []string
	for name, set := range names {
		if set {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// RelayState is what the node that drains a relay leaves for the next one, when it lets
// go of the relay.
type RelayState struct {
	// NotBefore holds everything back until then; zero: nothing is held back.
	NotBefore time.Time `json:"-"`
	// Reason says in one line why NotBefore is set, for those who ask why a message has
	// not left.
	Reason string `json:"reason,omitempty"`
	// Failures counts the failures in a row that opened the circuit.
	Failures int `json:"failures,omitempty"`
	// Window is the slow-down's present number of connections; 0: not slowed down.
	Window float64 `json:"window,omitempty"`
	// Counters are what the relay was sent in the last minute and the last day, as package dispatch counts it.
	Counters json.RawMessage `json:"counters,omitempty"`
}

// DeliveryRelay is a relay with what only delivery may see.
type DeliveryRelay struct {
	Relay
	// SealedPassword is nil when the relay has none.
	SealedPassword []byte
	// SealTenant is the tenant that the password is sealed for; uuid.Nil: the operator.
	SealTenant uuid.UUID
	State      RelayState
}

// DueRelay is a relay that has a message which may be sent now.
type DueRelay struct {
	ID uuid.UUID
	// OldestDue is since when the oldest of them waits.
	OldestDue time.Time
	// Probe says that the relay is paused because it refused our password, and that
	// it is time to try whether it still does: one message, not more.
	Probe bool
}

// DueTenant is one tenant's turn at a relay, for one class.
type DueTenant struct {
	Tenant    uuid.UUID
	Class     Class
	OldestDue time.Time
}
