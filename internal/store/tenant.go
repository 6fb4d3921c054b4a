package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// State says whether a tenant or a user may do anything. The empty State stands for one that does not exist.
type State string

// The states.
const (
	StateActive    State = "active"
	StateSuspended State = "suspended"
)

func (s State) check() error {
	if s != StateActive && s != StateSuspended {
		return &InvalidError{Field: "state", Reason: "use active or suspended"}
	}
	return nil
}

// TenantRecord is a tenant as the operator knows it.
type TenantRecord struct {
	ID        uuid.UUID
	Name      string
	State     State
	CreatedAt time.Time
}

const tenantColumns = "id, name, state, created_at"

func scanTenant(scan func(...any) error) (TenantRecord, error) {
	var r TenantRecord
	err := scan(&r.ID, &r.Name, &r.State, &r.CreatedAt)
	return r, err
}

// maxTenantName is the length of a label of a domain name, so that a tenant may become one.
const maxTenantName = 63

func checkTenantName(name string) error {
	ok := len(name) >= 1 && len(name) <= maxTenantName
	for _, c := range name {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !ok {
		return &InvalidError{Field: "name", Reason: fmt.Sprintf("a tenant's name has 1 to %d characters of a to z, 0 to 9 and -", maxTenantName)}
	}
	return nil
}

// Record returns the tenant's own record.
func (t Tenant) Record(ctx context.Context) (TenantRecord, error) {
	var r TenantRecord
	err := t.readOne(ctx, func(q tx) (err error) {
		r, err = scanTenant(q.row(ctx, "select "+tenantColumns+" from tenants where id = $1", t.id).Scan)
		return err
	})
	return r, err
}

// TenantByName finds the tenant that a login names.
func (s *Store) TenantByName(ctx context.Context, name string) (uuid.UUID, error) {
	if checkTenantName(name) != nil {
		return uuid.Nil, ErrNotFound
	}
	var id uuid.UUID
	err := s.db.run(ctx, scope{name: name}, readOne, func(q tx) error {
		return q.row(ctx, "select id from tenants where name = $1", name).Scan(&id)
	})
	return id, err
}

// Settings are what an admin of a tenant chooses.
type Settings struct {
	// OnUnknown is for messages that do not say it themselves. Default: OnUnknownRetry.
	OnUnknown string `json:"on_unknown"`
	// RetentionDays is how long messages are kept after their last recipient is done. Default: 30. From 0 to 3650.
	RetentionDays int `json:"retention_days"`
	// DefaultRelayID is the relay of messages that name none; uuid.Nil: the only one that the tenant may use.
	DefaultRelayID uuid.UUID `json:"default_relay_id,omitzero"`
	// UpdatedAt is when the settings were changed; zero if they never were.
	UpdatedAt time.Time `json:"-"`
}

const (
	defaultRetentionDays = 30
	maxRetentionDays     = 3650
)

// SettingsPatch changes the settings whose field is not nil.
type SettingsPatch struct {
	OnUnknown     *string
	RetentionDays *int
	// DefaultRelayID, where it points to uuid.Nil, takes the default away. That the tenant may use the relay is the
	// caller's to check.
	DefaultRelayID *uuid.UUID
}

func (p SettingsPatch) apply(s *Settings) error {
	if v := p.OnUnknown; v != nil {
		if *v != OnUnknownRetry && *v != OnUnknownHold {
			return &InvalidError{Field: "on_unknown", Reason: "use retry or hold"}
		}
		s.OnUnknown = *v
	}
	if v := p.RetentionDays; v != nil {
		if *v < 0 || *v > maxRetentionDays {
			return &InvalidError{Field: "retention_days", Reason: fmt.Sprintf("may be from 0 to %d", maxRetentionDays)}
		}
		s.RetentionDays = *v
	}
	if v := p.DefaultRelayID; v != nil {
		s.DefaultRelayID = *v
	}
	return nil
}

// Settings returns the tenant's settings; the defaults if they were never changed.
func (t Tenant) Settings(ctx context.Context) (Settings, error) {
	var s Settings
	err := t.readOne(ctx, func(q tx) (err error) {
		s, err = t.settings(ctx, q, "")
		return err
	})
	return s, err
}

func (t Tenant) settings(ctx context.Context, q tx, lock string) (Settings, error) {
	s := Settings{OnUnknown: OnUnknownRetry, RetentionDays: defaultRetentionDays}
	var text json.RawMessage
	err := q.row(ctx, "select settings, updated_at from tenant_settings where tenant_id = $1"+lock, t.id).Scan(&text, &s.UpdatedAt)
	if errors.Is(err, ErrNotFound) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	return s, err
}

// UpdateSettings changes settings and returns all of them. A wrong value is an *InvalidError.
func (t Tenant) UpdateSettings(ctx context.Context, patch SettingsPatch, by Actor) (Settings, error) {
	var s Settings
	err := t.write(ctx, func(q tx) (err error) {
		if s, err = t.settings(ctx, q, forUpdate(q)); err != nil {
			return err
		}
		if err := patch.apply(&s); err != nil {
			return err
		}
		s.UpdatedAt = t.s.now()
		text, err := json.Marshal(s)
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		if _, err := q.exec(ctx, `insert into tenant_settings (tenant_id, settings, updated_at) values ($1, $2, $3)
			on conflict (tenant_id) do update set settings = excluded.settings, updated_at = excluded.updated_at`,
			t.id, json.RawMessage(text), s.UpdatedAt); err != nil {
			return err
		}
		return t.s.audit(ctx, q, AuditEntry{
			TenantID: t.id, Actor: by, Action: "settings.update", TargetKind: "settings", TargetID: t.id.String(),
			Detail: map[string]string{"settings": string(text)},
		})
	})
	return s, notReferenced(err)
}

// notReferenced turns a reference to a missing row, such as a tenant that does not exist, into ErrNotFound.
func notReferenced(err error) error {
	if errors.Is(err, errReference) {
		return ErrNotFound
	}
	return err
}
