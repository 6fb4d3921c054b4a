package delivery_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/egress"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/smtp/smtptest"
)

func TestNewNamesEveryFault(t *testing.T) {
	_, err := delivery.New(delivery.Config{})
	for _, field := range []string{"Store", "Dial", "Unseal", "Node"} {
		if err == nil || !strings.Contains(err.Error(), "delivery: "+field) {
			t.Errorf("%s is not named: %v", field, err)
		}
	}
}

// TestPassword: it is unsealed for its tenant when a connection logs in, and a refused one holds the messages.
func TestPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewT(t, smtptest.Config{Users: map[string]string{"ann": "secret"}, RequireAuth: true})
		owner := uuid.New()
		asked := 0
		b := newBench(t, srv, func(cfg *delivery.Config, row *store.DeliveryRelay) {
			cfg.Unseal = func(tenant uuid.UUID, sealed []byte) (string, error) {
				asked++
				if tenant != owner {
					return "", errors.New("sealed for another tenant")
				}
				return strings.TrimPrefix(string(sealed), "sealed:"), nil
			}
			row.Username, row.SealedPassword, row.SealTenant = "ann", []byte("sealed:wrong"), owner
			row.TLS, row.Port, row.CACert = "ssl", 465, string(srv.CAPEM())
		})
		defer b.close(t)
		if asked != 0 {
			t.Error("the password was unsealed before there was a connection")
		}
		o, v := b.deliver(t, claim())
		if !v.AuthRefused || !v.Released || !o.Release || v.RelayDown || v.ConfigRefused || !strings.Contains(v.Reason, "535") || strings.Contains(v.Reason, "wrong") {
			t.Errorf("verdict %+v", v)
		}

		b.row.SealedPassword = []byte("sealed:secret")
		b.d.Relay(t.Context(), b.row, nil)
		o, v = b.deliver(t, claim())
		wantStates(t, o, store.Sent)
		b.deliver(t, claim())
		if asked != 2 || strings.Contains(o.Attempt.Transcript, "secret") || !strings.Contains(o.Attempt.Transcript, "C: AUTH SCRAM-SHA-256") {
			t.Errorf("unsealed %d times for 2 connections; %+v\n%s", asked, v, o.Attempt.Transcript)
		}

		b.row.SealTenant = uuid.New()
		b.d.Relay(t.Context(), b.row, nil)
		o, v = b.deliver(t, claim())
		if !v.ConfigRefused || !o.Release || !strings.Contains(v.Reason, "cannot be unsealed") {
			t.Errorf("verdict %+v", v)
		}
	})
}

// TestConfigurationRefused: what is the configuration's fault holds the messages, says why, and is no circuit's business.
func TestConfigurationRefused(t *testing.T) {
	guard, err := egress.New(egress.Config{})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*delivery.Config, *store.DeliveryRelay)
		reason string
	}{
		{"egress", func(cfg *delivery.Config, row *store.DeliveryRelay) {
			cfg.Dial, row.Host = guard.DialContext, "127.0.0.1"
		}, "POSTRIDER_EGRESS_ALLOW"},
		{"certificate", func(_ *delivery.Config, row *store.DeliveryRelay) { row.TLS, row.Port = "ssl", 465 }, "certificate"},
		{"no STARTTLS", func(_ *delivery.Config, row *store.DeliveryRelay) { row.TLS = "tls" }, "STARTTLS"},
		{"password without TLS", func(_ *delivery.Config, row *store.DeliveryRelay) {
			row.Username, row.SealedPassword = "ann", []byte("secret")
		}, "unencrypted"},
		{"CA", func(_ *delivery.Config, row *store.DeliveryRelay) { row.CACert = "not PEM" }, "PEM"},
		{"TLS word", func(_ *delivery.Config, row *store.DeliveryRelay) { row.TLS = "perhaps" }, "perhaps"},
		{"limits", func(_ *delivery.Config, row *store.DeliveryRelay) { row.Limits.MaxConns = -3 }, "-3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := smtptest.NewT(t, smtptest.Config{Without: []string{"STARTTLS"}, Users: map[string]string{"ann": "secret"}})
				b := newBench(t, srv, tt.change)
				defer b.close(t)
				for range 2 { // the second while the pool waits
					o, v := b.deliver(t, claim())
					if !v.ConfigRefused || !v.Released || !o.Release || v.RelayDown || v.AuthRefused || !strings.Contains(v.Reason, tt.reason) {
						t.Errorf("verdict %+v", v)
					}
				}
			})
		})
	}
}

// TestRelayDown: one failed dial uses up one attempt, however many messages waited for it.
func TestRelayDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewT(t, smtptest.Config{})
		srv.On(smtptest.Rule{Command: smtptest.CommandGreeting, Action: smtptest.Delay(time.Second, smtptest.Drop())})
		b := newBench(t, srv, func(cfg *delivery.Config, _ *store.DeliveryRelay) { cfg.Observe = nil })
		defer b.close(t)
		var (
			mu       sync.Mutex
			verdicts []delivery.Verdict
			all      sync.WaitGroup
		)
		for range 10 {
			all.Go(func() {
				v, err := b.lane.Deliver(t.Context(), claim(), nil)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				verdicts = append(verdicts, v)
			})
		}
		all.Wait()
		var down, released int
		for _, v := range verdicts {
			switch {
			case v.RelayDown && v.Deferred == 1 && v.RetryAfter > 0 && strings.Contains(v.Reason, "greeting"):
				down++
			case v.Released && !v.RelayDown && v.RetryAfter > 0:
				released++
			default:
				t.Errorf("verdict %+v", v)
			}
		}
		if down != 1 || released != 9 {
			t.Errorf("%d down, %d released", down, released)
		}
		for _, o := range b.store.outcomes {
			if !o.NextDue.After(time.Now()) || o.Release == (o.Attempt.Phase == "greeting") {
				t.Errorf("outcome %+v", o)
			}
			if !o.Release && !strings.HasPrefix(o.Attempt.Transcript, "*: connected to pipe\n*: closed: ") {
				t.Errorf("transcript\n%s", o.Attempt.Transcript)
			}
		}

		// And when it is back, all go.
		srv.Reset()
		<-time.After(2 * time.Second)
		o, v := b.deliver(t, claim())
		wantStates(t, o, store.Sent)
		if v.RetryAfter != 0 || v.Reason != "" {
			t.Errorf("verdict %+v", v)
		}
	})
}

// TestChangedRow: a message under way ends on the old connection, the next goes by the new row, and what does
// not concern connections keeps them.
func TestChangedRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewT(t, smtptest.Config{})
		srv.On(smtptest.Rule{Command: "MAIL", Match: "slow@", Action: smtptest.Delay(time.Minute, smtptest.Proceed())})
		b := newBench(t, srv, func(cfg *delivery.Config, _ *store.DeliveryRelay) { cfg.Observe = nil })
		slow := claim()
		slow.MailFrom = "slow@example.com"
		var under sync.WaitGroup
		under.Go(func() {
			if v, err := b.lane.Deliver(t.Context(), slow, nil); err != nil || v.Sent != 1 {
				t.Errorf("the one under way: %+v, %v", v, err)
			}
		})
		synctest.Wait()
		b.row.HELO = "other.example.com"
		if lane := b.d.Relay(t.Context(), b.row, nil); lane != b.lane {
			t.Error("another lane for the same relay")
		}
		b.deliver(t, claim())
		b.row.RetrySchedule, b.row.Name = []time.Duration{time.Hour}, "renamed"
		b.d.Relay(t.Context(), b.row, nil)
		b.deliver(t, claim())
		under.Wait()
		var helos []string
		for _, s := range srv.Sessions() {
			name, _ := s.Hello()
			helos = append(helos, name)
		}
		if !slices.Equal(helos, []string{"client.example.com", "other.example.com"}) {
			t.Errorf("sessions of %q", helos)
		}
		if got := b.lane.Stats().Dialled; got != 1 {
			t.Errorf("the new pool dialled %d times", got)
		}
		b.close(t)
		b.close(t)
		v, err := b.lane.Deliver(t.Context(), claim(), nil)
		if err != nil || !v.Released || v.ConfigRefused {
			t.Errorf("a closed lane: %+v, %v", v, err)
		}
		if b.d.Relay(t.Context(), b.row, nil) == b.lane {
			t.Error("a closed lane is handed out")
		}
	})
}

// TestCloseInterrupts: Close waits for what is under way, but not for ever.
func TestCloseInterrupts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewT(t, smtptest.Config{})
		srv.On(smtptest.Rule{Command: smtptest.CommandContent, Action: smtptest.Sequence(smtptest.Accept(), smtptest.Silence())})
		b := newBench(t, srv, nil)
		var under sync.WaitGroup
		under.Go(func() {
			if v, err := b.lane.Deliver(t.Context(), claim(), nil); err != nil || v.Unknown != 1 {
				t.Errorf("%+v, %v", v, err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := b.lane.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		under.Wait()
	})
}
