package sink

import (
	"encoding/base64"
	"strings"
)

// auth answers AUTH PLAIN (RFC 4616) and LOGIN, with and without an initial
// response (RFC 4954 §4); false ends the session.
func (t *session) auth(arg string) bool {
	mechanism, initial, _ := strings.Cut(arg, " ")
	var ok bool
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		b, alive := t.response(initial, "")
		if !alive {
			return false
		}
		p := strings.Split(b, "\x00")
		ok = len(p) == 3 && p[1] == t.srv.cfg.User && p[2] == t.srv.cfg.Password
	case "LOGIN":
		user, alive := t.response(initial, "VXNlcm5hbWU6")
		if !alive {
			return false
		}
		password, alive := t.response("", "UGFzc3dvcmQ6")
		if !alive {
			return false
		}
		ok = user == t.srv.cfg.User && password == t.srv.cfg.Password
	default:
		t.code("504", "5.5.4", "mechanism not supported")
		return true
	}
	if !ok {
		t.srv.count.authRefused.Add(1)
		t.code("535", "5.7.8", "bad credentials")
		return true
	}
	t.srv.count.authOK.Add(1)
	t.code("235", "2.7.0", "ok")
	return true
}

// response is the initial response if there is one, or the answer to a
// challenge. What is no base64 decodes to something that fits no password.
func (t *session) response(initial, challenge string) (string, bool) {
	if initial == "" {
		t.reply("334 " + challenge)
		l, err := t.r.ReadString('\n')
		if err != nil {
			return "", false
		}
		initial = strings.TrimSpace(l)
	}
	b, err := base64.StdEncoding.DecodeString(initial)
	if err != nil {
		return "", true
	}
	return string(b), true
}
