package mail

import (
	"io"
	"time"
)

// ComposeOptions are the settings of [Message.Compose]. nil stands for the
// zero value, in which every field has a sensible default.
type ComposeOptions struct {
	// EightBit allows octets over 127 in the content where the message has
	// them: smaller, and fit only for relays with 8BITMIME (RFC 6152).
	// [Composed.Downgrade] mends that later. False: 7-bit clean.
	EightBit bool
	// Limits bounds the message. nil: the defaults.
	Limits *Limits
	// Now gives the time for Date and Message-ID. nil: time.Now.
	Now func() time.Time
	// Random gives the randomness of boundaries and Message-ID, 30 octets a
	// message. nil: crypto/rand. It must be safe for concurrent use if
	// Compose is used so, and must not be guessable in production.
	Random io.Reader
	// MessageIDDomain is the right side of a Message-ID made here. Empty:
	// the domain of From.
	MessageIDDomain string
	// Buffers lends the memory for messages of up to 64 KiB; who composes with
	// it calls [Composed.Release] when a message has been written for the last
	// time. nil: each message has memory of its own.
	Buffers *Buffers
}

// Compose checks the message and fixes its octets. The error is [Faults], with
// everything that [Message.Validate] finds, or what was wrong with content when
// it was read: each Opener whose content is not counted yet (TextFrom,
// HTMLFrom, attachments with Size < 0 and message/rfc822) is read once, and
// all of them if the whole content is at most 64 KiB. nil o means defaults.
//
// The structure is the smallest that holds what is there: one body alone is a
// single part; several are multipart/alternative, plainest first (RFC 2046
// §5.1.4); companions of the HTML make a multipart/related around those (RFC
// 2387), attachments a multipart/mixed around all. A message that is one
// attachment and nothing else is a multipart/mixed with one part: readers show
// a single part of text/csv as the message itself, without its file name.
//
// m must not be changed while Compose runs. Afterwards it may be, but not what
// its Openers read.
func (m *Message) Compose(o *ComposeOptions) (*Composed, error) {
	if o == nil {
		o = &ComposeOptions{}
	}
	c := composer{m: m, options: o, limits: o.Limits.resolved()}
	faults := m.validate(&c.limits, false)
	faults.checkIDDomain(o.MessageIDDomain)
	if len(faults) > 0 {
		faults = m.Validate(o.Limits)
		faults.checkIDDomain(o.MessageIDDomain)
		return nil, faults
	}
	if err := c.nonce.fill(o.Random); err != nil {
		return nil, err
	}
	c.now = m.Date
	if c.now.IsZero() {
		c.now = o.now()
	}
	return c.compose()
}

// now gives the time.
func (o *ComposeOptions) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

// composer makes one Composed.
type composer struct {
	headerWriter
	m         *Message
	options   *ComposeOptions
	limits    Limits
	nonce     nonce
	now       time.Time
	asciiOnly bool // the header may have no UTF-8 (Downgrade)

	messageID string
	boxes     []string // To, Cc and Bcc on the wire
	from      string
	sender    string
	smtpUTF8  bool // the header has UTF-8 in it

	text, html, calendar part
	files                []part // attachments in the order of the message
	eightBit             bool   // some part is encoding8Bit

	small    bool    // all is rendered into buf
	lent     *[]byte // what buf is given back with
	segments []segment
	cut      int // where the octets of the next segment begin in buf
	content  passBuffers
	inPart   bool // a part has begun since the last delimiter
}

// compose runs the stages: look at the content, choose, write.
func (c *composer) compose() (*Composed, error) {
	if err := c.plan(); err != nil {
		return nil, err
	}
	c.addresses()
	c.messageID = angled(c.m.MessageID)
	if c.messageID == "" {
		domain := c.options.MessageIDDomain
		if domain == "" {
			domain = domainOf(c.from)
		}
		c.messageID = makeMessageID(&c.nonce, c.now, domain)
	}
	c.header()
	if err := c.body(); err != nil {
		return nil, err
	}
	if c.unfit != "" {
		var fs Faults
		fs.add("headers", CodeControlCharacter, "header field %s has a control character; remove it", show(c.unfit))
		return nil, fs
	}
	if c.long != "" {
		var fs Faults
		fs.add("headers", CodeTooLong, "header field %s has a piece that cannot be folded into lines of %d octets; shorten it", show(c.long), hardLine)
		return nil, fs
	}
	return c.composed(), nil
}

// addresses prepares the mailboxes that header and envelope share.
func (c *composer) addresses() {
	m := c.m
	c.from = m.From.Mailbox()
	if !m.Sender.IsZero() {
		c.sender = m.Sender.Mailbox()
	}
	c.boxes = make([]string, 0, len(m.To)+len(m.Cc)+len(m.Bcc))
	for _, list := range [...][]Address{m.To, m.Cc, m.Bcc} {
		for i := range list {
			c.boxes = append(c.boxes, list[i].Mailbox())
		}
	}
}

// composed puts the result together.
func (c *composer) composed() *Composed {
	m := c.m
	d := &Composed{messageID: c.messageID}
	if c.segments == nil {
		d.one[0].literal = c.buf
		d.segments = d.one[:]
		d.buffers, d.lent = c.options.Buffers, c.lent
	} else {
		c.cutSegment()
		d.segments = c.segments
	}
	for i := range d.segments {
		d.size += d.segments[i].size()
	}
	e := &d.envelope
	switch {
	case m.MailFrom != nil:
		e.MailFrom = m.MailFrom.Mailbox()
	case c.sender != "":
		e.MailFrom = c.sender
	default:
		e.MailFrom = c.from
	}
	e.RcptTo = uniqueMailboxes(c.boxes)
	e.RequireTLS = m.RequireTLS
	e.DSN = m.DSN.clone()
	e.EightBit = c.eightBit || c.smtpUTF8
	e.SMTPUTF8 = c.smtpUTF8 || !isASCII(e.MailFrom)
	for _, box := range e.RcptTo {
		e.SMTPUTF8 = e.SMTPUTF8 || !isASCII(box)
	}
	if (e.EightBit || e.SMTPUTF8) && !c.asciiOnly {
		d.again = c.recomposition()
	}
	return d
}
