package httpapi

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/internal/egress"
	"github.com/postrider/postrider/internal/seal"
	"github.com/postrider/postrider/internal/store"
)

// Desk is for commands that do what routes do: with the same checks, the same words and the same JSON, without a server and
// without asking who may.
type Desk struct {
	Store  *store.Store
	Sealer *seal.Sealer   // for passwords
	Egress *egress.Dialer // for CheckRelay
}

func (d Desk) server() *Server {
	return &Server{cfg: Config{Sealer: d.Sealer, Egress: d.Egress, Now: time.Now}, store: d.Store}
}

// NewRelay reads a relay to be created and seals its password for its owner, a tenant or uuid.Nil for the operator. See Faults for
// the error.
func (d Desk) NewRelay(owner uuid.UUID, n api.NewRelay) (store.NewRelay, error) {
	return d.server().newRelay(owner, n)
}

// RelayPatch reads what is to be changed of a relay, likewise.
func (d Desk) RelayPatch(owner uuid.UUID, old store.Relay, p api.RelayPatch) (store.RelayPatch, error) {
	return d.server().relayPatch(owner, old, p)
}

// CheckRelay connects to a relay, logs in, and reports what it offers. secret gives its sealed password. The second value is
// why it cannot be used, nil if it can; the last is an error of ours.
func (d Desk) CheckRelay(ctx context.Context, relay store.Relay, secret func(context.Context, uuid.UUID) ([]byte, error)) (*postrider.CheckReport, error, error) {
	client, err := d.server().clientOf(ctx, relay, secret)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	report, refused := client.Check(ctx)
	return report, refused, client.Close(context.WithoutCancel(ctx))
}

// Explain says why a message of a tenant has not left.
func (d Desk) Explain(ctx context.Context, tenant store.Tenant, m store.MessageDetail) (api.Explanation, error) {
	return d.server().explain(ctx, tenant, m)
}

// ShowRelay gives a relay as its owner sees it.
func ShowRelay(r store.Relay) api.Relay { return relayOf(r) }

// ShowMessage gives a message as lists have it.
func ShowMessage(m store.Message) api.Message { return messageOf(m) }

// ShowDetail gives a message with its story.
func ShowDetail(m store.MessageDetail) api.MessageDetail { return detailOf(m) }

// Faults are the fields at fault that an error of a Desk names; none if it is another error.
func Faults(err error) []api.FieldError {
	if p, ok := errors.AsType[*problem](err); ok {
		return p.Errors
	}
	return nil
}
