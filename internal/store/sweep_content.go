package store

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// sweptWaiting bounds the messages, over all tenants, that are remembered since they were not ready when the sweep came by.
const sweptWaiting = 100_000

// swept remembers for each tenant up to which message contents have been removed, so that messages whose content is gone are not
// read again, those that it passed by since they had not ended, or not for long enough, and when its inline relays were looked at. It is lost with the process, which
// then begins anew.
type swept struct {
	mu      sync.Mutex
	content map[uuid.UUID]uuid.UUID
	waiting map[uuid.UUID][]uuid.UUID
	size    int // of waiting
	relays  map[uuid.UUID]time.Time
}

func (w *swept) get(tenant uuid.UUID) uuid.UUID {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id, ok := w.content[tenant]; ok {
		return id
	}
	return idAt(time.Time{})
}

func (w *swept) set(tenant, id uuid.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.content == nil {
		w.content = map[uuid.UUID]uuid.UUID{}
	}
	w.content[tenant] = id
}

// take takes out up to most messages of a tenant that wait, those first that were put in first.
func (w *swept) take(tenant uuid.UUID, most int) []uuid.UUID {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.waiting[tenant]
	n := min(len(list), most)
	w.size -= n
	if n == len(list) {
		delete(w.waiting, tenant)
	} else {
		w.waiting[tenant] = list[n:]
	}
	return slices.Clone(list[:n])
}

// put remembers a message; false if there are too many.
func (w *swept) put(tenant, id uuid.UUID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.size >= sweptWaiting {
		return false
	}
	if w.waiting == nil {
		w.waiting = map[uuid.UUID][]uuid.UUID{}
	}
	w.waiting[tenant] = append(w.waiting[tenant], id)
	w.size++
	return true
}

// sweepContents removes contents of messages that ended long enough ago. It goes by acceptance, for which there is an index, and
// comes back to those that were accepted long ago and had not ended then.
func (s *Store) sweepContents(ctx context.Context, tenant uuid.UUID, most int) (int, error) {
	if s.cfg.RetainContent < 0 {
		return 0, nil
	}
	before := s.now().Add(-s.cfg.RetainContent)
	waiting := s.swept.take(tenant, most)
	n, err := s.sweepEnded(ctx, tenant, before, waiting)
	for range upkeepTurn {
		if n > 0 || err != nil {
			break
		}
		var page []uuid.UUID
		if page, err = s.messagesBehind(ctx, tenant, s.swept.get(tenant), idAt(before), most); err != nil || len(page) == 0 {
			break
		}
		n, err = s.sweepEnded(ctx, tenant, before, page)
		if err == nil {
			s.swept.set(tenant, page[len(page)-1])
		}
	}
	return n, err
}

// messagesBehind are messages after one id and before another that have content.
func (s *Store) messagesBehind(ctx context.Context, tenant, after, before uuid.UUID, most int) (ids []uuid.UUID, err error) {
	err = s.asDelivery(ctx, readOnly, func(t tx) error {
		t.setTenant(tenant)
		r, err := t.query(ctx, "select id from messages where tenant_id = $1 and id > $2 and id < $3 and not content_purged order by id limit $4", tenant, after, before, most)
		ids, err = collect(r, err, scanID)
		return err
	})
	return ids, err
}

func scanID(r *rows) (uuid.UUID, error) {
	var id uuid.UUID
	err := r.Scan(&id)
	return id, err
}

// sweepEnded removes the contents of those messages that ended before a time, and remembers those that did not and may.
func (s *Store) sweepEnded(ctx context.Context, tenant uuid.UUID, before time.Time, messages []uuid.UUID) (int, error) {
	if len(messages) == 0 {
		return 0, nil
	}
	var ended []finishedMessage
	var open []uuid.UUID
	err := s.asDelivery(ctx, readWrite, func(t tx) error {
		t.setTenant(tenant)
		ids := manyIDs(t, messages)
		r, err := t.query(ctx, "select id from messages where tenant_id = $1 and id "+oneOf(t, "$2")+
			" and not content_purged and (finished_at is null or finished_at >= $3) order by id", tenant, ids, before)
		if open, err = collect(r, err, scanID); err != nil {
			return err
		}
		r, err = t.query(ctx, "select id, content_id from messages where tenant_id = $1 and id "+oneOf(t, "$2")+
			" and not content_purged and finished_at < $3 order by id"+forUpdate(t), tenant, ids, before)
		if ended, err = collect(r, err, scanFinished); err != nil || len(ended) == 0 {
			return err
		}
		b := &batch{}
		done := dropContents(b, t, tenant, ended)
		b.exec(nil, "update messages set content_purged = $3 where tenant_id = $1 and id "+oneOf(t, "$2"), tenant, manyIDs(t, done), true)
		return t.batch(ctx, b)
	})
	if err != nil {
		open = messages // nothing is known of them: the next sweep looks again
	}
	for _, id := range open {
		if !s.swept.put(tenant, id) {
			break // their contents stay until the next start, which begins anew
		}
	}
	return len(ended), err
}

// finishedMessage is what sweeping needs of a message.
type finishedMessage struct{ id, content uuid.UUID }

func scanFinished(r *rows) (finishedMessage, error) {
	var m finishedMessage
	err := r.Scan(&m.id, &m.content)
	return m, err
}

// finishedMessages are messages that ended before a time, locked.
func finishedMessages(ctx context.Context, t tx, tenant uuid.UUID, before time.Time, most int) ([]finishedMessage, error) {
	t.setTenant(tenant)
	r, err := t.query(ctx, "select id, content_id from messages where tenant_id = $1 and id < $2 and finished_at < $3 order by id limit $4"+forUpdate(t),
		tenant, idAt(before), before, most)
	return collect(r, err, scanFinished)
}

func dropContents(b *batch, t tx, tenant uuid.UUID, list []finishedMessage) (messages []uuid.UUID) {
	contents := make([]uuid.UUID, len(list))
	for i, m := range list {
		messages = append(messages, m.id)
		contents[i] = m.content
	}
	b.exec(nil, "delete from contents where tenant_id = $1 and id "+oneOf(t, "$2"), tenant, manyIDs(t, contents))
	return messages
}

// dropMessages removes messages, whose rows are locked or finished, with all that belongs to them but their events.
func dropMessages(b *batch, t tx, tenant uuid.UUID, list []finishedMessage) {
	all := manyIDs(t, dropContents(b, t, tenant, list))
	for _, table := range []string{"spool", "attempts", "recipients"} {
		b.exec(nil, "delete from "+table+" where tenant_id = $1 and message_id "+oneOf(t, "$2"), tenant, all)
	}
	b.exec(nil, "delete from messages where tenant_id = $1 and id "+oneOf(t, "$2"), tenant, all) // and its tags, by their key
}
