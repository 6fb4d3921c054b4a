package relaytest

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy stands before a TCP server and delays every byte by half a round trip
// in each direction. It is a delay line: bytes sent together arrive together,
// so pipelining pays as on a real link. The connection's own setup is emulated
// too: the server is connected after 1.5 round trips, so its greeting reaches
// the client after 2. Bandwidth, loss and slow start are not modelled.
type Proxy struct {
	// Addr is the loopback address to connect to, as host:port.
	Addr string

	rtt    time.Duration
	listen net.Listener
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	gates  [2]gate // by direction

	mu     sync.Mutex
	target string
	links  map[*link]struct{}
	count  ProxyCounters
}

// ProxyCounters are sums over all connections of a proxy so far.
type ProxyCounters struct {
	// Connections is the number of accepted connections.
	Connections int
	// Turns is how often the client side waited for the server: bytes of the
	// server reached the client while nothing of the client's was under way,
	// and the client had sent something since the last turn. The greeting is
	// one turn, a TLS handshake one or more; the TCP handshake is none.
	// Without a delay (rtt 0) it is the number of changes of direction.
	Turns int
	// BytesToServer and BytesToClient were passed on.
	BytesToServer int64
	BytesToClient int64
}

// StartProxy starts a proxy before target (host:port). rtt is the round-trip
// time; zero passes everything on at once. At the end of the test all
// connections are cut.
func StartProxy(t testing.TB, target string, rtt time.Duration) *Proxy {
	t.Helper()
	return StartProxyAt(t, "127.0.0.1:0", target, rtt)
}

// StartProxyAt is StartProxy at an address of the caller's choice, such as one
// with the port of another proxy and another address of 127.0.0.0/8.
func StartProxyAt(t testing.TB, address, target string, rtt time.Duration) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("relaytest: start proxy: %v", err)
	}
	p := &Proxy{
		Addr: l.Addr().String(), target: target, rtt: rtt, listen: l,
		links: map[*link]struct{}{},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.wg.Go(p.accept)
	t.Cleanup(p.Close)
	return p
}

// Close refuses new connections, cuts the present ones and waits until all are
// gone. Closing twice does nothing.
func (p *Proxy) Close() {
	p.cancel()
	_ = p.listen.Close()
	p.Cut()
	p.wg.Wait()
}

// Retarget has new connections go to another server (host:port), as a changed
// route does. Present ones stay where they are.
func (p *Proxy) Retarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

func (p *Proxy) targetNow() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.target
}

// Counters returns the sums so far.
func (p *Proxy) Counters() ProxyCounters {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// Turns returns how often the client side waited so far; see ProxyCounters.
func (p *Proxy) Turns() int { return p.Counters().Turns }

// Cut breaks every present connection with a TCP reset on both sides; bytes
// under way are lost. New connections are served.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.cut()
	}
}

// Freeze stops all bytes in both directions, of present and of new connections,
// until Resume. Connections stay open, as with a dead server or a lost route.
func (p *Proxy) Freeze() {
	p.gates[toServer].shut()
	p.gates[toClient].shut()
}

// FreezeReplies is Freeze for the direction from server to client only: the
// server gets and does all that is asked, and the client does not hear of it.
func (p *Proxy) FreezeReplies() { p.gates[toClient].shut() }

// Resume lets bytes flow again after Freeze or FreezeReplies. Those held back
// arrive first.
func (p *Proxy) Resume() {
	p.gates[toServer].open()
	p.gates[toClient].open()
}

func (p *Proxy) accept() {
	for {
		c, err := p.listen.Accept()
		if err != nil {
			return
		}
		l := newLink(p, c)
		p.mu.Lock()
		p.count.Connections++
		p.links[l] = struct{}{}
		p.mu.Unlock()
		// Close may have cut all links just before this one was listed.
		if p.ctx.Err() != nil {
			l.cut()
		}
		p.wg.Go(func() {
			l.run()
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.links, l)
		})
	}
}

// gate holds bytes back while it is shut. The zero gate is open.
type gate struct {
	mu     sync.Mutex
	closed chan struct{} // nil when open; closed on opening
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		close(g.closed)
		g.closed = nil
	}
}

// pass waits until the gate is open. It reports false if ctx ended first.
func (g *gate) pass(ctx context.Context) bool {
	for {
		g.mu.Lock()
		closed := g.closed
		g.mu.Unlock()
		if closed == nil {
			return true
		}
		select {
		case <-closed:
		case <-ctx.Done():
			return false
		}
	}
}
