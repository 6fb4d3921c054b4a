package smtptest

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
)

// auth answers AUTH (RFC 4954 §4).
func (d *dialogue) auth(arg string) verdict {
	name, initial, hasInitial := strings.Cut(arg, " ")
	name, initial = strings.ToUpper(name), strings.TrimSpace(initial)
	v := verdict{
		settle: func(r SentReply) {
			if r.Code/100 == 2 {
				d.authenticated(name, "scripted")
			}
		},
		after: func(r SentReply) {
			if r.Code == 334 {
				d.exchange(exchange{mechanism: name})
			}
		},
	}
	offered := strings.Fields(strings.ToUpper(d.offered["AUTH"]))
	switch {
	case !d.greeted || !d.offers("AUTH"):
		v.reply = d.say(502, "5.5.1", "AUTH is not offered")
	case d.user != "":
		v.reply = d.say(503, "5.5.1", "authenticated already")
	case d.tx != nil:
		v.reply = d.say(503, "5.5.1", "not during a transaction")
	case name == "":
		v.reply, v.fault = d.say(501, "5.5.4", "AUTH needs a mechanism"), true
	case !slices.Contains(offered, name) || !slices.Contains(mechanismNames(), name):
		v.reply = d.say(504, "5.5.4", "mechanism not offered: "+printable(name))
	default:
		e := exchange{mechanism: name, server: d.newMechanism(name)}
		if hasInitial {
			e.response, e.given = nil, true
			// "=" is an initial response of no octets.
			if initial != "=" {
				raw, err := base64.StdEncoding.DecodeString(initial)
				if err != nil {
					v.reply, v.fault = d.say(501, "5.5.2", "not base64"), true
					return v
				}
				e.response = raw
			}
			if name == "CRAM-MD5" {
				// RFC 4954 §4: the server begins this one.
				v.reply = d.say(501, "5.5.2", "CRAM-MD5 has no initial response")
				return v
			}
		}
		v.run = func() { d.exchange(e) }
	}
	return v
}

// exchange is an AUTH under way.
type exchange struct {
	mechanism string
	server    mechanism // nil: rules say everything
	response  []byte    // what the client said last
	given     bool      // it said something, if only nothing
}

var errCredentials = errors.New("smtptest: wrong credentials")

// exchange goes through challenges and responses to the final reply.
func (d *dialogue) exchange(e exchange) {
	for !d.ended {
		if e.server != nil {
			challenge, done, err := e.server.next(e.response, e.given)
			switch {
			case err != nil:
				d.reply(d.say(535, "5.7.8", "authentication credentials invalid"))
				return
			case done:
				d.authenticated(e.mechanism, e.server.user())
				d.reply(d.say(235, "2.7.0", "authentication succeeded"))
				return
			}
			d.reply(SentReply{Code: 334, Lines: []string{base64.StdEncoding.EncodeToString(challenge)}})
		}
		if !d.response(&e) {
			return
		}
	}
}

// response reads the client's next line of an exchange and reports whether the
// exchange goes on.
func (d *dialogue) response(e *exchange) bool {
	line, fault, err := d.readLine(authLineOctets)
	if err != nil {
		d.lost(err)
		return false
	}
	d.logged(CommandAuthResponse, "***")
	if a, scripted := d.srv.rule(d.Session, CommandAuthResponse, line, false); scripted {
		given, proceed := d.perform(a, func(r SentReply) {
			if r.Code/100 == 2 {
				d.authenticated(e.mechanism, "scripted")
			}
		})
		if !proceed {
			e.server = nil
			return given.Code == 334
		}
	}
	switch {
	case fault == lineTooLong:
		d.replyFault(d.say(500, "5.5.6", "authentication line too long")) // RFC 4954 §4
	case fault != lineGood:
		d.replyFault(d.say(500, "5.5.2", string(fault)))
	case line == "*":
		d.reply(d.say(501, "5.7.0", "authentication canceled")) // RFC 4954 §4
	case e.server == nil:
		d.reply(d.say(535, "5.7.8", "authentication credentials invalid"))
	default:
		if e.response, err = base64.StdEncoding.DecodeString(line); err != nil {
			d.replyFault(d.say(501, "5.5.2", "not base64"))
			return false
		}
		e.given = true
		return true
	}
	return false
}

func (d *dialogue) authenticated(mechanism, user string) {
	d.user = user
	d.learn(func(f *facts) { f.user, f.authMechanism = user, mechanism })
}
