package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Columns of the part.
const (
	withPolicies  = "with, µs"
	noPolicies    = "without, µs"
	policyTimes   = "times"
	samePolicies  = "policies off, tenant told, µs"
	samePoliciesX = "times that"
)

// policyStored is how many messages the reads are made among; a hundred times fewer with -quick.
const policyStored = 100_000

// read is a query as the service asks it; $1 is the tenant, $2 a message or the place in a list.
type read struct{ name, query string }

const readColumns = `select m.id, m.user_id, m.relay_id, m.class, m.state, m.mail_from, m.header_from, m.subject, m.header_id, m.size, m.attempts, m.created_at,
	m.finished_at, s.due from messages m left join spool s on s.tenant_id = m.tenant_id and s.message_id = m.id `

func policyReads() []read {
	return []read{
		{"one message", readColumns + "where m.tenant_id = $1 and m.id = $2"},
		{"its recipients", "select n, address, field, state, code, text, updated_at from recipients where tenant_id = $1 and message_id = $2 order by n"},
		{"list of a recipient", readColumns + `where m.tenant_id = $1 and m.id <= $2
			and m.id in (select message_id from recipients where tenant_id = $1 and address_key = 'zoe@example.net' and message_id <= $2) order by m.id desc limit 50`},
		{"list of 50", readColumns + "where m.tenant_id = $1 and m.id <= $2 order by m.id desc limit 50"},
	}
}

// tellTenant is what comes before the first query of a transaction for a tenant.
const tellTenant = `select set_config('app.tenant_id', $1, true), set_config('app.tenant_name', '', true), set_config('app.operator', '', true),
	set_config('lock_timeout', '10s', true), set_config('idle_in_transaction_session_timeout', '60s', true)`

// policies measures what row-level security adds to a read.
func policies(ctx context.Context, b *bencher) error {
	return b.with(ctx, postgresql, func(l *lab) (err error) {
		relay, err := l.relay(ctx, l.caller, "/v1/relays", "sink")
		if err != nil {
			return err
		}
		id, err := l.postOne(ctx, relay, "first")
		if err != nil {
			return err
		}
		if err := l.ended(ctx, id); err != nil {
			return err
		}
		if err := l.halt(); err != nil {
			return err
		}
		if err := l.seed(ctx, min(policyStored, b.s.reads*50)); err != nil {
			return err
		}
		held, err := pgx.Connect(ctx, l.url)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, held.Close(ctx)) }()
		if _, err := held.Exec(ctx, "set role postrider_api"); err != nil {
			return err
		}
		free, err := pgx.Connect(ctx, l.url)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, free.Close(ctx)) }()
		if err := plans(ctx, b, held, free, l.tenant.TenantID, id); err != nil {
			return err
		}
		for round := range b.s.rounds {
			b.round = round
			b.say("round %d", round+1)
			for _, r := range policyReads() {
				if err := b.pairs(ctx, r, held, free, l.tenant.TenantID, id); err != nil {
					return fmt.Errorf("%s: %w", r.name, err)
				}
			}
		}
		return nil
	})
}

// pairs reads with and without in turn, so that both meet the same machine, and compares the medians.
func (b *bencher) pairs(ctx context.Context, r read, held, free *pgx.Conn, tenant, message string) error {
	kinds := []struct {
		column string
		conn   *pgx.Conn
		tell   bool
		waits  []time.Duration
	}{{withPolicies, held, true, nil}, {noPolicies, free, false, nil}, {samePolicies, free, true, nil}}
	for i := range b.s.reads + 20 {
		for j := range kinds {
			k := &kinds[(i+j)%len(kinds)]
			begun := time.Now()
			n, err := readOnce(ctx, k.conn, r, k.tell, tenant, message)
			took := time.Since(begun)
			if err != nil {
				return err
			}
			if n == 0 {
				return errors.New("nothing was found")
			}
			if i >= 20 { // statements are prepared, pages are in memory
				k.waits = append(k.waits, took)
			}
		}
	}
	for _, k := range kinds {
		b.add(postgresql, r.name, k.column, percentile(k.waits, 50)*1000)
	}
	with := percentile(kinds[0].waits, 50)
	b.add(postgresql, r.name, policyTimes, with/percentile(kinds[1].waits, 50))
	b.add(postgresql, r.name, samePoliciesX, with/percentile(kinds[2].waits, 50))
	return nil
}

// readOnce asks once and gives the number of rows.
func readOnce(ctx context.Context, c *pgx.Conn, r read, tell bool, tenant, message string) (int, error) {
	batch := &pgx.Batch{}
	if tell {
		batch.Queue(tellTenant, tenant)
	}
	batch.Queue(r.query, tenant, message)
	res := c.SendBatch(ctx, batch)
	if tell {
		if _, err := res.Exec(); err != nil {
			return 0, errors.Join(err, res.Close())
		}
	}
	rows, err := res.Query()
	if err != nil {
		return 0, errors.Join(err, res.Close())
	}
	n := 0
	for rows.Next() {
		n++
		if _, err := rows.Values(); err != nil {
			rows.Close()
			return 0, errors.Join(err, res.Close())
		}
	}
	return n, errors.Join(rows.Err(), res.Close())
}

// plans records what the database itself says that it takes to plan and to execute each read, and that both do the
// same: the index that is used.
func plans(ctx context.Context, b *bencher, held, free *pgx.Conn, tenant, message string) error {
	for _, r := range policyReads() {
		var index [2]string
		for i, c := range []*pgx.Conn{held, free} {
			query := strings.NewReplacer("$1", "'"+tenant+"'", "$2", "'"+message+"'").Replace(r.query)
			tx, err := c.Begin(ctx)
			if err != nil {
				return err
			}
			_, err = tx.Exec(ctx, tellTenant, tenant)
			if err == nil {
				var rows pgx.Rows
				if rows, err = tx.Query(ctx, "explain "+query); err == nil {
					var lines []string
					lines, err = pgx.CollectRows(rows, pgx.RowTo[string])
					for _, line := range lines {
						if _, name, ok := strings.Cut(line, "using "); ok && index[i] == "" {
							index[i], _, _ = strings.Cut(name, " ")
						}
					}
				}
			}
			if err := errors.Join(err, tx.Rollback(ctx)); err != nil {
				return err
			}
		}
		b.note(postgresql, "%s: by %s with policies, by %s without.", r.name, index[0], index[1])
	}
	return nil
}
