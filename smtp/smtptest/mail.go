package smtptest

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// transaction is the one that a session has under way.
type transaction struct {
	Transaction
	flightsBefore int
	accepted      int  // recipients
	eightBit      bool // BODY=8BITMIME or BINARYMIME, or SMTPUTF8
	binary        bool // BODY=BINARYMIME
	utf8          bool // SMTPUTF8
	failed        bool // a chunk was refused: RFC 3030 §2 wants RSET
	answered      bool // a reply was made in the middle of the content
	armed         *step
	sink          *sink
}

// arm keeps an action for the middle of the content.
func (t *transaction) arm(s step) { t.armed = &s }

// begin begins a transaction.
func (d *dialogue) beginTransaction(from Path) {
	d.endTransaction()
	d.count++
	name, _ := d.Hello()
	t := &transaction{Transaction: Transaction{
		Envelope: Envelope{MailFrom: from},
		Session:  d.number, Number: d.count, Begun: time.Now(),
		Hello: name, TLS: d.tlsActive, User: d.user,
	}}
	t.flightsBefore = d.Flights() - 1 // the wait that brought MAIL is the first
	body := strings.ToUpper(from.Params["BODY"])
	_, t.utf8 = from.Params["SMTPUTF8"]
	t.binary = body == "BINARYMIME"
	t.eightBit = t.utf8 || t.binary || body == "8BITMIME"
	d.tx = t
}

// endTransaction ends a transaction, if there is one, that came to nothing.
func (d *dialogue) endTransaction() {
	if d.tx != nil {
		d.closeTransaction(SentReply{})
	}
}

// closeTransaction ends the transaction with the reply to its content.
func (d *dialogue) closeTransaction(r SentReply) {
	t := d.tx
	d.tx = nil
	t.Ended = time.Now()
	t.Reply = r
	t.Flights = d.Flights() - t.flightsBefore
	if t.sink != nil {
		t.Accepted = t.Complete && r.Code/100 == 2 && t.sink.commit() == nil
		t.sink.abort()
		t.Content, t.sum = t.sink.kept, t.sink.sum()
	}
	done := t.clone()
	if done.Accepted && d.cfg.OnTransaction != nil {
		d.cfg.OnTransaction(done)
	}
	d.srv.over(done)
}

// mail answers MAIL (RFC 5321 §4.1.1.2).
func (d *dialogue) mail(arg string) verdict {
	path, problem := d.parsePath("FROM:", arg)
	v := verdict{settle: func(r SentReply) {
		if r.Code/100 == 2 {
			path.Reply = r
			d.beginTransaction(path)
		}
	}}
	_, path8 := path.Params["SMTPUTF8"]
	switch {
	case !d.greeted:
		v.reply = d.say(503, "5.5.1", "EHLO first")
	case d.cfg.RequireAuth && d.user == "":
		v.reply = d.say(530, "5.7.0", "authentication required") // RFC 4954 §6
	case d.tx != nil:
		v.reply = d.say(503, "5.5.1", "a transaction is begun already")
	case problem.Code != 0:
		v.reply, v.fault = problem, problem.Code == 501
	case !path8 && !ascii(path.Address):
		v.reply = d.say(553, "5.6.7", "address needs SMTPUTF8") // RFC 6531 §3.5
	case path.Address != "" && !mailbox(path.Address):
		v.reply = d.say(553, "5.1.7", "not a mailbox: "+printable(path.Address))
	default:
		v.reply = d.checkMailParams(path.Params)
	}
	if v.reply.Code == 0 {
		v.reply = d.say(250, "2.1.0", "sender ok")
	}
	return v
}

// checkMailParams gives the refusal of parameters that were not offered or have
// a wrong value; zero if all are well.
func (d *dialogue) checkMailParams(params map[string]string) SentReply {
	for keyword, value := range params {
		var offered, good bool
		switch keyword {
		case "BODY":
			value = strings.ToUpper(value)
			offered = d.offers("8BITMIME") || d.offers("BINARYMIME")
			good = value == "7BIT" || value == "8BITMIME" && d.offers("8BITMIME") ||
				value == "BINARYMIME" && d.offers("BINARYMIME") && d.offers("CHUNKING")
		case "SIZE":
			offered = d.offers("SIZE")
			n, err := strconv.ParseUint(value, 10, 64)
			good = err == nil && len(value) <= 20 // RFC 1870 §4
			if good && d.cfg.MaxSize > 0 && n > uint64(d.cfg.MaxSize) {
				return d.say(552, "5.3.4", "message too large")
			}
		case "SMTPUTF8", "REQUIRETLS":
			offered, good = d.offers(keyword), value == ""
		case "RET":
			offered = d.offers("DSN")
			good = strings.EqualFold(value, "FULL") || strings.EqualFold(value, "HDRS")
		case "ENVID":
			offered, good = d.offers("DSN"), xtext(value) && value != "" && len(value) <= 100 // RFC 3461 §4.4
		case "AUTH":
			offered, good = d.offers("AUTH"), xtext(value) && value != "" // RFC 4954 §5
		default:
			// Of an extension that the server only pretends to have.
			offered, good = d.offers(keyword), true
		}
		switch {
		case !offered:
			return d.say(555, "5.5.4", "parameter not offered: "+printable(keyword))
		case !good:
			return d.say(501, "5.5.4", "bad value of parameter "+printable(keyword))
		}
	}
	return SentReply{}
}

// rcpt answers RCPT (RFC 5321 §4.1.1.3).
func (d *dialogue) rcpt(arg string) verdict {
	path, problem := d.parsePath("TO:", arg)
	v := verdict{settle: func(r SentReply) {
		if d.tx == nil || d.tx.sink != nil {
			return
		}
		path.Reply = r
		d.tx.RcptTo = append(d.tx.RcptTo, path)
		if r.Code/100 == 2 {
			d.tx.accepted++
		}
	}}
	switch {
	case d.tx == nil || d.tx.sink != nil:
		v.reply, v.settle = d.say(503, "5.5.1", "MAIL first"), nil
	case problem.Code != 0:
		v.reply, v.fault = problem, problem.Code == 501
	case !d.tx.utf8 && !ascii(path.Address):
		v.reply = d.say(553, "5.6.7", "address needs SMTPUTF8")
	case !mailbox(path.Address) && !strings.EqualFold(path.Address, "postmaster"):
		// RFC 5321 §4.5.1: postmaster goes without a domain.
		v.reply = d.say(553, "5.1.3", "not a mailbox: "+printable(path.Address))
	case d.cfg.MaxRecipients > 0 && d.tx.accepted >= d.cfg.MaxRecipients:
		v.reply = d.say(452, "4.5.3", "too many recipients") // RFC 5321 §4.5.3.1.10
	default:
		v.reply = d.checkRcptParams(path.Params)
	}
	if v.reply.Code == 0 {
		v.reply = d.say(250, "2.1.5", "recipient ok")
	}
	return v
}

func (d *dialogue) checkRcptParams(params map[string]string) SentReply {
	for keyword, value := range params {
		offered, good := d.offers(keyword), true
		switch keyword {
		case "NOTIFY":
			offered, good = d.offers("DSN"), notify(value)
		case "ORCPT":
			kind, address, found := strings.Cut(value, ";")
			utf8Form := strings.EqualFold(kind, "utf-8") && d.offers("SMTPUTF8") && unitext(address)
			offered, good = d.offers("DSN"), found && kind != "" && (xtext(address) || utf8Form)
		}
		switch {
		case !offered:
			return d.say(555, "5.5.4", "parameter not offered: "+printable(keyword))
		case !good:
			return d.say(501, "5.5.4", "bad value of parameter "+printable(keyword))
		}
	}
	return SentReply{}
}

// notify checks a NOTIFY value: NEVER alone, or any of the others once
// (RFC 3461 §4.1).
func notify(value string) bool {
	words := strings.Split(strings.ToUpper(value), ",")
	if len(words) == 1 && words[0] == "NEVER" {
		return true
	}
	for i, w := range words {
		if w != "SUCCESS" && w != "FAILURE" && w != "DELAY" || slices.Contains(words[:i], w) {
			return false
		}
	}
	return true
}

// xtext checks RFC 3461 §4: printable ASCII, "+" only before two hexadecimal
// digits, no "=".
func xtext(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			if i+2 >= len(s) || !hexUpper(s[i+1]) || !hexUpper(s[i+2]) {
				return false
			}
			i += 2
		case c < '!' || c > '~' || c == '=':
			return false
		}
	}
	return true
}

// unitext checks RFC 6533 §3, utf-8-addr-unitext: UTF-8 in which controls, space,
// "+" and "=" are written as \x{…}.
func unitext(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r == 0x7f || r == '+' || r == '=' })
}

func hexUpper(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' }

// parsePath takes the argument of MAIL and RCPT apart.
func (d *dialogue) parsePath(word, arg string) (Path, SentReply) {
	bad := d.say(501, "5.5.4", "syntax: "+word+"<address>")
	p := Path{Address: arg}
	if len(arg) < len(word) || !strings.EqualFold(arg[:len(word)], word) {
		return p, bad
	}
	rest := strings.TrimLeft(arg[len(word):], " ")
	if len(rest) < len(arg)-len(word) {
		d.note(LintPathSpace, word)
	}
	end := pathEnd(rest)
	if end < 0 {
		return p, bad
	}
	p.Address = rest[1:end]
	if !utf8.ValidString(p.Address) {
		return p, d.say(501, "5.5.2", "address is not UTF-8")
	}
	rest = rest[end+1:]
	if rest != "" && rest[0] != ' ' {
		return p, bad
	}
	for _, param := range strings.Fields(rest) {
		keyword, value, _ := strings.Cut(param, "=")
		keyword = strings.ToUpper(keyword)
		if _, twice := p.Params[keyword]; twice || keyword == "" {
			return p, d.say(501, "5.5.4", "bad parameters")
		}
		if p.Params == nil {
			p.Params = map[string]string{}
		}
		p.Params[keyword] = value
	}
	return p, SentReply{}
}

// pathEnd gives the index of the > that ends the path s begins with, past any in
// a quoted local part; -1 if s is no path.
func pathEnd(s string) int {
	if s == "" || s[0] != '<' {
		return -1
	}
	quoted := false
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			return i
		case (c == '<' || c == ' ') && !quoted:
			return -1
		}
	}
	return -1
}

// mailbox checks an address no further than a relay does: a local part, an @, a
// domain, no octets that could do harm.
func mailbox(a string) bool {
	i := strings.LastIndexByte(a, '@')
	return i > 0 && i < len(a)-1 && !strings.ContainsFunc(a, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func ascii(s string) bool {
	for _, c := range []byte(s) {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// printable makes text from the client fit for a reply.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), 100)]
}
