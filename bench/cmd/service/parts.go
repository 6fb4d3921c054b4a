package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/postrider/postrider/bench/sinkproc"
)

// noLimit is more messages than any run gets to.
const noLimit = math.MaxInt32

// accepts measures taking messages in alone: their relay is paused.
func (l *lab) accepts(ctx context.Context) ([]figure, error) {
	relay, err := l.relay(ctx, l.caller, "/v1/relays", "sink")
	if err != nil {
		return nil, err
	}
	if err := l.caller.ask(ctx, http.MethodPost, "/v1/relays/"+relay+"/pause", []byte(`{"reason":"measuring"}`), nil); err != nil {
		return nil, err
	}
	var figures []figure
	for _, callers := range []int{8, 64} {
		before, err := l.cpu()
		if err != nil {
			return nil, err
		}
		got, err := l.caller.post(ctx, callers, noLimit, l.s.aim, relay, fmt.Sprintf("accept-%d-", callers))
		if err != nil {
			return nil, err
		}
		after, err := l.cpu()
		if err != nil {
			return nil, err
		}
		figures = append(
			figures,
			figure{l.db, fmt.Sprintf("accepted/s, %d callers", callers), got.rate()},
			figure{l.db, fmt.Sprintf("accept p50 ms, %d callers", callers), got.at(50)},
			figure{l.db, fmt.Sprintf("accept p99 ms, %d callers", callers), got.at(99)},
			figure{l.db, fmt.Sprintf("accept CPU µs a message, %d callers", callers), float64((after - before).Microseconds()) / float64(got.n)},
		)
	}
	return figures, nil
}

// sends measures from the first request to the last message at the sink.
func (l *lab) sends(ctx context.Context) ([]figure, error) {
	relay, err := l.relay(ctx, l.caller, "/v1/relays", "sink")
	if err != nil {
		return nil, err
	}
	var figures []figure
	for _, callers := range []int{8, 64} {
		if err := l.sink.Reset(ctx); err != nil {
			return nil, err
		}
		cpu, err := l.cpu()
		if err != nil {
			return nil, err
		}
		begun := time.Now()
		got, err := l.caller.post(ctx, callers, noLimit, l.s.aim, relay, fmt.Sprintf("send-%d-", callers))
		if err != nil {
			return nil, err
		}
		if err := arrived(ctx, l.sink, got.n); err != nil {
			return nil, err
		}
		took := time.Since(begun)
		after, err := l.cpu()
		if err != nil {
			return nil, err
		}
		figures = append(
			figures,
			figure{l.db, fmt.Sprintf("accepted/s while sending, %d callers", callers), got.rate()},
			figure{l.db, fmt.Sprintf("accept p99 ms while sending, %d callers", callers), got.at(99)},
			figure{l.db, fmt.Sprintf("sent/s end to end, %d callers", callers), float64(got.n) / took.Seconds()},
			figure{l.db, fmt.Sprintf("sent CPU µs a message, %d callers", callers), float64((after - cpu).Microseconds()) / float64(got.n)},
		)
	}
	m, err := l.memory("VmRSS")
	return append(figures, figure{l.db, "memory MB, after sending", m}), err
}

// arrived waits until the sink has n messages, and no more.
func arrived(ctx context.Context, s *sinkproc.Sink, n int) error {
	last, at := int64(-1), time.Now()
	for {
		c, err := s.Stats(ctx)
		if err != nil {
			return err
		}
		switch {
		case c.DupIDs > 0 || c.UniqueIDs > int64(n):
			return fmt.Errorf("%d of %d messages came twice", c.DupIDs, c.UniqueIDs)
		case c.UniqueIDs == int64(n):
			return nil
		case c.UniqueIDs != last:
			last, at = c.UniqueIDs, time.Now()
		case time.Since(at) > 30*time.Second:
			return fmt.Errorf("%d of %d messages have come, and none for 30 s", c.UniqueIDs, n)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// newcomer measures how long one tenant's single messages wait while another's queue is
// being sent, on a relay of its own and on one that both share.
func (l *lab) newcomer(ctx context.Context) ([]figure, error) {
	operator := &caller{url: l.url, key: l.tenant.OperatorKey, client: l.caller.client}
	c := l.program(ctx, "tenant", "create", "second", "--email", "admin@example.net", "--json")
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("postrider tenant create: %w", err)
	}
	var second account
	if err := json.Unmarshal(out, &second); err != nil {
		return nil, err
	}
	other := &caller{url: l.url, key: second.APIKey, client: newClient()}
	shared, err := l.relay(ctx, operator, "/v1/operator/relays", "shared")
	if err != nil {
		return nil, err
	}
	for _, t := range []string{l.tenant.TenantID, second.TenantID} {
		if err := operator.ask(ctx, http.MethodPut, "/v1/operator/relays/"+shared+"/tenants/"+t, nil, nil); err != nil {
			return nil, err
		}
	}
	var figures []figure
	for _, kind := range []string{"own", "shared"} {
		mine, theirs := shared, shared
		if kind == "own" {
			if mine, err = l.relay(ctx, other, "/v1/relays", "own"); err != nil {
				return nil, err
			}
			if theirs, err = l.relay(ctx, l.caller, "/v1/relays", "own"); err != nil {
				return nil, err
			}
		}
		waits, err := l.behind(ctx, other, mine, theirs, kind)
		if err != nil {
			return nil, err
		}
		slices.Sort(waits)
		figures = append(
			figures,
			figure{l.db, "newcomer, " + kind + " relay, median ms", waits[len(waits)/2]},
			figure{l.db, "newcomer, " + kind + " relay, worst ms", waits[len(waits)-1]},
		)
	}
	return figures, nil
}

// behind queues messages of the first tenant and, while they are sent, sends single
// ones of the other: from the answer 202 to the sink's 250.
func (l *lab) behind(ctx context.Context, other *caller, mine, theirs, kind string) ([]float64, error) {
	path := "/v1/relays/" + theirs
	pauser := l.caller
	if kind == "shared" {
		path = "/v1/operator/relays/" + theirs
		pauser = &caller{url: l.url, key: l.tenant.OperatorKey, client: l.caller.client}
	}
	if err := pauser.ask(ctx, http.MethodPost, path+"/pause", []byte(`{"reason":"measuring"}`), nil); err != nil {
		return nil, err
	}
	got, err := l.caller.post(ctx, 64, l.s.queue, time.Hour, theirs, "queue-"+kind+"-")
	if err != nil {
		return nil, err
	}
	if err := l.sink.Reset(ctx); err != nil {
		return nil, err
	}
	if err := pauser.ask(ctx, http.MethodPost, path+"/resume", nil, nil); err != nil {
		return nil, err
	}
	var waits []float64
	for i := range 200 {
		id := "newcomer-" + kind + "-" + strconv.Itoa(i)
		seen := make(chan error, 1)
		go func() { seen <- l.sink.Wait(ctx, id) }()
		if err := other.ask(ctx, http.MethodPost, "/v1/messages", letter(mine, id, 2048), nil); err != nil {
			return nil, err
		}
		at := time.Now()
		if err := <-seen; err != nil {
			return nil, err
		}
		waits = append(waits, max(0, float64(time.Since(at).Microseconds())/1000))
		c, err := l.sink.Stats(ctx)
		if err != nil {
			return nil, err
		}
		if c.UniqueIDs >= int64(got.n) {
			break // the queue is gone
		}
	}
	if len(waits) < 10 {
		return nil, errors.New("the queue was gone before ten messages of the newcomer; give a longer one with -queue")
	}
	return waits, nil
}

// attachment measures the memory for one request with 100 MB of attachments.
func (l *lab) attachment(ctx context.Context) ([]figure, error) {
	relay, err := l.relay(ctx, l.caller, "/v1/relays", "sink")
	if err != nil {
		return nil, err
	}
	// A first message, so that what every process needs once is there.
	if err := l.caller.ask(ctx, http.MethodPost, "/v1/messages", letter(relay, "small", 2048), nil); err != nil {
		return nil, err
	}
	if err := l.sink.Wait(ctx, "small"); err != nil {
		return nil, err
	}
	raw := make([]byte, 25_000_000)
	_, _ = rand.Read(raw) // never fails, by its documentation
	content := base64.StdEncoding.EncodeToString(raw)
	var attachments []map[string]string
	for i := range 4 {
		attachments = append(attachments, map[string]string{"filename": fmt.Sprintf("%d.bin", i), "content_type": "application/octet-stream", "content": content})
	}
	body, err := json.Marshal(map[string]any{
		"from": "a@example.com", "to": []string{"b@example.net"}, "subject": "large", "text_body": "see below",
		"headers": map[string]string{"X-Bench-Id": "large"}, "relay_id": relay, "attachments": attachments,
	})
	if err != nil {
		return nil, err
	}
	// 5 sets the highest mark back to what is in use now (proc(5)).
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", l.node.Process.Pid), []byte("5"), 0o200); err != nil {
		return nil, err
	}
	before, err := l.memory("VmRSS")
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := l.caller.ask(ctx, http.MethodPost, "/v1/messages", body, nil); err != nil {
		return nil, err
	}
	accepted := time.Since(begun)
	if err := l.sink.Wait(ctx, "large"); err != nil {
		return nil, err
	}
	most, err := l.memory("VmHWM")
	return []figure{
		{l.db, "100 MB of attachments, more memory MB", most - before},
		{l.db, "100 MB of attachments, accepted after ms", float64(accepted.Milliseconds())},
	}, err
}
