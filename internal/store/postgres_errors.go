package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func (t *pgTx) classify(ctx context.Context, err error) error {
	return classifyPostgres(ctx, t.conn, err)
}

// classifyPostgres turns what pgx and the server say into the errors of this package. conn is the connection that it
// happened on; nil if there was none yet.
func classifyPostgres(ctx context.Context, conn *pgx.Conn, err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) {
		return err
	}
	if ctx.Err() != nil { // pgx wraps it in what it was doing
		return ctx.Err()
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return classifyCode(e, err)
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return unavailable(err)
	}
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return unavailable(err)
	}
	if conn != nil && conn.IsClosed() { // pgx closes a connection whose state it does not know
		return unavailable(err)
	}
	return err
}

// classifyCode goes by the SQLSTATE (PostgreSQL manual, Appendix A).
func classifyCode(e *pgconn.PgError, err error) error {
	switch e.Code {
	case "23505": // unique_violation
		return &ConflictError{Field: pgConflict(e)}
	case "23503": // foreign_key_violation
		return fmt.Errorf("%w: %w", errReference, err)
	case "40001", "40P01": // serialization_failure, deadlock_detected
		return fmt.Errorf("%w: %w", errAgain, err)
	case "53100": // disk_full
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case "55P03": // lock_not_available
		return unavailable(fmt.Errorf("%w: %w", errLocked, err))
	case "25006": // read_only_sql_transaction
		return unavailable(fmt.Errorf("%w: %w", errStandby, err))
	case "57014", "25P03": // query_canceled, idle_in_transaction_session_timeout
		return unavailable(err)
	}
	switch e.Code[:min(2, len(e.Code))] {
	case "08", "53", "57", "58": // connection, insufficient resources (also a full disk), operator intervention, system error
		return unavailable(err)
	}
	return fmt.Errorf("store: %w", err)
}

// pgConflict reads the field from the constraint's name: users_email_unique, users_pkey.
func pgConflict(e *pgconn.PgError) string {
	field, ok := strings.CutSuffix(strings.TrimPrefix(e.ConstraintName, e.TableName+"_"), "_unique")
	if !ok {
		return "id"
	}
	return field
}
