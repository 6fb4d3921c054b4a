package submission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/mail"
)

// judgement is what policy says of a request.
type judgement struct {
	relay     store.Relay
	onUnknown string
	class     store.Class
	sendAt    time.Time // zero: now
	faults    mail.Faults
}

// fault notes one.
func (j *judgement) fault(field string, code mail.FaultCode, format string, args ...any) {
	j.faults = append(j.faults, mail.Fault{Field: field, Code: code, Detail: fmt.Sprintf(format, args...)})
}

// judge finds the relay and the settings, and everything that policy has against the request as far as it can be
// known before the message is composed. Errors are the store's.
func (s *Submission) judge(ctx context.Context, p auth.Principal, q *Request) (*judgement, error) {
	j := &judgement{}
	now := s.cfg.Now()
	chosen, err := s.known.get(ctx, cacheKey{tenant: p.TenantID}, now, func(ctx context.Context, e *cached) error {
		return s.choices(ctx, p.TenantID, &e.choice)
	})
	if err != nil {
		return nil, err
	}
	if err := s.chooseRelay(ctx, j, p, q, &chosen.choice); err != nil {
		return nil, err
	}
	switch q.OnUnknown {
	case "":
		j.onUnknown = chosen.choice.settings.OnUnknown
	case store.OnUnknownRetry, store.OnUnknownHold:
		j.onUnknown = q.OnUnknown
	default:
		j.fault("on_unknown", mail.CodeInvalidValue, "on_unknown is not known; use retry or hold")
	}
	switch q.Class {
	case "", "transactional":
	case "bulk":
		j.class = store.ClassBulk
	default:
		j.fault("class", mail.CodeInvalidValue, "class is not known; use transactional or bulk")
	}
	if q.SendAt.After(now) {
		j.sendAt = q.SendAt
		if q.SendAt.After(now.Add(MaxAhead)) {
			j.fault("send_at", mail.CodeInvalidValue, "send_at is more than %d days ahead", int(MaxAhead.Hours()/24))
		}
	}
	j.checkTags(q.Tags)
	return j, nil
}

// choices asks for what the tenant has chosen.
func (s *Submission) choices(ctx context.Context, tenant uuid.UUID, c *choice) error {
	t := s.cfg.Store.Tenant(tenant)
	var err error
	if c.settings, err = t.Settings(ctx); err != nil {
		return err
	}
	const enoughToKnow = 2 // whether there is one, and one only
	c.relays, _, err = t.Relays(ctx, store.Page{Limit: enoughToKnow})
	return err
}

// chooseRelay finds the relay that the request names, brings, or leaves to the tenant.
func (s *Submission) chooseRelay(ctx context.Context, j *judgement, p auth.Principal, q *Request, c *choice) error {
	id := q.RelayID
	switch {
	case q.Relay != nil && id != uuid.Nil:
		j.fault("relay_id", mail.CodeConflict, "relay_id and relay are both given; give one of them")
		return nil
	case q.Relay != nil:
		return s.inlineRelay(ctx, j, p.TenantID, q.Relay)
	case id != uuid.Nil:
	case c.settings.DefaultRelayID != uuid.Nil:
		id = c.settings.DefaultRelayID
	case len(c.relays) == 1:
		j.relay = c.relays[0]
		return nil
	case len(c.relays) == 0:
		j.fault("relay_id", mail.CodeRequired, "there is no relay to send through; create one, or give relay with the message")
		return nil
	default:
		j.fault("relay_id", mail.CodeRequired, "there are several relays and none is the default; give relay_id, or set default_relay_id in the settings")
		return nil
	}
	e, err := s.known.get(ctx, cacheKey{p.TenantID, id}, s.cfg.Now(), func(ctx context.Context, e *cached) (err error) {
		e.relay, err = s.cfg.Store.Tenant(p.TenantID).Relay(ctx, id)
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		j.fault("relay_id", CodeUnknownRelay, "there is no such relay, or it may not be used")
	case err != nil:
		return err
	default:
		j.relay = e.relay
	}
	return nil
}

// maxTagOctets bounds a tag, so that it can be looked up.
const maxTagOctets = 128

// checkTags refuses tags that no list could be filtered by.
func (j *judgement) checkTags(tags []string) {
	const most = 50
	if len(tags) > most {
		j.fault("tags", mail.CodeTooMany, "message has %d tags; at most %d are allowed", len(tags), most)
		return
	}
	for i, tag := range tags {
		field := fmt.Sprintf("tags[%d]", i)
		switch {
		case tag == "":
			j.fault(field, mail.CodeRequired, "tag is empty; remove it")
		case len(tag) > maxTagOctets:
			j.fault(field, mail.CodeTooLong, "tag has %d octets; at most %d are allowed", len(tag), maxTagOctets)
		case strings.ContainsFunc(tag, func(r rune) bool { return r < ' ' || r == 0x7f }):
			j.fault(field, mail.CodeControlCharacter, "tag has a control character; remove it")
		}
	}
}

// checkSenders refuses authors and a reverse-path whose domains the relay may not send for. field is "from" or
// "mail_from", domains are A-labels.
func (j *judgement) checkSender(field, domain string) {
	allowed := j.relay.FromDomains
	if len(allowed) == 0 || domain == "" || slices.ContainsFunc(allowed, func(a string) bool { return strings.EqualFold(a, domain) }) {
		return
	}
	j.fault(field, CodeSenderNotAllowed, "the relay may not send for %s; it may for %s", domain, some(allowed))
}

// some names the first of a list.
func some(list []string) string {
	const few = 5
	if len(list) > few {
		return strings.Join(list[:few], ", ") + " and others"
	}
	return strings.Join(list, ", ")
}

// giveUpAt is when a message is no longer tried.
func (j *judgement) giveUpAt(now time.Time) time.Time {
	after := j.relay.GiveUpAfter
	if after <= 0 {
		after = DefaultGiveUpAfter
	}
	if j.sendAt.After(now) {
		now = j.sendAt
	}
	return now.Add(after)
}

// domainOf is the domain of a mailbox, in lower case.
func domainOf(mailbox string) string {
	return strings.ToLower(mailbox[strings.LastIndexByte(mailbox, '@')+1:])
}
