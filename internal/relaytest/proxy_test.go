package relaytest_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/relaytest"
)

// greeter is a line server: it greets, then answers each line with "ok LINE".
// It reports each line on heard before it answers.
func greeter(t *testing.T) (addr string, heard chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	heard = make(chan string, 100)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				fmt.Fprint(c, "hello\n")
				for s := bufio.NewScanner(c); s.Scan(); {
					heard <- s.Text()
					fmt.Fprintf(c, "ok %s\n", s.Text())
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String(), heard
}

func dial(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, bufio.NewReader(c)
}

func expect(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	got, err := r.ReadString('\n')
	if err != nil || got != want+"\n" {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

func TestProxyCountsTurns(t *testing.T) {
	for _, rtt := range []time.Duration{0, 20 * time.Millisecond} {
		t.Run(rtt.String(), func(t *testing.T) {
			target, _ := greeter(t)
			proxy := relaytest.StartProxy(t, target, rtt)
			begin := time.Now()
			c, r := dial(t, proxy.Addr)
			expect(t, r, "hello")
			// One line at a time: a turn each.
			for _, line := range []string{"a", "b", "c"} {
				fmt.Fprintln(c, line)
				expect(t, r, "ok "+line)
			}
			// Pipelined: one turn for all.
			fmt.Fprint(c, "d\ne\nf\n")
			expect(t, r, "ok d")
			expect(t, r, "ok e")
			expect(t, r, "ok f")

			got := proxy.Counters()
			want := relaytest.ProxyCounters{Connections: 1, Turns: 5, BytesToServer: 12, BytesToClient: 6 + 6*5}
			if got != want {
				t.Errorf("counters = %+v, want %+v", got, want)
			}
			// Emulated set-up and greeting are two round trips, each turn one.
			if elapsed := time.Since(begin); elapsed < 6*rtt {
				t.Errorf("took %v, less than six round trips of %v", elapsed, rtt)
			}
		})
	}
}

func TestProxyCut(t *testing.T) {
	target, _ := greeter(t)
	proxy := relaytest.StartProxy(t, target, 0)
	_, r := dial(t, proxy.Addr)
	expect(t, r, "hello")
	proxy.Cut()
	if _, err := r.ReadByte(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("after Cut: %v, want a reset", err)
	}
	_, r = dial(t, proxy.Addr)
	expect(t, r, "hello")
	proxy.Close()
	if c, err := net.Dial("tcp", proxy.Addr); err == nil {
		c.Close()
		t.Error("a closed proxy took a connection")
	}
}

func TestProxyFreeze(t *testing.T) {
	target, heard := greeter(t)
	proxy := relaytest.StartProxy(t, target, 0)
	c, r := dial(t, proxy.Addr)
	expect(t, r, "hello")

	proxy.FreezeReplies()
	fmt.Fprintln(c, "a")
	if got := <-heard; got != "a" {
		t.Fatalf("server heard %q", got)
	}
	if got := proxy.Counters().BytesToClient; got != 6 {
		t.Errorf("%d bytes to the client while its direction is frozen", got)
	}
	proxy.Freeze()
	fmt.Fprintln(c, "b")
	if n := proxy.Counters().BytesToServer; n != 2 || len(heard) != 0 {
		t.Errorf("%d bytes to the server while frozen", n)
	}
	proxy.Resume()
	expect(t, r, "ok a")
	expect(t, r, "ok b")

	// A frozen connection can be cut.
	proxy.Freeze()
	fmt.Fprintln(c, "c")
	proxy.Cut()
	if _, err := r.ReadByte(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("after Cut: %v, want a reset", err)
	}
}

func TestProxyEndsOfConnections(t *testing.T) {
	target, _ := greeter(t)
	proxy := relaytest.StartProxy(t, target, 2*time.Millisecond)
	c, r := dial(t, proxy.Addr)
	// The server gets the line, then the end; its answer still comes back.
	fmt.Fprintln(c, strings.Repeat("x", 1000))
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if want := "hello\nok " + strings.Repeat("x", 1000) + "\n"; err != nil || string(rest) != want {
		t.Errorf("got %q, %v", rest, err)
	}

	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	proxy = relaytest.StartProxy(t, gone.Addr().String(), 0)
	// The reset may come before or after the system has set the connection up.
	if c, err := net.Dial("tcp", proxy.Addr); err == nil {
		defer c.Close()
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a byte from a server that does not exist")
		}
	}
}

// New connections go to where the proxy points now; present ones stay.
func TestProxyRetarget(t *testing.T) {
	greet := func(text string) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, text)
				_ = c.Close()
			}
		}()
		return l.Addr().String()
	}
	read := func(address string) string {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		text, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	p := relaytest.StartProxyAt(t, "127.0.0.2:0", greet("one"), 0)
	if got := read(p.Addr); got != "one" {
		t.Fatalf("got %q", got)
	}
	p.Retarget(greet("two"))
	if got := read(p.Addr); got != "two" {
		t.Errorf("got %q after the change", got)
	}
}
