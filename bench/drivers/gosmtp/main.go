// Command gosmtp is the driver for github.com/emersion/go-smtp as client, with
// the message written by github.com/emersion/go-message/mail straight into DATA.
package main

import (
	"io"
	"os"
	"time"

	"github.com/emersion/go-message/mail"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/postrider/postrider/bench/contract"
)

type conn struct {
	o *contract.Options
	c *smtp.Client
}

func main() { contract.Main("go-smtp", dial) }

func dial(o *contract.Options) (contract.Conn, error) {
	c, err := connect(o)
	if err != nil {
		return nil, err
	}
	if o.User != "" {
		if err := c.Auth(sasl.NewPlainClient("", o.User, o.Password)); err != nil {
			return nil, err
		}
	}
	return &conn{o, c}, nil
}

func connect(o *contract.Options) (*smtp.Client, error) {
	switch {
	case o.TLS:
		return smtp.DialTLS(o.Addr, o.TLSConfig)
	case o.StartTLS:
		return smtp.DialStartTLS(o.Addr, o.TLSConfig)
	default:
		return smtp.Dial(o.Addr)
	}
}

func (c *conn) Send(ids []string) []error {
	errs := make([]error, len(ids))
	for i, id := range ids {
		errs[i] = c.one(id)
	}
	return errs
}

func (c *conn) Close() error { return c.c.Quit() }

func (c *conn) one(id string) error {
	if err := c.c.Mail(contract.MailFrom, nil); err != nil {
		return err
	}
	for _, r := range c.o.RcptTo {
		if err := c.c.Rcpt(r, nil); err != nil {
			return err
		}
	}
	w, err := c.c.Data()
	if err != nil {
		return err
	}
	if err := write(w, c.o, id); err != nil {
		return err
	}
	return w.Close()
}

func write(w io.Writer, o *contract.Options, id string) error {
	var h mail.Header
	h.SetDate(time.Now())
	h.SetAddressList("From", []*mail.Address{{Address: contract.MailFrom}})
	to := make([]*mail.Address, 0, len(o.RcptTo))
	for _, r := range o.RcptTo {
		to = append(to, &mail.Address{Address: r})
	}
	h.SetAddressList("To", to)
	h.SetSubject(o.Content.Subject)
	if err := h.GenerateMessageIDWithHostname(contract.HeloName); err != nil {
		return err
	}
	h.Set("X-Bench-Id", id)
	if o.Content.AttachPath == "" {
		alt, err := mail.CreateInlineWriter(w, h)
		if err != nil {
			return err
		}
		return alternative(alt, o)
	}
	mixed, err := mail.CreateWriter(w, h)
	if err != nil {
		return err
	}
	alt, err := mixed.CreateInline()
	if err != nil {
		return err
	}
	if err := alternative(alt, o); err != nil {
		return err
	}
	if err := attach(mixed, o.Content.AttachPath); err != nil {
		return err
	}
	return mixed.Close()
}

func alternative(alt *mail.InlineWriter, o *contract.Options) error {
	for _, p := range [][2]string{{"text/plain", o.Content.Text}, {"text/html", o.Content.HTML}} {
		var h mail.InlineHeader
		h.SetContentType(p[0], map[string]string{"charset": "utf-8"})
		h.Set("Content-Transfer-Encoding", "quoted-printable")
		w, err := alt.CreatePart(h)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, p[1]); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
	return alt.Close()
}

func attach(mixed *mail.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var h mail.AttachmentHeader
	h.SetContentType("application/octet-stream", nil)
	h.SetFilename("file.bin")
	w, err := mixed.CreateAttachment(h)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, f); err != nil {
		return err
	}
	return w.Close()
}
