package httpapi

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
)

const tagEvents = "Events"

// eventRoutes are about what happened: events, their numbers, and the messages of test keys.
func (s *Server) eventRoutes() {
	register(s, operation{
		ID: "list-events", Method: http.MethodGet, Path: "/v1/events", Tag: tagEvents, Access: anyMember(),
		Summary: "List what happened, the oldest first: users to their own messages, admins to the tenant's and to its relays",
		Detail:  "Ask again with next as after: nothing is missed and nothing comes twice.",
	}, s.listEvents)
	register(s, operation{
		ID: "get-stats", Method: http.MethodGet, Path: "/v1/stats", Tag: tagEvents, Access: members(auth.RoleAdmin), Summary: "Count what happened to the tenant's messages, by the hour",
	}, s.getStats)
	register(s, operation{
		ID: "list-inbox", Method: http.MethodGet, Path: "/v1/inbox", Tag: tagEvents, Access: anyMember(),
		Summary: "List the messages of test keys, newest first: users their own, admins the tenant's",
		Detail:  "They are messages like all others, and /v1/messages/{id}/content shows them; but they went nowhere.",
	}, s.listInbox)
}

type listEventsInput struct {
	Limit     int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"The greatest number of entries."`
	After     int64  `query:"after" minimum:"0" doc:"The next of the page before; 0: from the beginning."`
	MessageID string `query:"message_id" format:"uuid" doc:"Only those of this message."`
	Kind      string `query:"kind" maxLength:"40" doc:"Only those of this kind."`
}

func (s *Server) listEvents(ctx context.Context, in *listEventsInput) (*bodyOf[api.Events], error) {
	f := store.EventFilter{UserID: ownUser(ctx), Kind: store.EventKind(in.Kind)}
	if in.MessageID != "" {
		var err error
		if f.MessageID, err = parseID("message_id", in.MessageID); err != nil {
			return nil, err
		}
	}
	list, err := s.tenantOf(ctx).Events(ctx, f, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	next := in.After
	if len(list) > 0 {
		next = list[len(list)-1].Seq
	}
	return &bodyOf[api.Events]{Body: api.Events{Data: each(list, eventOf), Next: next}}, nil
}

func eventOf(e store.Event) api.Event {
	return api.Event{
		Seq: e.Seq, At: e.At.UTC(), Kind: string(e.Kind), MessageID: idOrNone(e.MessageID), RelayID: idOrNone(e.RelayID), Recipient: e.Recipient,
		Attempt: e.Attempt, SMTPCode: e.Code, EnhancedCode: e.Enhanced, Text: e.Text,
	}
}

// longestStats bounds what is counted at once: a year and a day.
const longestStats = 366 * 24 * time.Hour

func (s *Server) getStats(ctx context.Context, in *struct {
	From time.Time `query:"from" doc:"Default: a day before to."`
	To   time.Time `query:"to" doc:"Default: now."`
},
) (*bodyOf[api.Stats], error) {
	to := in.To
	if to.IsZero() {
		to = s.cfg.Now()
	}
	if !in.From.IsZero() && (in.From.After(to) || to.Sub(in.From) > longestStats) {
		return nil, invalid(api.FieldError{Parameter: "from", Code: api.FieldOutOfRange, Detail: "It is after to, or more than a year before it."})
	}
	stats, err := s.tenantOf(ctx).Stats(ctx, in.From, to)
	if err != nil {
		return nil, err
	}
	out := api.Stats{From: stats.From.UTC(), To: stats.To.UTC(), Waiting: stats.Waiting, Total: countsOf(stats.Total), Relays: []api.RelayStats{}}
	for id, counts := range stats.Relays {
		out.Relays = append(out.Relays, api.RelayStats{RelayID: id.String(), Counts: countsOf(counts)})
	}
	slices.SortFunc(out.Relays, func(a, b api.RelayStats) int { return cmp.Compare(a.RelayID, b.RelayID) })
	return &bodyOf[api.Stats]{Body: out}, nil
}

func countsOf(c store.Counts) api.Counts {
	out := api.Counts{Accepted: c.Accepted, Recipients: make(map[string]int64, len(c.Recipients))}
	for state, n := range c.Recipients {
		out.Recipients[string(state)] = n
	}
	return out
}

func (s *Server) listInbox(ctx context.Context, in *PageOf) (*bodyOf[api.Messages], error) {
	list, next, err := s.tenantOf(ctx).Inbox(ctx, ownUser(ctx), in.page())
	if err != nil {
		return nil, err
	}
	return &bodyOf[api.Messages]{Body: api.Messages{Data: each(list, messageOf), Next: next}}, nil
}
