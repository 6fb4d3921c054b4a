package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Config configures a Store.
type Config struct {
	// Path is the SQLite database file. It is used if URL is empty. Its directory must exist.
	Path string
	// URL is the PostgreSQL database for the calls of tenants and of the operator, as postgres://user:password@host/name.
	URL string
	// DeliveryURL is the same database for delivery and upkeep. Empty: URL.
	DeliveryURL string
	// MaxConns bounds the connections of each pool: on PostgreSQL there are two pools, on SQLite it is the readers
	// beside the one writer. 0: 10.
	MaxConns int
	// MinFreeBytes is the room on the disk of a SQLite database below which nothing is accepted any more. 0: 256 MiB.
	// Negative: it is not looked at.
	MinFreeBytes int64
	// RetainContent is how long the content of a message is kept after it ended. 0: 30 days.
	// Negative: as long as the message.
	RetainContent time.Duration
	// RetainMessages is how long messages are kept after they ended. 0: 90 days. Negative: for ever.
	RetainMessages time.Duration
	// RetainEvents is how long events are kept. 0: 90 days. Negative: for ever.
	RetainEvents time.Duration
	// Observe is called after each transaction of messages and outcomes, for metrics. It must be quick. Nil: nobody is told.
	Observe func(Commit)
	// Now is the clock. Nil: the database's on PostgreSQL, as Store.Now says, and time.Now on SQLite.
	Now func() time.Time
	// Logger hears of what nobody is told otherwise. Nil: nobody does.
	Logger *slog.Logger
	// Checkpoint signs the checkpoints of the audit chain. Nil: entries are chained, and checkpoints are not made.
	Checkpoint CheckpointSigner

	files fs.FS // tests have other migrations; nil: those of this program
}

const defaultConns = 10

// Store is the database. It is safe for concurrent use.
type Store struct {
	schema int64 // version of the tables when they were opened
	cfg    Config
	db     database
	clock  clock
	// node is who tells the other nodes what was accepted; nil: nobody does.
	node atomic.Pointer[Node]
	spooler
}

// database is SQLite or PostgreSQL.
type database interface {
	// run calls fn in a transaction of the scope and commits if fn returns nil. fn may be called again if the
	// transaction lost against another one.
	run(ctx context.Context, sc scope, m mode, fn func(tx) error) error
	ping(ctx context.Context) error
	close() error
}

// scope is who asks, as the database is told.
type scope struct {
	delivery bool      // the delivery role; otherwise the role of the API
	operator bool      // with the API role: the rows of the operator
	tenant   uuid.UUID // uuid.Nil: none, until tx.setTenant
	name     string    // the tenant's row with this name, for a login
}

// Open connects to a database that Migrate has prepared. The error is a *SchemaError if the tables are older or newer
// than this program, and wraps ErrUnavailable if the database does not answer.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.MaxConns < 0 {
		return nil, fmt.Errorf("store: MaxConns is %d", cfg.MaxConns)
	}
	if cfg.MaxConns == 0 {
		cfg.MaxConns = defaultConns
	}
	cfg.RetainContent = cmp.Or(cfg.RetainContent, defaultRetainContent)
	cfg.RetainMessages = cmp.Or(cfg.RetainMessages, defaultRetain)
	cfg.RetainEvents = cmp.Or(cfg.RetainEvents, defaultRetain)
	if cfg.MinFreeBytes == 0 {
		cfg.MinFreeBytes = defaultMinFree
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.files == nil {
		cfg.files = migrations
	}
	var db database
	var err error
	switch {
	case cfg.URL != "":
		db, err = openPostgres(ctx, cfg)
	case cfg.Path != "":
		db, err = openSQLite(cfg.Path, cfg.MaxConns)
	default:
		return nil, errNoDatabase
	}
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, db: db, clock: clock{started: time.Now()}}
	if s.schema, err = s.checkSchema(ctx); err == nil && cfg.URL != "" {
		err = db.run(ctx, scope{}, readOne, func(t tx) error { return s.askClock(ctx, t) })
	}
	if err != nil {
		_ = db.close()
		return nil, err
	}
	if known := SchemaVersion(); s.schema > known {
		cfg.Logger.InfoContext(ctx, "the database is ahead of this program, and works with it", "schema", s.schema, "known", known)
	}
	s.startWriters()
	return s, nil
}

// checkSchema compares the version of the tables, which it returns, with the program's: it works with those that it needs, with
// those that it knows, and with newer ones that say so.
func (s *Store) checkSchema(ctx context.Context) (have int64, err error) {
	needed, known := ownVersions(s.cfg.files)
	var state schemaState
	err = s.db.run(ctx, scope{}, readOnly, func(t tx) error {
		var err error
		if have, err = schemaVersion(ctx, t); err == nil && have > known {
			err = t.row(ctx, readSchemaState).Scan(&state.version, &state.compatibleFrom, &state.program)
			if errors.Is(err, ErrNotFound) {
				err = nil
			}
		}
		return err
	})
	s.schema = have
	switch {
	case err != nil:
		return 0, err
	case have < needed:
		return 0, &SchemaError{Have: have, Want: needed}
	case have > known:
		return have, state.allow(have, known)
	}
	return have, nil
}

// Close waits for the calls that run, writes what is queued for a commit, and closes every connection.
func (s *Store) Close() error {
	s.stopWriters()
	return s.db.close()
}

// Ping asks the database for a sign of life.
func (s *Store) Ping(ctx context.Context) error { return s.db.ping(ctx) }

// now is the time for rows, to the microsecond: what is returned at once is what is read later.
func (s *Store) now() time.Time {
	now := time.Now
	switch {
	case s.cfg.Now != nil:
		now = s.cfg.Now
	case s.cfg.URL != "":
		now = s.clock.now
	}
	return now().UTC().Truncate(time.Microsecond)
}

// inTenant runs fn for one tenant.
func (s *Store) inTenant(ctx context.Context, tenant uuid.UUID, m mode, fn func(tx) error) error {
	if tenant == uuid.Nil {
		return ErrNotFound
	}
	return s.db.run(ctx, scope{tenant: tenant}, m, fn)
}

// inTenants runs fn for several tenants, one after another: it sees no rows until it calls setTenant.
func (s *Store) inTenants(ctx context.Context, m mode, fn func(tx) error) error {
	return s.db.run(ctx, scope{}, m, fn)
}

// asOperator runs fn for the operator, who sees the list of tenants and what belongs to no tenant. After setTenant it
// sees that tenant's rows as well.
func (s *Store) asOperator(ctx context.Context, m mode, fn func(tx) error) error {
	return s.db.run(ctx, scope{operator: true}, m, fn)
}

// asDelivery runs fn for delivery and upkeep, which see the rows of all tenants until they call setTenant.
func (s *Store) asDelivery(ctx context.Context, m mode, fn func(tx) error) error {
	return s.db.run(ctx, scope{delivery: true}, m, fn)
}

// Tenant is the handle of one tenant's rows. Nothing is looked up: a tenant that does not exist has no rows.
type Tenant struct {
	s  *Store
	id uuid.UUID
}

// Tenant returns the handle of a tenant.
func (s *Store) Tenant(id uuid.UUID) Tenant { return Tenant{s, id} }

// ID is the tenant's id.
func (t Tenant) ID() uuid.UUID { return t.id }

func (t Tenant) read(ctx context.Context, fn func(tx) error) error {
	return t.s.inTenant(ctx, t.id, readOnly, fn)
}

// readOne is read for exactly one statement.
func (t Tenant) readOne(ctx context.Context, fn func(tx) error) error {
	return t.s.inTenant(ctx, t.id, readOne, fn)
}

func (t Tenant) write(ctx context.Context, fn func(tx) error) error {
	return t.s.inTenant(ctx, t.id, readWrite, fn)
}

// Operator is the handle of what belongs to the operator of the installation.
type Operator struct {
	s *Store
}

// Operator returns the operator's handle.
func (s *Store) Operator() Operator { return Operator{s} }
