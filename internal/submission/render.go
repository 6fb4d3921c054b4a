package submission

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	netmail "net/mail"
	"net/textproto"
	"strings"

	"github.com/postrider/postrider/mail"
)

// rendered is a message whose octets are fixed, and what is shown of it in lists.
type rendered struct {
	composed   *mail.Composed
	envelope   mail.Envelope
	headerFrom string
	subject    string
	senders    []string // the domains of the authors
	recipients []recipient
}

// recipient is a forward-path and the field that it stands in.
type recipient struct{ address, field string }

// render composes the message. An error that is mail.Faults says what is wrong with it.
func (s *Submission) render(q *Request) (*rendered, error) {
	if q.Raw != nil {
		return s.renderRaw(q)
	}
	m := &q.Message
	c, err := m.Compose(&mail.ComposeOptions{
		// What the relay offers is not known now, and frozen octets cannot be changed: so 7-bit, which all take.
		EightBit: false,
		Limits:   &s.cfg.Limits, Now: s.cfg.Now, MessageIDDomain: s.cfg.Hostname, Buffers: &s.buffers,
	})
	if err != nil {
		return nil, err
	}
	r := &rendered{
		composed: c, envelope: c.Envelope(), headerFrom: m.From.String(), subject: m.Subject,
		senders: []string{domainOf(m.From.Mailbox())},
	}
	r.recipients = fieldsOf(r.envelope.RcptTo, m)
	return r, nil
}

// fieldsOf says of each forward-path which field it came from. The forward-paths are the mailboxes of To, Cc and Bcc in
// this order, each once.
func fieldsOf(rcptTo []string, m *mail.Message) []recipient {
	out := make([]recipient, len(rcptTo))
	i := 0
	for _, list := range []struct {
		field     string
		addresses []mail.Address
	}{{"to", m.To}, {"cc", m.Cc}, {"bcc", m.Bcc}} {
		for _, a := range list.addresses {
			// A mailbox that came before was left out: it cannot be equal to the next one.
			if i < len(rcptTo) && rcptTo[i] == a.Mailbox() {
				out[i] = recipient{rcptTo[i], list.field}
				i++
			}
		}
	}
	return out
}

// renderRaw checks a message that is complete.
func (s *Submission) renderRaw(q *Request) (*rendered, error) {
	m := &q.Message
	c, err := mail.ComposeRaw(q.Raw.Open, &mail.RawOptions{
		MailFrom: m.MailFrom, Rcpt: q.Raw.Rcpt, Limits: &s.cfg.Limits, Now: s.cfg.Now, MessageIDDomain: s.cfg.Hostname,
		DSN: m.DSN, RequireTLS: m.RequireTLS,
	})
	if err != nil {
		return nil, err
	}
	r := &rendered{composed: c, envelope: c.Envelope()}
	for _, address := range r.envelope.RcptTo {
		r.recipients = append(r.recipients, recipient{address: address})
	}
	return r, r.readHeader()
}

// maxHeaderOctets bounds the header of a complete message; mail.ComposeRaw allows no more.
const maxHeaderOctets = 1<<20 + 4<<10

// errEnough stops the writing of a message whose header has been seen.
var errEnough = errors.New("the header has been seen")

// headerWriter keeps what is written up to the end of the header.
type headerWriter struct{ bytes.Buffer }

// Write stops after the empty line.
func (h *headerWriter) Write(p []byte) (int, error) {
	before := max(h.Len()-3, 0)
	_, _ = h.Buffer.Write(p) // it never fails
	if i := bytes.Index(h.Bytes()[before:], []byte("\r\n\r\n")); i >= 0 {
		h.Truncate(before + i + 4)
		return len(p), errEnough
	}
	if h.Len() > maxHeaderOctets {
		return len(p), errEnough
	}
	return len(p), nil
}

// readHeader finds authors and subject of a message that was found sound, and which of its fields name each recipient.
func (r *rendered) readHeader() error {
	var h headerWriter
	if _, err := r.composed.WriteTo(&h); err != nil && !errors.Is(err, errEnough) {
		return err
	}
	header, err := textproto.NewReader(bufio.NewReader(&h.Buffer)).ReadMIMEHeader()
	if err != nil && !errors.Is(err, io.EOF) {
		return unreadableFrom()
	}
	words := mime.WordDecoder{} // UTF-8, US-ASCII and ISO-8859-1; others stay as they are
	decode := func(s string) string {
		if d, err := words.DecodeHeader(s); err == nil {
			s = d
		}
		return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\ufffd")
	}
	r.fieldsIn(header)
	r.subject = decode(header.Get("Subject"))
	from := header.Get("From")
	r.headerFrom = decode(from)
	authors, err := netmail.ParseAddressList(from)
	if err != nil {
		if authors, err = netmail.ParseAddressList(r.headerFrom); err != nil {
			return unreadableFrom()
		}
	}
	for _, a := range authors {
		r.senders = append(r.senders, domainOf(mail.Addr(a.Address).Mailbox()))
	}
	return nil
}

// fieldsIn says of each recipient whether To or Cc of the header name it. Who stands in neither is hidden from the others:
// "bcc". Where a list cannot be read nobody can be said to be hidden.
func (r *rendered) fieldsIn(header textproto.MIMEHeader) {
	// Names do not matter here: words in a charset that we do not know must not hide the addresses beside them.
	parser := netmail.AddressParser{WordDecoder: &mime.WordDecoder{
		CharsetReader: func(_ string, in io.Reader) (io.Reader, error) { return in, nil },
	}}
	rest, fields := "bcc", map[string]string{}
	for _, field := range []string{"To", "Cc"} {
		for _, list := range header.Values(field) {
			named, err := parser.ParseList(list)
			if err != nil {
				rest = "to"
			}
			for _, a := range named {
				bare := netmail.Address{Address: a.Address} // String quotes the local part where it must be
				if key := mailboxKey(mail.Addr(bare.String()).Mailbox()); fields[key] == "" {
					fields[key] = strings.ToLower(field)
				}
			}
		}
	}
	for i := range r.recipients {
		one := &r.recipients[i]
		if one.field = fields[mailboxKey(one.address)]; one.field == "" {
			one.field = rest
		}
	}
}

// mailboxKey is equal for mailboxes that differ in the case of their domains only.
func mailboxKey(mailbox string) string {
	at := strings.LastIndexByte(mailbox, '@') + 1
	return mailbox[:at] + strings.ToLower(mailbox[at:])
}

// unreadableFrom is the fault of an author whom we cannot hold against what the relay may send for.
func unreadableFrom() error {
	return mail.Faults{{Field: "from", Code: mail.CodeInvalidAddress, Detail: "header field From cannot be read; write plain addresses there"}}
}

// dsn gives the DSN parameters of the message as the store keeps them; nil: none.
func (r *rendered) dsn() json.RawMessage {
	d := r.envelope.DSN
	if d == nil || d.Return == "" && d.EnvelopeID == "" {
		return nil
	}
	text, err := json.Marshal(struct {
		Return     string `json:"return,omitempty"`
		EnvelopeID string `json:"envelope_id,omitempty"`
	}{d.Return, d.EnvelopeID})
	if err != nil { // strings: cannot happen
		return nil
	}
	return text
}

// notify gives the words of NOTIFY that go with each recipient; empty: none.
func (r *rendered) notify() string {
	if r.envelope.DSN == nil {
		return ""
	}
	return strings.Join(r.envelope.DSN.Notify, ",")
}
