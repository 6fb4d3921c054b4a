package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

// Columns of the parts about one service.
const (
	startColumn  = "ms to ready"
	acceptedRate = "accepted/s"
	acceptP50    = "p50 ms"
	acceptP99    = "p99 ms"
	sentRate     = "sent/s"
	memoryColumn = "memory MB"
	attachRow    = "100 MB of attachments"
	attachMore   = "more memory MB"
)

func callersRow(n int) string { return fmt.Sprintf("%d callers", n) }

// cpuColumn is the column of a share of a message's cost.
func cpuColumn(name string) string { return "CPU µs a message, " + name }

// shares records what a message cost each process.
func (b *bencher) shares(db, row string, s spent, n int) {
	b.foreign(db, s)
	for _, name := range []string{useNode, useDatabase, useSink, useLoad} {
		if _, ok := s.by[name]; ok {
			b.add(db, row, cpuColumn(name), s.each(name, n))
		}
	}
}

// with calls fn with a service begun anew.
func (b *bencher) with(ctx context.Context, db string, fn func(*lab) error) error {
	l, err := launch(ctx, b, db)
	if err != nil {
		return err
	}
	return errors.Join(fn(l), l.stop())
}

// starts measures how long an empty service takes to be ready.
func starts(ctx context.Context, b *bencher) error {
	return b.each(func(_ int, db string) error {
		return b.with(ctx, db, func(l *lab) error {
			b.add(db, "empty data directory", startColumn, ms(l.nodes[0].ready))
			return nil
		})
	})
}

// accepts measures taking messages in alone: their relay is paused.
func accepts(ctx context.Context, b *bencher) error {
	return b.each(func(_ int, db string) error {
		return b.with(ctx, db, func(l *lab) error {
			relay, err := l.relay(ctx, l.caller, "/v1/relays", "sink")
			if err != nil {
				return err
			}
			if err := l.caller.ask(ctx, http.MethodPost, "/v1/relays/"+relay+"/pause", []byte(`{"reason":"measuring"}`), nil); err != nil {
				return err
			}
			for _, callers := range []int{8, 64} {
				w, err := l.users().start()
				if err != nil {
					return err
				}
				got, err := post(ctx, callers, noLimit, b.s.aim, l.caller.to(relay, fmt.Sprintf("accept-%d-", callers)))
				if err != nil {
					return err
				}
				cost, err := w.end()
				if err != nil {
					return err
				}
				row := callersRow(callers)
				b.add(db, row, acceptedRate, got.rate())
				b.add(db, row, acceptP50, got.at(50))
				b.add(db, row, acceptP99, got.at(99))
				b.shares(db, row, cost, got.n)
			}
			return nil
		})
	})
}

// sends measures from the first request to the last message at the sink.
func sends(ctx context.Context, b *bencher) error {
	return b.each(func(_ int, db string) error {
		return b.with(ctx, db, func(l *lab) error {
			relay, err := l.relay(ctx, l.caller, "/v1/relays", "sink")
			if err != nil {
				return err
			}
			for _, callers := range []int{8, 64} {
				row := callersRow(callers)
				_, err := l.through(ctx, row, callers, noLimit, l.caller.to(relay, fmt.Sprintf("send-%d-", callers)))
				if err != nil {
					return err
				}
				m, err := l.nodes[0].memory("VmRSS")
				if err != nil {
					return err
				}
				b.add(db, row, memoryColumn, m)
			}
			return nil
		})
	})
}

// through measures a run end to end and records it in a row.
func (l *lab) through(ctx context.Context, row string, callers, limit int, do send) (spent, error) {
	if err := l.sink.Reset(ctx); err != nil {
		return spent{}, err
	}
	w, err := l.users().start()
	if err != nil {
		return spent{}, err
	}
	got, err := post(ctx, callers, limit, l.b.s.aim, do)
	if err != nil {
		return spent{}, err
	}
	if err := l.once(ctx, got.n); err != nil {
		return spent{}, err
	}
	cost, err := w.end()
	if err != nil {
		return spent{}, err
	}
	l.b.add(l.db, row, acceptedRate, got.rate())
	l.b.add(l.db, row, acceptP50, got.at(50))
	l.b.add(l.db, row, acceptP99, got.at(99))
	l.b.add(l.db, row, sentRate, float64(got.n)/cost.wall.Seconds())
	l.b.shares(l.db, row, cost, got.n)
	return cost, nil
}

// attachments measures the memory for one request with 100 MB of attachments, once: it is no matter of chance.
func attachments(ctx context.Context, b *bencher) error {
	for _, db := range b.databases {
		if err := b.with(ctx, db, func(l *lab) error { return l.attachment(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) attachment(ctx context.Context) error {
	relay, err := l.relay(ctx, l.caller, "/v1/relays", "sink")
	if err != nil {
		return err
	}
	// A first message, so that what every process needs once is there.
	if err := l.caller.ask(ctx, http.MethodPost, "/v1/messages", letter(relay, "small"), nil); err != nil {
		return err
	}
	if err := l.sink.Wait(ctx, "small"); err != nil {
		return err
	}
	raw := make([]byte, l.b.s.attach)
	_, _ = rand.Read(raw) // never fails, by its documentation
	text := base64.StdEncoding.EncodeToString(raw)
	var list []map[string]string
	for i := range 4 {
		list = append(list, map[string]string{"filename": fmt.Sprintf("%d.bin", i), "content_type": "application/octet-stream", "content": text})
	}
	body, err := json.Marshal(map[string]any{
		"from": "a@example.com", "to": []string{"b@example.net"}, "subject": "large", "text_body": "see below",
		"headers": map[string]string{"X-Bench-Id": "large"}, "relay_id": relay, "attachments": list,
	})
	if err != nil {
		return err
	}
	n := l.nodes[0]
	// 5 sets the highest mark back to what is in use now (proc(5)).
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", n.cmd.Process.Pid), []byte("5"), 0o200); err != nil {
		return err
	}
	before, err := n.memory("VmRSS")
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := l.caller.ask(ctx, http.MethodPost, "/v1/messages", body, nil); err != nil {
		return err
	}
	accepted := time.Since(begun)
	if err := l.sink.Wait(ctx, "large"); err != nil {
		return err
	}
	sent := time.Since(begun)
	most, err := n.memory("VmHWM")
	l.b.add(l.db, attachRow, attachMore, most-before)
	l.b.add(l.db, attachRow, "accepted after ms", ms(accepted))
	l.b.add(l.db, attachRow, "sent after ms", ms(sent))
	return err
}
