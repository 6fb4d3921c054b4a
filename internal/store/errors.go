package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// What callers can tell apart. They may come wrapped.
var (
	// ErrNotFound says that there is no such row, or that it belongs to another tenant: the two cannot be told apart.
	ErrNotFound = errors.New("store: not found")
	// ErrUnavailable says that the database is away, restarting, full or busy. The same call may succeed later. What a
	// change did is unknown only if the connection broke during its commit; a change tried again must bear that.
	ErrUnavailable = errors.New("store: the database is not available")
	// ErrNoSpace is an ErrUnavailable: the database has no room on its disk, and somebody must make some.
	ErrNoSpace = fmt.Errorf("%w: there is no room on its disk", ErrUnavailable)
	// ErrLastAdmin refuses to suspend or demote the only active admin of a tenant.
	ErrLastAdmin = errors.New("store: this is the tenant's last active admin: make another user admin first")
	// ErrReused says that a refresh token was used a second time; its whole session has been ended.
	ErrReused = errors.New("store: the refresh token was used before: its session has been ended")
	// ErrDamaged says that the SQLite file holds what SQLite cannot read, or is no longer where it was. Only people can mend
	// that; from the first time on, Ping says so.
	ErrDamaged = errors.New("store: the database file is damaged: stop the service and put a backup in its place")

	// errReference says that a row refers to a row which does not exist, or would be left without it.
	errReference = errors.New("store: a row refers to one that does not exist")
	// errLocked says that another transaction has held a row for longer than we wait. It comes with ErrUnavailable.
	errLocked = errors.New("store: another transaction holds a row")
	// errStandby says that the server takes no writes. It comes with ErrUnavailable.
	errStandby = errors.New("store: the database server is a standby, or read-only")
	// errAgain says that the transaction lost against another one and may be run again.
	errAgain = errors.New("store: lost against another transaction")
)

// ConflictError says that a value which must be unique exists already.
type ConflictError struct {
	// Field is the value's name: "email", "name", "id".
	Field string
}

// Error names the field, never the value.
func (e *ConflictError) Error() string { return "store: " + e.Field + " exists already" }

// SchemaError says that the database's tables are not those this binary was made for.
type SchemaError struct {
	Have, Want int64 // versions: of the database, of the binary
	// CompatibleFrom is the version from which binaries work with the database, if that is newer than the binary and says so.
	CompatibleFrom int64
	// Program is the version of the binary that made the tables so; empty if the database does not say.
	Program string
}

// Error says what to do.
func (e *SchemaError) Error() string {
	mend := "start a newer postrider"
	if e.Program != "" {
		mend = "start postrider " + e.Program + " or newer"
	}
	switch {
	case e.Have > e.Want && e.CompatibleFrom > e.Want:
		return fmt.Sprintf("store: the database has schema version %d, newer than this program's %d, and works with programs from version %d on: %s", e.Have, e.Want, e.CompatibleFrom, mend)
	case e.Have > e.Want:
		return fmt.Sprintf("store: the database has schema version %d, newer than this program's %d: %s", e.Have, e.Want, mend)
	case e.Have == 0:
		return fmt.Sprintf("store: the database has no tables of postrider yet (this program's schema version is %d): run `postrider migrate`", e.Want)
	}
	return fmt.Sprintf("store: the database has schema version %d, this program needs %d: run `postrider migrate`", e.Have, e.Want)
}

// NodesError refuses a migration that would break nodes at work.
type NodesError struct {
	// Migration is the name of the first that would, CompatibleFrom the schema version that nodes need after it.
	Migration      string
	CompatibleFrom int64
	// Nodes are those that would break: name, version of the program, and its schema version.
	Nodes []string
}

// Error names the nodes and says what to do.
func (e *NodesError) Error() string {
	return fmt.Sprintf("store: migration %s needs every node at work to have schema version %d or newer, and older are at work: %s: "+
		"replace these nodes first, or stop them (one that was killed counts for a minute); postrider migrate --force does not ask",
		e.Migration, e.CompatibleFrom, strings.Join(e.Nodes, ", "))
}

// InvalidError says that a value given to the store cannot be kept, and why.
type InvalidError struct {
	Field, Reason string
}

// Error names the field and the reason.
func (e *InvalidError) Error() string { return "store: " + e.Field + ": " + e.Reason }

// unavailable wraps what a driver said in ErrUnavailable.
func unavailable(err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// waitError is the error for a wait for a connection that ctx has ended. A deadline means that all were in use, which
// is the database's state and no wish of the caller.
func waitError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: every connection is in use: %w", ErrUnavailable, ctx.Err())
	}
	return ctx.Err()
}
