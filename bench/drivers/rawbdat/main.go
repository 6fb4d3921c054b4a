// Command rawbdat is no peer but the bound: hand-written SMTP with a message
// made beforehand, of which only the id differs.
//
// By default MAIL, RCPT, BDAT LAST and the content leave as one group and the
// replies are read before the next message (RFC 2920, RFC 3030): one round trip
// a message. With -mode stream up to 64 messages are in flight on a connection.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"mime/quotedprintable"
	"net"
	"strings"

	"github.com/postrider/postrider/bench/contract"
)

// window is how many messages -mode stream keeps in flight.
const window = 64

type conn struct {
	o        *contract.Options
	c        net.Conn
	r        *bufio.Reader
	w        *bufio.Writer
	envelope string // MAIL and RCPT
	header   string // up to and with the name of the id field
	body     []byte // from the end of the id field on
}

func main() { contract.Main("raw/bdat", dial) }

func dial(o *contract.Options) (contract.Conn, error) {
	c := &conn{o: o}
	if err := c.prepare(); err != nil {
		return nil, err
	}
	var err error
	if o.TLS {
		c.c, err = tls.Dial("tcp", o.Addr, o.TLSConfig)
	} else {
		c.c, err = net.Dial("tcp", o.Addr)
	}
	if err != nil {
		return nil, err
	}
	return c, c.greet()
}

func (c *conn) prepare() error {
	c.envelope = "MAIL FROM:<" + contract.MailFrom + ">\r\n"
	for _, r := range c.o.RcptTo {
		c.envelope += "RCPT TO:<" + r + ">\r\n"
	}
	c.header = "From: " + contract.MailFrom + "\r\nTo: " + strings.Join(c.o.RcptTo, ", ") +
		"\r\nSubject: bound\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8" +
		"\r\nContent-Transfer-Encoding: quoted-printable\r\nX-Bench-Id: "
	var b bytes.Buffer
	b.WriteString("\r\n\r\n")
	q := quotedprintable.NewWriter(&b)
	if _, err := q.Write([]byte(c.o.Content.Text + c.o.Content.HTML)); err != nil {
		return err
	}
	if err := q.Close(); err != nil {
		return err
	}
	b.WriteString("\r\n")
	c.body = b.Bytes()
	return nil
}

// greet brings the session to where messages can be sent.
func (c *conn) greet() error {
	c.buffers()
	if err := c.reply(); err != nil {
		return err
	}
	if err := c.command("EHLO " + contract.HeloName); err != nil {
		return err
	}
	if c.o.StartTLS {
		if err := c.command("STARTTLS"); err != nil {
			return err
		}
		t := tls.Client(c.c, c.o.TLSConfig)
		if err := t.Handshake(); err != nil {
			return err
		}
		c.c = t
		c.buffers()
		if err := c.command("EHLO " + contract.HeloName); err != nil {
			return err
		}
	}
	if c.o.User == "" {
		return nil
	}
	return c.command("AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+c.o.User+"\x00"+c.o.Password)))
}

func (c *conn) buffers() {
	c.r, c.w = bufio.NewReaderSize(c.c, 4096), bufio.NewWriterSize(c.c, 64<<10)
}

func (c *conn) Send(ids []string) []error {
	errs := make([]error, len(ids))
	if c.o.Mode == "stream" {
		c.stream(ids, errs)
		return errs
	}
	for i, id := range ids {
		c.put(id)
		errs[i] = c.outcome()
	}
	return errs
}

func (c *conn) stream(ids []string, errs []error) {
	done := 0
	for i, id := range ids {
		if i-done == window {
			errs[done] = c.outcome()
			done++
		}
		c.put(id)
	}
	for ; done < len(ids); done++ {
		errs[done] = c.outcome()
	}
}

// put queues one transaction. A write error stays in the buffered writer and
// shows at the next flush.
func (c *conn) put(id string) {
	fmt.Fprintf(c.w, "%sBDAT %d LAST\r\n%s%s", c.envelope, len(c.header)+len(id)+len(c.body), c.header, id)
	_, _ = c.w.Write(c.body)
}

// outcome sends what is queued and reads the replies of one transaction.
func (c *conn) outcome() error {
	if err := c.w.Flush(); err != nil {
		return err
	}
	var errs error
	for range 2 + len(c.o.RcptTo) { // MAIL, each RCPT, BDAT
		errs = errors.Join(errs, c.reply())
	}
	return errs
}

func (c *conn) command(line string) error {
	_, _ = c.w.WriteString(line + "\r\n")
	if err := c.w.Flush(); err != nil {
		return err
	}
	return c.reply()
}

// reply reads one reply, which must be positive.
func (c *conn) reply() error {
	for {
		l, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(l) > 3 && l[3] == '-' {
			continue
		}
		if l[0] != '2' {
			return errors.New(string(bytes.TrimSpace(l)))
		}
		return nil
	}
}

func (c *conn) Close() error { return errors.Join(c.command("QUIT"), c.c.Close()) }
