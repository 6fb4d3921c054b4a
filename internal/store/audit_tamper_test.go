package store_test

import (
	"bytes"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// signer signs checkpoints with a key that the tests make.
type signer struct{ key ed25519.PrivateKey }

func newSigner(t *testing.T) signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return signer{key}
}

func (s signer) Sign(data []byte) ([]byte, error) { return ed25519.Sign(s.key, data), nil }

func (s signer) Verify(sig, data []byte) error {
	if !ed25519.Verify(s.key.Public().(ed25519.PublicKey), data, sig) {
		return errors.New("another key")
	}
	return nil
}

// chained is an audit log of ten links with checkpoints at 5 and at 10, and somebody who can write to
// its database past the triggers.
type chained struct {
	*store.Store
	t       *testing.T
	db      *sql.DB
	log     *bytes.Buffer // of the service
	entries []store.AuditEntry
	tenant  uuid.UUID
}

func newChained(t *testing.T, open storetest.Open, format func(*bytes.Buffer) slog.Handler) *chained {
	t.Helper()
	c := &chained{t: t, log: &bytes.Buffer{}, tenant: store.NewID()}
	var cfg store.Config
	c.Store = open(func(conf *store.Config) {
		conf.Checkpoint = newSigner(t)
		conf.Logger = slog.New(format(c.log))
		cfg = *conf
	})
	c.add(5)
	c.checkpoint(5)
	c.add(5)
	c.checkpoint(10)
	c.db = withoutTriggers(t, cfg)
	return c
}

func text(w *bytes.Buffer) slog.Handler { return slog.NewTextHandler(w, nil) }
func json(w *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(w, nil) }

// add writes entries, with some personal data each.
func (c *chained) add(n int) {
	c.t.Helper()
	var list []store.AuditEntry
	for range n {
		i := len(c.entries) + len(list) + 1
		list = append(list, store.AuditEntry{
			ID: store.NewID(), TenantID: c.tenant, At: at(i), Action: fmt.Sprintf("test.%d", i),
			Actor:      store.Actor{Kind: store.ActorToken, UserID: store.NewID(), TokenID: "t", Role: "user", Addr: netip.MustParseAddr("192.0.2.7"), RequestID: "r"},
			TargetKind: "user", TargetID: store.NewID().String(), Detail: map[string]string{"n": fmt.Sprint(i)},
			Personal: map[string]string{"email": "ann@example.com"},
		})
	}
	if err := c.AddAudit(c.t.Context(), list); err != nil {
		c.t.Fatal(err)
	}
	c.entries = append(c.entries, list...)
}

func (c *chained) checkpoint(seq int64) {
	c.t.Helper()
	p, err := c.CheckpointAudit(c.t.Context())
	if err != nil || p.Seq != seq {
		c.t.Fatalf("the checkpoint is at %d, want %d: %v", p.Seq, seq, err)
	}
}

// exec does what the statements say, as one who may do everything.
func (c *chained) exec(statements ...string) {
	c.t.Helper()
	for _, s := range strings.Split(strings.Join(statements, ";"), ";") { // a prepared statement is one only
		if _, err := c.db.ExecContext(c.t.Context(), s); err != nil {
			c.t.Fatalf("%s: %v", s, err)
		}
	}
}

// bytes reads one value.
func (c *chained) bytes(query string) []byte {
	c.t.Helper()
	var b []byte
	if err := c.db.QueryRowContext(c.t.Context(), query).Scan(&b); err != nil {
		c.t.Fatalf("%s: %v", query, err)
	}
	return b
}

// relink computes the chain anew from a place on, as one does who knows how it is made.
func (c *chained) relink(from int) {
	c.t.Helper()
	var last int
	if err := c.db.QueryRowContext(c.t.Context(), "select max(seq) from audit_chain").Scan(&last); err != nil {
		c.t.Fatal(err)
	}
	for seq := from; seq <= last; seq++ {
		prev := make([]byte, 32)
		if seq > 1 {
			prev = c.bytes(fmt.Sprintf("select hash from audit_chain where seq = %d", seq-1))
		}
		hash := store.LinkHash(prev, c.bytes(fmt.Sprintf("select entry_hash from audit_chain where seq = %d", seq)))
		if _, err := c.db.ExecContext(c.t.Context(), "update audit_chain set prev = $1, hash = $2 where seq = $3", prev, hash, seq); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *chained) verify(cfg store.VerifyConfig) store.AuditReport {
	c.t.Helper()
	report, err := c.VerifyAudit(c.t.Context(), cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	return report
}

const (
	entryOf4 = "(select entry_id from audit_chain where seq = 4)"
	// Numbers go through the negative ones, as no two links may have the same in between.
	shiftUp   = "update audit_chain set seq = -seq - 1 where seq >= 5; update audit_chain set seq = -seq where seq < 0"
	shiftDown = "update audit_chain set seq = -seq + 1 where seq > 4; update audit_chain set seq = -seq where seq < 0"
	cutBehind = "delete from audit_entries where id in (select entry_id from audit_chain where seq > 7); delete from audit_chain where seq > 7"
)

func TestTamperingIsNamed(t *testing.T) {
	type tamper struct {
		name    string
		do      func(c *chained)
		kind    store.AuditFaultKind
		seq, to int64 // of the first fault
		entry   int   // the number of the entry that is named; 0: none can be
		log     bool  // what shows it is the log only
	}
	run := func(statements ...string) func(*chained) {
		return func(c *chained) { c.exec(statements...) }
	}
	cases := []tamper{
		{"an entry is removed", run("delete from audit_entries where id = " + entryOf4), store.AuditRemoved, 4, 4, 4, false},
		{"an entry goes to another tenant", run("update audit_entries set tenant_id = null where id = " + entryOf4), store.AuditRemoved, 4, 4, 4, false},
		{
			"an entry and its link are removed",
			run("delete from audit_entries where id = "+entryOf4, "delete from audit_chain where seq = 4"), store.AuditRemoved, 4, 4, 0, false,
		},
		{"a link is removed", run("delete from audit_chain where seq = 4"), store.AuditRemoved, 4, 4, 0, false},
		{"several links are removed", run("delete from audit_chain where seq between 4 and 6"), store.AuditRemoved, 4, 6, 0, false},
		{"the first link is removed", run("delete from audit_chain where seq = 1"), store.AuditRemoved, 1, 1, 0, false},
		{
			"an entry and its link are removed and the others closed up",
			run("delete from audit_entries where id = "+entryOf4, "delete from audit_chain where seq = 4", shiftDown), store.AuditRemoved, 4, 4, 0, false,
		},
		{
			"personal data is changed",
			run(`update audit_people set data = '{"addr":"198.51.100.1"}' where part = 0 and entry_id = ` + entryOf4), store.AuditChanged, 4, 4, 4, false,
		},
		{
			"two links change places",
			run("update audit_chain set seq = -seq where seq in (4, 5)", "update audit_chain set seq = 9 + seq where seq < 0"), store.AuditReordered, 4, 4, 5, false,
		},
		{
			"two links change their entries",
			run("create table swap as select * from audit_chain where seq in (4, 5)", "delete from audit_chain where seq in (4, 5)",
				"insert into audit_chain select seq, tenant_id, (select entry_id from swap o where o.seq = 9 - s.seq), entry_hash, prev, hash, chained_at from swap s"),
			store.AuditReordered, 4, 4, 5, false,
		},
		{
			"a link goes somewhere else",
			run("update audit_chain set seq = 100 where seq = 4", "update audit_chain set seq = -seq + 1 where seq between 5 and 8",
				"update audit_chain set seq = -seq where seq < 0", "update audit_chain set seq = 8 where seq = 100"),
			store.AuditReordered, 4, 4, 5, false,
		},
		{
			"an entry is written past the chain",
			func(c *chained) { c.add(1); c.exec("delete from audit_pending") }, store.AuditInserted, 0, 0, 11, false,
		},
		{
			"an entry is removed before it is chained",
			func(c *chained) {
				c.add(1)
				c.exec("delete from audit_entries where id not in (select entry_id from audit_chain)")
			}, store.AuditRemoved, 0, 0, 11, false,
		},
		{
			"a link is put in with a hash that is right",
			func(c *chained) {
				c.add(1)
				if n, err := c.ChainAudit(t.Context()); n != 1 || err != nil {
					c.t.Fatal(n, err)
				}
				c.exec("update audit_chain set seq = 100 where seq = 11", shiftUp, "update audit_chain set seq = 5 where seq = 101 or seq = 100",
					"update audit_chain set prev = (select hash from audit_chain where seq = 4) where seq = 5")
				hash := store.LinkHash(c.bytes("select prev from audit_chain where seq = 5"), c.bytes("select entry_hash from audit_chain where seq = 5"))
				if _, err := c.db.ExecContext(t.Context(), "update audit_chain set hash = $1 where seq = 5", hash); err != nil {
					c.t.Fatal(err)
				}
			},
			store.AuditInserted, 5, 5, 11, false,
		},
		{
			"a link is put in with some hash",
			func(c *chained) {
				c.add(1)
				if n, err := c.ChainAudit(t.Context()); n != 1 || err != nil {
					c.t.Fatal(n, err)
				}
				c.exec("update audit_chain set seq = 100 where seq = 11", shiftUp, "update audit_chain set seq = 5, prev = hash where seq = 101")
			},
			store.AuditInserted, 5, 5, 11, false,
		},
		{"the end is cut off", run(cutBehind), store.AuditCutOff, 8, 10, 0, false},
		{"all is cut off", run("delete from audit_entries", "delete from audit_chain"), store.AuditCutOff, 1, 10, 0, false},
		{
			"the end is cut off and the service goes on",
			func(c *chained) { c.exec(cutBehind); c.add(5); c.checkpoint(15) }, store.AuditRemoved, 8, 10, 0, false,
		},
		{
			"the end is cut off with its checkpoints",
			run(cutBehind, "delete from audit_checkpoints where seq > 7"), store.AuditCutOff, 8, 10, 0, true,
		},
		{
			"the end is cut off with its checkpoints and the service goes on",
			func(c *chained) {
				c.exec(cutBehind, "delete from audit_checkpoints where seq > 7")
				c.add(5)
				c.checkpoint(12)
			},
			store.AuditRewritten, 6, 10, 0, true,
		},
		{
			"an entry is changed and the chain computed anew",
			func(c *chained) {
				e := c.entries[7]
				e.Actor = store.Actor{Kind: store.ActorOperator}
				e.Personal, e.Outcome, e.Count = nil, store.AuditDone, 1
				c.exec("update audit_entries set actor_kind = 'operator', actor_user = null, actor_token = '', actor_role = '', request_id = '', actor_commitment = null, subject_commitment = null where id = (select entry_id from audit_chain where seq = 8)",
					"delete from audit_people where entry_id = (select entry_id from audit_chain where seq = 8)")
				if _, err := c.db.ExecContext(t.Context(), "update audit_chain set entry_hash = $1 where seq = 8", store.EntryHash(e)); err != nil {
					c.t.Fatal(err)
				}
				c.relink(8)
			},
			store.AuditRewritten, 6, 10, 0, false,
		},
		{"a checkpoint is changed", run("update audit_checkpoints set hash = prev from audit_chain where audit_chain.seq = 2 and audit_checkpoints.seq = 5"), store.AuditForged, 5, 5, 0, false},
		{"a link's hash is changed", run("update audit_chain set hash = entry_hash where seq = 4"), store.AuditChanged, 4, 4, 4, false},
		{"a link's entry hash is changed", run("update audit_chain set entry_hash = hash where seq = 4"), store.AuditChanged, 4, 4, 4, false},
		{"a link's predecessor is changed", run("update audit_chain set prev = entry_hash where seq = 4"), store.AuditChanged, 4, 4, 4, false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, open storetest.Open) {
				c := newChained(t, open, json)
				if report := c.verify(store.VerifyConfig{}); !report.OK() || report.Entries != 10 || report.Checkpoints != 2 {
					t.Fatalf("before anything is done: %+v", report)
				}
				log := c.log.String()
				tc.do(c)
				report := c.verify(store.VerifyConfig{})
				if tc.log {
					if !report.OK() {
						t.Errorf("found without the log: %v", report.Faults)
					}
					report = c.verify(store.VerifyConfig{Log: strings.NewReader(log)})
				}
				if report.OK() {
					t.Fatal("nothing was found")
				}
				f := report.Faults[0]
				t.Log(report.Faults)
				if f.Kind != tc.kind || f.Seq != tc.seq || f.To != tc.to {
					t.Errorf("the first fault is %v, want %s at %d to %d", f, tc.kind, tc.seq, tc.to)
				}
				var want uuid.UUID
				if tc.entry > 0 {
					want = c.entries[tc.entry-1].ID
				}
				if f.EntryID != want {
					t.Errorf("the entry named is %s, want number %d, %s", f.EntryID, tc.entry, want)
				}
			})
		})
	}
}

func TestAChangeOfAnyColumnIsFound(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		c := newChained(t, open, json)
		c.exec("create table saved as select * from audit_entries")
		for _, change := range []string{
			"at = (select min(at) from saved)", "actor_kind = 'system'", "actor_user = null", "actor_token = 'x'", "actor_role = 'admin'", "request_id = ''",
			"action = 'x'", "target_kind = 'x'", "target_id = 'x'", "outcome = 'denied'", "count = 2", `detail = '{"n":"5"}'`, "detail = '[]'",
			"actor_commitment = null", "subject_commitment = null",
		} {
			c.exec("update audit_entries set " + change + " where id = " + entryOf4)
			report := c.verify(store.VerifyConfig{})
			if f := report.Faults; len(f) != 1 || f[0].Kind != store.AuditChanged || f[0].Seq != 4 || f[0].EntryID != c.entries[3].ID {
				t.Errorf("%s: found %v", change, f)
			}
			c.exec("delete from audit_entries", "insert into audit_entries select * from saved", "delete from audit_pending")
		}
		if report := c.verify(store.VerifyConfig{}); !report.OK() {
			t.Errorf("with all as it was: %v", report.Faults)
		}
	})
}
