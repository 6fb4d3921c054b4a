package submission

import (
	"crypto/hmac"
	"crypto/sha256"
	"io"

	"github.com/google/uuid"

	"github.com/postrider/postrider/mail"
)

// fingerprint is a hash of what a request says, however it was written: JSON or a form, with any boundary, in any
// order of its fields. It is keyed, since a relay's password is part of it and it is stored. Its error is one of
// reading contents.
func (s *Submission) fingerprint(q *Request) ([sha256.Size]byte, error) {
	var sum [sha256.Size]byte
	h := hmac.New(sha256.New, s.cfg.RelayKey)
	p := printer{h}
	m := &q.Message
	p.texts([]string{m.From.String(), m.Sender.String(), m.Subject, m.MessageID, m.InReplyTo, string(m.AutoSubmitted), string(m.Priority)})
	p.flag(m.MailFrom != nil)
	if m.MailFrom != nil {
		p.text(m.MailFrom.String())
	}
	for _, list := range [][]mail.Address{m.To, m.Cc, m.Bcc, m.ReplyTo} {
		p.addresses(list)
	}
	p.texts(m.References)
	p.texts(m.ListUnsubscribe)
	p.flag(m.ListUnsubscribePost)
	p.flag(m.RequireTLS)
	p.time(m.Date)
	p.number(int64(len(m.Header)))
	for _, f := range m.Header {
		p.texts([]string{f.Name, f.Value})
	}
	p.flag(m.DSN != nil)
	if m.DSN != nil {
		p.texts(append([]string{m.DSN.Return, m.DSN.EnvelopeID}, m.DSN.Notify...))
	}
	p.flag(m.Calendar != nil)
	if m.Calendar != nil {
		p.texts([]string{m.Calendar.Method, string(m.Calendar.Data), m.Calendar.Filename})
	}
	if err := p.contents(q); err != nil {
		return sum, err
	}
	p.text(q.RelayID.String())
	p.flag(q.Relay != nil)
	if q.Relay != nil {
		r := complete(*q.Relay)
		writeRelay(h, uuid.Nil, &r)
	}
	p.time(q.SendAt)
	p.texts([]string{q.Class, q.OnUnknown, string(q.Metadata)})
	p.texts(q.Tags)
	h.Sum(sum[:0])
	return sum, nil
}

// addresses hashes a list.
func (p printer) addresses(list []mail.Address) {
	p.number(int64(len(list)))
	for _, a := range list {
		p.text(a.String())
	}
}

// contents hashes what may be large, each by its own hash.
func (p printer) contents(q *Request) error {
	m := &q.Message
	for _, body := range []struct {
		text string
		open mail.Opener
	}{{m.Text, m.TextFrom}, {m.HTML, m.HTMLFrom}} {
		if err := p.content(body.text, body.open); err != nil {
			return err
		}
	}
	p.number(int64(len(m.Attachments)))
	for i := range m.Attachments {
		a := &m.Attachments[i]
		p.texts([]string{a.Filename, a.MediaType, a.ContentID})
		p.flag(a.Inline)
		if err := p.content("", a.Open); err != nil {
			return err
		}
	}
	p.flag(q.Raw != nil)
	if q.Raw == nil {
		return nil
	}
	p.flag(q.Raw.Rcpt != nil)
	p.addresses(q.Raw.Rcpt)
	return p.content("", q.Raw.Open)
}

// content hashes a text, or what an opener gives if there is one.
func (p printer) content(text string, open mail.Opener) (err error) {
	h := sha256.New()
	if open == nil {
		_, _ = io.WriteString(h, text) // a hash never fails
	} else {
		r, err := open()
		if err != nil {
			return err
		}
		defer r.Close()
		if _, err := io.Copy(h, r); err != nil {
			return err
		}
	}
	p.text(string(h.Sum(nil)))
	return nil
}
