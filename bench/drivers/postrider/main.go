// Command postrider is the driver for this module: one postrider.Client, and so
// one pool, for all workers, and a mail.Message composed anew for each send.
//
// Three settings differ from the defaults, so that the same work is measured as
// for the peers: the pool may open as many connections as there are workers
// (default 10), it never retires a connection for the number of its messages
// (default 100; -mode defaults keeps that), and nothing is tried again, so that
// a failure shows as one.
package main

import (
	"context"
	"fmt"
	"net/url"
	"sync"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/bench/contract"
	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/retry"
	"github.com/postrider/postrider/smtppool"
)

func main() {
	var p pool
	contract.Main("postrider", p.dial)
}

// pool is the client that all workers share.
type pool struct {
	open   sync.Once
	client *postrider.Client
	err    error
	close  sync.Once
}

// dial gives a worker its view of the pool. The pool connects at the first send.
func (p *pool) dial(o *contract.Options) (contract.Conn, error) {
	p.open.Do(func() { p.client, p.err = newClient(o) })
	if p.err != nil {
		return nil, p.err
	}
	return &conn{o, p}, nil
}

func newClient(o *contract.Options) (*postrider.Client, error) {
	relay := url.URL{Scheme: "smtp", Host: o.Addr}
	switch {
	case o.TLS:
		relay.Scheme = "smtps"
	case !o.StartTLS:
		relay.RawQuery = "tls=none"
	}
	if o.User != "" {
		relay.User = url.UserPassword(o.User, o.Password)
	}
	never := retry.Never()
	cfg := &postrider.Config{
		LocalName: contract.HeloName,
		TLSConfig: o.TLSConfig,
		Pool:      smtppool.Config{MaxConns: o.Conns, MaxMessages: -1},
		Retry:     &never,
		// The plain mode with AUTH measures the round trips of it on loopback.
		DangerouslyAllowPlaintextAuth: !o.TLS && !o.StartTLS,
	}
	if o.Mode == "defaults" {
		cfg.Pool.MaxMessages = 0
	}
	return postrider.New(relay.String(), cfg)
}

type conn struct {
	o *contract.Options
	p *pool
}

func (c *conn) Send(ids []string) []error {
	errs := make([]error, len(ids))
	for i, id := range ids {
		errs[i] = c.one(id)
	}
	return errs
}

func (c *conn) one(id string) error {
	m := &mail.Message{
		From:    mail.Addr(contract.MailFrom),
		To:      mail.Addrs(c.o.RcptTo...),
		Subject: c.o.Content.Subject,
		Text:    c.o.Content.Text,
		HTML:    c.o.Content.HTML,
		Header:  []mail.Field{{Name: "X-Bench-Id", Value: id}},
	}
	if c.o.Content.AttachPath != "" {
		a, err := mail.FileAttachment(c.o.Content.AttachPath)
		if err != nil {
			return err
		}
		a.Filename, a.MediaType = "file.bin", "application/octet-stream"
		m.Attachments = []mail.Attachment{a}
	}
	r, err := c.p.client.Send(context.Background(), m)
	if err != nil {
		return err
	}
	if r.Status != postrider.StatusSuccess {
		return fmt.Errorf("%s: %s", r.Status, r.SMTPError)
	}
	return nil
}

// Close is called once a worker, after all of them are done.
func (c *conn) Close() error {
	var err error
	c.p.close.Do(func() { err = c.p.client.Close(context.Background()) })
	return err
}
