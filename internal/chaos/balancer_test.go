package chaos_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/pgtest"
)

const (
	// answerWait is how long the balancer waits for a node's answer. A node that is stopped takes connections and says nothing.
	answerWait = 3 * time.Second
	// leftAlone is how long a node gets no requests that refused a connection or did not answer.
	leftAlone = time.Second
)

// balancer gives requests to nodes in turn, leaving out for a while those that do not answer, as a load balancer does. One that
// refuses a connection is passed over: it cannot have heard the request. It never sends a request twice that may have been heard.
type balancer struct {
	base *http.Transport

	mu    sync.Mutex
	ends  []*end
	turns int
}

// end is a node as the balancer knows it.
type end struct {
	url  *url.URL
	back time.Time // left alone until then
}

func newBalancer(t *testing.T, nodes []*node) *balancer {
	t.Helper()
	b := &balancer{base: &http.Transport{MaxIdleConnsPerHost: 64, ResponseHeaderTimeout: answerWait}}
	t.Cleanup(b.base.CloseIdleConnections)
	for _, n := range nodes {
		u, err := url.Parse(n.url)
		if err != nil {
			t.Fatal(err)
		}
		b.ends = append(b.ends, &end{url: u})
	}
	return b
}

// next is the node whose turn it is; if all are left alone, one of them.
func (b *balancer) next() *end {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for range b.ends {
		b.turns++
		if e := b.ends[b.turns%len(b.ends)]; e.back.Before(now) {
			return e
		}
	}
	b.turns++
	return b.ends[b.turns%len(b.ends)]
}

func (b *balancer) leave(e *end) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.back = time.Now().Add(leftAlone)
}

// RoundTrip gives a request to a node.
func (b *balancer) RoundTrip(req *http.Request) (*http.Response, error) {
	var err error
	for range b.ends {
		e := b.next()
		out := req.Clone(req.Context())
		out.URL.Scheme, out.URL.Host, out.Host = e.url.Scheme, e.url.Host, ""
		if req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			out.Body = body
		}
		var res *http.Response
		if res, err = b.base.RoundTrip(out); err == nil {
			return res, nil
		}
		if errors.Is(err, context.Canceled) {
			return nil, err
		}
		b.leave(e)
		if !errors.Is(err, syscall.ECONNREFUSED) || req.GetBody == nil && req.Body != nil {
			return nil, err
		}
	}
	return nil, err
}

// newBalanced makes a cluster, on the server of all tests, whose nodes callers do not know: they know the balancer.
func newBalanced(t *testing.T) *world {
	t.Helper()
	w := newCluster(t, pgtest.Shared(t), false)
	front := httptest.NewServer(newBalancer(t, w.nodes))
	t.Cleanup(front.Close)
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	w.caller.url, w.caller.client = front.URL, &http.Client{Transport: transport, Timeout: 20 * time.Second}
	return w
}

// ServeHTTP makes it a server for callers that know one address.
func (b *balancer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	out := req.Clone(req.Context())
	out.RequestURI = ""
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the caller is gone
	}
	out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	res, err := b.RoundTrip(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer res.Body.Close()
	for name, values := range res.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(res.StatusCode)
	_, _ = io.Copy(w, res.Body) // the caller may be gone
}
