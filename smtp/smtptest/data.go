package smtptest

import (
	"bufio"
	"errors"
)

// data answers DATA (RFC 5321 §4.1.1.4).
func (d *dialogue) data(arg string) verdict {
	v := verdict{after: func(r SentReply) {
		if r.Code == 354 {
			d.readData()
		}
	}}
	switch {
	case arg != "":
		v.reply, v.fault = d.say(501, "5.5.4", "DATA has no parameters"), true
	case d.tx == nil:
		v.reply = d.say(503, "5.5.1", "MAIL first")
	case d.tx.sink != nil:
		v.reply = d.say(503, "5.5.1", "BDAT and DATA do not mix") // RFC 3030 §2
	case d.tx.accepted == 0:
		v.reply = d.say(554, "5.5.1", "no valid recipients")
	case d.tx.binary:
		v.reply = d.say(503, "5.5.1", "BODY=BINARYMIME needs BDAT") // RFC 3030 §3
	default:
		v.reply = SentReply{Code: 354, Lines: []string{"end data with <CR><LF>.<CR><LF>"}}
	}
	return v
}

// readData reads content up to the final dot and undoes its transparency
// (RFC 5321 §4.5.2). Only CRLF ends a line here: whoever takes a bare LF for
// one can be made to see messages that the sender never sent.
func (d *dialogue) readData() {
	d.startContent("DATA")
	lineStart, last := true, byte(0)
	d.waitPoint = d.r.Buffered() == 0
	for !d.ended {
		piece, err := d.r.ReadSlice('\n')
		d.waitPoint = false
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			d.feed(piece)
			d.lost(err)
			return
		}
		content := piece
		if lineStart && piece[0] == '.' {
			if string(piece) == ".\r\n" {
				d.endContent()
				return
			}
			content = piece[1:]
		}
		n := len(piece)
		before := last
		if n > 1 {
			before = piece[n-2]
		}
		last = piece[n-1]
		lineStart = last == '\n' && before == '\r'
		d.feed(content)
	}
}
