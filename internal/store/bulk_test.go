package store_test

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// The places of arguments in a statement: in any order, twice, and not inside of quotes.
func TestPlacesOfArguments(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		s := open()
		var got [5]string
		err := s.Run(t.Context(), uuid.Nil, store.ReadOnly, func(q store.TestTx) error {
			return q.Row(t.Context(), `select cast($2 as text), cast($1 as text), '$1 it''s "$2"', cast($2 as text), '' as "$1"`, []any{"one", "two"},
				&got[0], &got[1], &got[2], &got[3], &got[4])
		})
		if want := [5]string{"two", "one", `$1 it's "$2"`, "two", ""}; err != nil || got != want {
			t.Errorf("%q: %v", got, err)
		}
	})
}

// Rows go into the database many to a statement and some alone; what is read back is what was given, in order.
func TestManyRowsAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		const n = 40
		msgs := make([]store.NewMessage, n)
		for i := range msgs {
			msgs[i] = w.message()
			msgs[i].Subject = fmt.Sprint(i)
		}
		w.accept(t, msgs...)
		for i, e := range must[[]store.Event](t)(w.tenant.Events(t.Context(), store.EventFilter{}, 0, n+1)) {
			if e.Seq != int64(i+1) || e.MessageID != msgs[i].ID {
				t.Errorf("event %d: %+v, want message %d", i, e, i)
			}
		}
		for i, c := range w.claim(t, n+1) {
			if c.MessageID != msgs[i].ID || len(c.Recipients) != len(msgs[i].Recipients) || string(c.Content) != string(msgs[i].Content) {
				t.Errorf("claim %d: %+v", i, c)
			}
			w.record(t, w.outcome(c, store.Sent))
			if d := w.detail(t, c.MessageID); d.Subject != fmt.Sprint(i) || d.State != store.MessageState(store.Sent) || len(d.Attempts) != 1 {
				t.Errorf("message %d: %+v", i, d)
			}
		}
	})
}
