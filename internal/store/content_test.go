package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

func TestContent(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		for _, size := range []int{1, 256 << 10, 256<<10 + 1, 1 << 20, 3<<20 + 17} {
			data := make([]byte, size)
			r := rand.NewChaCha8([32]byte{byte(size)})
			_, _ = r.Read(data)
			cw := w.tenant.NewContent(t.Context())
			if _, err := io.CopyBuffer(struct{ io.Writer }{cw}, struct{ io.Reader }{bytes.NewReader(data)}, make([]byte, 10_007)); err != nil {
				t.Fatal(err)
			}
			id, n, err := cw.Close()
			if err != nil || n != int64(size) {
				t.Fatalf("%d bytes written as %d: %v", size, n, err)
			}
			m := w.message()
			m.Content, m.ContentID, m.Size = nil, id, n
			w.accept(t, m)
			// The content is this message's.
			again := w.message()
			again.Content, again.ContentID, again.Size = nil, id, n
			if _, err := w.tenant.Accept(t.Context(), []store.NewMessage{again}, nil); err == nil {
				t.Error("another message took the same content")
			}
			c := w.one(t)
			got := c.Content
			if got == nil {
				got = readAll(t, must[io.ReadCloser](t)(w.OpenContent(t.Context(), c.TenantID, c.ContentID)))
			}
			if !bytes.Equal(got, data) || c.Size != int64(size) {
				t.Errorf("%d bytes came back as %d", size, len(got))
			}
			rc, length, err := w.tenant.Content(t.Context(), m.ID)
			if err != nil || length != int64(size) || !bytes.Equal(readAll(t, rc), data) {
				t.Errorf("the tenant reads %d of %d bytes: %v", length, size, err)
			}
			w.record(t, w.outcome(c, store.Sent))
		}
		other, _ := newTenant(t, w.Store, "other")
		cw := other.NewContent(t.Context())
		if _, err := cw.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		id, n, err := cw.Close()
		if err != nil {
			t.Fatal(err)
		}
		m := w.message()
		m.Content, m.ContentID, m.Size = nil, id, n
		if _, err := w.tenant.Accept(t.Context(), []store.NewMessage{m}, nil); err == nil {
			t.Error("another tenant's content was taken")
		}
	})
}

func TestContentAborted(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		ctx, cancel := context.WithCancel(t.Context())
		cw := w.tenant.NewContent(ctx)
		if _, err := cw.Write(make([]byte, 2<<20)); err != nil {
			t.Fatal(err)
		}
		cancel() // the upload broke
		if _, err := cw.Write(make([]byte, 2<<20)); !errors.Is(err, context.Canceled) {
			t.Errorf("write after the request has ended: %v", err)
		}
		cw.Abort()
		if n := must[int](t)(w.Sweep(t.Context(), 0)); n != 0 {
			t.Errorf("%d things were left", n)
		}
		// What nobody aborted goes after a day, and not before.
		left := w.tenant.NewContent(t.Context())
		if _, err := left.Write(make([]byte, 2<<20)); err != nil {
			t.Fatal(err)
		}
		done := w.tenant.NewContent(t.Context())
		if _, err := done.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		id, _, err := done.Close()
		if err != nil {
			t.Fatal(err)
		}
		if n := must[int](t)(w.Sweep(t.Context(), 0)); n != 0 {
			t.Errorf("%d swept at once", n)
		}
		w.clock.pass(25 * time.Hour)
		if n := must[int](t)(w.Sweep(t.Context(), 0)); n != 2 {
			t.Errorf("%d swept after a day, want 2", n)
		}
		if _, err := w.OpenContent(t.Context(), w.tenant.ID(), id); !errors.Is(err, store.ErrContentGone) {
			t.Errorf("swept content: %v", err)
		}
	})
}

// A long content costs little memory on the way in and on the way out.
func TestContentMemory(t *testing.T) {
	const size = 100 << 20
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		peak := func() {
			runtime.ReadMemStats(&after)
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
				t.Fatalf("%d MiB more in use", grown>>20)
			}
		}
		cw := w.tenant.NewContent(t.Context())
		source := rand.NewChaCha8([32]byte{})
		in, out := sha256.New(), sha256.New()
		block := make([]byte, 1<<20)
		for range size / len(block) {
			_, _ = source.Read(block)
			in.Write(block)
			if _, err := cw.Write(block); err != nil {
				t.Fatal(err)
			}
			peak()
		}
		id, _, err := cw.Close()
		if err != nil {
			t.Fatal(err)
		}
		r, err := w.OpenContent(t.Context(), w.tenant.ID(), id)
		if err != nil {
			t.Fatal(err)
		}
		for {
			n, err := io.ReadFull(r, block)
			out.Write(block[:n])
			if err != nil {
				break
			}
			peak()
		}
		if !bytes.Equal(in.Sum(nil), out.Sum(nil)) {
			t.Error("the content came back changed")
		}
	})
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	s := storetest.SQLite(t, func(c *store.Config) { c.MinFreeBytes = 1 << 60 })
	tenant, admin := newTenant(t, s, "acme")
	m := store.NewMessage{
		UserID: admin.ID, RelayID: newRelay(t, tenant, "main").ID, Content: []byte("x"),
		Recipients: []store.NewRecipient{{Address: "bob@example.net"}},
	}
	if _, err := tenant.Accept(t.Context(), []store.NewMessage{m}, nil); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("accept: %v", err)
	}
	cw := tenant.NewContent(t.Context())
	if _, err := cw.Write(make([]byte, 2<<20)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("write: %v", err)
	}
	cw.Abort()
}

// A message that was scheduled far ahead is not forgotten the moment it has ended.
func TestRetentionBeginsAtTheEnd(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		m := w.message()
		m.SendAt = w.clock.now().Add(100 * 24 * time.Hour)
		w.accept(t, m)
		w.clock.pass(100 * 24 * time.Hour)
		w.record(t, w.outcome(w.one(t), store.Failed))
		sweep := func() {
			for must[int](t)(w.Sweep(t.Context(), 0)) > 0 {
			}
		}
		for _, after := range []time.Duration{time.Hour, 28 * 24 * time.Hour} {
			w.clock.pass(after)
			sweep()
			if d := w.detail(t, m.ID); d.State != store.MessageState(store.Failed) || d.ContentPurged {
				t.Errorf("%s later: %+v", after, d.Message)
			}
		}
		w.clock.pass(2 * 24 * time.Hour)
		sweep()
		if d := w.detail(t, m.ID); !d.ContentPurged {
			t.Errorf("31 days after its end: %+v", d.Message)
		}
		w.clock.pass(91 * 24 * time.Hour)
		sweep()
		if _, err := w.tenant.Message(t.Context(), m.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("91 days after its end: %v", err)
		}
	})
}

func TestRetention(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		var finished []uuid.UUID
		for range 3 {
			m := w.message()
			w.accept(t, m)
			w.record(t, w.outcome(w.one(t), store.Failed))
			finished = append(finished, m.ID)
		}
		waiting := w.message()
		waiting.SendAt = w.clock.now().Add(1000 * 24 * time.Hour)
		w.accept(t, waiting)
		sweep := func() int {
			t.Helper()
			total := 0
			for {
				n := must[int](t)(w.Sweep(t.Context(), 2))
				if n == 0 {
					return total
				}
				total += n
			}
		}
		w.clock.pass(29 * 24 * time.Hour)
		if n := sweep(); n != 0 {
			t.Errorf("%d swept after 29 days", n)
		}
		w.clock.pass(2 * 24 * time.Hour)
		if n := sweep(); n != 3 {
			t.Errorf("%d contents swept after 31 days", n)
		}
		if d := w.detail(t, finished[0]); !d.ContentPurged {
			t.Errorf("content: %+v", d.Message)
		}
		if err := w.tenant.Retry(t.Context(), finished[0], by()); !errors.Is(err, store.ErrContentGone) {
			t.Errorf("retry: %v", err)
		}
		w.clock.pass(60 * 24 * time.Hour)
		if n := sweep(); n != 3+7 { // messages; 4 queued and 3 failed events
			t.Errorf("%d swept after 91 days", n)
		}
		if list := listAll(t, w.tenant, store.MessageFilter{}); len(list) != 1 || list[0].ID != waiting.ID {
			t.Errorf("left: %+v", list)
		}
		readAll(t, must[io.ReadCloser](t)(w.OpenContent(t.Context(), w.tenant.ID(), waiting.ID)))
	})
}
