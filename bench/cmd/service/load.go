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
	req.Header.Set("Authorization", "Bearer "+c.key)
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

// letter is the request for a message whose text and HTML have about size octets.
func letter(relay, id string, size int) []byte {
	text := strings.Repeat(words, size/2/len(words)+1)
	b, err := json.Marshal(map[string]any{
		"from": "Shop <shop@example.com>", "to": []string{"zoe@example.net"}, "subject": "Your receipt – Größe 42",
		"text_body": text[:size/2], "html_body": "<p>" + text[:size/2] + "</p>",
		"headers": map[string]string{"X-Bench-Id": id}, "relay_id": relay,
	})
	if err != nil {
		panic(err) // strings only
	}
	return b
}

// load is what several callers at once saw.
type load struct {
	n     int
	took  time.Duration // from the first request to the last answer
	waits []time.Duration
}

func (l load) rate() float64 { return float64(l.n) / l.took.Seconds() }

// at is a percentile of the waits for an answer, in milliseconds.
func (l load) at(percent int) float64 {
	slices.Sort(l.waits)
	return float64(l.waits[(len(l.waits)-1)*percent/100].Microseconds()) / 1000
}

// post lets callers send messages at the same time until limit messages are accepted or
// aim is over. Ids begin with prefix.
func (c *caller) post(ctx context.Context, callers, limit int, aim time.Duration, relay, prefix string) (load, error) {
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
				body := letter(relay, prefix+strconv.FormatInt(n, 10), 2048)
				at := time.Now()
				if err := c.ask(ctx, http.MethodPost, "/v1/messages", body, nil); err != nil {
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
