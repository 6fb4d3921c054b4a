package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// The roles that the policies are for. They cannot log in; logins are members.
const (
	roleAPI      = "postrider_api"
	roleDelivery = "postrider_delivery"
)

// migrationLock is the number of the advisory lock that one migration holds: "postride" in ASCII.
const migrationLock = 0x706f737472696465

// mustAssume says whether a login must take on role with SET ROLE, since by itself it may do more. The error says
// why it cannot be used at all.
func mustAssume(ctx context.Context, conn *pgx.Conn, role string) (bool, error) {
	var exists bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_roles where rolname = $1)", role).Scan(&exists); err != nil {
		return false, err
	}
	if !exists {
		return false, &SchemaError{Want: SchemaVersion()}
	}
	var login string
	var plain, may, owner bool
	// USAGE is what the login has by itself, MEMBER what it may take on. A superuser has everything.
	err := conn.QueryRow(ctx, `select current_user,
		not r.rolsuper and not r.rolbypassrls and pg_has_role(current_user, $1, 'USAGE') and not pg_has_role(current_user, $2, 'USAGE'),
		pg_has_role(current_user, $1, 'MEMBER'),
		exists (select from pg_class c where c.relkind in ('r', 'p') and c.relnamespace = current_schema()::regnamespace
			and c.relname = 'tenants' and pg_has_role(current_user, c.relowner, 'USAGE'))
		from pg_roles r where r.rolname = current_user`, role, other(role)).Scan(&login, &plain, &may, &owner)
	switch {
	case err != nil:
		return false, err
	case plain && !owner:
		return false, nil
	case !may:
		return false, fmt.Errorf("store: the database login %q is no member of the role %s: run `postrider migrate` with this URL, or GRANT %s TO it", login, role, role)
	}
	// As role it must not be able to get past the policies.
	var bypass bool
	err = conn.QueryRow(ctx, `select r.rolsuper or r.rolbypassrls or pg_has_role($1, $2, 'MEMBER') from pg_roles r where r.rolname = $1`, role, other(role)).Scan(&bypass)
	if err == nil && bypass {
		err = fmt.Errorf("store: the database role %s could get past row-level security: take SUPERUSER, BYPASSRLS and its membership in %s from it", role, other(role))
	}
	return true, err
}

func other(role string) string {
	if role == roleAPI {
		return roleDelivery
	}
	return roleAPI
}

func migratePostgres(ctx context.Context, cfg MigrateConfig) (MigrateReport, error) {
	config, err := pgx.ParseConfig(cfg.URL)
	if err != nil {
		return MigrateReport{}, urlError(err)
	}
	prepareConnect(config)
	logins, err := cfg.logins()
	if err != nil {
		return MigrateReport{}, err
	}
	// One connection holds the lock, the other works: goose wants a database/sql pool of its own.
	lock, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return MigrateReport{}, classifyPostgres(ctx, nil, err)
	}
	defer closeConn(lock) // which frees the lock
	if through, err := pooled(ctx, lock); err != nil {
		return MigrateReport{}, classifyPostgres(ctx, lock, err)
	} else if through {
		return MigrateReport{}, errors.New("store: the database URL leads to a connection pooler, through which migrations cannot keep others out: " +
			"give the address of the PostgreSQL server itself in POSTRIDER_MIGRATION_DATABASE_URL")
	}
	report, err := migrateLocked(ctx, cfg, lock, config, logins)
	return report, classifyPostgres(ctx, lock, err)
}

func migrateLocked(ctx context.Context, cfg MigrateConfig, lock *pgx.Conn, config *pgx.ConnConfig, logins [2]string) (MigrateReport, error) {
	var may bool
	var login string
	if err := lock.QueryRow(ctx, "select rolname, rolsuper or rolbypassrls from pg_roles where rolname = current_user").Scan(&login, &may); err != nil {
		return MigrateReport{}, err
	}
	if !may {
		// A foreign key that is added under policies is taken for valid whatever the hidden rows say.
		return MigrateReport{}, fmt.Errorf("store: the login %q cannot migrate: that takes a superuser, or the owner of the database with BYPASSRLS and CREATEROLE. "+
			"Give such a login in POSTRIDER_MIGRATION_DATABASE_URL; the one for requests must never have BYPASSRLS", login)
	}
	if err := lockMigration(ctx, lock); err != nil {
		return MigrateReport{}, err
	}
	for _, role := range []string{roleAPI, roleDelivery} {
		if err := createRole(ctx, lock, role); err != nil {
			return MigrateReport{}, err
		}
	}
	m, err := newMigrator(cfg, goose.DialectPostgres, postgresMigrations, func(outside bool) (*sql.DB, func(), error) { return migrationPool(config, outside) })
	if err != nil {
		return MigrateReport{}, err
	}
	report, err := m.run(ctx)
	if err != nil {
		return report, err
	}
	return report, grantRoles(ctx, lock, logins)
}

// lockMigration waits until nobody else migrates. It asks again and again, since who waits in a statement has a
// transaction open, and an index that is made while others write waits for the end of every one.
func lockMigration(ctx context.Context, conn *pgx.Conn) error {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		var ok bool
		if err := conn.QueryRow(ctx, "select pg_try_advisory_lock($1)", int64(migrationLock)).Scan(&ok); err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// migrationPool connects for migrations. A statement that waits for a lock makes everybody wait who comes after it: inside of a
// transaction it gives up soon. What runs outside takes locks that let others read and write.
func migrationPool(config *pgx.ConnConfig, outside bool) (*sql.DB, func(), error) {
	c := config.Copy()
	wait := lockTry
	if outside {
		wait = lockTryOutside
	}
	c.RuntimeParams["lock_timeout"] = strconv.FormatInt(wait.Milliseconds(), 10)
	db := stdlib.OpenDB(*c)
	return db, func() { _ = db.Close() }, nil
}

// logins are the names that will log in for the API and for delivery.
func (cfg MigrateConfig) logins() (names [2]string, err error) {
	url := cfg.URL
	for i, u := range []string{cfg.APIURL, cfg.DeliveryURL} {
		if u != "" {
			url = u
		}
		config, err := pgx.ParseConfig(url)
		if err != nil {
			return names, urlError(err)
		}
		names[i] = config.User
	}
	return names, nil
}

// createRole makes a group role. Roles belong to the whole server: another database's migration may make it now.
func createRole(ctx context.Context, conn *pgx.Conn, role string) error {
	var exists bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_roles where rolname = $1)", role).Scan(&exists); err != nil || exists {
		return err
	}
	_, err := conn.Exec(ctx, "create role "+role+" nologin noinherit")
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && (e.Code == "42710" || e.Code == "23505") { // duplicate_object, unique_violation
		return nil
	}
	return err
}

// grantRoles makes the logins members of their roles, where they are not, and lets the roles into the schema.
func grantRoles(ctx context.Context, conn *pgx.Conn, logins [2]string) error {
	var schema string
	if err := conn.QueryRow(ctx, "select quote_ident(current_schema())").Scan(&schema); err != nil {
		return err
	}
	for i, role := range []string{roleAPI, roleDelivery} {
		if _, err := conn.Exec(ctx, "grant usage on schema "+schema+" to "+role); err != nil {
			return err
		}
		var exists, member bool
		err := conn.QueryRow(ctx, `select exists (select from pg_roles where rolname = $1),
			exists (select from pg_auth_members m join pg_roles g on g.oid = m.roleid join pg_roles l on l.oid = m.member
				where g.rolname = $2 and l.rolname = $1) or exists (select from pg_roles where rolname = $1 and rolsuper)`, logins[i], role).Scan(&exists, &member)
		switch {
		case err != nil:
			return err
		case !exists:
			return fmt.Errorf("store: the database has no login %q, which a URL names: CREATE ROLE it first", logins[i])
		case member:
			continue
		}
		if _, err := conn.Exec(ctx, "grant "+role+" to "+pgx.Identifier{logins[i]}.Sanitize()); err != nil {
			return err
		}
	}
	return nil
}
