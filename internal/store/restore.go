package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
)

// A database that came out of a backup does not know what was sent since. Whatever of its spool may have been tried between the
// backup and the end of the old database is put on hold: its row says when it was due (restored_due), and is due far away
// meanwhile. Somebody decides: send, end as unknown, or message by message, by a retry, a cancel or another time.

const (
	// holdPiece is how many rows of the spool one transaction looks at.
	holdPiece = 1000
	// eventGap is how far the numbers of events jump when a database was restored: who read events that were lost asks for
	// those behind a number that the restored counter has yet to reach.
	eventGap = 1_000_000_000
	// asleepFor is how long nobody has been at work with a database of which another timeline says that it is a restored
	// one. A fail-over makes another timeline too, within minutes and before the eyes of nodes at work.
	asleepFor = 10 * time.Minute
)

// restoredText is what the log says when a running service finds it out.
const restoredText = "the database was restored from a backup: what may have been sent since then is on hold; see postrider restored"

// heldUntil is when a message on hold is due. A function, since Go has no constant times.
func heldUntil() time.Time { return time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC) }

// RestoreNotice says whether the database was found to be restored.
type RestoreNotice struct {
	// Found says so, for the first time; Why in a few words for people.
	Found bool
	Why   string
	// Held is how many messages are on hold now, also from a time before.
	Held int
}

// NoticeRestore sees whether the database came out of a backup since a service last used it, and if so puts on hold what may have been
// sent meanwhile. It must return before anything is sent. markFile, for SQLite, is a file beside the database that a
// backup does not bring along; empty: there is none.
//
// It is found by: the mark that Backup leaves in its copy; on SQLite a file that does not fit; on PostgreSQL another server or database, as after
// pg_dump, or another timeline after a time in which nobody was at work, as after recovery to a point in time.
func (s *Store) NoticeRestore(ctx context.Context, markFile string) (RestoreNotice, error) {
	here, err := s.where(ctx)
	if err != nil {
		return RestoreNotice{}, err
	}
	file, err := readMark(markFile)
	if err != nil {
		return RestoreNotice{}, err
	}
	var n RestoreNotice
	next := NewID()
	unfinished := false
	err = s.asDelivery(ctx, readWrite, func(t tx) error {
		var row installationRow
		if err := row.load(ctx, t); err != nil {
			return err
		}
		now := s.now()
		n.Why = row.restored(here, file, markFile != "", now)
		n.Found = n.Why != ""
		unfinished = !row.holdBefore.IsZero()
		if err := file.write(markFile, row.mark, next, n.Found); err != nil {
			return err
		}
		if n.Found {
			if err := s.declareRestored(ctx, t, now, now, Actor{Kind: ActorSystem}, n.Why); err != nil {
				return err
			}
		}
		return here.save(ctx, t, next, now)
	})
	if err == nil && (n.Found || unfinished) {
		err = s.hold(ctx)
	}
	if err != nil {
		return RestoreNotice{}, err
	}
	n.Held, err = s.countHeld(ctx)
	return n, err
}

// KeepMark notes that a service is at work with this database. It is called now and then: the older the last note, the less surely a
// restored copy is told from it. On PostgreSQL it does what NoticeRestore does, since the server may have been replaced behind
// our back.
func (s *Store) KeepMark(ctx context.Context, markFile string) (RestoreNotice, error) {
	if s.cfg.URL != "" {
		return s.NoticeRestore(ctx, markFile)
	}
	file, err := readMark(markFile)
	if err != nil {
		return RestoreNotice{}, err
	}
	next := NewID()
	return RestoreNotice{}, s.asDelivery(ctx, readWrite, func(t tx) error {
		var row installationRow
		if err := row.load(ctx, t); err != nil {
			return err
		}
		if err := file.write(markFile, row.mark, next, false); err != nil {
			return err
		}
		return place{}.save(ctx, t, next, s.now())
	})
}

// DeclareRestored says what NoticeRestore did not find: that the database came out of a backup. What was due until stopped is put on hold,
// which is when the last node of the old database stopped; zero: now. It returns how many messages are on hold now.
func (s *Store) DeclareRestored(ctx context.Context, stopped time.Time, by Actor) (int, error) {
	here, err := s.where(ctx)
	if err != nil {
		return 0, err
	}
	err = s.asDelivery(ctx, readWrite, func(t tx) error {
		var row installationRow
		if err := row.load(ctx, t); err != nil {
			return err
		}
		now := s.now()
		if stopped.IsZero() || stopped.After(now) {
			stopped = now
		}
		if err := s.declareRestored(ctx, t, stopped, now, by, "an administrator said so"); err != nil {
			return err
		}
		return here.save(ctx, t, row.mark, now)
	})
	if err == nil {
		err = s.hold(ctx)
	}
	if err != nil {
		return 0, err
	}
	return s.countHeld(ctx)
}

// DeclareComplete says that nothing was lost though the database is elsewhere, as after a move in good order, so that NoticeRestore holds
// nothing.
func (s *Store) DeclareComplete(ctx context.Context, markFile string, by Actor) error {
	here, err := s.where(ctx)
	if err != nil {
		return err
	}
	file, next := markPair{}, NewID()
	return s.asDelivery(ctx, readWrite, func(t tx) error {
		var row installationRow
		if err := row.load(ctx, t); err != nil {
			return err
		}
		if err := file.write(markFile, row.mark, next, true); err != nil {
			return err
		}
		if err := s.audit(ctx, t, installationEntry(by, "database.complete", "")); err != nil {
			return err
		}
		return here.save(ctx, t, next, s.now())
	})
}

func installationEntry(by Actor, action, why string) AuditEntry {
	e := AuditEntry{Actor: by, Action: action, TargetKind: "installation"}
	if why != "" {
		e.Detail = map[string]string{"why": why}
	}
	return e
}

// declareRestored notes what hold does afterwards, piece by piece.
func (s *Store) declareRestored(ctx context.Context, t tx, before, now time.Time, by Actor, why string) error {
	b := &batch{}
	b.exec(nil, "update installation set restored_at = $1, hold_before = $2", now, before)
	b.exec(nil, "update event_counters set last = last + $1", eventGap)
	if err := t.batch(ctx, b); err != nil {
		return err
	}
	return s.audit(ctx, t, installationEntry(by, "database.restored", why))
}

// hold puts on hold what was due until the noted time, and takes the note away in the end. After a crash it begins again.
func (s *Store) hold(ctx context.Context) error {
	after := uuid.UUID{15: 1} // before every UUIDv7; uuid.Nil would be NULL
	for more := true; more; {
		var last uuid.UUID
		err := s.asDelivery(ctx, readWrite, func(t tx) error {
			last, more = uuid.Max, false
			var before time.Time
			if err := t.row(ctx, "select hold_before from installation").Scan(&before); err != nil || before.IsZero() {
				return err // another node was quicker
			}
			err := t.row(ctx, "select message_id from spool where message_id > $1 order by message_id limit 1 offset $2", after, holdPiece-1).Scan(&last)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			more = err == nil
			// What was being sent then is no longer; if its content may have been accepted, that stays true.
			_, err = t.exec(ctx, `update spool set restored_due = due, due = $3, unknown_before = unknown_before or marked, marked = $4, claim = null, claimed_at = null
				where message_id > $1 and message_id <= $2 and due <= $5 and restored_due is null`, after, last, heldUntil(), false, before)
			return err
		})
		if err != nil {
			return err
		}
		after = last
	}
	return s.asDelivery(ctx, readWrite, func(t tx) error {
		_, err := t.exec(ctx, "update installation set hold_before = null")
		return err
	})
}

func (s *Store) countHeld(ctx context.Context) (int, error) {
	var n int
	err := s.asDelivery(ctx, readOne, func(t tx) error {
		return t.row(ctx, "select count(*) from spool where restored_due is not null").Scan(&n)
	})
	return n, err
}

// installationRow is where the database believes to be.
type installationRow struct {
	place                        string
	timeline                     int64
	mark                         uuid.UUID
	seenAt, backupAt, holdBefore time.Time
}

func (r *installationRow) load(ctx context.Context, t tx) error {
	return t.row(ctx, "select place, timeline, mark, seen_at, backup_at, hold_before from installation"+forUpdate(t)).
		Scan(&r.place, &r.timeline, &r.mark, &r.seenAt, &r.backupAt, &r.holdBefore)
}

// restored says why the database must be a restored one; empty: nothing says so.
func (r *installationRow) restored(here place, file markPair, marked bool, now time.Time) string {
	switch {
	case !r.backupAt.IsZero():
		return "it is the backup that was taken at " + r.backupAt.UTC().Format(time.RFC3339)
	case marked && r.mark == uuid.Nil && file == (markPair{}): // the first start
		return ""
	case marked && file == (markPair{}):
		return "it was moved here without the file " + MarkFile
	case marked && r.mark != file.was && r.mark != file.next || marked && r.mark == uuid.Nil:
		return "it is older than the file " + MarkFile + " beside it"
	case r.place == "" || here.name == "":
		return ""
	case r.place != here.name:
		return "it was in another server or database before, as after pg_dump and pg_restore"
	case r.timeline != here.timeline && now.Sub(r.seenAt) > asleepFor:
		return fmt.Sprintf("PostgreSQL has a new timeline, and nobody has been at work with it since %s, as after recovery to a point in time", r.seenAt.UTC().Format(time.RFC3339))
	}
	return ""
}

// place is where a database is.
type place struct {
	name     string // server and database; empty: not known
	timeline int64
}

// where asks PostgreSQL which server and database this is, and on which timeline. A server that does not tell is no fault.
func (s *Store) where(ctx context.Context) (place, error) {
	var p place
	if s.cfg.URL == "" {
		return p, nil
	}
	err := s.asDelivery(ctx, readOne, func(t tx) error {
		return t.row(ctx, `select (select system_identifier::text from pg_control_system()) || '/' || (select oid::text from pg_database where datname = current_database()),
			('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int::bigint`).Scan(&p.name, &p.timeline)
	})
	if err != nil && !errors.Is(err, ErrUnavailable) && ctx.Err() == nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelDebug, "PostgreSQL does not say where it is: that it was restored must be declared", slog.String("error", err.Error()))
		return place{}, nil
	}
	return p, err
}

// save notes where the database is now, and that it is in use.
func (p place) save(ctx context.Context, t tx, mark uuid.UUID, now time.Time) error {
	_, err := t.exec(ctx, "update installation set place = $1, timeline = $2, mark = $3, seen_at = $4, backup_at = null", p.name, p.timeline, mark, now)
	return err
}
