package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/store"
)

type messageExplainCommand struct {
	theMessage
	JSON bool `group:"run" name:"json" help:"Print one object, as GET /v1/messages/{id}/explain answers."`
	settingsFlags
}

// Run says why a message has not left.
func (c *messageExplainCommand) Run(p *program) error {
	return c.withMessage(p, c.theMessage, func(i *installation, t store.Tenant, m store.MessageDetail) error {
		e, err := httpapi.Desk{Store: i.store}.Explain(p.ctx, t, m)
		if err != nil {
			return err
		}
		record, err := i.store.Operator().TenantRecord(p.ctx, t.ID())
		if err != nil {
			return err
		}
		if e.Open > 0 && record.State == store.StateSuspended {
			e.Reasons = append([]string{"The tenant is suspended."}, e.Reasons...)
		}
		if c.JSON {
			return json.NewEncoder(p.stdout).Encode(e)
		}
		if len(e.Reasons) == 0 {
			e.Reasons = []string{"Nothing holds it: it is its turn, if a service is running."}
		}
		fmt.Fprintf(p.stdout, "%s, recipients open: %d\n", e.State, e.Open)
		for _, reason := range e.Reasons {
			if _, err := fmt.Fprintln(p.stdout, oneLine(reason)); err != nil {
				return err
			}
		}
		return nil
	})
}

type messageContentCommand struct {
	theMessage
	settingsFlags
}

// Run writes the content. Who reads another's mail is written down.
func (c *messageContentCommand) Run(p *program) error {
	return c.withMessage(p, c.theMessage, func(i *installation, t store.Tenant, m store.MessageDetail) (err error) {
		if err := i.store.AddAudit(p.ctx, []store.AuditEntry{{
			TenantID: t.ID(), Actor: atCommandLine("message content"), Action: "message.read", TargetKind: "message", TargetID: m.ID.String(),
		}}); err != nil {
			return err
		}
		content, _, err := t.Content(p.ctx, m.ID)
		if err != nil {
			return messageState(err, m)
		}
		defer func() { err = errors.Join(err, content.Close()) }()
		_, err = io.Copy(p.stdout, content)
		return err
	})
}

type messageRetryCommand struct {
	theMessage
	settingsFlags
}

// Help is the text between the command's summary and its flags.
func (*messageRetryCommand) Help() string {
	return "An unknown recipient may have the message already and gets it twice then. Recipients that are sent are never sent to again."
}

// Run tries a message again.
func (c *messageRetryCommand) Run(p *program) error {
	return changeMessage(p, &c.settingsFlags, c.theMessage, "retry", "is due now", store.Tenant.Retry)
}

type messageCancelCommand struct {
	theMessage
	settingsFlags
}

// Run withdraws a message.
func (c *messageCancelCommand) Run(p *program) error {
	return changeMessage(p, &c.settingsFlags, c.theMessage, "cancel", "is canceled", store.Tenant.Cancel)
}

type messageDeleteCommand struct {
	theMessage
	settingsFlags
}

// Run forgets a message.
func (c *messageDeleteCommand) Run(p *program) error {
	return changeMessage(p, &c.settingsFlags, c.theMessage, "delete", "is deleted", store.Tenant.Delete)
}

func changeMessage(p *program, f *settingsFlags, which theMessage, verb, done string, change func(store.Tenant, context.Context, uuid.UUID, store.Actor) error) error {
	return f.withMessage(p, which, func(_ *installation, t store.Tenant, m store.MessageDetail) error {
		if err := change(t, p.ctx, m.ID, atCommandLine("message "+verb)); err != nil {
			return messageState(err, m)
		}
		_, err := fmt.Fprintf(p.stdout, "message %s %s\n", m.ID, done)
		return err
	})
}

// messageState says what a message's state does not allow.
func messageState(err error, m store.MessageDetail) error {
	switch {
	case errors.Is(err, store.ErrClaimed):
		return &exitError{exitTemporary, fmt.Errorf("message %s is being sent: try again in a moment", m.ID)}
	case errors.Is(err, store.ErrFinished):
		return &exitError{exitUnavailable, fmt.Errorf("nothing of message %s is left to send or to withdraw: it is %s", m.ID, m.State)}
	case errors.Is(err, store.ErrContentGone):
		return &exitError{exitUnavailable, fmt.Errorf("the content of message %s was removed when its time was over", m.ID)}
	}
	return err
}
