package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/internal/httpapi/intake"
	"github.com/postrider/postrider/internal/submission"
)

const (
	modeStrict     = "strict"
	modePermissive = "permissive"
	// maxBatchErrors bounds the faults that a batch is answered with: enough to see what is wrong with it.
	maxBatchErrors = 500
)

type batchInput struct {
	Streamed
	OnceFields
	Mode string `query:"mode" enum:"strict,permissive" default:"strict" doc:"strict: all messages or none. permissive: those that have no fault."`
}

// Resolve implements huma.Resolver.
func (in *batchInput) Resolve(ctx huma.Context) []error { return in.Streamed.Resolve(ctx) }

// batch is the state of reading one.
type batch struct {
	s        *Server
	mode     string
	messages *submission.Batch
	places   []int // in the request, of the messages that were added
	warnings [][]api.FieldError
	refused  []api.RefusedInBatch
	errors   int // in refused
}

func (s *Server) sendBatch(ctx context.Context, in *batchInput) (*accepted[api.AcceptedBatch], error) {
	b := &batch{s: s, mode: in.Mode}
	once, err := onceOf(in.request.Header, pathBatch, func(r []submission.Receipt) (any, error) { return b.answer(r), nil })
	if err != nil {
		return nil, err
	}
	b.messages = s.cfg.Submission.NewBatch(caller(ctx), once)
	defer b.messages.Discard()
	err = s.cfg.Intake.Batch(in.request.Header, in.request.Body, intake.Options{}, func(i int, m *intake.Decoded) error {
		defer s.closeContents(ctx, m)
		return b.add(ctx, i, m)
	})
	if err != nil {
		return nil, err
	}
	if len(b.refused) > 0 && (b.mode == modeStrict || b.messages.Len() == 0) {
		return nil, b.refusal()
	}
	receipts, replay, err := b.messages.Commit(ctx)
	if err != nil {
		return nil, err
	}
	out := &accepted[api.AcceptedBatch]{Status: http.StatusAccepted}
	if replay != nil {
		out.Replayed = "true"
		return out, json.Unmarshal(replay.Body, &out.Body)
	}
	out.Body = b.answer(receipts)
	for i := range out.Body.Data {
		out.Body.Data[i].Warnings = b.warnings[i]
	}
	return out, nil
}

// add takes one message in, or notes what is wrong with it.
func (b *batch) add(ctx context.Context, i int, m *intake.Decoded) error {
	err := b.s.sound(ctx, m)
	switch {
	case err != nil:
	case len(b.refused) > 0 && b.mode == modeStrict: // nothing will be accepted: there are only faults to look for
		if _, err = b.s.cfg.Submission.Validate(ctx, caller(ctx), &m.Request); err != nil {
			err = problemOfMessage(err, m)
		}
	default:
		if err = b.messages.Add(ctx, &m.Request); err != nil {
			err = problemOfMessage(err, m)
			break
		}
		b.places = append(b.places, i)
		b.warnings = append(b.warnings, fieldErrors(m.Warnings))
	}
	p, ok := errors.AsType[*problem](err)
	if !ok || p.Status != http.StatusUnprocessableEntity {
		return err
	}
	if b.errors += len(p.Errors); b.errors > maxBatchErrors && len(b.refused) > 0 {
		p.Errors = nil
	}
	b.refused = append(b.refused, api.RefusedInBatch{Index: i, Errors: p.Errors})
	return nil
}

// refusal is the answer to a batch of which nothing is accepted.
func (b *batch) refusal() *problem {
	p := invalid()
	if b.mode == modePermissive {
		p = newProblem(http.StatusUnprocessableEntity, api.CodePartialBatch, "No message of the batch can be accepted: see errors.")
	}
	for _, r := range b.refused {
		p.Errors = append(p.Errors, r.Errors...)
	}
	return p
}

// answer is what is answered when the messages are accepted.
func (b *batch) answer(receipts []submission.Receipt) api.AcceptedBatch {
	out := api.AcceptedBatch{Data: make([]api.AcceptedInBatch, len(receipts)), Errors: b.refused}
	for i, r := range receipts {
		out.Data[i] = api.AcceptedInBatch{Index: b.places[i], AcceptedMessage: acceptedOf(r)}
	}
	return out
}

// besides leaves out of more what stands at a place that has a fault already, above or below it: the one is the cause
// of the other.
func besides(known, more []api.FieldError) []api.FieldError {
	var out []api.FieldError
	for _, e := range more {
		if !coveredBy(known, e.Pointer) {
			out = append(out, e)
		}
	}
	return out
}
