package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// CheckpointVerifier tells whether a signature was made by a key of ours.
type CheckpointVerifier interface {
	Verify(signature, data []byte) error // nil: it was
}

// CheckpointSigner signs the checkpoints of the audit chain with a key that is kept outside of the
// database, and knows its own signatures again, those of older keys included.
type CheckpointSigner interface {
	CheckpointVerifier
	Sign(data []byte) ([]byte, error)
}

const (
	// chainBatch is how many entries one transaction links. On SQLite it holds up every other writer.
	chainBatch = 1000
	// A checkpoint is signed after so many links, or with the first link after so much time: what somebody
	// who can write to the database can rewrite unseen is what came after the last one.
	checkpointEvery = 1000
	checkpointAfter = 5 * time.Minute
	// chainLock is the name of the advisory lock on PostgreSQL that makes one chainer of many nodes.
	chainLock = 0x706f73_74617564 // "postaud"
)

// link is a row of the chain.
type link struct {
	seq       int64
	tenant    uuid.UUID
	entry     uuid.UUID
	entryHash []byte
	prev      []byte
	hash      []byte
}

// ChainAudit links up to 1000 entries that are not in the chain yet and returns their number, and signs
// a checkpoint if one is due. Any node may call it at any time: while one works, for the others there is nothing
// to do. Errors: ErrUnavailable and the signer's.
func (s *Store) ChainAudit(ctx context.Context) (int, error) {
	n, _, err := s.chain(ctx, false, func(tail link, last AuditCheckpoint, now time.Time) bool {
		return tail.seq >= last.Seq+checkpointEvery || !now.Before(last.At.Add(checkpointAfter))
	})
	return n, err
}

// CheckpointAudit links up to 1000 entries and signs a checkpoint at once, unless the newest one covers
// all. It returns the newest one: zero if there are no entries, and no signer was given. If another node is at it,
// it waits its turn: a transaction that was just cut off may still hold the lock.
func (s *Store) CheckpointAudit(ctx context.Context) (AuditCheckpoint, error) {
	_, p, err := s.chain(ctx, true, func(link, AuditCheckpoint, time.Time) bool { return true })
	return p, err
}

// chain does one batch; wait says what it does while another node is at it: nothing, or wait. due says whether the chain that ends in tail needs a checkpoint after the last one.
func (s *Store) chain(ctx context.Context, wait bool, due func(tail link, last AuditCheckpoint, now time.Time) bool) (n int, last AuditCheckpoint, err error) {
	var made bool
	err = s.asDelivery(ctx, readWrite, func(t tx) error {
		n, last, made = 0, AuditCheckpoint{}, false
		if mine, err := takeChain(ctx, t, wait); err != nil || !mine {
			return err
		}
		if err := byIndex(ctx, t); err != nil {
			return err
		}
		var err error
		if last, err = lastCheckpoint(ctx, t); err != nil {
			return err
		}
		tail, err := lastLink(ctx, t)
		if err != nil {
			return err
		}
		// Should the end have been cut off the chain, its numbers are not given again: the gap stays for
		// everybody to see.
		tail.seq = max(tail.seq, last.Seq)
		if n, tail, err = appendLinks(ctx, t, tail, s.now()); err != nil {
			return err
		}
		if s.cfg.Checkpoint == nil || tail.hash == nil || tail.seq <= last.Seq || !due(tail, last, s.now()) {
			return nil
		}
		if last, err = s.signCheckpoint(ctx, t, tail); err != nil {
			return err
		}
		made = true
		return nil
	})
	if err != nil {
		return 0, AuditCheckpoint{}, err
	}
	if made {
		// The log is the copy that who can write to the database cannot reach.
		s.cfg.Logger.InfoContext(ctx, checkpointMessage, last.attrs()...)
	}
	return n, last, nil
}

// takeChain takes the chain's lock until the end of the transaction.
func takeChain(ctx context.Context, t tx, wait bool) (mine bool, err error) {
	switch {
	case !t.postgres(): // one transaction writes at a time
		return true, nil
	case wait:
		_, err := t.exec(ctx, "select pg_advisory_xact_lock($1)", int64(chainLock))
		return err == nil, err
	}
	err = t.row(ctx, "select pg_try_advisory_xact_lock($1)", int64(chainLock)).Scan(&mine)
	return mine, err
}

// goByIndex is what byIndex says. A plan that cannot do without what is off looks so dear that it would be compiled, for half a second.
const goByIndex = `select set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true),
	set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true), set_config('enable_material', 'off', true), set_config('jit', 'off', true)`

// byIndex makes PostgreSQL go by indexes for the rest of the transaction, row by row. Left alone it believes that
// delivery's policies let through one row of a hundred, as it cannot know that no tenant is set, and joins a page of links
// with a scan of all entries.
func byIndex(ctx context.Context, t tx) error {
	if !t.postgres() {
		return nil
	}
	_, err := t.exec(ctx, goByIndex)
	return err
}

// lastLink returns the end of the chain; one with seq 0 and without hash if there is none.
func lastLink(ctx context.Context, t tx) (link, error) {
	var l link
	err := t.row(ctx, "select seq, hash from audit_chain order by seq desc limit 1").Scan(&l.seq, &l.hash)
	if errors.Is(err, ErrNotFound) {
		return link{}, nil
	}
	return l, err
}

func lastCheckpoint(ctx context.Context, t tx) (AuditCheckpoint, error) {
	var p AuditCheckpoint
	err := t.row(ctx, "select seq, hash, at, signature from audit_checkpoints order by seq desc limit 1").
		Scan(&p.Seq, &p.Hash, &p.At, &p.Signature)
	if errors.Is(err, ErrNotFound) {
		return AuditCheckpoint{}, nil
	}
	return p, err
}

// appendLinks links a batch of the entries that wait, the oldest first, and returns the new end.
func appendLinks(ctx context.Context, t tx, tail link, now time.Time) (int, link, error) {
	r, err := t.query(ctx, "select "+auditColumns+` from audit_pending p
		join audit_entries e on e.id = p.entry_id and e.tenant_id is not distinct from p.tenant_id`+auditPeople+`
		order by p.entry_id limit $1`, chainBatch)
	waiting, err := collect(r, err, func(r *rows) (kept, error) { return scanAudit(r.Scan) })
	if err != nil || len(waiting) == 0 {
		return 0, tail, err
	}
	var b batch
	if tail.hash == nil {
		tail.hash = chainStart()
	}
	for _, k := range waiting {
		next := link{seq: tail.seq + 1, tenant: k.TenantID, entry: k.ID, prev: tail.hash}
		next.entryHash = entryHash(k.AuditEntry, k.committed(partActor), k.committed(partSubject))
		next.hash = linkHash(next.prev, next.entryHash)
		b.exec(nil, `insert into audit_chain (seq, tenant_id, entry_id, entry_hash, prev, hash, chained_at)
			values ($1, $2, $3, $4, $5, $6, $7)`, next.seq, next.tenant, next.entry, next.entryHash, next.prev, next.hash, now)
		tail = next
	}
	// By what is in the chain now and not by a range: entries with ids in between may have been committed
	// since they were read.
	b.exec(nil, `delete from audit_pending where entry_id >= $1 and entry_id <= $2 and exists (select 1 from audit_chain c
		where c.entry_id = audit_pending.entry_id and c.tenant_id is not distinct from audit_pending.tenant_id)`,
		waiting[0].ID, waiting[len(waiting)-1].ID)
	if err := t.batch(ctx, &b); err != nil {
		return 0, tail, err
	}
	return len(waiting), tail, nil
}

func (s *Store) signCheckpoint(ctx context.Context, t tx, tail link) (AuditCheckpoint, error) {
	p := AuditCheckpoint{Seq: tail.seq, Hash: bytes.Clone(tail.hash), At: s.now()}
	var err error
	if p.Signature, err = s.cfg.Checkpoint.Sign(p.signed()); err != nil {
		return p, fmt.Errorf("store: a checkpoint of the audit log: %w", err)
	}
	_, err = t.exec(ctx, "insert into audit_checkpoints (seq, hash, at, signature) values ($1, $2, $3, $4)", p.Seq, p.Hash, p.At, p.Signature)
	return p, err
}
