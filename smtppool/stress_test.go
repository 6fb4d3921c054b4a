package smtppool_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
	"github.com/postrider/postrider/smtppool"
)

// TestStress sends from a thousand goroutines through ten connections to a server that drops one connection in twenty,
// at each station of a transaction, before or after it has taken the message. Then every message is accounted for: sent
// is there once, not sent is not there, unknown is there once or not.
func TestStress(t *testing.T) {
	t.Parallel()
	const goroutines, each = 1000, 3
	s := smtptest.StartT(t, smtptest.Config{})
	actions := []smtptest.Rule{
		{Command: "MAIL", Action: smtptest.Drop()},
		{Command: "RCPT", Action: smtptest.Drop()},
		{Command: "BDAT", Action: smtptest.Drop()},
		{Command: smtptest.CommandContent, Action: smtptest.DropAtOctet(5)},
		{Command: smtptest.CommandContent, Action: smtptest.Drop()},
		{Command: smtptest.CommandContent, Action: smtptest.Sequence(smtptest.Accept(), smtptest.Drop())},
		{Command: smtptest.CommandContent, Action: smtptest.ReplyThenDrop("250 2.0.0 ok")},
		{Command: smtptest.CommandContent, Action: smtptest.Close421("4.3.2 bye")},
	}
	for i := range 100 {
		rule := actions[i%len(actions)]
		rule.Session = 20 * (i + 1)
		rule.Nth, rule.EachSession = 1+i%4, true
		s.On(rule)
	}
	p := newPool(t, smtp.Config{Host: s.Host(), Port: s.Port(), TLSMode: smtp.TLSNone}, smtppool.Config{MaxConns: 10, MaxMessages: 5})
	errs := make([]error, goroutines*each)
	var group sync.WaitGroup
	for g := range goroutines {
		group.Go(func() {
			for i := range each {
				id := g*each + i
				out, err := p.Send(t.Context(), envelope("bob@example.com"), content(fmt.Sprintf("<%d>", id)))
				if (err == nil) != (out.Recipients[0].Err == nil) || smtp.MaybeAccepted(err) != smtp.MaybeAccepted(out.Recipients[0].Err) {
					t.Errorf("message %d: %v, but for its recipient %v", id, err, out.Recipients[0].Err)
				}
				errs[id] = err
			}
		})
	}
	group.Wait()
	taken := map[string]int{}
	for _, tr := range s.Transactions() {
		subject, _, _ := strings.Cut(tr.Text(), "\r\n")
		taken[strings.TrimPrefix(subject, "Subject: ")]++
	}
	var sent, unsent, unknown int
	for id, err := range errs {
		n := taken[fmt.Sprintf("<%d>", id)]
		switch {
		case err == nil:
			sent++
			if n != 1 {
				t.Errorf("message %d was sent, and the server took it %d times", id, n)
			}
		case smtp.MaybeAccepted(err):
			unknown++
			if n > 1 {
				t.Errorf("message %d is unknown, and the server took it %d times", id, n)
			}
		default:
			unsent++
			if n != 0 {
				t.Errorf("message %d was reported %q, and the server took it %d times", id, err, n)
			}
		}
	}
	st := p.Stats()
	if st.Open > 10 || st.InUse+st.Waiting != 0 || st.Closed[smtppool.ReasonBroken]+st.Closed[smtppool.ReasonServerClosed] == 0 {
		t.Errorf("%+v", st)
	}
	if unknown == 0 || unsent == 0 || sent < goroutines*each*9/10 {
		t.Errorf("sent %d, not sent %d, unknown %d: the test did not test", sent, unsent, unknown)
	}
	t.Logf("sent %d, not sent %d, unknown %d; %+v", sent, unsent, unknown, st)
}

// TestGetAllocates bounds what the pool adds to each message.
func TestGetAllocates(t *testing.T) {
	s := smtptest.StartT(t, smtptest.Config{})
	p := newPool(t, smtp.Config{Host: s.Host(), Port: s.Port(), TLSMode: smtp.TLSNone}, smtppool.Config{})
	ctx := t.Context()
	n := testing.AllocsPerRun(1000, func() {
		c, err := p.Get(ctx)
		if err != nil {
			t.Fatal(err)
		}
		c.Release()
	})
	if n > 2 {
		t.Errorf("%v allocations for Get and Release", n)
	}
}

func BenchmarkGetRelease(b *testing.B) {
	s := smtptest.StartT(b, smtptest.Config{})
	p := newPool(b, smtp.Config{Host: s.Host(), Port: s.Port(), TLSMode: smtp.TLSNone}, smtppool.Config{})
	ctx := b.Context()
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c, err := p.Get(ctx)
			if err != nil {
				b.Fatal(err)
			}
			c.Release()
		}
	})
	b.Run("queue", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(50) // many times the cap
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				c, err := p.Get(ctx)
				if err != nil {
					b.Error(err)
					return
				}
				c.Release()
			}
		})
	})
}
