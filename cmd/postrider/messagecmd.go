package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/store"
)

// messageCommand looks at messages of a tenant and changes what becomes of them.
type messageCommand struct {
	List    messageListCommand    `cmd:"" help:"List messages, the newest first."`
	Show    messageShowCommand    `cmd:"" help:"Show a message with its recipients and attempts."`
	Explain messageExplainCommand `cmd:"" help:"Say why a message has not left."`
	Content messageContentCommand `cmd:"" help:"Write a message as it is sent to standard output."`
	Retry   messageRetryCommand   `cmd:"" help:"Send again to recipients that failed or are unknown, and at once to deferred ones."`
	Cancel  messageCancelCommand  `cmd:"" help:"Withdraw a message from the recipients that have not got it."`
	Delete  messageDeleteCommand  `cmd:"" help:"Forget a message with its content; what has not been sent is not."`
}

// theMessage names one message.
type theMessage struct {
	Message string `arg:"" help:"Id of the message."`
	ofTenant
}

// withMessage opens the installation, finds a message in it, and closes it after fn.
func (f *settingsFlags) withMessage(p *program, which theMessage, fn func(*installation, store.Tenant, store.MessageDetail) error) error {
	id, err := auth.ParseID(which.Message)
	if err != nil {
		return usagef("%s is not the id of a message", which.Message)
	}
	return f.withTenant(p, which.Tenant, func(i *installation, r store.TenantRecord) error {
		t := i.store.Tenant(r.ID)
		m, err := t.Message(p.ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			return &exitError{exitUnavailable, fmt.Errorf("there is no message %s of tenant %s; postrider message list --tenant %s shows them", id, r.Name, r.Name)}
		}
		if err != nil {
			return err
		}
		return fn(i, t, m)
	})
}

type messageListCommand struct {
	ofTenant
	State     string `group:"run" enum:",queued,sending,deferred,sent,partial,failed,unknown,suppressed,canceled" default:"" placeholder:"STATE" help:"Only those in this state: queued, sending, deferred, sent, partial, failed, unknown, suppressed or canceled."`
	Recipient string `group:"run" placeholder:"ADDRESS" help:"Only those to this address."`
	Tag       string `group:"run" placeholder:"TAG" help:"Only those with this tag."`
	Relay     string `group:"run" placeholder:"RELAY" help:"Only those through this relay: its name or id."`
	Restored  bool   `group:"run" help:"Only those on hold since the database was restored."`
	Limit     int    `group:"run" default:"50" placeholder:"N" help:"At most so many; 0: all. Default: 50."`
	JSON      bool   `group:"run" name:"json" help:"Print one object a line."`
	settingsFlags
}

// Run lists messages.
func (c *messageListCommand) Run(p *program) error {
	if c.Limit < 0 {
		return usagef("--limit: %d is not possible", c.Limit)
	}
	return c.withOwner(p, c.Tenant, func(o relayOwner) error {
		filter := store.MessageFilter{State: store.MessageState(c.State), Recipient: c.Recipient, Tag: c.Tag, Restored: c.Restored}
		if c.Relay != "" {
			if filter.RelayID, _ = auth.ParseID(c.Relay); filter.RelayID == uuid.Nil { // a relay that is gone has an id still
				r, err := o.find(p.ctx, c.Relay)
				if err != nil {
					return err
				}
				filter.RelayID = r.ID
			}
		}
		return c.list(p, o.store.Tenant(o.id), filter)
	})
}

func (c *messageListCommand) list(p *program, t store.Tenant, filter store.MessageFilter) error {
	w := tabwriter.NewWriter(p.stdout, 2, 0, 2, ' ', 0)
	page, left := store.Page{Limit: 200}, c.Limit
	for {
		if c.Limit > 0 {
			page.Limit = min(left, 200)
		}
		list, next, err := t.Messages(p.ctx, filter, page)
		if err != nil {
			return err
		}
		for _, m := range list {
			if c.JSON {
				err = json.NewEncoder(p.stdout).Encode(httpapi.ShowMessage(m))
			} else {
				_, err = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", m.ID, stateOf(m), m.CreatedAt.UTC().Format(time.RFC3339), oneLine(m.HeaderFrom), oneLine(m.Subject))
			}
			if err != nil {
				return err
			}
		}
		if left -= len(list); next == "" || c.Limit > 0 && left <= 0 {
			return w.Flush()
		}
		page.After = next
	}
}

// stateOf is the state, and why the message waits for somebody.
func stateOf(m store.Message) string {
	if m.Restored {
		return string(m.State) + " (on hold: restored)"
	}
	return string(m.State)
}

type messageShowCommand struct {
	theMessage
	Transcript bool `group:"run" help:"Show the dialogue of the last attempt too, without secrets."`
	JSON       bool `group:"run" name:"json" help:"Print one object, as GET /v1/messages/{id} answers."`
	settingsFlags
}

// Run shows a message.
func (c *messageShowCommand) Run(p *program) error {
	return c.withMessage(p, c.theMessage, func(_ *installation, _ store.Tenant, m store.MessageDetail) error {
		if c.JSON {
			return json.NewEncoder(p.stdout).Encode(httpapi.ShowDetail(m))
		}
		return printMessage(p.stdout, m, c.Transcript)
	})
}

func printMessage(out io.Writer, m store.MessageDetail, transcript bool) error {
	w := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	row := func(name, format string, a ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, oneLine(fmt.Sprintf(format, a...)))
	}
	clock := func(name string, at time.Time) {
		if !at.IsZero() {
			row(name, "%s", at.UTC().Format(time.RFC3339))
		}
	}
	row("message", "%s", m.ID)
	row("state", "%s", stateOf(m.Message))
	row("from", "%s", m.HeaderFrom)
	row("MAIL FROM", "<%s>", m.MailFrom)
	row("subject", "%s", m.Subject)
	row("Message-ID", "%s", m.MessageID)
	row("size", "%d octets", m.Size)
	row("relay", "%s", m.RelayID)
	clock("accepted", m.CreatedAt)
	clock("send at", m.SendAt)
	clock("next attempt", m.NextDue)
	if m.FinishedAt.IsZero() {
		clock("given up at", m.GiveUpAt)
	}
	clock("ended", m.FinishedAt)
	reply := func(code int, enhanced, text string) string {
		if code != 0 {
			text = strings.Join([]string{fmt.Sprint(code), enhanced, text}, " ")
		}
		return text
	}
	for _, r := range m.Recipients {
		row(r.Field, "%s: %s %s", r.Address, r.State, reply(r.Code, r.Enhanced, r.Text))
	}
	for _, a := range m.Attempts {
		row(fmt.Sprintf("attempt %d", a.N), "%s %s in %s: %s", a.StartedAt.UTC().Format(time.RFC3339), a.Status, a.Phase, reply(a.Code, a.Enhanced, a.Text))
	}
	if err := w.Flush(); err != nil || !transcript || len(m.Attempts) == 0 {
		return err
	}
	for line := range strings.Lines(m.Attempts[len(m.Attempts)-1].Transcript) {
		if _, err := fmt.Fprintln(out, "  "+printable(strings.TrimRight(line, "\r\n"))); err != nil {
			return err
		}
	}
	return nil
}
