package store_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// TestReseal replaces what is sealed with an old key, a tenant's and the operator's, and nothing else.
func TestReseal(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		s := open()
		tenant, _ := newTenant(t, s, "acme")
		relay := store.NewRelay{Name: "main", Host: "mail.example.com", Port: 587, TLS: "tls", Username: "u", SealedPassword: []byte("old of tenant")}
		own := must[store.Relay](t)(tenant.CreateRelay(t.Context(), relay, by()))
		relay.SealedPassword = []byte("old of operator")
		shared := must[store.Relay](t)(s.Operator().CreateRelay(t.Context(), relay, by()))
		relay.Name, relay.SealedPassword = "fresh", []byte("new of tenant")
		must[store.Relay](t)(tenant.CreateRelay(t.Context(), relay, by()))

		owners := map[string]uuid.UUID{}
		reseal := func(owner uuid.UUID, sealed []byte) ([]byte, error) {
			owners[string(sealed)] = owner
			if !bytes.HasPrefix(sealed, []byte("old")) {
				return nil, nil
			}
			return append([]byte("new"), sealed[3:]...), nil
		}
		if report, err := s.ResealSecrets(t.Context(), reseal, by()); err != nil || report != (store.ResealReport{Secrets: 3, Changed: 2}) {
			t.Fatalf("%+v, %v", report, err)
		}
		if owners["old of tenant"] != tenant.ID() || owners["old of operator"] != uuid.Nil {
			t.Errorf("owners %v", owners)
		}
		for id, want := range map[uuid.UUID]string{own.ID: "new of tenant", shared.ID: "new of operator"} {
			if r, err := s.DeliveryRelay(t.Context(), id); err != nil || string(r.SealedPassword) != want {
				t.Errorf("%q, %v", r.SealedPassword, err)
			}
		}
		if report, err := s.ResealSecrets(t.Context(), reseal, by()); err != nil || report.Changed != 0 {
			t.Errorf("again: %+v, %v", report, err)
		}
		broken := errors.New("broken")
		if _, err := s.ResealSecrets(t.Context(), func(uuid.UUID, []byte) ([]byte, error) { return nil, broken }, by()); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
		entries, _, err := tenant.Audit(t.Context(), store.AuditFilter{Action: "relay.reseal"}, store.Page{})
		if err != nil || len(entries) != 1 {
			t.Errorf("%v, %v", entries, err)
		}
	})
}
