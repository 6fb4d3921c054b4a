// Command gomail is the driver for github.com/wneessen/go-mail: one
// DialWithContext a connection and Send with several messages at a time, which
// is its documented way to send many.
package main

import (
	"context"
	"errors"

	"github.com/wneessen/go-mail"

	"github.com/postrider/postrider/bench/contract"
)

type conn struct {
	o *contract.Options
	c *mail.Client
}

func main() { contract.Main("go-mail", dial) }

func dial(o *contract.Options) (contract.Conn, error) {
	opts := []mail.Option{mail.WithPort(o.Port), mail.WithHELO(contract.HeloName)}
	switch {
	case o.TLS:
		opts = append(opts, mail.WithSSL(), mail.WithTLSConfig(o.TLSConfig))
	case o.StartTLS:
		opts = append(opts, mail.WithTLSPolicy(mail.TLSMandatory), mail.WithTLSConfig(o.TLSConfig))
	default:
		opts = append(opts, mail.WithTLSPolicy(mail.NoTLS))
	}
	if o.User != "" {
		auth := mail.SMTPAuthPlain
		if !o.TLS && !o.StartTLS {
			auth = mail.SMTPAuthPlainNoEnc
		}
		opts = append(opts, mail.WithSMTPAuth(auth), mail.WithUsername(o.User), mail.WithPassword(o.Password))
	}
	c, err := mail.NewClient(o.Host, opts...)
	if err != nil {
		return nil, err
	}
	if err := c.DialWithContext(context.Background()); err != nil {
		return nil, err
	}
	return &conn{o, c}, nil
}

func (c *conn) Send(ids []string) []error {
	errs := make([]error, len(ids))
	msgs := make([]*mail.Msg, 0, len(ids))
	for _, id := range ids {
		m, err := build(c.o, id)
		if err != nil { // the same for every message of a run
			for i := range errs {
				errs[i] = err
			}
			return errs
		}
		msgs = append(msgs, m)
	}
	err := c.c.Send(msgs...)
	if err == nil {
		return errs
	}
	named := false
	for i, m := range msgs {
		if m.HasSendError() {
			errs[i], named = m.SendError(), true
		}
	}
	if !named { // the connection failed before any message was looked at
		for i := range errs {
			errs[i] = errors.Join(errs[i], err)
		}
	}
	return errs
}

func (c *conn) Close() error { return c.c.Close() }

func build(o *contract.Options, id string) (*mail.Msg, error) {
	m := mail.NewMsg()
	if err := m.From(contract.MailFrom); err != nil {
		return nil, err
	}
	if err := m.To(o.RcptTo...); err != nil {
		return nil, err
	}
	m.Subject(o.Content.Subject)
	m.SetMessageID()
	m.SetDate()
	m.SetGenHeader("X-Bench-Id", id)
	m.SetBodyString(mail.TypeTextPlain, o.Content.Text)
	m.AddAlternativeString(mail.TypeTextHTML, o.Content.HTML)
	if o.Content.AttachPath != "" {
		m.AttachFile(o.Content.AttachPath, mail.WithFileName("file.bin"))
	}
	return m, nil
}
