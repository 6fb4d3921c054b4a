package smtp_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
)

// hand is a server of which each octet is written by the test: play is called
// with each connection after EHLO was answered.
func hand(t *testing.T, secure bool, ehlo string, play func(nc net.Conn, line func() string)) smtp.Config {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer nc.Close()
				if secure {
					nc = tls.Server(&joining{Conn: nc}, &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
				}
				r := bufio.NewReader(nc)
				line := func() string { s, _ := r.ReadString('\n'); return s }
				_, _ = io.WriteString(nc, "220 x\r\n")
				line()
				_, _ = io.WriteString(nc, ehlo)
				play(nc, line)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	cfg := smtp.Config{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, TLSMode: smtp.TLSNone, LocalName: "c.example.com"}
	if secure {
		cfg.TLSMode, cfg.DangerouslySkipTLSVerify = smtp.TLSImplicit, true
	}
	return cfg
}

const whole = "250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n"

// take reads one flight of MAIL, RCPT, BDAT and the content (hello).
func take(line func() string) (ok bool) {
	for range 3 + strings.Count(hello, "\n") {
		if line() == "" {
			return false
		}
	}
	return true
}

// gated is a socket whose Read waits when told to.
type gated struct {
	*net.TCPConn
	on      atomic.Bool
	inside  atomic.Int32
	overlap atomic.Bool
}

func (g *gated) Read(p []byte) (int, error) {
	if !g.on.Load() {
		return g.TCPConn.Read(p)
	}
	if g.inside.Add(1) > 1 {
		g.overlap.Store(true)
	}
	defer g.inside.Add(-1)
	<-time.After(20 * time.Millisecond) // longer than messages may lie apart
	return g.TCPConn.Read(p)
}

// While the sender looks at what has come, the reader goroutine does not start.
func TestOneReaderAtATime(t *testing.T) {
	for range 10 {
		s := smtptest.StartT(t, smtptest.Config{})
		cfg := config(s)
		var g *gated
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			nc, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			g = &gated{TCPConn: nc.(*net.TCPConn)}
			return g, nil
		}
		c := dial(t, cfg)
		session := warm(t, s, c)
		session.CloseIdle()
		if err := s.WaitSessionsClosed(context.Background(), 1); err != nil {
			t.Fatal(err)
		}
		g.on.Store(true)
		if _, err := c.Send(t.Context(), bob(), text(hello)); !smtp.Stale(err) {
			t.Errorf("stale %t: %v", smtp.Stale(err), err)
		}
		c.Close()
		if g.overlap.Load() {
			t.Fatal("two readers at a time")
		}
	}
}

// A reply has its time, however many octets it comes at a time, also when the
// sender reads for itself.
func TestDripWhileSenderReads(t *testing.T) {
	cfg := hand(t, false, whole, func(nc net.Conn, line func() string) {
		for range 4 {
			if !take(line) {
				return
			}
			_, _ = io.WriteString(nc, "250 ok\r\n250 ok\r\n250 ok\r\n")
		}
		take(line)
		for range 200 {
			if _, err := io.WriteString(nc, "250-"[:1]); err != nil {
				return
			}
			<-time.After(10 * time.Millisecond)
			if _, err := io.WriteString(nc, "50-x\r\n"); err != nil {
				return
			}
		}
	})
	cfg.Timeouts.Mail = 300 * time.Millisecond
	c := dial(t, cfg)
	for range 4 {
		mustSend(t, c, bob(), text(hello))
	}
	_, err := c.Send(t.Context(), bob(), text(hello))
	if !errors.Is(err, os.ErrDeadlineExceeded) || !smtp.MaybeAccepted(err) {
		t.Errorf("class %q: %v", class(err), err)
	}
}

// joining lets several records of TLS leave in one segment.
type joining struct {
	net.Conn
	join bool
	held []byte
}

func (j *joining) Write(p []byte) (int, error) {
	if !j.join {
		return j.Conn.Write(p)
	}
	j.held = append(j.held, p...)
	return len(p), nil
}

func (j *joining) flush() error {
	j.join = false
	_, err := j.Conn.Write(j.held)
	return err
}

// What came with the last reply in a record of TLS of its own is seen before
// the next message: here a reply too many, after which each reply would be
// taken for that to the command before.
func TestSurplusRecord(t *testing.T) {
	messages := 0
	cfg := hand(t, true, whole, func(nc net.Conn, line func() string) {
		wire := nc.(*tls.Conn).NetConn().(*joining)
		for take(line) {
			messages++
			if messages < 4 {
				_, _ = io.WriteString(nc, "250 ok\r\n250 ok\r\n250 ok\r\n")
				continue
			}
			if messages == 4 {
				wire.join = true
				_, _ = io.WriteString(nc, "250 ok\r\n250 ok\r\n250 ok\r\n")
				_, _ = io.WriteString(nc, "250 once more\r\n")
				_ = wire.flush()
				continue
			}
			_, _ = io.WriteString(nc, "250 ok\r\n250 ok\r\n554 no\r\n")
		}
	})
	c := dial(t, cfg)
	for range 4 {
		mustSend(t, c, bob(), text(hello))
	}
	if _, err := c.Send(t.Context(), bob(), text(hello)); err == nil || !smtp.Stale(err) {
		t.Errorf("stale %t: %v", smtp.Stale(err), err)
	}
}

// failingRead is a connection whose end looks to the client like err.
type failingRead struct {
	net.Conn
	err error
}

func (f failingRead) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if errors.Is(err, io.EOF) && f.err != nil {
		err = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", f.err)}
	}
	return n, err
}

// SetWriteDeadline does nothing: writing ends at once.
func (failingRead) SetWriteDeadline(time.Time) error { return nil }

// A flight on a connection that had rested, lost before any reply: not accepted
// if the server closed, but unknown if the network went silent after it had been
// delivered, or if an answer was on its way.
func TestIdleFlightLost(t *testing.T) {
	for name, tt := range map[string]struct {
		end   error
		torn  bool
		stale bool
	}{
		"closed":        {stale: true},
		"reset":         {end: syscall.ECONNRESET, stale: true},
		"silence":       {end: syscall.ETIMEDOUT},
		"no way":        {end: syscall.EHOSTUNREACH},
		"half a record": {torn: true},
		"torn by reset": {torn: true, end: syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			certificate(t)
			synctest.Test(t, func(t *testing.T) {
				var server sync.WaitGroup
				defer server.Wait()
				cfg := smtp.Config{Host: "localhost", LocalName: "c.example.com", TLSMode: smtp.TLSImplicit, DangerouslySkipTLSVerify: true}
				// Both ends write at once while TLS is agreed.
				cfg.Dial = buffered(func(context.Context, string, string) (net.Conn, error) {
					near, far := net.Pipe()
					server.Go(func() {
						defer far.Close()
						nc := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
						r := bufio.NewReader(nc)
						line := func() string { s, _ := r.ReadString('\n'); return s }
						_, _ = io.WriteString(nc, "220 x\r\n")
						line()
						_, _ = io.WriteString(nc, whole)
						take(line)
						if tt.torn {
							_, _ = far.Write([]byte{23, 3, 3, 0, 64, 1, 2, 3})
						}
					})
					return failingRead{near, tt.end}, nil
				})
				c := dial(t, cfg)
				rest(time.Minute)
				_, err := c.Send(context.Background(), bob(), text(hello))
				if smtp.Stale(err) != tt.stale || smtp.MaybeAccepted(err) == tt.stale {
					t.Errorf("class %q, stale %t: %v", class(err), smtp.Stale(err), err)
				}
				c.Close()
			})
		})
	}
}

// A block of content refused after others were taken is what the message failed
// of, also when the connection breaks while the next is written.
func TestBlockRefusedThenDropped(t *testing.T) {
	refused := make(chan struct{})
	cfg := hand(t, false, whole, func(nc net.Conn, line func() string) {
		line()
		line()
		_, _ = io.WriteString(nc, "250 ok\r\n250 ok\r\n")
		for _, reply := range []string{"250 ok\r\n", "552 5.3.4 too much\r\n"} {
			for l := line(); !strings.Contains(l, "BDAT"); l = line() {
				if l == "" {
					return
				}
			}
			_, _ = io.WriteString(nc, reply)
		}
		close(refused)
		for line() != "" {
		}
	})
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &brokenWrite{Conn: nc, limit: 5 << 18, when: refused}, nil
	}
	c := dial(t, cfg)
	_, err := c.Send(t.Context(), bob(), long(3<<20))
	if !smtp.IsPermanent(err) || asError(t, err).Code != 552 {
		t.Errorf("class %q: %v", class(err), err)
	}
}

// brokenWrite fails after limit octets, but not before when.
type brokenWrite struct {
	net.Conn
	limit int
	when  chan struct{}
}

func (b *brokenWrite) Write(p []byte) (int, error) {
	if b.limit -= len(p); b.limit >= 0 {
		return b.Conn.Write(p)
	}
	<-b.when
	return 0, &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)}
}

// QUIT does not wait for a reply to the lone dot that nobody asks for.
func TestQuitAfterLoneDot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := smtptest.NewT(t, smtptest.Config{Without: []string{"CHUNKING"}, Rules: []smtptest.Rule{
			on("RCPT", "", smtptest.Reply("550 5.1.1 no such user")),
			on("DATA", "", smtptest.Reply("354 go on")),
			on(smtptest.CommandContent, "", smtptest.Silence()),
		}})
		c := dial(t, pipeConfig(s))
		if _, err := c.Send(context.Background(), bob(), text(hello)); !smtp.IsPermanent(err) {
			t.Errorf("class %q: %v", class(err), err)
		}
		begin := time.Now()
		_ = c.Quit(context.Background())
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("QUIT took %v", took)
		}
	})
}

// A farewell that came while the message was prepared is that of a connection
// at rest: nothing was written.
func TestFarewellBeforeFlight(t *testing.T) {
	s := smtptest.StartT(t, smtptest.Config{})
	c := dial(t, config(s))
	mustSend(t, c, bob(), text(hello))
	slow := preparing{text(hello), func() {
		_ = s.Sessions()[0].Write("421 4.4.2 idle for too long\r\n")
		closes(t, c)
	}}
	if _, err := c.Send(t.Context(), bob(), slow); !smtp.Stale(err) || asError(t, err).Code != 421 {
		t.Errorf("stale %t: %v", smtp.Stale(err), err)
	}
}

type preparing struct {
	smtp.Content
	before func()
}

func (p preparing) Size() int64 {
	p.before()
	return p.Content.Size()
}

// Content that was begun does not move by itself, although without its end it
// cannot have been accepted: a server might have taken the part.
func TestBegunContentDoesNotMove(t *testing.T) {
	for _, without := range [][]string{nil, {"CHUNKING"}} {
		s := smtptest.StartT(t, smtptest.Config{Without: without, Rules: []smtptest.Rule{
			{Command: smtptest.CommandContent, Nth: 2, Action: smtptest.DropAtOctet(100_000)},
		}})
		c := dial(t, config(s))
		mustSend(t, c, bob(), text(hello))
		if _, err := c.Send(t.Context(), bob(), long(20<<20)); !smtp.IsTransient(err) || smtp.Stale(err) {
			t.Errorf("without %v: class %q, stale %t: %v", without, class(err), smtp.Stale(err), err)
		}
	}
}

// A sender whose wait for a reply became long has a reader beside it from then
// on: content refused by a server that stops reading does not wait for a deadline.
func TestReaderAfterLongWait(t *testing.T) {
	s := smtptest.StartT(t, smtptest.Config{Without: []string{"CHUNKING"}})
	s.On(smtptest.Rule{Command: "RCPT", Nth: 5, Action: smtptest.Delay(50*time.Millisecond, smtptest.Proceed())})
	s.On(smtptest.Rule{Command: smtptest.CommandContent, Nth: 5, Action: smtptest.AtOctet(100_000,
		smtptest.Sequence(smtptest.Write("552 5.3.4 too much\r\n"), smtptest.Stall()))})
	cfg := config(s)
	cfg.Timeouts.Block = 5 * time.Second
	c := dial(t, cfg)
	content := long(50 << 20)
	for range 4 {
		mustSend(t, c, bob(), text(hello))
	}
	if _, err := c.Send(t.Context(), bob(), content); asError(t, err).Code != 552 {
		t.Errorf("class %q: %v", class(err), err)
	}
}

// One octet more or less than announced is a fault, and no such octet leaves.
func TestSizeByOneOctet(t *testing.T) {
	for _, without := range [][]string{nil, {"CHUNKING"}, {"PIPELINING"}} {
		for _, content := range []smtp.Content{text(hello), long(100_000), long(2 << 20)} {
			for _, by := range []int64{-1, 1} {
				s := smtptest.StartT(t, smtptest.Config{Without: without})
				c := dial(t, config(s))
				size := content.Size() + by
				_, err := c.Send(t.Context(), bob(), sized{content, size})
				if !smtp.IsPermanent(err) {
					t.Errorf("without %v, %d octets for %d: class %q, %v", without, content.Size(), size, class(err), err)
				}
				c.Close()
				if n := len(s.Transactions()); n != 0 {
					t.Errorf("without %v, %d octets for %d: %d messages", without, content.Size(), size, n)
				}
			}
		}
	}
}

// The whole accepted after a part was refused: nobody knows what the server has.
func TestAcceptedAfterRefusedBlock(t *testing.T) {
	cfg := hand(t, false, whole, func(nc net.Conn, line func() string) {
		line()
		line()
		_, _ = io.WriteString(nc, "250 ok\r\n250 ok\r\n")
		for n := 0; n < 1+(3<<19)/56; n++ { // nearly all of the content
			if line() == "" {
				return
			}
		}
		_, _ = io.WriteString(nc, "552 5.3.4 too much\r\n250 ok\r\n")
		for line() != "" {
		}
	})
	c := dial(t, cfg)
	_, err := c.Send(t.Context(), bob(), long(3<<19))
	if !smtp.MaybeAccepted(err) || !c.Closed() {
		t.Errorf("class %q, closed %t: %v", class(err), c.Closed(), err)
	}
}

// Content may be as large as the server says, and not one octet larger.
func TestSizeLimitByOneOctet(t *testing.T) {
	for _, by := range []int{-1, 0} {
		cfg := hand(t, false, fmt.Sprintf("250-x\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SIZE %d\r\n", len(hello)+by), func(nc net.Conn, line func() string) {
			if take(line) {
				_, _ = io.WriteString(nc, "250 ok\r\n250 ok\r\n250 ok\r\n")
			}
		})
		out, err := dial(t, cfg).Send(t.Context(), bob(), text(hello))
		if smtp.IsPermanent(err) != (by < 0) || (out.Octets == 0) != (by < 0) {
			t.Errorf("limit %+d: %d octets written, %v", by, out.Octets, err)
		}
	}
}
