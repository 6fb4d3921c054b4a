package smtp

import (
	"strconv"
	"strings"
)

// Reply is what the server said to one command (RFC 5321 §4.2). The zero
// value means that no reply came.
type Reply struct {
	// Code is the reply code, 200 to 599; 0: no reply.
	Code int
	// Enhanced is the enhanced status code (RFC 2034); zero: none given, or
	// its class contradicted Code.
	Enhanced EnhancedCode
	// Lines holds the text of each line, without the codes. Control
	// characters and invalid UTF-8 are replaced by U+FFFD.
	Lines []string
}

// IsZero says whether there is no reply.
func (r Reply) IsZero() bool { return r.Code == 0 }

// IsPositive says whether the reply is 2yz: the command was done.
func (r Reply) IsPositive() bool { return r.Code >= 200 && r.Code < 300 }

// IsIntermediate says whether the reply is 3yz: the server waits for more.
func (r Reply) IsIntermediate() bool { return r.Code >= 300 && r.Code < 400 }

// IsTransient says whether the reply is 4yz: not done, try again later.
func (r Reply) IsTransient() bool { return r.Code >= 400 && r.Code < 500 }

// IsPermanent says whether the reply is 5yz: not done, do not try again.
func (r Reply) IsPermanent() bool { return r.Code >= 500 && r.Code < 600 }

// Text joins the lines with spaces, without the codes.
func (r Reply) Text() string {
	if len(r.Lines) == 1 {
		return r.Lines[0]
	}
	return strings.Join(r.Lines, " ")
}

// String gives the reply in one line, "550 5.1.1 no such user", or "" for
// the zero value.
func (r Reply) String() string { return replyString(r.Code, r.Enhanced, r.Text()) }

func replyString(code int, e EnhancedCode, text string) string {
	if code == 0 && e.IsZero() {
		return text
	}
	var b strings.Builder
	if code != 0 {
		b.WriteString(strconv.Itoa(code))
	}
	for _, s := range [...]string{e.String(), text} {
		if s == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(s)
	}
	return b.String()
}
