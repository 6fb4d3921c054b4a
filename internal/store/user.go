package store

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
)

// User is a person or a program that belongs to a tenant.
type User struct {
	ID        uuid.UUID
	TenantID  uuid.UUID
	Email     string // empty for one that was registered by an outside issuer's token
	Name      string
	Role      auth.Role
	State     State
	CreatedAt time.Time
	UpdatedAt time.Time
	// PasswordHash is empty for a user that cannot log in by password. It is nobody's business but the login's.
	PasswordHash string
}

// NewUser is a user to be created.
type NewUser struct {
	ID           uuid.UUID // uuid.Nil: a new one
	Email        string    // required; unique in the tenant, whatever its case
	Name         string
	Role         auth.Role
	PasswordHash string // empty: no login by password
}

// UserPatch changes the fields that are not nil.
type UserPatch struct {
	Email, Name *string
	Role        *auth.Role
	State       *State
}

const (
	maxEmail = 254 // octets: RFC 5321 §4.5.3.1.3 less the angle brackets
	maxName  = 200 // characters
)

func checkEmail(email string) error {
	at := strings.LastIndexByte(email, '@')
	if at < 1 || at == len(email)-1 || len(email) > maxEmail || !printable(email) || strings.ContainsAny(email, " <>") {
		return &InvalidError{Field: "email", Reason: "not an address such as ann@example.com"}
	}
	return nil
}

func checkName(name string) error {
	if utf8.RuneCountInString(name) > maxName || !printable(name) {
		return &InvalidError{Field: "name", Reason: "may have 200 characters and no control characters"}
	}
	return nil
}

func checkRole(role auth.Role) error {
	if _, err := auth.ParseRole(string(role)); err != nil {
		return &InvalidError{Field: "role", Reason: "use user or admin"}
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// emailKey is the form in which addresses are compared. Local parts are case-sensitive by RFC 5321 §2.4, but people
// are not.
func emailKey(email string) string { return strings.ToLower(email) }

const userColumns = "tenant_id, id, email, name, role, state, created_at, updated_at, password_hash"

func scanUser(scan func(...any) error) (User, error) {
	var u User
	err := scan(&u.TenantID, &u.ID, &u.Email, &u.Name, &u.Role, &u.State, &u.CreatedAt, &u.UpdatedAt, &u.PasswordHash)
	return u, err
}

// CreateUser adds a user. A second one with an address is a *ConflictError with the field "email".
func (t Tenant) CreateUser(ctx context.Context, n NewUser, by Actor) (User, error) {
	var u User
	err := t.write(ctx, func(q tx) (err error) {
		u, err = t.createUser(ctx, q, n, by)
		return err
	})
	return u, notReferenced(err)
}

func (t Tenant) createUser(ctx context.Context, q tx, n NewUser, by Actor) (User, error) {
	if err := firstError(checkEmail(n.Email), checkName(n.Name), checkRole(n.Role)); err != nil {
		return User{}, err
	}
	if n.ID == uuid.Nil {
		n.ID = NewID()
	}
	now := t.s.now()
	u := User{
		ID: n.ID, TenantID: t.id, Email: n.Email, Name: n.Name, Role: n.Role, State: StateActive, PasswordHash: n.PasswordHash,
		CreatedAt: now, UpdatedAt: now,
	}
	if _, err := q.exec(ctx, `insert into users (tenant_id, id, email, email_key, name, role, state, password_hash, created_at, updated_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)`,
		t.id, u.ID, u.Email, emailKey(u.Email), u.Name, u.Role, u.State, null(u.PasswordHash), now); err != nil {
		return User{}, err
	}
	return u, t.s.audit(ctx, q, t.entry(by, "user.create", "user", u.ID, map[string]string{"role": string(u.Role)}))
}

// entry is an audit entry about something of the tenant.
func (t Tenant) entry(by Actor, action, kind string, target uuid.UUID, detail map[string]string) AuditEntry {
	return AuditEntry{TenantID: t.id, Actor: by, Action: action, TargetKind: kind, TargetID: target.String(), Detail: detail}
}

// null makes the empty string NULL.
func null(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// User returns a user by its id.
func (t Tenant) User(ctx context.Context, id uuid.UUID) (User, error) {
	var u User
	err := t.readOne(ctx, func(q tx) (err error) {
		u, err = t.user(ctx, q, id, "")
		return err
	})
	return u, err
}

func (t Tenant) user(ctx context.Context, q tx, id uuid.UUID, lock string) (User, error) {
	return scanUser(q.row(ctx, "select "+userColumns+" from users where tenant_id = $1 and id = $2"+lock, t.id, id).Scan)
}

// UserByEmail returns a user by its address, in whatever case.
func (t Tenant) UserByEmail(ctx context.Context, email string) (User, error) {
	if checkEmail(email) != nil {
		return User{}, ErrNotFound
	}
	var u User
	err := t.readOne(ctx, func(q tx) (err error) {
		u, err = scanUser(q.row(ctx, "select "+userColumns+" from users where tenant_id = $1 and email_key = $2", t.id, emailKey(email)).Scan)
		return err
	})
	return u, err
}

// Users lists the tenant's users. next is empty at the end.
func (t Tenant) Users(ctx context.Context, page Page) (users []User, next string, err error) {
	after, err := page.position()
	if err != nil {
		return nil, "", err
	}
	err = t.readOne(ctx, func(q tx) error {
		r, err := q.query(ctx, "select "+userColumns+` from users where tenant_id = $1 and (created_at, id) < ($2, $3)
			order by created_at desc, id desc limit $4`, t.id, after.at, after.id, page.limit()+1)
		users, err = collect(r, err, func(r *rows) (User, error) { return scanUser(r.Scan) })
		return err
	})
	if err != nil {
		return nil, "", err
	}
	users, next = nextPage(users, page.limit(), func(u User) position { return position{u.CreatedAt, u.ID} })
	return users, next, nil
}
