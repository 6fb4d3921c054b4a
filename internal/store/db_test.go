package store_test

import (
	"context"
	"database/sql"
	stdjson "encoding/json" // json is a helper of these tests
	"errors"
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// Every kind of value comes back as it went, and the zero values of those that can be NULL come back from NULL.
func TestValues(t *testing.T) {
	id := store.NewID()
	moment := time.Date(2026, 5, 1, 12, 0, 0, 123456789, time.FixedZone("", 3600))
	word := "word"
	values := []struct {
		pg        string
		in        any
		out, want any
		null      bool
	}{
		{"text", "ä ' \" \\ 𝄞", new(string), "ä ' \" \\ 𝄞", false},
		{"text", "", new(string), "", false},
		{"text", auth.RoleAdmin, new(auth.Role), auth.RoleAdmin, false},
		{"text", &word, new(string), word, false},
		{"text", (*string)(nil), new(string), "", true},
		{"bytea", []byte{0, 1, 255}, new([]byte), []byte{0, 1, 255}, false},
		{"bytea", []byte(nil), new([]byte), []byte(nil), true},
		{"bigint", int64(math.MinInt64), new(int64), int64(math.MinInt64), false},
		{"bigint", 42, new(int), 42, false},
		{"integer", -7, new(int), -7, false},
		{"smallint", -8, new(int64), int64(-8), false},
		{"bigint", 3 * time.Second, new(time.Duration), 3 * time.Second, false},
		{"boolean", true, new(bool), true, false},
		{"boolean", false, new(bool), false, false},
		{"double precision", 1.5, new(float64), 1.5, false},
		{"timestamptz", moment, new(time.Time), moment.UTC().Truncate(time.Microsecond), false},
		{"timestamptz", time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC), new(time.Time), time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC), false},
		{"timestamptz", time.Time{}, new(time.Time), time.Time{}, true},
		{"uuid", id, new(uuid.UUID), id, false},
		{"uuid", uuid.Nil, new(uuid.UUID), uuid.Nil, true},
		{"text", netip.MustParseAddr("2001:db8::1"), new(netip.Addr), netip.MustParseAddr("2001:db8::1"), false},
		{"text", netip.Addr{}, new(netip.Addr), netip.Addr{}, true},
		{"jsonb", stdjson.RawMessage(`{"a": 1}`), new(stdjson.RawMessage), stdjson.RawMessage(`{"a": 1}`), false},
		{"jsonb", stdjson.RawMessage(nil), new(stdjson.RawMessage), stdjson.RawMessage(nil), true},
		{"jsonb", []string{"a", "b,\""}, new([]string), []string{"a", "b,\""}, false},
		{"jsonb", []string(nil), new([]string), []string{}, false},
	}
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		s := open()
		for i, v := range values {
			err := s.Run(t.Context(), uuid.Nil, store.ReadOnly, func(q store.TestTx) error {
				text := "select $1, $1 is null"
				if q.Postgres() {
					text = fmt.Sprintf("select $1::%s, $1::%s is null", v.pg, v.pg)
				}
				out := reflect.New(reflect.TypeOf(v.out).Elem())
				var null bool
				if err := q.Row(t.Context(), text, []any{v.in}, out.Interface(), &null); err != nil {
					return err
				}
				if got := out.Elem().Interface(); !reflect.DeepEqual(got, v.want) || null != v.null {
					t.Errorf("%d: %v of %T came back as %v (NULL: %v), want %v", i, v.in, v.in, got, null, v.want)
				}
				return nil
			})
			if err != nil {
				t.Errorf("%d: %v of %T: %v", i, v.in, v.in, err)
			}
		}
		for _, bad := range []any{"a\x00b", "\xff", struct{}{}, uint(1)} {
			err := s.Run(t.Context(), uuid.Nil, store.ReadOnly, func(q store.TestTx) error {
				return q.Row(t.Context(), "select $1", []any{bad}, new(string))
			})
			if err == nil {
				t.Errorf("%#v was taken", bad)
			}
		}
	})
}

func TestTransactions(t *testing.T) {
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		s := open()
		tenant, admin := newTenant(t, s, "acme")
		rename := func(q store.TestTx, name string) error {
			n, err := q.Exec(t.Context(), "update users set name = $2 where tenant_id = $1", tenant.ID(), name)
			if err == nil && n != 1 {
				err = fmt.Errorf("%d rows", n)
			}
			return err
		}
		name := func() string { return must[store.User](t)(tenant.User(t.Context(), admin.ID)).Name }

		oops := errors.New("oops")
		if err := s.Run(t.Context(), tenant.ID(), store.ReadWrite, func(q store.TestTx) error { return errors.Join(rename(q, "x"), oops) }); !errors.Is(err, oops) || name() != "Ann" {
			t.Errorf("after an error: %v, name %q", err, name())
		}
		func() {
			defer func() { _ = recover() }()
			_ = s.Run(t.Context(), tenant.ID(), store.ReadWrite, func(q store.TestTx) error { _ = rename(q, "x"); panic("oops") })
		}()
		if name() != "Ann" {
			t.Errorf("after a panic: %q", name())
		}
		ctx, cancel := context.WithCancel(t.Context())
		err := s.Run(ctx, tenant.ID(), store.ReadWrite, func(q store.TestTx) error { defer cancel(); return rename(q, "x") })
		if !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnavailable) || name() != "Ann" {
			t.Errorf("after the end of the context: %v, name %q", err, name())
		}
		if err := s.Run(ctx, tenant.ID(), store.ReadOnly, func(store.TestTx) error { t.Error("ran"); return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("with an ended context: %v", err)
		}
		if err := s.Run(t.Context(), tenant.ID(), store.ReadWrite, func(q store.TestTx) error { return rename(q, "Bea") }); err != nil || name() != "Bea" {
			t.Errorf("a good one: %v, name %q", err, name())
		}
		// One state of the database throughout, while others write.
		err = s.Run(t.Context(), tenant.ID(), store.ReadOnly, func(q store.TestTx) error {
			for range 2 {
				var got string
				if err := q.Row(t.Context(), "select name from users where tenant_id = $1", []any{tenant.ID()}, &got); err != nil || got != "Bea" {
					return fmt.Errorf("read %q, %w", got, err)
				}
				if _, err := tenant.UpdateUser(t.Context(), admin.ID, store.UserPatch{Name: ptr("Cleo")}, by()); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || name() != "Cleo" {
			t.Errorf("reading: %v, name %q", err, name())
		}
		var n int
		if err := s.Run(t.Context(), tenant.ID(), store.ReadOne, func(q store.TestTx) error {
			return q.Row(t.Context(), "select count(*) from users where tenant_id = $1", []any{tenant.ID()}, &n)
		}); err != nil || n != 1 {
			t.Errorf("one statement: %d, %v", n, err)
		}
	})
}

func TestStatements(t *testing.T) {
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		s := open()
		tenant, _ := newTenant(t, s, "acme")
		other, _ := newTenant(t, s, "beta")
		for i := range 3 {
			newUser(t, tenant, fmt.Sprintf("u%d@example.com", i), auth.RoleUser)
		}
		err := s.Run(t.Context(), tenant.ID(), store.ReadWrite, func(q store.TestTx) error {
			affected := make([]int64, 3)
			failed, err := q.Batch(t.Context(), affected, "update users set name = 'a' where role = 'user'", "update users set name = 'b' where name = 'a'", "update users set name = 'c' where 1 = 2")
			if failed != -1 || err != nil || affected[0] != 3 || affected[1] != 3 || affected[2] != 0 {
				t.Errorf("batch: %d, %v, %v", failed, err, affected)
			}
			var names []string
			if err := q.Each(t.Context(), func(scan func(...any) error) error {
				var name string
				err := scan(&name)
				names = append(names, name)
				return err
			}, "select name from users where tenant_id = $1 order by name", tenant.ID()); err != nil || len(names) != 4 {
				t.Errorf("query: %v, %v", names, err)
			}
			failed, err = q.Batch(t.Context(), affected[:2], "update users set name = 'd'", "update users set role = 'e'")
			if failed != 1 || err == nil {
				t.Errorf("a batch with a bad statement: %d, %v", failed, err)
			}
			return err
		})
		if err == nil {
			t.Error("the transaction went on")
		}
		// The same statement inside itself.
		err = s.Run(t.Context(), tenant.ID(), store.ReadOnly, func(q store.TestTx) error {
			if q.Postgres() {
				return nil // answers must be read before the next statement
			}
			count := 0
			const list = "select id from users"
			err := q.Each(t.Context(), func(func(...any) error) error {
				return q.Each(t.Context(), func(func(...any) error) error { count++; return nil }, list)
			}, list)
			if count != 25 {
				t.Errorf("%d rows, want 25", count)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		// Delivery narrows its scope as it goes. SQLite has nothing to narrow.
		err = s.Run(t.Context(), uuid.Nil, store.ReadOnly, func(q store.TestTx) error {
			if !q.Postgres() {
				return nil
			}
			for _, step := range []struct {
				tenant uuid.UUID
				want   int
			}{{uuid.Nil, 2}, {tenant.ID(), 1}, {other.ID(), 1}, {uuid.New(), 0}, {uuid.Nil, 2}} {
				q.SetTenant(step.tenant)
				var n int
				if err := q.Row(t.Context(), "select count(*) from tenants", nil, &n); err != nil || n != step.want {
					t.Errorf("as %v: %d tenants, %v, want %d", step.tenant, n, err, step.want)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// What PostgreSQL says becomes what callers can tell apart.
func TestPostgresCodes(t *testing.T) {
	s := storetest.Postgres(t)
	for code, want := range map[string]error{
		"53100": store.ErrUnavailable, "53300": store.ErrUnavailable, "57P01": store.ErrUnavailable, "08006": store.ErrUnavailable, "55P03": store.ErrUnavailable,
		"25006": store.ErrUnavailable, "58030": store.ErrUnavailable, "23503": store.ErrReference, "40001": store.ErrUnavailable, "40P01": store.ErrUnavailable,
	} {
		runs := 0
		err := s.Run(t.Context(), uuid.Nil, store.ReadWrite, func(q store.TestTx) error {
			runs++
			_, err := q.Exec(t.Context(), "do $$ begin raise exception 'x' using errcode = '"+code+"'; end $$")
			return err
		})
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", code, err)
		}
		// 25006: once more, on a connection that may lead to another server.
		if again := strings.HasPrefix(code, "40") || code == "25006"; again != (runs > 1) {
			t.Errorf("%s: run %d times", code, runs)
		}
	}
	err := s.Run(t.Context(), uuid.Nil, store.ReadWrite, func(q store.TestTx) error {
		_, err := q.Exec(t.Context(), "select 1/0")
		return err
	})
	if err == nil || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a fault of the program: %v", err)
	}
	// Lost once, won at the second time.
	runs := 0
	err = s.Run(t.Context(), uuid.Nil, store.ReadWrite, func(q store.TestTx) error {
		if runs++; runs > 1 {
			return nil
		}
		_, err := q.Exec(t.Context(), "do $$ begin raise exception 'x' using errcode = '40001'; end $$")
		return err
	})
	if err != nil || runs != 2 {
		t.Errorf("run %d times: %v", runs, err)
	}
	if err := s.Run(t.Context(), uuid.Nil, store.ReadOne, func(q store.TestTx) error {
		return errors.Join(q.Row(t.Context(), "select 1", nil, new(int)), q.Row(t.Context(), "select 1", nil, new(int)))
	}); err == nil {
		t.Error("two statements in a transaction for one")
	}
}

// A full disk and a busy database pass by.
func TestSQLiteCodes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.db")
	db, err := sql.Open("sqlite", file+"?_pragma=max_page_count(10)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("create table x (a integer primary key, b text not null unique) strict"); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = db.Exec("insert into x (b) values (hex(randomblob(2000)))")
	}
	if got := store.ClassifySQLite(err); !errors.Is(got, store.ErrUnavailable) {
		t.Errorf("full: %v", got)
	}
	if _, err := db.Exec("begin immediate"); err != nil {
		t.Fatal(err)
	}
	second, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	_, err = second.Exec("begin immediate")
	if got := store.ClassifySQLite(err); !errors.Is(got, store.ErrUnavailable) {
		t.Errorf("busy: %v", got)
	}
	if _, err := db.Exec("rollback"); err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec("insert into x select max(a) + 1, b from x")
	if c, ok := errors.AsType[*store.ConflictError](store.ClassifySQLite(err)); !ok || c.Field != "b" {
		t.Errorf("conflict: %v", err)
	}
	_, err = db.Exec("select nothing")
	if got := store.ClassifySQLite(err); got == nil || errors.Is(got, store.ErrUnavailable) {
		t.Errorf("a fault of the program: %v", got)
	}
}
