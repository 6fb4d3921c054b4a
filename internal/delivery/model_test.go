package delivery_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/smtp/smtptest"
)

// TestCopies plays a message's whole life against a relay that does something else on each attempt, and counts what
// arrived: one copy under hold, two at most under retry, none for a recipient that failed, at least one for one that is
// sent.
func TestCopies(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failure any // of rapid's, which panics; a bubble has a goroutine of its own
		synctest.Test(t, func(*testing.T) {
			defer func() { failure = recover() }()
			playMessage(rt)
		})
		if failure != nil {
			panic(failure)
		}
	})
}

// misfortunes is what a relay can do at a command.
func misfortunes() []smtptest.Action {
	return []smtptest.Action{
		smtptest.Proceed(), smtptest.Proceed(), smtptest.Proceed(),
		smtptest.Reply("451 4.3.0 later"), smtptest.Reply("550 5.7.1 no"), smtptest.Reply("503 5.5.1 what"), smtptest.Close421("4.3.2 bye"),
		smtptest.Drop(), smtptest.Sequence(smtptest.Accept(), smtptest.Drop()), smtptest.Garbage(), smtptest.Silence(), smtptest.Reset(),
	}
}

func playMessage(t *rapid.T) {
	var without []string
	for _, keyword := range []string{"CHUNKING", "PIPELINING"} {
		if rapid.Bool().Draw(t, "without "+keyword) {
			without = append(without, keyword)
		}
	}
	srv, err := smtptest.New(smtptest.Config{Without: without, MaxRecipients: rapid.IntRange(0, 2).Draw(t, "recipients at once")})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	b := newBench(t, srv, nil)
	defer b.close(t)

	var addresses []string
	for i := range rapid.IntRange(1, 3).Draw(t, "recipients") {
		addresses = append(addresses, fmt.Sprintf("r%d@example.com", i))
	}
	c := claim(addresses...)
	c.OnUnknown = rapid.SampledFrom([]string{store.OnUnknownRetry, store.OnUnknownHold}).Draw(t, "on unknown")
	c.GiveUpAt = time.Now().Add(3 * time.Hour)
	final := map[string]store.RecipientState{}
	attempts := 0
	for len(c.Recipients) > 0 {
		if attempts++; attempts > 200 {
			t.Fatal("it does not end")
		}
		for _, command := range []string{smtptest.CommandGreeting, "EHLO", "MAIL", "RCPT", "DATA", "BDAT", smtptest.CommandContent} {
			// Below 0 nothing special: most commands go well.
			if i := rapid.IntRange(-9, len(misfortunes())-1).Draw(t, command); i >= 0 {
				rule := smtptest.Rule{Command: command, Action: misfortunes()[i]}
				if command == "RCPT" {
					rule.Match = rapid.SampledFrom(addresses).Draw(t, "whose RCPT")
				}
				srv.On(rule)
			}
		}
		if rapid.Bool().Draw(t, "rest") {
			<-time.After(3 * time.Second)
		}
		v, err := b.lane.Deliver(context.Background(), c, nil)
		if err != nil {
			t.Fatal(err)
		}
		srv.ClearRules()
		b.store.mu.Lock()
		o := b.store.outcomes[len(b.store.outcomes)-1]
		b.store.mu.Unlock()
		if o.Release != v.Released {
			t.Fatalf("%+v, %+v", o, v)
		}
		<-time.After(max(time.Until(o.NextDue), 0))
		if o.Release {
			continue
		}
		if v.Sent+v.Deferred+v.Failed+v.Unknown != len(c.Recipients) || len(o.Recipients) != len(c.Recipients) {
			t.Fatalf("%d recipients, verdict %+v", len(c.Recipients), v)
		}
		for i, r := range o.Recipients {
			final[c.Recipients[i].Address] = r.State
		}
		next := again(c, o)
		if (len(next.Recipients) > 0) != !o.NextDue.IsZero() {
			t.Fatalf("%d are open, due %v", len(next.Recipients), o.NextDue)
		}
		c = next
	}

	copies := map[string]int{}
	for _, tx := range srv.Transactions() {
		for _, r := range tx.RcptTo {
			if r.Reply.Code/100 != 2 {
				continue
			}
			copies[r.Address]++
		}
	}
	for _, address := range addresses {
		most := 2
		if c.OnUnknown == store.OnUnknownHold {
			most = 1
		}
		n := copies[address]
		switch state := final[address]; {
		case n > most:
			t.Fatalf("%s got %d copies under %s", address, n, c.OnUnknown)
		case state == store.Sent && n == 0, state == store.Failed && n > 0, state == store.Deferred:
			t.Fatalf("%s ended %s with %d copies", address, state, n)
		}
	}
}
