package httpapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/httpapi/intake"
	"github.com/postrider/postrider/internal/store"
)

const (
	tagMessages = "Messages"
	pathSubmit  = "/v1/messages"
	pathBatch   = "/v1/messages/batch"
	pathCheck   = "/v1/messages/validate"
)

func (s *Server) messageRoutes() {
	register(s, operation{
		ID: "send-message", Method: http.MethodPost, Path: pathSubmit, Tag: tagMessages, Access: senders(), Status: http.StatusAccepted, MaxBody: s.cfg.MaxMessageBody,
		Errors:  []int{http.StatusOK, http.StatusConflict},
		Summary: "Send a message",
		Detail: "Answered with 202 after the message is on disk. With Prefer: wait=N the answer waits up to N seconds, 60 at most, for the final result, and has the status 200 if it came. " +
			"With an Idempotency-Key the message is accepted once in 24 hours, however often the request is repeated.",
	}, s.sendMessage)
	register(s, operation{
		ID: "send-batch", Method: http.MethodPost, Path: pathBatch, Tag: tagMessages, Access: senders(), Status: http.StatusAccepted, MaxBody: s.cfg.MaxMessageBody,
		Errors:  []int{http.StatusConflict},
		Summary: fmt.Sprintf("Send up to %d messages", intake.MaxBatch),
		Detail:  "All of them or none; with mode=permissive those that have no fault, and the others are named in errors.",
	}, s.sendBatch)
	register(s, operation{
		ID: "validate-message", Method: http.MethodPost, Path: pathCheck, Tag: tagMessages, Access: senders(), MaxBody: s.cfg.MaxMessageBody,
		Summary: "Say what would become of a message, without sending it",
	}, s.validateMessage)
	message := schemaOf[api.NewMessage](s)
	loosen(s, message)
	s.describeBody(http.MethodPost, pathSubmit, true, s.messageBodies(message))
	s.describeBody(http.MethodPost, pathCheck, true, s.messageBodies(message))
	s.describeBody(http.MethodPost, pathBatch, true, map[string]*huma.MediaType{
		"application/json": {Schema: &huma.Schema{Type: huma.TypeArray, Items: message}},
	})

	any := anyMember()
	register(s, operation{
		ID: "list-messages", Method: http.MethodGet, Path: pathSubmit, Tag: tagMessages, Access: any,
		Summary: "List messages, newest first: users their own, admins the tenant's",
	}, s.listMessages)
	register(s, operation{ID: "get-message", Method: http.MethodGet, Path: "/v1/messages/{id}", Tag: tagMessages, Access: any, Summary: "Get a message with its recipients and attempts"}, s.getMessage)
	register(s, operation{
		ID: "get-message-content", Method: http.MethodGet, Path: "/v1/messages/{id}/content", Tag: tagMessages, Access: any, Errors: []int{http.StatusGone},
		Summary: "Get a message as it is sent",
	}, s.getContent)
	register(s, operation{ID: "explain-message", Method: http.MethodGet, Path: "/v1/messages/{id}/explain", Tag: tagMessages, Access: any, Summary: "Say why a message has not left"}, s.explainMessage)
	conflict := []int{http.StatusConflict}
	register(s, operation{
		ID: "cancel-message", Method: http.MethodPost, Path: "/v1/messages/{id}/cancel", Tag: tagMessages, Access: any, Errors: conflict,
		Summary: "Withdraw what has not been sent",
	}, s.changeMessage(store.Tenant.Cancel))
	register(s, operation{
		ID: "retry-message", Method: http.MethodPost, Path: "/v1/messages/{id}/retry", Tag: tagMessages, Access: any, Errors: conflict,
		Summary: "Try failed and unknown recipients again, and deferred ones now",
		Detail:  "An unknown recipient may have the message already and get it twice then.",
	}, s.changeMessage(store.Tenant.Retry))
	register(s, operation{
		ID: "reschedule-message", Method: http.MethodPost, Path: "/v1/messages/{id}/reschedule", Tag: tagMessages, Access: any, Errors: conflict,
		Summary: "Move the next attempt",
	}, s.rescheduleMessage)
	register(s, operation{
		ID: "delete-message", Method: http.MethodDelete, Path: "/v1/messages/{id}", Tag: tagMessages, Access: any, Status: http.StatusNoContent, Errors: conflict,
		Summary: "Forget a message and its content; what has not been sent is not",
	}, s.deleteMessage)
}

// typeOf is the type of a value, for schemas.
func typeOf(v any) reflect.Type { return reflect.TypeOf(v) }

// loosen says in the document what the Go type cannot: fields that are not known are no fault.
func loosen(s *Server, ref *huma.Schema) {
	if schema := s.huma.OpenAPI().Components.Schemas.SchemaFromRef(ref.Ref); schema != nil {
		schema.AdditionalProperties = true
	}
}

// ownMessage finds a message that the caller may see and change.
func (s *Server) ownMessage(ctx context.Context, in ByID) (store.MessageDetail, error) {
	id, err := in.uuid()
	if err != nil {
		return store.MessageDetail{}, err
	}
	m, err := s.tenantOf(ctx).Message(ctx, id)
	if err != nil {
		return store.MessageDetail{}, err
	}
	return m, reach(ctx, m.UserID)
}

// ownUser is the user whose messages the caller may see; uuid.Nil: all of the tenant's.
func ownUser(ctx context.Context) uuid.UUID {
	if p := caller(ctx); p.Role != auth.RoleAdmin {
		return p.UserID
	}
	return uuid.Nil
}

type listMessagesInput struct {
	PageOf
	State     string    `query:"state" enum:"queued,sending,deferred,sent,partial,failed,unknown,suppressed,canceled" doc:"Only those in this state."`
	Recipient string    `query:"recipient" maxLength:"320" doc:"Only those to this address."`
	Tag       string    `query:"tag" maxLength:"128" doc:"Only those with this tag."`
	RelayID   string    `query:"relay_id" format:"uuid" doc:"Only those through this relay."`
	UserID    string    `query:"user_id" format:"uuid" doc:"Only those of this user."`
	From      time.Time `query:"from" doc:"Only those accepted at this time or later."`
	To        time.Time `query:"to" doc:"Only those accepted before this time."`
}

func (s *Server) listMessages(ctx context.Context, in *listMessagesInput) (*bodyOf[api.Messages], error) {
	f := store.MessageFilter{State: store.MessageState(in.State), Recipient: in.Recipient, Tag: in.Tag, From: in.From, To: in.To}
	for _, id := range []struct {
		name, text string
		to         *uuid.UUID
	}{{"relay_id", in.RelayID, &f.RelayID}, {"user_id", in.UserID, &f.UserID}} {
		if id.text == "" {
			continue
		}
		var err error
		if *id.to, err = parseID(id.name, id.text); err != nil {
			return nil, err
		}
	}
	if own := ownUser(ctx); own != uuid.Nil {
		if f.UserID != uuid.Nil && f.UserID != own {
			return &bodyOf[api.Messages]{Body: api.Messages{Data: []api.Message{}}}, nil // as of a user who has none
		}
		f.UserID = own
	}
	list, next, err := s.tenantOf(ctx).Messages(ctx, f, in.page())
	if err != nil {
		return nil, err
	}
	return &bodyOf[api.Messages]{Body: api.Messages{Data: each(list, messageOf), Next: next}}, nil
}

func (s *Server) getMessage(ctx context.Context, in *ByID) (*bodyOf[api.MessageDetail], error) {
	m, err := s.ownMessage(ctx, *in)
	if err != nil {
		return nil, err
	}
	return answer(detailOf(m), nil)
}

// changeMessage is an operation that changes one message and answers with what it is then.
func (s *Server) changeMessage(change func(t store.Tenant, ctx context.Context, id uuid.UUID, by store.Actor) error) func(context.Context, *ByID) (*bodyOf[api.MessageDetail], error) {
	return func(ctx context.Context, in *ByID) (*bodyOf[api.MessageDetail], error) {
		m, err := s.ownMessage(ctx, *in)
		if err != nil {
			return nil, err
		}
		if err := change(s.tenantOf(ctx), ctx, m.ID, actor(ctx)); err != nil {
			return nil, err
		}
		return s.getMessage(ctx, in)
	}
}

func (s *Server) rescheduleMessage(ctx context.Context, in *struct {
	ByID
	Body api.Reschedule
},
) (*bodyOf[api.MessageDetail], error) {
	m, err := s.ownMessage(ctx, in.ByID)
	if err != nil {
		return nil, err
	}
	if err := s.checkSendAt(in.Body.SendAt); err != nil {
		return nil, err
	}
	if err := s.tenantOf(ctx).Reschedule(ctx, m.ID, in.Body.SendAt, actor(ctx)); err != nil {
		return nil, err
	}
	return s.getMessage(ctx, &in.ByID)
}

func (s *Server) deleteMessage(ctx context.Context, in *ByID) (*none, error) {
	m, err := s.ownMessage(ctx, *in)
	if err != nil {
		return nil, err
	}
	return nil, s.tenantOf(ctx).Delete(ctx, m.ID, actor(ctx))
}

func (s *Server) getContent(ctx context.Context, in *ByID) (*huma.StreamResponse, error) {
	m, err := s.ownMessage(ctx, *in)
	if err != nil {
		return nil, err
	}
	content, size, err := s.tenantOf(ctx).Content(ctx, m.ID)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(out huma.Context) {
		defer content.Close()
		out.SetHeader("Content-Type", "message/rfc822")
		out.SetHeader("Content-Length", strconv.FormatInt(size, 10))
		out.SetHeader("Content-Disposition", `attachment; filename="`+m.ID.String()+`.eml"`)
		out.SetStatus(http.StatusOK)
		if _, err := io.Copy(out.BodyWriter(), content); err != nil {
			s.warn(ctx, "the content of a message was cut off", err)
			panic(http.ErrAbortHandler) // so that the caller sees a broken answer instead of a short message
		}
	}}, nil
}
