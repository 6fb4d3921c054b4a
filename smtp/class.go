package smtp

import (
	"context"
	"errors"
	"os"
)

var errOutOfStep = errors.New("the reply does not fit the command")

// replyError makes an error of a reply that is not the one wanted. This is the
// one place where replies get their class.
func replyError(phase Phase, command string, r Reply) *Error {
	e := &Error{Phase: phase, Command: command, Code: r.Code, Enhanced: r.Enhanced, Text: r.Text()}
	switch {
	case r.Code == 421, r.Code == 503:
		// 421: the server is going away (RFC 5321 §3.8). 503: we and it are
		// out of step; that is never the message's fault.
		e.Class = ClassTransient
	case r.Code == 530, r.Code == 535, r.Code == 538:
		e.Class = ClassRelay // RFC 4954 §6
	case r.IsTransient():
		e.Class = ClassTransient
	case r.IsPermanent():
		e.Class = ClassPermanent
	default:
		e.Class, e.Err = ClassTransient, errOutOfStep
	}
	return e
}

// outOfStep says whether a reply shows that client and server no longer agree
// on where they are, so that the session must end.
func outOfStep(r Reply) bool { return r.Code == 503 || r.Code < 400 }

// lossError makes an error of the end of the session. It is transient unless
// the caller knows more.
func lossError(phase Phase, command string, err error) *Error {
	e := &Error{Phase: phase, Command: command, Class: ClassTransient}
	if f, ok := errors.AsType[*farewellError](err); ok {
		e.Code, e.Enhanced, e.Text = f.reply.Code, f.reply.Enhanced, f.reply.Text()
	} else {
		e.Err = err
	}
	if certificateRefused(err) {
		e.Class = ClassRelay
	}
	return e
}

// isLoss says whether the session ended because the connection did: not by a
// deadline, a context, Close, or something the server said.
func isLoss(err error) bool {
	for _, other := range []error{
		os.ErrDeadlineExceeded, context.Canceled, context.DeadlineExceeded, errClosed,
		errUnsolicited, errInjected, errEarlyReply, errReplySyntax, errReplyLine, errReplyLines, errReplyOctets,
	} {
		if errors.Is(err, other) {
			return false
		}
	}
	return true
}

// localError is a fault found before the server was asked.
func localError(phase Phase, enhanced EnhancedCode, err error) *Error {
	return &Error{Phase: phase, Enhanced: enhanced, Class: ClassPermanent, Err: err}
}
