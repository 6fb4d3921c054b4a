package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// noLimit is more messages than any run gets to; noAim longer than any takes.
const (
	noLimit = 1 << 40
	noAim   = 24 * time.Hour
)

// caller is one tenant's program.
type caller struct {
	url, key string
	client   *http.Client
}

// ask sends one request and reads the answer; into may be nil.
func (c *caller) ask(ctx context.Context, method, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
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
		return fmt.Errorf("%s %s: %s: %.300s", method, path, res.Status, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

// words fill the bodies: some characters beyond ASCII, as people write.
const words = "Dear Zoë, thank you for your order of crêpes from the café near Łódź. "

// content is the message that everything is measured with: text and HTML of together about 2 KB.
type content struct{ from, to, subject, text, html string }

func letterOf() content {
	half := strings.Repeat(words, 1024/len(words)+1)[:1024]
	return content{"Shop <shop@example.com>", "zoe@example.net", "Your receipt – Größe 42", half, "<p>" + half + "</p>"}
}

// letter is our request for that message.
func letter(relay, id string) []byte {
	c := letterOf()
	b, err := json.Marshal(map[string]any{
		"from": c.from, "to": []string{c.to}, "subject": c.subject, "text_body": c.text, "html_body": c.html,
		"headers": map[string]string{"X-Bench-Id": id}, "relay_id": relay,
	})
	if err != nil {
		panic(err) // strings only
	}
	return b
}

// send hands over one message of a worker; the message's number is unlike all others of the run.
type send func(ctx context.Context, worker int, n int64) error

// to is how a caller sends over a relay; ids begin with prefix.
func (c *caller) to(relay, prefix string) send {
	return func(ctx context.Context, _ int, n int64) error {
		return c.ask(ctx, http.MethodPost, "/v1/messages", letter(relay, prefix+strconv.FormatInt(n, 10)), nil)
	}
}

// load is what several callers at once saw.
type load struct {
	n     int
	took  time.Duration // from the first request to the last answer
	waits []time.Duration
}

func (l load) rate() float64 { return float64(l.n) / l.took.Seconds() }

// at is a percentile of the waits for an answer, in milliseconds.
func (l load) at(percent int) float64 { return percentile(l.waits, percent) }

// percentile of some times, in milliseconds.
func percentile(waits []time.Duration, percent int) float64 {
	slices.Sort(waits)
	return ms(waits[(len(waits)-1)*percent/100])
}

// post lets callers send messages at the same time until limit messages are accepted or
// aim is over.
func post(ctx context.Context, callers, limit int, aim time.Duration, do send) (load, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	waits := make([][]time.Duration, callers)
	var next atomic.Int64
	var all sync.WaitGroup
	begun := time.Now()
	for i := range callers {
		all.Go(func() {
			for time.Since(begun) < aim && ctx.Err() == nil {
				n := next.Add(1)
				if n > int64(limit) {
					return
				}
				at := time.Now()
				if err := do(ctx, i, n); err != nil {
					cancel(err)
					return
				}
				waits[i] = append(waits[i], time.Since(at))
			}
		})
	}
	all.Wait()
	l := load{took: time.Since(begun), waits: slices.Concat(waits...)}
	l.n = len(l.waits)
	if err := context.Cause(ctx); err != nil {
		return l, err
	}
	if l.n == 0 {
		return l, fmt.Errorf("nothing was accepted within %s", aim)
	}
	return l, nil
}
