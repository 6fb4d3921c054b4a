package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/internal/httpapi/intake"
	"github.com/postrider/postrider/internal/submission"
	"github.com/postrider/postrider/mail"
)

// OnceFields are the header fields that make a request idempotent.
type OnceFields struct {
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"600" doc:"Requests with the same key are one request: 1 to 256 printable characters, bare or as a quoted string."`
}

type sendInput struct {
	Streamed
	OnceFields
	Prefer string `header:"Prefer" maxLength:"200" doc:"wait=N: answer with the final result if it comes within N seconds." example:"wait=10"`
}

// Resolve implements huma.Resolver.
func (in *sendInput) Resolve(ctx huma.Context) []error { return in.Streamed.Resolve(ctx) }

// accepted is an answer to what was accepted, now or before.
type accepted[T any] struct {
	Status   int
	Applied  string `header:"Preference-Applied"`
	Replayed string `header:"Idempotency-Replayed" doc:"true if the request was done before and this is the answer then."`
	Body     T
}

func (s *Server) sendMessage(ctx context.Context, in *sendInput) (*accepted[api.AcceptedMessage], error) {
	once, err := onceOf(in.request.Header, pathSubmit, func(r []submission.Receipt) (any, error) { return acceptedOf(r[0]), nil })
	if err != nil {
		return nil, err
	}
	m, err := s.cfg.Intake.Decode(in.request.Header, in.request.Body, intake.Options{})
	defer s.closeContents(ctx, m)
	if err != nil {
		return nil, err
	}
	if err := s.sound(ctx, m); err != nil {
		return nil, err
	}
	receipt, replay, err := s.cfg.Submission.Accept(ctx, caller(ctx), &m.Request, once)
	if err != nil {
		return nil, problemOfMessage(err, m)
	}
	out := &accepted[api.AcceptedMessage]{Status: http.StatusAccepted}
	if replay != nil {
		out.Replayed = "true"
		if err := json.Unmarshal(replay.Body, &out.Body); err != nil {
			return nil, err
		}
	} else {
		out.Body = acceptedOf(receipt)
		out.Body.Warnings = fieldErrors(m.Warnings)
	}
	if wait, ok := waitOf(in.request.Header); ok {
		out.Applied = "wait=" + strconv.Itoa(int(wait.Seconds()))
		id, err := uuid.Parse(out.Body.ID)
		if err != nil {
			return nil, err
		}
		if m := s.await(ctx, id, wait); m != nil {
			out.Status, out.Body.Result = http.StatusOK, m.Result
			out.Body.Recipients = each(m.Recipients, func(r api.MessageRecipient) api.AcceptedRecipient {
				return api.AcceptedRecipient{Address: r.Address, Field: r.Field, State: r.State}
			})
		}
	}
	return out, nil
}

// closeContents frees what a request had spooled.
func (s *Server) closeContents(ctx context.Context, m *intake.Decoded) {
	if err := m.Close(); err != nil {
		s.warn(ctx, "the contents of a request could not be freed", err)
	}
}

// onceOf reads the idempotency key; nil: there is none. answer makes of the receipts what is answered.
func onceOf(header http.Header, path string, answer func([]submission.Receipt) (any, error)) (*submission.Once, error) {
	key, err := submission.ParseIdempotencyKey(header.Values("Idempotency-Key"))
	if err != nil || key == "" {
		return nil, err
	}
	return &submission.Once{Scope: http.MethodPost + " " + path, Key: key, Answer: func(receipts []submission.Receipt) (int, []byte, error) {
		v, err := answer(receipts)
		if err != nil {
			return 0, nil, err
		}
		body, err := json.Marshal(v)
		return http.StatusAccepted, body, err
	}}, nil
}

// sound is nil for a message whose shape is right. Otherwise it looks for what else is wrong, so that all of it is
// answered at once.
func (s *Server) sound(ctx context.Context, m *intake.Decoded) error {
	if len(m.Faults) == 0 {
		return nil
	}
	fields := fieldErrors(m.Faults)
	_, err := s.cfg.Submission.Validate(ctx, caller(ctx), &m.Request)
	if faults, ok := errors.AsType[mail.Faults](err); ok {
		fields = append(fields, besides(fields, messageErrors(faults, m))...)
	}
	return invalid(fields...)
}

func acceptedOf(r submission.Receipt) api.AcceptedMessage {
	return api.AcceptedMessage{
		ID: r.ID.String(), MessageID: r.MessageID, RelayID: r.RelayID.String(), Size: r.Size, SendAt: timeOrNone(r.SendAt), Test: r.Test,
		Recipients: each(r.Recipients, acceptedRecipientOf),
	}
}

func acceptedRecipientOf(r submission.ReceiptRecipient) api.AcceptedRecipient {
	return api.AcceptedRecipient{Address: r.Address, Field: r.Field, State: string(r.State)}
}

type validateInput struct{ Streamed }

// Resolve implements huma.Resolver.
func (in *validateInput) Resolve(ctx huma.Context) []error { return in.Streamed.Resolve(ctx) }

func (s *Server) validateMessage(ctx context.Context, in *validateInput) (*bodyOf[api.Validation], error) {
	m, err := s.cfg.Intake.Decode(in.request.Header, in.request.Body, intake.Options{})
	defer s.closeContents(ctx, m)
	if err != nil {
		return nil, err
	}
	if err := s.sound(ctx, m); err != nil {
		return nil, err
	}
	report, err := s.cfg.Submission.Validate(ctx, caller(ctx), &m.Request)
	if err != nil {
		return nil, problemOfMessage(err, m)
	}
	return &bodyOf[api.Validation]{Body: api.Validation{
		Relay: summaryOf(report.Relay), Size: report.Size, SendAt: timeOrNone(report.SendAt), GiveUpAt: report.GiveUpAt.UTC(),
		Recipients: each(report.Recipients, acceptedRecipientOf), Holds: each(report.Holds, func(h string) string { return h }), Warnings: fieldErrors(m.Warnings),
	}}, nil
}
