package chaos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// caller is a program that hands in messages.
type caller struct {
	url, key string
	client   *http.Client
}

// refusedError is an answer that is not 2xx.
type refusedError struct {
	status int
	text   string
}

func (e *refusedError) Error() string { return fmt.Sprintf("%d: %.400s", e.status, e.text) }

// later says whether err is one that a caller in a world full of faults must live with: no answer, or one that says "later".
func later(err error) bool {
	refused, ok := errors.AsType[*refusedError](err)
	if !ok {
		return true
	}
	return refused.status == http.StatusServiceUnavailable || refused.status == http.StatusConflict
}

// ask sends one request and reads the answer; once is the Idempotency-Key, empty for none.
func (c *caller) ask(ctx context.Context, method, path, once string, body, into any) error {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, sent)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if once != "" {
		req.Header.Set("Idempotency-Key", once)
	}
	res, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return &refusedError{res.StatusCode, string(answer)}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

// askOn asks until there is an answer that is not "later".
func (c *caller) askOn(ctx context.Context, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := c.ask(ctx, method, path, "", body, into)
		if err == nil || !later(err) || !pause(ctx, 50*time.Millisecond) {
			return err
		}
	}
}

// post hands a message in once; once is the Idempotency-Key, empty for none. What was answered goes into the ledger.
func (c *caller) post(ctx context.Context, e *entry, once string, body map[string]any, l *ledger) error {
	var made struct{ ID string }
	if err := c.ask(ctx, http.MethodPost, "/v1/messages", once, body, &made); err != nil {
		if refused, ok := errors.AsType[*refusedError](err); ok && refused.status == http.StatusServiceUnavailable {
			l.refused.Add(1)
		}
		return err
	}
	return l.accepted(e, made.ID)
}

// insist hands a message in again and again until it is accepted, under one Idempotency-Key.
func (c *caller) insist(ctx context.Context, e *entry, body map[string]any, l *ledger) error {
	for {
		err := c.post(ctx, e, "key-"+e.id, body, l)
		if err == nil || !later(err) {
			return err
		}
		if !pause(ctx, 30*time.Millisecond) {
			return errors.Join(ctx.Err(), err)
		}
	}
}

// keepPosting hands in messages, one after the other, until ctx ends: some once, some until they are accepted, for which
// last says how long that may take after the end. It returns the first answer that should not be.
func (w *world) keepPosting(ctx, last context.Context, r *rand.Rand) error {
	for pause(ctx, w.think(r)) {
		e := w.ledger.add(r.IntN(2) == 0)
		size := 1000
		if r.IntN(12) == 0 {
			size = 100_000 + r.IntN(500_000) // more than one piece of content, and many writes to the relay
		}
		body := letter(e, w.relays[r.IntN(len(w.relays))], size)
		if r.IntN(2) == 0 {
			if err := w.caller.insist(last, e, body, w.ledger); err != nil {
				return err
			}
			continue
		}
		// No key, no second try: who gets no answer does not know.
		if err := w.caller.post(last, e, "", body, w.ledger); err != nil && !later(err) {
			return err
		}
	}
	return nil
}

// think is how long a caller waits between messages. Several nodes with their two databases are several times the work.
func (w *world) think(r *rand.Rand) time.Duration {
	d := time.Duration(5+r.IntN(20)) * time.Millisecond
	if w.database == cluster {
		d *= 5
	}
	return d
}

// letter is the request for a message.
func letter(e *entry, relay string, size int) map[string]any {
	const words = "Dear Zoë, thank you for your order of crêpes from the café near Łódź. "
	unknown := "retry"
	if e.hold {
		unknown = "hold"
	}
	return map[string]any{
		"from": "shop@example.com", "to": []string{"zoe@example.net"}, "subject": "Receipt " + e.id, "on_unknown": unknown, "relay_id": relay,
		"text_body": strings.Repeat(words, size/len(words)+1), "headers": map[string]string{idField: e.id, relayField: relay},
	}
}

// entry is a message that somebody handed in.
type entry struct {
	n       int    // how many were handed in before it
	id      string // in the message's header
	hold    bool
	message string // the service's id; empty: it was never accepted, as far as the caller knows
	settled bool
	again   bool // somebody asked for a further attempt
}

// most is how many copies may arrive.
func (e *entry) most() int {
	most := 2
	if e.hold {
		most = 1
	}
	if e.again {
		most++
	}
	return most
}

// ledger has all messages that were handed in, by all callers.
type ledger struct {
	prefix  string
	refused atomic.Int64 // answers of 503

	mu      sync.Mutex
	entries []*entry
	count   int // accepted
}

func newLedger() *ledger { return &ledger{prefix: fmt.Sprintf("%08x", rand.Uint32())} }

// add makes an entry for a message that is about to be handed in.
func (l *ledger) add(hold bool) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.entries)
	e := &entry{n: n, id: fmt.Sprintf("%s-%d", l.prefix, n), hold: hold}
	l.entries = append(l.entries, e)
	return e
}

// accepted notes that a message was answered with 202. Another id than before is a fault: the same key made two messages.
func (l *ledger) accepted(e *entry, message string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.message != "" && e.message != message {
		return fmt.Errorf("message %s was accepted as %s and as %s", e.id, e.message, message)
	}
	if e.message == "" {
		l.count++
	}
	e.message = message
	return nil
}

// total is how many were accepted so far.
func (l *ledger) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// all are the entries so far. The callers must have ended.
func (l *ledger) all() []*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries
}
