package smtp

import (
	"errors"
	"fmt"
	"strconv"
)

// mailParams is what was decided about an envelope on this connection.
type mailParams struct {
	size     int64
	eightBit bool // octets over 127 may pass
	body     bool // BODY=8BITMIME
	utf8     bool // SMTPUTF8
	mailFrom string
	rcptTo   []string // as they go over the wire; "": refused here
	one      [1]string
}

// refused says whether a recipient was refused before the server was asked.
func (p *mailParams) refused(i int) bool { return p.rcptTo[i] == "" }

// prepare decides how the message can be sent here, before anything is
// written. Recipients that cannot be asked for get their error; open counts
// the others. An error stands for the whole message.
func (t *transaction) prepare() (open int, err *Error) {
	p := &t.params
	if t.content == nil {
		return 0, contentFault(errNoContent)
	}
	p.rcptTo = p.one[:]
	if n := len(t.env.RcptTo); n != 1 {
		p.rcptTo = make([]string, n)
	}
	if err := t.prepareSender(); err != nil {
		return 0, err
	}
	for i := range t.env.RcptTo {
		if e := t.prepareRecipient(i); e != nil {
			e.Recipient = t.env.RcptTo[i].Address
			t.out.Recipients[i].Err = e
			continue
		}
		open++
	}
	if err := t.prepareContent(); err != nil {
		return 0, err
	}
	return open, nil
}

func (t *transaction) prepareSender() *Error {
	p, ext := &t.params, &t.c.ext
	if t.env.MailFrom != "" {
		from, needsUTF8, err := path(t.env.MailFrom)
		if err != nil {
			return localError(PhaseMail, EnhancedCode{5, 1, 7}, fmt.Errorf("reverse-path: %w", err))
		}
		if needsUTF8 && !ext.utf8 {
			return localError(PhaseMail, EnhancedCode{5, 6, 7}, errors.New("the reverse-path has a local part in UTF-8 and the server does not offer SMTPUTF8"))
		}
		p.mailFrom, p.utf8 = from, needsUTF8
	}
	switch t.env.Return {
	case "", ReturnFull, ReturnHeader:
	default:
		return localError(PhaseMail, EnhancedCode{5, 5, 4}, fmt.Errorf("unknown return %q: use FULL or HDRS", string(t.env.Return)))
	}
	if id := t.env.EnvelopeID; !printableASCII(id) || len(xtext(id)) > 100 {
		return localError(PhaseMail, EnhancedCode{5, 5, 4}, errors.New("the envelope id is not printable ASCII of at most 100 characters as xtext"))
	}
	if t.env.RequireTLS {
		// RFC 8689 §4.2.1: TLS, a certificate that was verified, and the
		// extension.
		switch {
		case t.c.tls == nil:
			return localError(PhaseMail, EnhancedCode{5, 7, 10}, errors.New("the message requires TLS on every hop and this connection has none"))
		case t.c.d.cfg.DangerouslySkipTLSVerify:
			return localError(PhaseMail, EnhancedCode{5, 7, 10}, errors.New("the message requires verified TLS on every hop and DangerouslySkipTLSVerify is set"))
		case !ext.requireTLS:
			return localError(PhaseMail, EnhancedCode{5, 7, 30}, errors.New("the message requires TLS on every hop and the server does not offer REQUIRETLS"))
		}
	}
	return nil
}

func printableASCII(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

func (t *transaction) prepareRecipient(i int) *Error {
	rcpt := &t.env.RcptTo[i]
	to, needsUTF8, err := path(rcpt.Address)
	if err != nil {
		return localError(PhaseRcpt, EnhancedCode{5, 1, 3}, err)
	}
	if needsUTF8 {
		if !t.c.ext.utf8 {
			return localError(PhaseRcpt, EnhancedCode{5, 6, 7}, errors.New("the local part is in UTF-8 and the server does not offer SMTPUTF8"))
		}
		t.params.utf8 = true
	}
	if _, err := notifyParam(rcpt.Notify); len(rcpt.Notify) > 0 && err != nil {
		return localError(PhaseRcpt, EnhancedCode{5, 5, 4}, err)
	}
	if rcpt.OriginalRecipient != "" {
		if _, err := originalRecipient(rcpt.OriginalRecipient); err != nil {
			return localError(PhaseRcpt, EnhancedCode{5, 5, 4}, err)
		}
	}
	t.params.rcptTo[i] = to
	return nil
}

// prepareContent compares what the content needs with what is offered.
func (t *transaction) prepareContent() *Error {
	p, ext := &t.params, &t.c.ext
	bits := t.env.EightBit && !ext.eightBit
	header := t.env.SMTPUTF8 && !ext.utf8
	eightBit, utf8 := t.env.EightBit, t.env.SMTPUTF8
	if bits || header {
		d, ok := t.content.(Downgrader)
		var err error
		if ok {
			t.content, err = d.Downgrade()
		}
		switch {
		case ok && err == nil:
			eightBit, utf8 = false, false
		case header:
			return localError(PhaseMail, EnhancedCode{5, 6, 7}, because("the header has addresses in UTF-8 and the server does not offer SMTPUTF8", err))
		default:
			return localError(PhaseMail, EnhancedCode{5, 6, 3}, because("the content has 8-bit octets and the server does not offer 8BITMIME", err))
		}
	}
	p.eightBit = eightBit || utf8
	p.utf8 = p.utf8 || utf8
	p.body = p.eightBit && ext.eightBit
	p.size = t.content.Size()
	if p.size < 0 {
		return contentFault(errNegative)
	}
	if ext.maxSize > 0 && p.size > ext.maxSize {
		// RFC 1870 §6.1 (1)
		return localError(PhaseMail, EnhancedCode{5, 3, 4}, fmt.Errorf("content of %d octets is larger than the %d that the server takes", p.size, ext.maxSize))
	}
	return nil
}

func because(text string, err error) error {
	if err == nil {
		return errors.New(text)
	}
	return fmt.Errorf("%s: %w", text, err)
}

// addEnvelope adds RSET if a refused transaction is open, MAIL, and a RCPT for
// each recipient that can be asked for.
func (t *transaction) addEnvelope() {
	if t.c.rset {
		t.rset = true
		_ = t.f.line(t.c, expectMail, "RSET")
	}
	t.addMail()
	for i := range t.env.RcptTo {
		if !t.params.refused(i) {
			t.addRcpt(i)
		}
	}
}

// addMail adds the MAIL command (RFC 5321 §4.1.1.2). prepare has checked all
// that goes into it, so the line cannot be refused.
func (t *transaction) addMail() {
	p, ext := &t.params, &t.c.ext
	// Parts that are absent are empty: a list that may grow would put each of them on the heap.
	var digits [20]byte
	var size, body, utf8, requireTLS, ret, returns, envid, id string
	number := digits[:0]
	if ext.size {
		size, number = " SIZE=", strconv.AppendInt(number, p.size, 10)
	}
	if p.body {
		body = " BODY=8BITMIME"
	}
	if p.utf8 {
		utf8 = " SMTPUTF8"
	}
	if t.env.RequireTLS {
		requireTLS = " REQUIRETLS"
	}
	if ext.dsn && t.env.Return != "" {
		ret, returns = " RET=", string(t.env.Return)
	}
	if ext.dsn && t.env.EnvelopeID != "" {
		envid, id = " ENVID=", xtext(t.env.EnvelopeID)
	}
	_ = t.f.line(t.c, expectMail, "MAIL FROM:<", p.mailFrom, ">", size, string(number), body, utf8, requireTLS, ret, returns, envid, id)
}

// addRcpt adds the RCPT command (RFC 5321 §4.1.1.3) for recipient i.
func (t *transaction) addRcpt(i int) {
	rcpt := &t.env.RcptTo[i]
	var parts [8]string
	a := append(parts[:0], "RCPT TO:<", t.params.rcptTo[i], ">")
	if t.c.ext.dsn && len(rcpt.Notify) > 0 {
		notify, _ := notifyParam(rcpt.Notify)
		a = append(a, " NOTIFY=", notify)
	}
	if t.c.ext.dsn && rcpt.OriginalRecipient != "" {
		orcpt, _ := originalRecipient(rcpt.OriginalRecipient)
		a = append(a, " ORCPT=", orcpt)
	}
	_ = t.f.line(t.c, expectRcpt, a...)
}
