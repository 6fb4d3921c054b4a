package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// fileOf makes a SQLite database with one tenant of many users, closes it, and returns its path and tenant.
func fileOf(t *testing.T) (string, store.Tenant) {
	t.Helper()
	file := storetest.File(t)
	s := must[*store.Store](t)(store.Open(t.Context(), store.Config{Path: file}))
	tenant, _ := newTenant(t, s, "acme")
	for i := range 200 {
		newUser(t, tenant, fmt.Sprintf("somebody%03d@example.com", i), auth.RoleUser)
	}
	if err := s.Close(); err != nil { // brings everything from the log into the file
		t.Fatal(err)
	}
	return file, tenant
}

// walk reads every user, so that a page that cannot be read is met.
func walk(ctx context.Context, s *store.Store, tenant store.Tenant) error {
	page := store.Page{Limit: 100}
	for {
		_, next, err := s.Tenant(tenant.ID()).Users(ctx, page)
		if err != nil || next == "" {
			return err
		}
		page.After = next
	}
}

// Damage that a call meets is told by Ping from then on, whatever else can still be read.
func TestDamageIsNotReady(t *testing.T) {
	file, tenant := fileOf(t)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	for at := page; at < len(b); at += page { // pages of users; the schema in the first page stays whole
		if bytes.Contains(b[at:at+page], []byte("somebody")) {
			copy(b[at:at+page], bytes.Repeat([]byte{0xa5}, page))
		}
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s := must[*store.Store](t)(store.Open(t.Context(), store.Config{Path: file}))
	defer s.Close()
	if err := walk(t.Context(), s, tenant); !errors.Is(err, store.ErrDamaged) {
		t.Fatalf("reading damaged pages: %v", err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("Ping afterwards: %v", err)
	}
}

// SQLite goes on with a file that was removed; what it writes is lost. So Ping looks.
func TestFileTakenAway(t *testing.T) {
	for name, take := range map[string]func(file string) error{
		"removed": os.Remove,
		"replaced": func(file string) error {
			return errors.Join(os.WriteFile(file+".new", nil, 0o600), os.Rename(file+".new", file))
		},
	} {
		t.Run(name, func(t *testing.T) {
			file, _ := fileOf(t)
			s := must[*store.Store](t)(store.Open(t.Context(), store.Config{Path: file}))
			defer s.Close()
			if err := s.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := take(file); err != nil {
				t.Fatal(err)
			}
			if err := s.Ping(t.Context()); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("Ping: %v", err)
			}
		})
	}
}
