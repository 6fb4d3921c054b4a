package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Limits of what Inspect finds in order.
const (
	// clockWarn and clockFail bound how far this machine's clock may be from the database's. Rows of several nodes are in the
	// order of their clocks, and tokens expire by them.
	clockWarn = 2 * time.Second
	clockFail = time.Minute
	// dueWarn is how long a message may wait that could be sent.
	dueWarn = 5 * time.Minute
	// leastPostgres is the oldest PostgreSQL that the tables are tested with.
	leastPostgres = 150000
)

// Health says how bad a Finding is.
type Health string

// The three of them.
const (
	HealthOK   Health = "ok"
	HealthWarn Health = "warn" // it works; somebody should look
	HealthFail Health = "fail" // it does not work, or what was promised is in danger
)

// Finding is what Inspect found out about one thing.
type Finding struct {
	// Check names the thing: database, schema, roles, isolation, durability, connections, session, clock, disk, file, spool.
	Check  string
	Health Health
	// Detail is one line of what there is.
	Detail string
	// Mend is one line of what to do; empty if nothing is to be done.
	Mend string
	// Err is the error behind it, if any: a *SchemaError, or one that wraps ErrUnavailable or ErrDamaged.
	Err error
}

// InspectConfig says what to inspect.
type InspectConfig struct {
	// Config names the database, as for Open.
	Config
	// LockURL is where a node holds its session. Empty: DeliveryURL or URL.
	LockURL string
	// Deep reads the whole SQLite file, which takes a second or so for each GiB.
	Deep bool
}

// Inspect looks at a database as a service would use it and changes nothing. There is at least one Finding, and the first that
// fails may be the last: without a connection nothing else can be seen. It takes as long as ctx allows.
func Inspect(ctx context.Context, cfg InspectConfig) []Finding {
	s, err := Open(ctx, cfg.Config)
	if err != nil {
		return []Finding{openFinding(err)}
	}
	defer func() { _ = s.Close() }()
	in := &inspection{s: s, cfg: cfg}
	if cfg.URL == "" {
		in.sqlite(ctx)
	} else {
		in.postgres(ctx)
	}
	in.spool(ctx)
	return in.found
}

func openFinding(err error) Finding {
	f := Finding{Check: "database", Health: HealthFail, Detail: inspectText(err), Err: err, Mend: "this is what the database said; its log may say more"}
	if schema, ok := errors.AsType[*SchemaError](err); ok {
		f.Check, f.Mend = "schema", "run postrider migrate with this program"
		if schema.Have > schema.Want {
			f.Mend = "start the postrider that made it, or a newer one; nothing goes back to older tables but a backup"
		}
		return f
	}
	switch {
	case errors.Is(err, ErrDamaged):
		f.Mend = "stop the service and put a backup in the place of the file"
	case errors.Is(err, ErrUnavailable):
		f.Mend = "see that PostgreSQL runs, that this machine reaches it, and that login and password of the URL are right"
	}
	return f
}

// inspectText is an error's text in one line, without who says it.
func inspectText(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "store: ", "")), " ")
}

type inspection struct {
	s     *Store
	cfg   InspectConfig
	found []Finding
}

func (in *inspection) say(check string, h Health, mend, format string, a ...any) {
	f := Finding{Check: check, Health: h, Detail: fmt.Sprintf(format, a...)}
	if h != HealthOK {
		f.Mend = mend
	}
	in.found = append(in.found, f)
}

// failed reports that something could not be looked at.
func (in *inspection) failed(check string, err error) bool {
	if err == nil {
		return false
	}
	f := openFinding(err)
	f.Check = check
	in.found = append(in.found, f)
	return true
}

func (in *inspection) sqlite(ctx context.Context) {
	path := in.cfg.Path
	in.say("database", HealthOK, "", "SQLite, %s, schema version %d", path, in.s.schema)
	if free, err := freeBytes(filepath.Dir(path)); err == nil {
		limit, h := in.s.cfg.MinFreeBytes, HealthOK
		if limit > 0 && free < limit {
			h = HealthFail
		} else if limit > 0 && free < 4*limit {
			h = HealthWarn
		}
		in.say("disk", h, "make room on that disk: below the reserve nothing is accepted", "%d MiB are free on the disk of the database; the reserve is %d MiB", free>>20, max(limit, 0)>>20)
	}
	var said string
	err := in.s.asDelivery(ctx, readOnly, func(t tx) error {
		if !in.cfg.Deep {
			var n int64
			return t.row(ctx, "select count(*) from sqlite_schema").Scan(&n)
		}
		return t.row(ctx, "pragma quick_check(1)").Scan(&said)
	})
	switch {
	case in.failed("file", err):
	case !in.cfg.Deep:
		in.say("file", HealthOK, "", "it can be read; --deep reads all of it")
	case said != "ok":
		in.found = append(in.found, Finding{
			Check: "file", Health: HealthFail, Detail: "damaged: " + inspectText(errors.New(said)), Err: ErrDamaged,
			Mend: "stop the service and put a backup in the place of the file",
		})
	default:
		in.say("file", HealthOK, "", "every page of it was read and is in order")
	}
}

func (in *inspection) postgres(ctx context.Context) {
	var text, syncCommit, fsync, fullPages string
	var number, most, used int64
	var standby bool
	var at time.Time
	began := time.Now()
	err := in.s.asDelivery(ctx, readOne, func(t tx) error {
		return t.row(ctx, `select current_setting('server_version'), current_setting('server_version_num')::bigint,
			current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
			current_setting('max_connections')::bigint, (select count(*) from pg_stat_activity where backend_type = 'client backend'),
			pg_is_in_recovery(), clock_timestamp()`).Scan(&text, &number, &fsync, &fullPages, &syncCommit, &most, &used, &standby, &at)
	})
	took := time.Since(began)
	if in.failed("database", err) {
		return
	}
	h, mend := HealthOK, ""
	switch {
	case standby:
		h, mend = HealthFail, "this is a standby, which cannot be written to: name the primary, or both hosts and target_session_attrs=read-write"
	case number < leastPostgres:
		h, mend = HealthFail, "use PostgreSQL 15 or newer"
	}
	in.say("database", h, mend, "PostgreSQL %s, schema version %d, answers in %s", text, in.s.schema, took.Round(10*time.Microsecond))
	in.isolation(ctx)

	h, mend = HealthOK, "set fsync and full_page_writes on, and synchronous_commit to on or stricter: until then a crash of the database loses what was accepted"
	if fsync != "on" || fullPages != "on" {
		h = HealthFail
	} else if syncCommit == "off" || syncCommit == "local" {
		h = HealthWarn
	}
	in.say("durability", h, mend, "fsync %s, full_page_writes %s, synchronous_commit %s", fsync, fullPages, syncCommit)

	h = HealthOK
	if need := int64(2*in.s.cfg.MaxConns + 1); used+need > most {
		h = HealthWarn
	}
	in.say("connections", h, "raise max_connections, or put a pooler in front of database_url and delivery_database_url",
		"%d of %d in use; a node takes up to %d", used, most, 2*in.s.cfg.MaxConns+1)
	in.session(ctx)
	in.clock(at.Sub(began.Add(took / 2)))
}

// isolation asks whether row-level security binds every table that holds something of a tenant. That the logins are bound, Open
// has made sure.
func (in *inspection) isolation(ctx context.Context) {
	var tables, open []string
	err := in.s.asDelivery(ctx, readOne, func(t tx) error {
		r, err := t.query(ctx, `select c.relname, c.relrowsecurity and c.relforcerowsecurity from pg_class c
			where c.relkind in ('r', 'p') and c.relnamespace = current_schema()::regnamespace and (c.relname = 'tenants' or exists
				(select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)) order by 1`)
		_, err = collect(r, err, func(r *rows) (struct{}, error) {
			var name string
			var bound bool
			err := r.Scan(&name, &bound)
			tables = append(tables, name)
			if !bound {
				open = append(open, name)
			}
			return struct{}{}, err
		})
		return err
	})
	switch {
	case in.failed("isolation", err):
	case len(open) > 0:
		in.say("isolation", HealthFail, "as the owner: ALTER TABLE … ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; and find out who took it off",
			"row-level security does not bind %s: one tenant could see another's rows", strings.Join(open, ", "))
	default:
		in.say("isolation", HealthOK, "", "row-level security binds all %d tables of tenants; the logins cannot get past it", len(tables))
	}
}

// session sees whether the connection for locks is the server's own: a pooler that changes sessions between transactions
// tells a process number that is not the one that works.
func (in *inspection) session(ctx context.Context) {
	url := in.cfg.LockURL
	if url == "" {
		url = in.cfg.DeliveryURL
	}
	if url == "" {
		url = in.cfg.URL
	}
	cfg, err := pgxpool.ParseConfig(url) // the URL may have settings of a pool in it
	if err != nil {
		in.failed("session", urlError(err))
		return
	}
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol // what any pooler lets through
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
	if err != nil {
		in.failed("session", classifyPostgres(ctx, nil, err))
		return
	}
	defer closeConn(conn)
	var pid uint32
	if err := conn.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid); err != nil {
		in.failed("session", classifyPostgres(ctx, conn, err))
		return
	}
	if pid != conn.PgConn().PID() {
		in.say("session", HealthFail, "let lock_database_url lead to PostgreSQL itself",
			"the connection for locks leads through a pooler: two nodes could hold the same relay")
		return
	}
	in.say("session", HealthOK, "", "the connection for locks is a session of PostgreSQL's own")
}

func (in *inspection) clock(ahead time.Duration) { // of the database's before ours
	off, h := time.Duration(math.Abs(float64(ahead))), HealthOK
	if off > clockFail {
		h = HealthFail
	} else if off > clockWarn {
		h = HealthWarn
	}
	in.say("clock", h, "set the clocks of this machine and of the database's by NTP: tokens expire by one, rows carry the other",
		"this machine's is %s off the database's", off.Round(time.Millisecond))
}

func (in *inspection) spool(ctx context.Context) {
	depth, err := in.s.SpoolDepth(ctx)
	if in.failed("spool", err) {
		return
	}
	age, h := time.Duration(0), HealthOK
	if !depth.OldestDue.IsZero() {
		age = max(0, in.s.now().Sub(depth.OldestDue))
	}
	if age > dueWarn {
		h = HealthWarn
	}
	if held, err := in.s.countHeld(ctx); err == nil && held > 0 {
		in.say("restored", HealthWarn, "postrider restored show lists them; postrider restored send or end decides", "%d messages are on hold since the database was restored", held)
	}
	in.say("spool", h, "see that a node delivers, and what its log and postrider message explain say",
		"%d messages have open recipients; the longest wait of one that could be sent is %s", depth.Messages, age.Round(time.Second))
}
