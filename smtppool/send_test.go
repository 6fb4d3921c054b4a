package smtppool_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
	"github.com/postrider/postrider/smtppool"
)

// TestMove: a session that dies under the first write after an idle time is replaced by a new one, not by another
// that was idle as long.
func TestMove(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{2, 10} {
		bubble(t, smtptest.Config{}, smtp.Config{}, smtppool.Config{MaxConns: limit}, func(t *testing.T, s *smtptest.Server, p *smtppool.Pool) {
			a, b := get(t, p), get(t, p)
			for _, c := range []*smtppool.Conn{a, b} {
				if _, err := c.Send(t.Context(), envelope("bob@example.com"), content("first")); err != nil {
					t.Fatal(err)
				}
				c.Release()
			}
			pass(time.Minute)
			s.On(smtptest.Rule{Command: "MAIL", Times: 1, Action: smtptest.Drop()})
			out, err := p.Send(t.Context(), envelope("bob@example.com"), content("second"))
			if err != nil {
				t.Fatal(err)
			}
			if out.Recipients[0].Err != nil || out.Phase != smtp.PhaseDone {
				t.Errorf("%+v", out)
			}
			got := s.Transactions()
			if len(got) != 3 || got[2].Session != 3 {
				t.Errorf("%d messages, the last in session %d", len(got), got[len(got)-1].Session)
			}
			st := p.Stats()
			if st.Moved != 1 || st.Closed[smtppool.ReasonBroken] != 1 || st.Idle != 2 || st.Dialled != 3 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestMoveOnce: the fresh connection's failure is reported.
func TestMoveOnce(t *testing.T) {
	t.Parallel()
	bubble(t, smtptest.Config{}, smtp.Config{}, smtppool.Config{}, func(t *testing.T, s *smtptest.Server, p *smtppool.Pool) {
		send(t, p, "first")
		pass(time.Minute)
		s.On(smtptest.Rule{Command: "MAIL", Action: smtptest.Drop()})
		out, err := p.Send(t.Context(), envelope("bob@example.com"), content("second"))
		if err == nil || out.Recipients[0].Err == nil {
			t.Fatalf("got %v, %+v", err, out)
		}
		if st := p.Stats(); st.Moved != 1 || st.Dialled != 2 {
			t.Errorf("%+v", st)
		}
		// No connection for the move: the message is told why.
		s.ClearRules()
		send(t, p, "third")
		pass(time.Minute)
		s.On(smtptest.Rule{Command: "MAIL", Action: smtptest.Drop()})
		s.On(smtptest.Rule{Command: smtptest.CommandGreeting, Action: smtptest.Reply("421 4.3.2 no")})
		out, err = p.Send(t.Context(), envelope("bob@example.com"), content("fourth"))
		if _, ok := errors.AsType[*smtppool.BackoffError](err); !ok || !smtp.IsTransient(err) || !smtp.IsTransient(out.Recipients[0].Err) {
			t.Errorf("got %v, %+v", err, out)
		}
		synctest.Wait()
		if st := p.Stats(); st.Open != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestSurplusRecipients(t *testing.T) {
	t.Parallel()
	refuse := smtptest.Rule{Command: "RCPT", Match: "r4@", Action: smtptest.Reply("550 5.1.1 no such user")}
	for _, perConn := range []int{100, 2} {
		server := smtptest.Config{MaxRecipients: 3, Rules: []smtptest.Rule{refuse}}
		bubble(t, server, smtp.Config{}, smtppool.Config{MaxMessages: perConn}, func(t *testing.T, s *smtptest.Server, p *smtppool.Pool) {
			var rcpt []string
			for i := range 10 {
				rcpt = append(rcpt, fmt.Sprintf("r%d@example.com", i))
			}
			out, err := p.Send(t.Context(), envelope(rcpt...), content("x"))
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range out.Recipients {
				if r.Address != rcpt[i] || (r.Err != nil) != (i == 4) || i == 4 && !smtp.IsPermanent(r.Err) {
					t.Errorf("recipient %d: %+v", i, r)
				}
			}
			var got []string
			for _, tr := range s.Transactions() {
				got = append(got, tr.Recipients()...)
			}
			want := "r0 r1 r2 r3 r5 r6 r7 r8 r9"
			if list := strings.ReplaceAll(strings.Join(got, " "), "@example.com", ""); list != want {
				t.Errorf("sent to %s", list)
			}
			sessions := 1
			if perConn == 2 {
				sessions = 2
			}
			if st := s.Stats(); st.Accepted != 3 || st.Sessions != sessions {
				t.Errorf("%d transactions in %d sessions", st.Accepted, st.Sessions)
			}
		})
	}
}

// TestSurplusFails: what was sent stays sent, the rest has the error of the further transaction.
func TestSurplusFails(t *testing.T) {
	t.Parallel()
	for name, action := range map[string]smtptest.Action{
		"refused": smtptest.Reply("451 4.3.0 later"), "lost": smtptest.Drop(), "closed": smtptest.Close421("4.3.2 bye"),
	} {
		class := smtp.IsTransient
		if name == "lost" {
			class = smtp.MaybeAccepted // the content left with the envelope
		}
		server := smtptest.Config{MaxRecipients: 2, Rules: []smtptest.Rule{{Command: "MAIL", Nth: 2, Action: action}}}
		bubble(t, server, smtp.Config{}, smtppool.Config{}, func(t *testing.T, s *smtptest.Server, p *smtppool.Pool) {
			out, err := p.Send(t.Context(), envelope("a@example.com", "b@example.com", "c@example.com", "d@example.com"), content("x"))
			if err != nil {
				t.Fatal(name, err)
			}
			for i, r := range out.Recipients {
				if (r.Err == nil) != (i < 2) || i >= 2 && (smtp.TooManyRecipients(r.Err) || !class(r.Err)) {
					t.Errorf("%s: recipient %d: %+v", name, i, r)
				}
			}
			if n := s.Stats().Accepted; n != 1 {
				t.Errorf("%s: %d accepted", name, n)
			}
		})
	}
}

// TestMoveInsistsOnFresh: while the message waits for its fresh connection, one that is given back goes to the others.
func TestMoveInsistsOnFresh(t *testing.T) {
	t.Parallel()
	slow := smtptest.Rule{Command: smtptest.CommandGreeting, Nth: 3, Action: smtptest.Delay(5*time.Second, smtptest.Proceed())}
	bubble(t, smtptest.Config{Rules: []smtptest.Rule{slow}}, smtp.Config{}, smtppool.Config{MaxConns: 2}, func(t *testing.T, s *smtptest.Server, p *smtppool.Pool) {
		a, b := get(t, p), get(t, p)
		a.Release()
		pass(time.Minute)
		s.On(smtptest.Rule{Command: "MAIL", Times: 1, Action: smtptest.Drop()})
		begin := time.Now()
		moved := make(chan time.Duration, 1)
		go func() {
			send(t, p, "moved")
			moved <- time.Since(begin)
		}()
		synctest.Wait()
		other := make(chan time.Duration, 1)
		go func() {
			send(t, p, "other")
			other <- time.Since(begin)
		}()
		synctest.Wait()
		pass(time.Second)
		b.Release()
		if after := <-other; after != time.Second {
			t.Errorf("the other message was sent after %s", after)
		}
		if after := <-moved; after != 5*time.Second {
			t.Errorf("the moved message was sent after %s", after)
		}
		if got := s.Transactions(); len(got) != 2 || got[1].Session != 3 {
			t.Errorf("%d messages, the last in session %d", len(got), got[len(got)-1].Session)
		}
	})
}
