package store

import (
	"context"
	"errors"
)

func openPostgres(context.Context, Config) (database, error) { return nil, errors.New("x") }
func migratePostgres(context.Context, MigrateConfig) (MigrateReport, error) {
	return MigrateReport{}, errors.New("x")
}
