package smtptest

import (
	"crypto/tls"
	"maps"
	"slices"
	"strings"
	"time"
)

// judge says what the server answers to a command by itself. BDAT is not here:
// its chunk comes first.
func (d *dialogue) judge(verb, arg string) verdict {
	if d.refused && verb != "QUIT" {
		// RFC 5321 §3.1: after a 554 greeting.
		return verdict{reply: d.say(503, "5.5.1", "no SMTP service here, QUIT")}
	}
	if d.cfg.RequireTLS && !d.tlsActive {
		switch verb {
		case "MAIL", "RCPT", "DATA", "AUTH", "VRFY", "EXPN":
			// RFC 3207 §4
			return verdict{reply: d.say(530, "5.7.0", "issue a STARTTLS command first")}
		}
	}
	switch verb {
	case "EHLO", "HELO":
		return d.hello(verb, arg)
	case "STARTTLS":
		return d.startTLSCommand(arg)
	case "AUTH":
		return d.auth(arg)
	case "MAIL":
		return d.mail(arg)
	case "RCPT":
		return d.rcpt(arg)
	case "DATA":
		return d.data(arg)
	case "RSET":
		return verdict{reply: d.say(250, "2.0.0", "reset"), settle: func(r SentReply) {
			if r.Positive() {
				d.endTransaction()
			}
		}}
	case "NOOP":
		return verdict{reply: d.say(250, "2.0.0", "still here")}
	case "VRFY":
		return verdict{reply: d.say(252, "2.5.0", "cannot say, but would take a message")}
	case "EXPN":
		return verdict{reply: d.say(502, "5.5.1", "not implemented")}
	case "HELP":
		return verdict{reply: d.say(214, "2.0.0", "see RFC 5321")}
	case "QUIT":
		return verdict{reply: d.say(221, "2.0.0", "bye"), after: func(SentReply) { d.ended, d.linger = true, true }}
	}
	return verdict{reply: d.say(500, "5.5.2", "unknown command"), fault: true}
}

// loggedArg is what the log keeps of an argument: no passwords.
func loggedArg(verb, arg string) string {
	if verb != "AUTH" {
		return arg
	}
	mechanism, initial, _ := strings.Cut(arg, " ")
	if initial != "" {
		return mechanism + " ***"
	}
	return mechanism
}

// hello answers EHLO and HELO (RFC 5321 §4.1.1.1), which also reset the
// transaction (§4.1.4).
func (d *dialogue) hello(verb, arg string) verdict {
	if verb == "EHLO" && d.cfg.HELOOnly {
		return verdict{reply: SentReply{Code: 500, Lines: []string{"unknown command"}}}
	}
	if arg == "" {
		return verdict{reply: d.say(501, "5.5.4", verb+" needs a name"), fault: true}
	}
	offered := map[string]string{}
	r := SentReply{Code: 250, Lines: []string{d.cfg.Hostname}}
	if verb == "EHLO" {
		lines := d.cfg.offer(d.tlsActive)
		r.Lines = append(r.Lines, lines...)
		for _, l := range lines {
			keyword, params, _ := strings.Cut(l, " ")
			offered[strings.ToUpper(keyword)] = params
		}
	}
	return verdict{reply: r, settle: func(given SentReply) {
		if given.Code/100 != 2 {
			return
		}
		d.endTransaction()
		d.greeted, d.esmtp = true, verb == "EHLO"
		d.offered = offered
		if d.esmtp && !slices.Equal(given.Lines, r.Lines) {
			// A rule offers something else. The server then knows all that either
			// offers: what a rule promises must work.
			d.offered = maps.Clone(offered)
			for _, l := range given.Lines[1:] {
				keyword, params, _ := strings.Cut(l, " ")
				d.offered[strings.ToUpper(keyword)] = params
			}
		}
		d.learn(func(f *facts) { f.hello, f.extended = arg, verb == "EHLO" })
	}}
}

// startTLSCommand answers STARTTLS (RFC 3207).
func (d *dialogue) startTLSCommand(arg string) verdict {
	v := verdict{after: func(r SentReply) {
		if r.Code == 220 && !d.startTLS() {
			d.ended = true
		}
	}}
	switch {
	case arg != "":
		v.reply, v.fault = d.say(501, "5.5.4", "STARTTLS has no parameters"), true
	case d.tlsActive:
		v.reply, v.after = d.say(503, "5.5.1", "TLS is active"), nil
	case !d.greeted || !d.offers("STARTTLS"):
		v.reply = d.say(502, "5.5.1", "STARTTLS is not offered")
	default:
		v.reply = d.say(220, "2.0.0", "go ahead")
	}
	return v
}

// startTLS does the handshake and forgets what was said before it
// (RFC 3207 §4.2). What the client sent behind STARTTLS unencrypted is thrown
// away, or an attacker could put commands in front of the client's.
func (d *dialogue) startTLS() bool {
	if d.flush() != nil {
		return false
	}
	d.endTransaction()
	if t := d.cfg.Timeout; t > 0 && d.raw.SetDeadline(time.Now().Add(t)) != nil {
		return false
	}
	secure := tls.Server(d.raw, d.srv.tls)
	if err := secure.Handshake(); err != nil {
		d.logged("TLS", err.Error())
		return false
	}
	d.setConn(secure)
	d.r.Reset(d)
	d.tlsActive = true
	d.greeted, d.esmtp, d.offered, d.user = false, false, nil, ""
	d.learn(func(f *facts) { *f = facts{tls: true, state: secure.ConnectionState()} })
	return true
}
