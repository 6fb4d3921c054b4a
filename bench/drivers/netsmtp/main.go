// Command netsmtp is the driver for the standard library: net/smtp on kept
// connections, and the message put together by hand with mime/multipart and
// mime/quotedprintable, as tutorials do.
package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/smtp"
	"net/textproto"
	"os"
	"strings"
	"time"

	"github.com/postrider/postrider/bench/contract"
)

type conn struct {
	o *contract.Options
	c *smtp.Client
}

func main() { contract.Main("net/smtp", dial) }

func dial(o *contract.Options) (contract.Conn, error) {
	c, err := connect(o)
	if err != nil {
		return nil, err
	}
	if err := c.Hello(contract.HeloName); err != nil {
		return nil, err
	}
	if o.StartTLS {
		if err := c.StartTLS(o.TLSConfig); err != nil {
			return nil, err
		}
	}
	if o.User != "" {
		if err := c.Auth(smtp.PlainAuth("", o.User, o.Password, o.Host)); err != nil {
			return nil, err
		}
	}
	return &conn{o, c}, nil
}

func connect(o *contract.Options) (*smtp.Client, error) {
	if !o.TLS {
		return smtp.Dial(o.Addr)
	}
	c, err := tls.Dial("tcp", o.Addr, o.TLSConfig)
	if err != nil {
		return nil, err
	}
	return smtp.NewClient(c, o.Host)
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
	msg, err := build(c.o, id)
	if err != nil {
		return err
	}
	if err := c.c.Mail(contract.MailFrom); err != nil {
		return err
	}
	for _, r := range c.o.RcptTo {
		if err := c.c.Rcpt(r); err != nil {
			return err
		}
	}
	w, err := c.c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(msg); err != nil {
		return err
	}
	return w.Close()
}

// build ignores errors of writes that go to a bytes.Buffer: it has none.
func build(o *contract.Options, id string) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: %s\r\nTo: %s\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%s@%s>\r\nX-Bench-Id: %s\r\nMIME-Version: 1.0\r\n",
		contract.MailFrom, strings.Join(o.RcptTo, ", "), mime.QEncoding.Encode("utf-8", o.Content.Subject),
		time.Now().Format(time.RFC1123Z), rand.Text(), contract.HeloName, id)
	if o.Content.AttachPath == "" {
		w := multipart.NewWriter(&b)
		fmt.Fprintf(&b, "Content-Type: multipart/alternative; boundary=%s\r\n\r\n", w.Boundary())
		err := alternative(w, o)
		return b.Bytes(), err
	}
	mixed := multipart.NewWriter(&b)
	fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n", mixed.Boundary())
	var alt bytes.Buffer
	w := multipart.NewWriter(&alt)
	if err := alternative(w, o); err != nil {
		return nil, err
	}
	part, err := mixed.CreatePart(textproto.MIMEHeader{"Content-Type": {"multipart/alternative; boundary=" + w.Boundary()}})
	if err != nil {
		return nil, err
	}
	_, _ = part.Write(alt.Bytes())
	part, err = mixed.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {"application/octet-stream"},
		"Content-Transfer-Encoding": {"base64"},
		"Content-Disposition":       {`attachment; filename="file.bin"`},
	})
	if err != nil {
		return nil, err
	}
	if err := attach(part, o.Content.AttachPath); err != nil {
		return nil, err
	}
	err = mixed.Close()
	return b.Bytes(), err
}

func alternative(w *multipart.Writer, o *contract.Options) error {
	for _, p := range [][2]string{{"text/plain", o.Content.Text}, {"text/html", o.Content.HTML}} {
		part, err := w.CreatePart(textproto.MIMEHeader{
			"Content-Type": {p[0] + "; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"},
		})
		if err != nil {
			return err
		}
		q := quotedprintable.NewWriter(part)
		if _, err := io.WriteString(q, p[1]); err != nil {
			return err
		}
		if err := q.Close(); err != nil {
			return err
		}
	}
	return w.Close()
}

func attach(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	enc := base64.NewEncoder(base64.StdEncoding, &wrapper{w: w})
	if _, err := io.Copy(enc, f); err != nil {
		return err
	}
	return enc.Close()
}

// wrapper breaks base64 into lines of 76 (RFC 2045 §6.8).
type wrapper struct {
	w io.Writer
	n int // octets in the line so far
}

func (l *wrapper) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		k := min(76-l.n, len(p))
		if _, err := l.w.Write(p[:k]); err != nil {
			return 0, err
		}
		p = p[k:]
		if l.n += k; l.n == 76 {
			if _, err := io.WriteString(l.w, "\r\n"); err != nil {
				return 0, err
			}
			l.n = 0
		}
	}
	return total, nil
}
