package store_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// What was due when the old database ended is on hold; what could not have been tried goes on.
func TestRestoredHold(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		waiting, partly, marked, hold, later := w.message(), w.message("a@example.net", "b@example.net"), w.message(), w.message(), w.message()
		later.SendAt = w.clock.now().Add(time.Hour)
		hold.OnUnknown = store.OnUnknownHold
		w.accept(t, partly)
		o := w.outcome(w.one(t), store.Sent, store.Deferred)
		o.NextDue = w.clock.now().Add(time.Second)
		w.record(t, o)
		w.accept(t, marked, hold)
		for _, c := range w.claim(t, 10) {
			if err := w.Mark(t.Context(), w.node, w.tenant.ID(), c.MessageID); err != nil {
				t.Fatal(err)
			}
		}
		w.accept(t, waiting, later)
		w.clock.pass(time.Minute)

		n, err := w.DeclareRestored(t.Context(), time.Time{}, by())
		if err != nil || n != 4 {
			t.Fatalf("DeclareRestored = %d, %v, want 4", n, err)
		}
		fresh := w.message()
		w.clock.pass(time.Millisecond)
		w.accept(t, fresh)
		w.clock.pass(time.Hour)
		w.node = store.NewID()
		if due, unknown, err := w.ResolveClaims(t.Context(), w.relay.ID, w.node); err != nil || due+unknown != 0 {
			t.Errorf("claims were left: %d, %d, %v", due, unknown, err)
		}
		got := w.claim(t, 10)
		if len(got) != 2 || !slices.ContainsFunc(got, claimOf(fresh)) || !slices.ContainsFunc(got, claimOf(later)) {
			t.Errorf("claimed %d messages, want the one for later and the new one", len(got))
		}
		for _, m := range []store.NewMessage{waiting, partly, marked, hold} {
			if d := w.detail(t, m.ID); !d.Restored || !d.NextDue.IsZero() {
				t.Errorf("a message on hold is shown as %+v", d.Message)
			}
		}
		if at, err := w.NextDue(t.Context()); err != nil || !at.IsZero() {
			t.Errorf("NextDue = %v, %v", at, err)
		}
		w.clock.pass(100 * time.Hour)
		if done, err := w.GiveUp(t.Context()); err != nil || done.Failed != 0 {
			t.Errorf("GiveUp = %+v, %v: a person decides", done, err)
		}

		list, err := w.Held(t.Context())
		if err != nil || len(list) != 1 || list[0].Messages != 4 || list[0].Name != "acme" {
			t.Fatalf("Held = %+v, %v", list, err)
		}
		// One by one: cancel, another time, a retry.
		if err := errors.Join(w.tenant.Cancel(t.Context(), partly.ID, by()), w.tenant.Reschedule(t.Context(), hold.ID, w.clock.now().Add(time.Hour), by()), w.tenant.Retry(t.Context(), waiting.ID, by())); err != nil {
			t.Fatal(err)
		}
		if got := w.states(t, partly.ID); !slices.Equal(got, states{store.Sent, store.Unknown}) {
			t.Errorf("canceled on hold: recipients are %v", got)
		}
		if c := w.one(t); c.MessageID != waiting.ID {
			t.Errorf("the retry sends %s", c.MessageID)
		}
		if d := w.detail(t, hold.ID); d.Restored || !d.NextDue.Equal(w.clock.now().Add(time.Hour)) {
			t.Errorf("rescheduled: %+v", d.Message)
		}
		if n, err := w.SendHeld(t.Context(), uuid.Nil, by()); err != nil || n != 1 {
			t.Fatalf("SendHeld = %d, %v", n, err)
		}
		if c := w.one(t); c.MessageID != marked.ID || !c.UnknownBefore {
			t.Errorf("sent: %+v", c)
		}
		if n, err := w.SendHeld(t.Context(), uuid.Nil, by()); err != nil || n != 0 {
			t.Errorf("SendHeld again = %d, %v", n, err)
		}
		var actions []string
		for _, e := range must2(t)(w.tenant.Audit(t.Context(), store.AuditFilter{}, store.Page{})) {
			actions = append(actions, e.Action)
		}
		if !slices.Contains(actions, "restored.send") {
			t.Errorf("the audit log has %v", actions)
		}
	})
}

func must2(t *testing.T) func([]store.AuditEntry, string, error) []store.AuditEntry {
	return func(list []store.AuditEntry, _ string, err error) []store.AuditEntry {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
}

func claimOf(m store.NewMessage) func(store.Claimed) bool {
	return func(c store.Claimed) bool { return c.MessageID == m.ID }
}

// More than fits into one transaction; all of it ends as unknown.
func TestRestoredEnd(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		const total = 2300
		var msgs []store.NewMessage
		for range total {
			msgs = append(msgs, w.message())
		}
		for piece := range slices.Chunk(msgs, 100) {
			w.accept(t, piece...)
		}
		if n, err := w.DeclareRestored(t.Context(), time.Time{}, by()); err != nil || n != total {
			t.Fatalf("DeclareRestored = %d, %v", n, err)
		}
		if n, err := w.EndHeld(t.Context(), w.tenant.ID(), by()); err != nil || n != total {
			t.Fatalf("EndHeld = %d, %v", n, err)
		}
		if d := w.detail(t, msgs[total-1].ID); d.State != store.MessageState(store.Unknown) || d.FinishedAt.IsZero() || !strings.Contains(d.Recipients[0].Text, "restored") {
			t.Errorf("ended as %+v", d)
		}
		if depth, err := w.SpoolDepth(t.Context()); err != nil || depth.Messages != 0 {
			t.Errorf("left in the spool: %+v, %v", depth, err)
		}
	})
}

// A SQLite database finds out by itself that it came out of a backup.
func TestNoticeRestoreSQLite(t *testing.T) {
	dir := t.TempDir()
	file, mark, copied := filepath.Join(dir, "postrider.db"), filepath.Join(dir, store.MarkFile), filepath.Join(dir, "copy.db")
	if _, err := store.Migrate(t.Context(), store.MigrateConfig{Path: file}); err != nil {
		t.Fatal(err)
	}
	notice := func() store.RestoreNotice {
		t.Helper()
		s := must[*store.Store](t)(store.Open(t.Context(), store.Config{Path: file}))
		defer s.Close()
		return must[store.RestoreNotice](t)(s.NoticeRestore(t.Context(), mark))
	}
	for range 3 {
		if n := notice(); n.Found {
			t.Fatalf("nothing was restored: %+v", n)
		}
	}
	r, err := store.Backup(t.Context(), file, copied)
	if err != nil || r.Size == 0 || r.Schema != store.SchemaVersion() {
		t.Fatalf("Backup = %+v, %v", r, err)
	}
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy has mode %v, %v", info.Mode(), err)
	}
	if err := second(store.Backup(t.Context(), file, copied)); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("over another file: %v", err)
	}
	if n := notice(); n.Found {
		t.Errorf("the original is taken for a copy: %+v", n)
	}
	r, err = store.Restore(t.Context(), copied, file)
	if err != nil || r.Kept == "" || r.Taken.IsZero() {
		t.Fatalf("Restore = %+v, %v", r, err)
	}
	if err := opens(t, store.Config{Path: r.Kept}); err != nil {
		t.Errorf("the database before cannot be opened any more: %v", err)
	}
	if n := notice(); !n.Found || !strings.Contains(n.Why, "the backup that was taken at") {
		t.Errorf("after a restore: %+v", n)
	}
	if n := notice(); n.Found {
		t.Errorf("a second time: %+v", n)
	}

	// Copied by other means while nothing ran, and put back later: an older mark. Without its mark: the same.
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	notice()
	replace := func() {
		t.Helper()
		for _, side := range []string{"-wal", "-shm"} {
			if err := os.Remove(file + side); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(file, old, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	notice()
	replace()
	if n := notice(); !n.Found || !strings.Contains(n.Why, "older than") {
		t.Errorf("an older copy: %+v", n)
	}
	if err := os.Remove(mark); err != nil {
		t.Fatal(err)
	}
	if n := notice(); !n.Found || !strings.Contains(n.Why, "without the file") {
		t.Errorf("without the mark: %+v", n)
	}
	// A move in good order.
	if err := os.WriteFile(mark, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := must[*store.Store](t)(store.Open(t.Context(), store.Config{Path: file}))
	err = errors.Join(s.DeclareComplete(t.Context(), mark, by()), s.Close())
	if n := notice(); err != nil || n.Found {
		t.Errorf("declared complete: %+v, %v", n, err)
	}

	if err := second(store.Restore(t.Context(), mark, file)); err == nil {
		t.Error("restored from what is no database")
	}
	if n := notice(); n.Found {
		t.Errorf("after a refused restore: %+v", n)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*.part"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// On PostgreSQL another server, another database or a timeline that nobody saw begin tell.
func TestNoticeRestorePostgres(t *testing.T) {
	server := pgtest.Shared(t)
	db := storetest.Database(t, server)
	api, delivery := logins(t, server, db)
	s := must[*store.Store](t)(store.Open(t.Context(), store.Config{URL: api, DeliveryURL: delivery}))
	defer s.Close()
	notice := func() store.RestoreNotice {
		t.Helper()
		return must[store.RestoreNotice](t)(s.NoticeRestore(t.Context(), ""))
	}
	for range 2 {
		if n := notice(); n.Found {
			t.Fatalf("nothing was restored: %+v", n)
		}
	}
	for _, c := range []struct{ change, why string }{
		{"place = '1/2'", "another server or database"},
		{"timeline = 77, seen_at = now() - interval '1 hour'", "new timeline"},
		{"timeline = 77, seen_at = now() - interval '1 minute'", ""}, // a fail-over
		{"seen_at = now() - interval '1 hour'", ""},                  // a long pause
		{"place = ''", ""},
	} {
		server.Exec(t, db, "update installation set "+c.change)
		n := notice()
		if n.Found != (c.why != "") || !strings.Contains(n.Why, c.why) {
			t.Errorf("%s: %+v", c.change, n)
		}
		if n := must[store.RestoreNotice](t)(s.KeepMark(t.Context(), "")); n.Found {
			t.Errorf("%s: a second time: %+v", c.change, n)
		}
	}
}
