package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// VerifyConfig says what the audit log is verified against.
type VerifyConfig struct {
	// Verifier knows the signatures of the checkpoints. Nil: Config.Checkpoint of the Store; if that is nil too,
	// signatures are not looked at, and whoever can write to the database can have written the checkpoints.
	Verifier CheckpointVerifier
	// Log is a log of the service with lines "audit checkpoint", in JSON or as text, among any others. Only such a
	// copy shows a chain whose end was cut off together with the checkpoints in the database. Nil: none.
	Log io.Reader
	// Progress, if not nil, is called now and then with the number of links walked.
	Progress func(links int64)
}

// AuditReport is what VerifyAudit found.
type AuditReport struct {
	Entries int64 `json:"entries"` // links of the chain that were walked
	Erased  int64 `json:"erased"`  // pieces of personal data that were erased, which is no fault

	Checkpoints    int64           `json:"checkpoints"`              // checkpoints in the database that were compared
	LogCheckpoints int64           `json:"log_checkpoints"`          // checkpoints in VerifyConfig.Log that were compared
	LogUnverified  int64           `json:"log_unverified"`           // lines of VerifyConfig.Log that look like a checkpoint and are not signed by a known key: passed over
	Unsigned       bool            `json:"unsigned"`                 // signatures were not looked at
	Last           AuditCheckpoint `json:"last_checkpoint,omitzero"` // the newest checkpoint that agreed; zero if none. What is behind it can have been rewritten unseen

	Unchained int64     `json:"unchained"`                 // entries that wait to be chained: a change of theirs would not be seen
	Oldest    time.Time `json:"oldest_unchained,omitzero"` // when the oldest of them was written; zero if there is none

	// Faults are what was found in the order of the chain, the first of all first. There are at most 20;
	// FaultCount counts all. Behind the first fault more may be consequences of it.
	Faults     []AuditFault `json:"faults"`
	FaultCount int64        `json:"fault_count"`
}

// OK reports whether nothing is wrong.
func (r AuditReport) OK() bool { return r.FaultCount == 0 }

const (
	// verifyPage is how many links are held at a time: few, because an entry can have 70 KiB of details.
	verifyPage = 250
	maxFaults  = 20
)

// VerifyAudit walks the chain from its beginning and compares every link with its entry and with the
// checkpoints. It holds a few hundred links at a time however long the chain is, and may run
// while the service does. The error is about reading; what is wrong with the log stands in the report.
func (s *Store) VerifyAudit(ctx context.Context, cfg VerifyConfig) (AuditReport, error) {
	report := AuditReport{Faults: []AuditFault{}}
	if cfg.Verifier == nil && s.cfg.Checkpoint != nil {
		cfg.Verifier = s.cfg.Checkpoint
	}
	report.Unsigned = cfg.Verifier == nil
	w := newWalk(cfg.Verifier, s.findLink, func(f AuditFault) {
		report.FaultCount++
		if len(report.Faults) < maxFaults {
			report.Faults = append(report.Faults, f)
		}
	})
	if err := s.walkChain(ctx, w, cfg.Progress); err != nil {
		return report, fmt.Errorf("store: verifying the audit log: %w", err)
	}
	if err := s.behindChain(ctx, w); err != nil {
		return report, fmt.Errorf("store: verifying the audit log: %w", err)
	}
	if cfg.Log != nil {
		if err := s.compareLog(ctx, w, cfg.Log, &report); err != nil {
			return report, fmt.Errorf("store: verifying the audit log against the checkpoints of a log: %w", err)
		}
	}
	report.Entries, report.Erased, report.Checkpoints, report.Last = w.links, w.erased, w.checkpoints, w.good
	err := s.unchained(ctx, w, &report)
	if err != nil {
		return report, fmt.Errorf("store: verifying the audit log: %w", err)
	}
	return report, nil
}

// walkChain takes every step, with one in hand to look ahead to.
func (s *Store) walkChain(ctx context.Context, w *walk, progress func(int64)) error {
	var held *step
	var last int64
	for {
		page, err := s.chainPage(ctx, last)
		if err != nil {
			return err
		}
		for i := range page {
			if held != nil {
				if err := w.next(ctx, held, &page[i]); err != nil {
					return err
				}
			}
			held = &page[i]
		}
		if progress != nil {
			progress(w.links)
		}
		if len(page) < verifyPage {
			break
		}
		last = held.seq
	}
	if held == nil {
		return nil
	}
	if err := w.next(ctx, held, nil); err != nil {
		return err
	}
	w.settle()
	return nil
}

// chainPage reads the steps behind a number. Each page is a transaction of its own: links are never changed, so
// there is nothing to be consistent with, and a long one would keep the database from tidying up.
func (s *Store) chainPage(ctx context.Context, after int64) ([]step, error) {
	var page []step
	err := s.asDelivery(ctx, readOnly, func(t tx) error {
		if err := byIndex(ctx, t); err != nil {
			return err
		}
		r, err := t.query(ctx, "select c.seq, c.tenant_id, c.entry_id, c.entry_hash, c.prev, c.hash, k.hash, k.at, k.signature, "+auditColumns+`
			from audit_chain c
			left join audit_checkpoints k on k.seq = c.seq
			left join audit_entries e on e.id = c.entry_id and e.tenant_id is not distinct from c.tenant_id`+auditPeople+`
			where c.seq > $1 order by c.seq limit $2`, after, verifyPage)
		page, err = collect(r, err, func(r *rows) (step, error) {
			var st step
			var p AuditCheckpoint
			var err error
			st.found, err = scanAudit(r.Scan, &st.seq, &st.tenant, &st.entry, &st.entryHash, &st.prev, &st.hash, &p.Hash, &p.At, &p.Signature)
			if p.Hash != nil {
				p.Seq = st.seq
				st.checkpoint = &p
			}
			return st, err
		})
		return err
	})
	return page, err
}

// findLink looks for a link by its hash; 0: there is none. It reads the whole chain, so only faults ask.
func (s *Store) findLink(ctx context.Context, hash []byte) (seq int64, err error) {
	err = s.asDelivery(ctx, readOnly, func(t tx) error {
		return t.row(ctx, "select seq from audit_chain where hash = $1", hash).Scan(&seq)
	})
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	return seq, err
}

// behindChain looks for a checkpoint for what is no longer there.
func (s *Store) behindChain(ctx context.Context, w *walk) error {
	var p AuditCheckpoint
	err := s.asDelivery(ctx, readOnly, func(t tx) (err error) {
		p, err = lastCheckpoint(ctx, t)
		return err
	})
	if err != nil || p.Seq <= w.prev.seq {
		return err
	}
	// The service may have chained on since the walk.
	if _, err := s.hashAt(ctx, p.Seq); err == nil || !errors.Is(err, ErrNotFound) {
		return err
	}
	if w.signed(p) {
		w.fault(cutOff(w.prev.seq, p))
		w.prev.seq = p.Seq // told
	}
	return nil
}

func cutOff(tail int64, p AuditCheckpoint) AuditFault {
	return AuditFault{
		Kind: AuditCutOff, Seq: tail + 1, To: p.Seq,
		Text: fmt.Sprintf("the chain ended behind seq %d when the checkpoint of %s was signed", p.Seq-1, p.At.Format("2006-01-02 15:04:05Z")),
	}
}

// hashAt reads one link's hash. The error is ErrNotFound if there is none.
func (s *Store) hashAt(ctx context.Context, seq int64) (hash []byte, err error) {
	err = s.asDelivery(ctx, readOnly, func(t tx) error {
		return t.row(ctx, "select hash from audit_chain where seq = $1", seq).Scan(&hash)
	})
	return hash, err
}

// compareLog compares the chain, which is known to hold together as far as no fault was found, with the checkpoints of a log.
func (s *Store) compareLog(ctx context.Context, w *walk, log io.Reader, report *AuditReport) error {
	var good int64 // where the log and the chain agreed last
	return readCheckpoints(log, func(p AuditCheckpoint) error {
		if w.verifier != nil && w.verifier.Verify(p.Signature, p.signed()) != nil {
			// No fault: whoever sends a request can get such words into a log.
			report.LogUnverified++
			return nil
		}
		report.LogCheckpoints++
		hash, err := s.hashAt(ctx, p.Seq)
		switch {
		case errors.Is(err, ErrNotFound):
			if p.Seq > w.prev.seq {
				w.fault(cutOff(w.prev.seq, p))
				w.prev.seq = p.Seq // a later one of the log tells the rest, an earlier one nothing new
			}
		case err != nil:
			return err
		case !bytes.Equal(hash, p.Hash):
			w.fault(rewritten(good, p))
		default:
			good = p.Seq
			if p.Seq > w.good.Seq {
				w.good = p
			}
		}
		return nil
	})
}

// unchained counts what waits for the chain, and names what neither waits nor is in it.
func (s *Store) unchained(ctx context.Context, w *walk, report *AuditReport) error {
	return s.asDelivery(ctx, readOnly, func(t tx) error {
		if err := byIndex(ctx, t); err != nil {
			return err
		}
		const waiting = ` from audit_pending p left join audit_entries e on e.id = p.entry_id and e.tenant_id is not distinct from p.tenant_id`
		if err := t.row(ctx, "select count(e.id), min(e.at)"+waiting).Scan(&report.Unchained, &report.Oldest); err != nil {
			return err
		}
		name := func(f AuditFault) func(r *rows) error {
			return func(r *rows) error {
				g := f
				if err := r.Scan(&g.EntryID, &g.TenantID); err != nil {
					return err
				}
				w.fault(g)
				return nil
			}
		}
		var b batch
		b.query(name(AuditFault{Kind: AuditRemoved, Text: "the entry was removed before it was chained"}),
			"select p.entry_id, p.tenant_id"+waiting+" where e.id is null order by p.entry_id limit $1", maxFaults)
		b.query(name(AuditFault{Kind: AuditInserted, Text: "the entry is not in the chain and does not wait for it"}),
			`select e.id, e.tenant_id from audit_entries e
			where not exists (select 1 from audit_chain c where c.entry_id = e.id and c.tenant_id is not distinct from e.tenant_id)
			and not exists (select 1 from audit_pending p where p.entry_id = e.id and p.tenant_id is not distinct from e.tenant_id)
			order by e.id limit $1`, maxFaults)
		return t.batch(ctx, &b)
	})
}
