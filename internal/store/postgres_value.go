package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// pgRows is the answer to one query. results is nil if it is one of a batch.
type pgRows struct {
	t       *pgTx
	ctx     context.Context
	rows    pgx.Rows
	results pgx.BatchResults
	closing error
}

func (r *pgRows) next() bool { return r.rows.Next() }

func (r *pgRows) err() error {
	if err := r.rows.Err(); err != nil {
		return r.t.classify(r.ctx, err)
	}
	return r.t.classify(r.ctx, r.closing)
}

func (r *pgRows) close() {
	r.rows.Close()
	if r.results != nil {
		r.closing = r.results.Close()
		r.results = nil
	}
}

func (r *pgRows) scan(dest []any) error {
	fields, raw := r.rows.FieldDescriptions(), r.rows.RawValues()
	if len(dest) != len(raw) {
		return fmt.Errorf("store: the row has %d columns, Scan got %d pointers", len(raw), len(dest))
	}
	for i, d := range dest {
		v, err := r.value(fields[i].DataTypeOID, fields[i].Format, raw[i])
		if err != nil {
			return fmt.Errorf("store: column %s: %w", fields[i].Name, err)
		}
		if err := assign(d, v); err != nil {
			return fmt.Errorf("%w (column %s)", err, fields[i].Name)
		}
	}
	return nil
}

// pgEpoch is where PostgreSQL begins to count microseconds.
var pgEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// value reads a column in the binary form of the types that our tables have. pgx would do it into pointers of known
// types only, and not turn NULL into zero values. In text form, which poolers may need, pgx does.
func (r *pgRows) value(oid uint32, format int16, raw []byte) (any, error) {
	if raw == nil {
		return nil, nil
	}
	switch oid {
	case pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID, pgtype.NameOID, pgtype.UnknownOID, pgtype.JSONOID:
		return string(raw), nil
	case pgtype.JSONBOID:
		if format == pgx.BinaryFormatCode && len(raw) > 0 {
			raw = raw[1:] // the version of the form
		}
		return string(raw), nil
	}
	if format != pgx.BinaryFormatCode {
		return r.textValue(oid, raw)
	}
	switch {
	case oid == pgtype.ByteaOID:
		return bytes.Clone(raw), nil
	case oid == pgtype.BoolOID && len(raw) == 1:
		return raw[0] != 0, nil
	case oid == pgtype.Int8OID && len(raw) == 8:
		return int64(binary.BigEndian.Uint64(raw)), nil
	case oid == pgtype.Int4OID && len(raw) == 4:
		return int64(int32(binary.BigEndian.Uint32(raw))), nil
	case oid == pgtype.Int2OID && len(raw) == 2:
		return int64(int16(binary.BigEndian.Uint16(raw))), nil
	case oid == pgtype.Float8OID && len(raw) == 8:
		return math.Float64frombits(binary.BigEndian.Uint64(raw)), nil
	case oid == pgtype.TimestamptzOID && len(raw) == 8:
		return time.UnixMicro(int64(binary.BigEndian.Uint64(raw)) + pgEpoch).UTC(), nil
	case oid == pgtype.UUIDOID && len(raw) == 16:
		return uuid.UUID(raw), nil
	case oid == pgtype.NumericOID: // what sum() makes of bigint
		return r.scanInt(oid, format, raw)
	}
	return nil, fmt.Errorf("type %d with %d octets is not one of ours", oid, len(raw))
}

func (r *pgRows) textValue(oid uint32, raw []byte) (any, error) {
	types := r.t.conn.TypeMap()
	switch oid {
	case pgtype.ByteaOID:
		var v []byte
		err := types.Scan(oid, pgx.TextFormatCode, raw, &v)
		return v, err
	case pgtype.BoolOID:
		var v bool
		err := types.Scan(oid, pgx.TextFormatCode, raw, &v)
		return v, err
	case pgtype.Float8OID:
		var v float64
		err := types.Scan(oid, pgx.TextFormatCode, raw, &v)
		return v, err
	case pgtype.TimestamptzOID:
		var v time.Time
		err := types.Scan(oid, pgx.TextFormatCode, raw, &v)
		return v, err
	case pgtype.UUIDOID:
		v, err := uuid.ParseBytes(raw)
		return v, err
	}
	return r.scanInt(oid, pgx.TextFormatCode, raw)
}

func (r *pgRows) scanInt(oid uint32, format int16, raw []byte) (any, error) {
	var v int64
	err := r.t.conn.TypeMap().Scan(oid, format, raw, &v)
	return v, err
}

// pgArgs writes UUIDs in a form that pgx knows.
func pgArgs(args []any) ([]any, error) {
	out := make([]any, len(args))
	for i, arg := range args {
		v, err := argument(arg)
		if err != nil {
			return nil, err
		}
		if id, ok := v.(uuid.UUID); ok {
			v = pgtype.UUID{Bytes: id, Valid: true}
		}
		out[i] = v
	}
	return out, nil
}
