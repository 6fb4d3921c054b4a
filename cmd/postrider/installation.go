package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/store"
)

// installation is a service's database and keys, as a command of an administrator uses them, beside a running service.
type installation struct {
	settings *config.Settings
	logger   *slog.Logger
	keys     *keyring
	store    *store.Store

	keyFaults config.Faults
}

// need reports what is wrong with the keys that are set by these settings. Commands that need none do without any.
func (i *installation) need(settings ...string) error {
	var faults config.Faults
	for _, f := range i.keyFaults {
		if slices.Contains(settings, f.Setting) {
			faults = append(faults, f)
		}
	}
	return faults.Err()
}

// open reads the settings and opens the database. The caller closes it.
func (f *settingsFlags) open(p *program) (*installation, error) {
	s, faults := f.load()
	if err := faults.Err(); err != nil {
		return nil, err
	}
	keys, faults := readKeys(s, false)
	i := &installation{settings: s, logger: newLogger(p.stderr, s), keys: keys, keyFaults: faults}
	if s.Embedded() {
		// SQLite would make a missing file.
		if _, err := os.Stat(filepath.Join(s.Data, databaseFile)); errors.Is(err, fs.ErrNotExist) {
			return nil, &exitError{exitConfig, fmt.Errorf("there is no service in %s yet: postrider setup --data %s makes one", s.Data, s.Data)}
		}
	}
	var err error
	i.store, err = store.Open(p.ctx, storeConfig(s, keys, i.logger))
	return i, err
}

func (i *installation) close() error { return i.store.Close() }

// storeConfig says where the database is.
func storeConfig(s *config.Settings, k *keyring, logger *slog.Logger) store.Config {
	cfg := store.Config{URL: s.DatabaseURL.Reveal(), DeliveryURL: s.DeliveryDatabaseURL.Reveal(), Logger: logger}
	cfg.RetainContent, cfg.RetainMessages, cfg.RetainEvents = s.RetainContent, s.RetainMessages, s.RetainEvents
	if cfg.MinFreeBytes = s.MinFreeSpace; cfg.MinFreeBytes == 0 {
		cfg.MinFreeBytes = -1
	}
	if s.Embedded() {
		cfg.Path = filepath.Join(s.Data, databaseFile)
	}
	if k.auditor != nil {
		cfg.Checkpoint = k.auditor
	}
	return cfg
}

// migrateConfig says where the database is, for who changes its tables.
func migrateConfig(s *config.Settings, logger *slog.Logger) store.MigrateConfig {
	if s.Embedded() {
		return store.MigrateConfig{Path: filepath.Join(s.Data, databaseFile), Program: versionText(), Logger: logger}
	}
	cfg := store.MigrateConfig{URL: s.MigrationDatabaseURL.Reveal(), APIURL: s.DatabaseURL.Reveal(), DeliveryURL: s.DeliveryDatabaseURL.Reveal(), Program: versionText(), Logger: logger}
	if cfg.URL == "" {
		cfg.URL = cfg.APIURL
	}
	return cfg
}

// tenant finds a tenant by name or id.
func (i *installation) tenant(ctx context.Context, nameOrID string) (store.TenantRecord, error) {
	id, err := auth.ParseID(nameOrID)
	if err != nil {
		id, err = i.store.TenantByName(ctx, nameOrID)
	}
	var r store.TenantRecord
	if err == nil {
		r, err = i.store.Operator().TenantRecord(ctx, id)
	}
	if errors.Is(err, store.ErrNotFound) {
		err = &exitError{exitUnavailable, fmt.Errorf("there is no tenant %s; postrider tenant list shows them", nameOrID)}
	}
	return r, err
}

// user finds a user of a tenant by address or id.
func (i *installation) user(ctx context.Context, tenant store.TenantRecord, emailOrID string) (store.User, error) {
	var u store.User
	id, err := auth.ParseID(emailOrID)
	if err == nil {
		u, err = i.store.Tenant(tenant.ID).User(ctx, id)
	} else {
		u, err = i.store.Tenant(tenant.ID).UserByEmail(ctx, emailOrID)
	}
	if errors.Is(err, store.ErrNotFound) {
		err = &exitError{exitUnavailable, fmt.Errorf("there is no user %s in tenant %s; postrider user list --tenant %s shows them", emailOrID, tenant.Name, tenant.Name)}
	}
	return u, err
}

// withTenant opens the installation, finds a tenant in it, and closes it after fn.
func (f *settingsFlags) withTenant(p *program, nameOrID string, fn func(*installation, store.TenantRecord) error) error {
	return f.with(p, func(i *installation) error {
		t, err := i.tenant(p.ctx, nameOrID)
		if err != nil {
			return err
		}
		return fn(i, t)
	})
}

// with opens the installation and closes it after fn.
func (f *settingsFlags) with(p *program, fn func(*installation) error) (err error) {
	i, err := f.open(p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.close()) }()
	return fn(i)
}
