package store_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

func TestRelays(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		n := relayNamed("full")
		n.FromDomains, n.RetrySchedule, n.GiveUpAfter = []string{"example.com"}, []time.Duration{time.Second, time.Minute}, time.Hour
		n.Limits, n.HELO, n.CACert = store.RelayLimits{MaxConns: 3, RecipientsPerDay: 1000}, "me.example.com", "PEM"
		made := must[store.Relay](t)(w.tenant.CreateRelay(t.Context(), n, by()))
		got := must[store.Relay](t)(w.tenant.Relay(t.Context(), made.ID))
		if got.Limits != n.Limits || !slices.Equal(got.RetrySchedule, n.RetrySchedule) || got.GiveUpAfter != time.Hour || !got.HasPassword ||
			!slices.Equal(got.FromDomains, n.FromDomains) || !got.CreatedAt.Equal(made.CreatedAt) || got.OwnerTenant != w.tenant.ID() {
			t.Errorf("made %+v, read %+v", made, got)
		}
		if _, err := w.tenant.CreateRelay(t.Context(), n, by()); !isConflict(err, "name") {
			t.Errorf("a second one of the name: %v", err)
		}
		if secret := must[[]byte](t)(w.tenant.RelaySecret(t.Context(), made.ID)); string(secret) != "sealed" {
			t.Errorf("secret %q", secret)
		}
		updated := must[store.Relay](t)(w.tenant.UpdateRelay(t.Context(), made.ID, store.RelayPatch{
			Name: new("new"), Port: new(465), TLS: new("ssl"), SealedPassword: new([]byte(nil)),
		}, by()))
		if updated.Name != "new" || updated.Port != 465 || updated.HasPassword || updated.Host != n.Host {
			t.Errorf("updated %+v", updated)
		}
		if secret := must[[]byte](t)(w.tenant.RelaySecret(t.Context(), made.ID)); secret != nil {
			t.Errorf("the password is left: %q", secret)
		}
		if _, err := w.tenant.UpdateRelay(t.Context(), made.ID, store.RelayPatch{Name: new("main")}, by()); !isConflict(err, "name") {
			t.Errorf("renamed to another's name: %v", err)
		}
		if _, err := w.tenant.UpdateRelay(t.Context(), made.ID, store.RelayPatch{TLS: new("maybe")}, by()); err == nil {
			t.Error("a TLS mode that does not exist was taken")
		}
		other, _ := newTenant(t, w.Store, "other")
		newRelay(t, other, "main") // names are each tenant's
		if _, err := other.Relay(t.Context(), made.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("another tenant's relay: %v", err)
		}
		if _, err := other.UpdateRelay(t.Context(), made.ID, store.RelayPatch{Name: new("x")}, by()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("change of another tenant's relay: %v", err)
		}
		if err := w.tenant.DeleteRelay(t.Context(), made.ID, by()); err != nil {
			t.Fatal(err)
		}
		if list, _, err := w.tenant.Relays(t.Context(), store.Page{}); err != nil || len(list) != 1 || list[0].ID != w.relay.ID {
			t.Errorf("relays %+v, %v", list, err)
		}
		w.accept(t, w.message())
		if err := w.tenant.DeleteRelay(t.Context(), w.relay.ID, by()); !errors.Is(err, store.ErrInUse) {
			t.Errorf("deletion of a relay in use: %v", err)
		}
	})
}

func isConflict(err error, field string) bool {
	c, ok := errors.AsType[*store.ConflictError](err)
	return ok && c.Field == field
}

func TestInlineRelay(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		first := must[store.Relay](t)(w.tenant.InlineRelay(t.Context(), relayNamed(""), [32]byte{1}))
		again := must[store.Relay](t)(w.tenant.InlineRelay(t.Context(), relayNamed(""), [32]byte{1}))
		second := must[store.Relay](t)(w.tenant.InlineRelay(t.Context(), relayNamed(""), [32]byte{2}))
		if first.ID != again.ID || first.ID == second.ID || !first.Inline {
			t.Errorf("%v, %v, %v", first, again, second)
		}
		if list, _, err := w.tenant.Relays(t.Context(), store.Page{}); err != nil || len(list) != 1 {
			t.Errorf("listed: %+v, %v", list, err)
		}
		w.relay = first
		w.accept(t, w.message())
		w.record(t, w.outcome(w.one(t), store.Sent))
	})
}

// Relays that came with messages are removed a month after the last one, with their passwords; what messages say of them stays.
func TestUnusedInlineRelays(t *testing.T) {
	t.Parallel()
	storetest.All(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		const day = 24 * time.Hour
		inline := func(print byte) store.Relay {
			t.Helper()
			return must[store.Relay](t)(w.tenant.InlineRelay(t.Context(), relayNamed(""), [32]byte{print}))
		}
		sweep := func() {
			t.Helper()
			for must[int](t)(w.Sweep(t.Context(), 0)) > 0 {
			}
		}
		own, unused, waiting, used := w.relay, inline(1), inline(2), inline(3)
		w.relay = waiting
		later := w.message()
		later.SendAt = w.clock.now().Add(100 * day)
		w.accept(t, later)
		w.relay = used
		w.clock.pass(40 * day)
		m := w.message()
		w.accept(t, m)
		w.record(t, w.outcome(w.one(t), store.Failed))
		gone := func(r store.Relay) bool {
			t.Helper()
			_, err := w.tenant.Relay(t.Context(), r.ID)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
			_, secretErr := w.tenant.RelaySecret(t.Context(), r.ID)
			if (err == nil) != (secretErr == nil) {
				t.Errorf("relay: %v, its password: %v", err, secretErr)
			}
			return err != nil
		}
		sweep()
		if gone(unused) || inline(1).ID == unused.ID {
			t.Error("it is found at once, or removed at once")
		}
		w.clock.pass(2 * time.Hour)
		sweep()
		for _, r := range []struct {
			store.Relay
			gone bool
		}{{own, false}, {unused, true}, {waiting, false}, {used, false}} {
			if gone(r.Relay) != r.gone {
				t.Errorf("relay %s is gone: %v, want %v", r.ID, !r.gone, r.gone)
			}
		}
		w.clock.pass(32 * day)
		sweep()
		w.clock.pass(2 * time.Hour)
		sweep()
		if !gone(used) || gone(waiting) {
			t.Error("a month after its last message it is there, or one for which a message waits is not")
		}
		if d := w.detail(t, m.ID); d.RelayID != used.ID {
			t.Errorf("%+v", d.Message)
		}
	})
}

func TestSharedRelay(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		o := w.Operator()
		shared := must[store.Relay](t)(o.CreateRelay(t.Context(), relayNamed("shared"), by()))
		w.relay = shared
		if _, err := w.tenant.Accept(t.Context(), []store.NewMessage{w.message()}, nil); err == nil {
			t.Error("accepted for a relay that is not shared")
		}
		if err := o.ShareRelay(t.Context(), shared.ID, w.tenant.ID(), by()); err != nil {
			t.Fatal(err)
		}
		if err := o.ShareRelay(t.Context(), shared.ID, store.NewID(), by()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("shared with nobody: %v", err)
		}
		if list, _, err := w.tenant.Relays(t.Context(), store.Page{}); err != nil || len(list) != 2 || list[0].OwnerTenant != uuid.Nil {
			t.Errorf("relays %+v, %v", list, err)
		}
		if _, err := w.tenant.PauseRelay(t.Context(), shared.ID, "", by()); !errors.Is(err, store.ErrNotOwner) {
			t.Errorf("paused by who does not own it: %v", err)
		}
		if _, err := w.tenant.RelaySecret(t.Context(), shared.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("its password: %v", err)
		}
		d := must[store.DeliveryRelay](t)(w.DeliveryRelay(t.Context(), shared.ID))
		if string(d.SealedPassword) != "sealed" || d.SealTenant != uuid.Nil {
			t.Errorf("delivery has %+v", d)
		}
		w.accept(t, w.message())
		if err := o.UnshareRelay(t.Context(), shared.ID, w.tenant.ID(), by()); err != nil {
			t.Fatal(err)
		}
		if w.due(t) || len(w.claim(t, 1)) != 0 {
			t.Error("due though the relay is no longer shared")
		}
		if err := o.ShareRelay(t.Context(), shared.ID, w.tenant.ID(), by()); err != nil {
			t.Fatal(err)
		}
		w.record(t, w.outcome(w.one(t), store.Deferred)) // given up
		m := w.message()
		w.accept(t, m)
		if err := o.DeleteRelay(t.Context(), shared.ID, by()); err != nil {
			t.Fatal(err)
		}
		if n := must[int](t)(w.Sweep(t.Context(), 0)); n != 1 {
			t.Errorf("swept %d", n)
		}
		if got := w.states(t, m.ID); got[0] != store.Failed {
			t.Errorf("what waited for the deleted relay is %v", got)
		}
	})
}

// due says whether every query that looks for work finds the world's turn; they must agree.
func (w *world) due(t *testing.T) bool {
	t.Helper()
	relays := must[[]store.DueRelay](t)(w.DueRelays(t.Context(), w.clock.now(), 0))
	tenants := must[[]store.DueTenant](t)(w.DueTenants(t.Context(), w.relay.ID, w.clock.now()))
	if len(relays) != len(tenants) {
		t.Errorf("due relays %+v, due tenants %+v", relays, tenants)
	}
	return len(relays) > 0
}

// One rule says what may be sent now.
func TestMaySendNow(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		w.accept(t, w.message())
		check := func(what string, want bool) {
			t.Helper()
			if w.due(t) != want {
				t.Errorf("%s: due is not %v", what, want)
			}
			list := w.claim(t, 1)
			if (len(list) == 1) != want {
				t.Errorf("%s: %d claimed", what, len(list))
			}
			for _, c := range list {
				if c.Attempt != 1 {
					t.Errorf("%s: an attempt was used up", what)
				}
				w.record(t, store.Outcome{Node: w.node, TenantID: c.TenantID, MessageID: c.MessageID, Release: true})
			}
		}
		do := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		check("at first", true)

		_, err := w.tenant.PauseRelay(t.Context(), w.relay.ID, "later", by())
		do(err)
		check("paused", false)
		if next := must[time.Time](t)(w.NextDue(t.Context())); !next.IsZero() {
			t.Errorf("next due %v while paused", next)
		}
		_, err = w.tenant.ResumeRelay(t.Context(), w.relay.ID, by())
		do(err)
		check("resumed", true)

		do(w.Operator().SetTenantState(t.Context(), w.tenant.ID(), store.StateSuspended, by()))
		check("suspended", false)
		do(w.Operator().SetTenantState(t.Context(), w.tenant.ID(), store.StateActive, by()))
		check("active", true)

		do(w.Operator().PauseAll(t.Context(), "maintenance", by()))
		check("all paused", false)
		if p := must[store.Pause](t)(w.PausedAll(t.Context())); p.Kind != store.PauseOperator || p.Reason != "maintenance" {
			t.Errorf("paused all: %+v", p)
		}
		do(w.Operator().ResumeAll(t.Context(), by()))
		check("all resumed", true)

		_, _, err = w.ResolveClaims(t.Context(), w.relay.ID, w.node)
		do(err)
		until := w.clock.now().Add(time.Minute)
		do(w.SaveRelayState(t.Context(), w.relay.ID, store.RelayState{NotBefore: until, Reason: "circuit", Failures: 3}, w.node))
		check("circuit open", false)
		if next := must[time.Time](t)(w.NextDue(t.Context())); !next.Equal(until) {
			t.Errorf("next due %v, want %v", next, until)
		}
		if d := must[store.DeliveryRelay](t)(w.DeliveryRelay(t.Context(), w.relay.ID)); d.State.Failures != 3 || !d.State.NotBefore.Equal(until) {
			t.Errorf("state %+v", d.State)
		}
		if err := w.SaveRelayState(t.Context(), w.relay.ID, store.RelayState{}, store.NewID()); !errors.Is(err, store.ErrNotMine) {
			t.Errorf("state of another node: %v", err)
		}
		w.clock.pass(time.Minute)
		check("circuit's time over", true)

		probe := w.clock.now().Add(time.Hour)
		do(w.PauseAuth(t.Context(), w.relay.ID, "535 5.7.8 no", probe))
		check("password refused", false)
		do(w.SaveRelayState(t.Context(), w.relay.ID, store.RelayState{}, w.node))
		check("password refused, state saved", false)
		w.clock.pass(time.Hour)
		if due := must[[]store.DueRelay](t)(w.DueRelays(t.Context(), w.clock.now(), 0)); len(due) != 1 || !due[0].Probe {
			t.Errorf("probe: %+v", due)
		}
		check("time for a probe", true)
		do(w.ResumeAuth(t.Context(), w.relay.ID))
		if due := must[[]store.DueRelay](t)(w.DueRelays(t.Context(), w.clock.now(), 0)); len(due) != 1 || due[0].Probe {
			t.Errorf("no probe: %+v", due)
		}
		do(w.PauseAuth(t.Context(), w.relay.ID, "535 5.7.8 no", w.clock.now().Add(time.Hour)))
		_, err = w.tenant.UpdateRelay(t.Context(), w.relay.ID, store.RelayPatch{SealedPassword: new([]byte("right"))}, by())
		do(err)
		check("password mended", true)
	})
}

// Turns are found by tenant and class, however many messages each has.
func TestDueTenants(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		w := newWorld(t, open)
		shared := must[store.Relay](t)(w.Operator().CreateRelay(t.Context(), relayNamed("shared"), by()))
		var want []store.DueTenant
		for i, name := range []string{"one", "two", "three"} {
			tenant, admin := newTenant(t, w.Store, name)
			if err := w.Operator().ShareRelay(t.Context(), shared.ID, tenant.ID(), by()); err != nil {
				t.Fatal(err)
			}
			for class := range store.Class(2) {
				if i == 1 && class == store.ClassBulk {
					continue
				}
				want = append(want, store.DueTenant{Tenant: tenant.ID(), Class: class, OldestDue: w.clock.now()})
				var list []store.NewMessage
				for range 5 {
					m := w.message()
					m.UserID, m.RelayID, m.Class = admin.ID, shared.ID, class
					list = append(list, m)
				}
				if _, err := tenant.Accept(t.Context(), list, nil); err != nil {
					t.Fatal(err)
				}
			}
			w.clock.pass(time.Second)
		}
		got := must[[]store.DueTenant](t)(w.DueTenants(t.Context(), shared.ID, w.clock.now()))
		if !slices.Equal(got, want) {
			t.Errorf("turns %+v, want %+v", got, want)
		}
		list := must[[]store.Claimed](t)(w.Claim(t.Context(), store.ClaimRequest{
			Relay: shared.ID, Tenant: want[0].Tenant, Class: store.ClassBulk, Limit: 3, Node: w.node, Now: w.clock.now(),
		}))
		if len(list) != 3 || list[0].Class != store.ClassBulk || list[0].TenantID != want[0].Tenant {
			t.Errorf("claimed %+v", list)
		}
	})
}
