package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/smtp"
)

// Exit statuses, after sysexits.h.
const (
	exitOK          = 0
	exitUsage       = 64 // EX_USAGE: the command line is wrong
	exitInvalid     = 65 // EX_DATAERR: the message is invalid
	exitUnavailable = 69 // EX_UNAVAILABLE: rejected, failed or partial
	exitSoftware    = 70 // EX_SOFTWARE: a fault of this machine: listen, disk
	exitTemporary   = 75 // EX_TEMPFAIL: may work later
	exitUnknown     = 76 // EX_PROTOCOL: the relay may or may not hold the message
	exitNoAuth      = 77 // EX_NOPERM: authentication refused
	exitConfig      = 78 // EX_CONFIG: the service's settings are wrong
)

const exitHelp = `Exit status: 0 all accepted, 64 usage, 65 invalid message, 69 rejected, failed or partial, 70 a fault of this machine, 75 temporary failure, 76 unknown (the relay may hold the message), 77 authentication refused.`

// exitError carries an exit status and one line for people.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usagef(format string, a ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, a...)}
}

// errReported is for what has been reported already, as a result on stdout.
var errReported = errors.New("reported")

// statusOf gives the exit status that an error deserves.
func statusOf(err error) int {
	if err == nil {
		return exitOK
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.status
	}
	if e, ok := errors.AsType[*postrider.SendError](err); ok {
		return statusOfResult(e.Result)
	}
	if _, ok := errors.AsType[mail.Faults](err); ok {
		return exitInvalid
	}
	if _, ok := errors.AsType[*smtp.Error](err); ok {
		return statusOfSMTP(err)
	}
	return statusOfService(err)
}

// statusOfService is statusOf for what commands of the service meet.
func statusOfService(err error) int {
	if _, ok := errors.AsType[config.Faults](err); ok {
		return exitConfig
	}
	if _, ok := errors.AsType[*store.SchemaError](err); ok {
		return exitConfig
	}
	if _, ok := errors.AsType[*store.NodesError](err); ok {
		return exitTemporary
	}
	if _, ok := errors.AsType[*store.InvalidError](err); ok {
		return exitInvalid
	}
	if _, ok := errors.AsType[*store.ConflictError](err); ok {
		return exitInvalid
	}
	switch {
	case errors.Is(err, store.ErrUnavailable):
		return exitTemporary
	case errors.Is(err, store.ErrClaimed):
		return exitTemporary
	case errors.Is(err, store.ErrLastAdmin), errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrFinished), errors.Is(err, store.ErrContentGone):
		return exitUnavailable
	}
	return exitSoftware
}

func statusOfResult(r *postrider.Result) int {
	switch r.Status {
	case postrider.StatusSuccess:
		return exitOK
	case postrider.StatusInvalid:
		return exitInvalid
	case postrider.StatusRetry, postrider.StatusTempFailed:
		return exitTemporary
	case postrider.StatusUnknown:
		return exitUnknown
	}
	for i := range r.Recipients {
		if smtp.IsAuth(r.Recipients[i].Err) {
			return exitNoAuth
		}
	}
	return exitUnavailable
}

func statusOfSMTP(err error) int {
	switch {
	case smtp.MaybeAccepted(err):
		return exitUnknown
	case smtp.IsPermanent(err), smtp.IsRelayFault(err):
		if smtp.IsAuth(err) {
			return exitNoAuth
		}
		return exitUnavailable
	default:
		return exitTemporary
	}
}

// faultLines are faults of a command's arguments, each to be told in a line.
type faultLines []string

func (l faultLines) Error() string { return strings.Join(l, "; ") }

// complain prints an error as one line, or one line a fault.
func complain(p *program, err error) {
	if errors.Is(err, errReported) {
		return
	}
	if faults, ok := errors.AsType[mail.Faults](err); ok {
		for _, f := range faults {
			fmt.Fprintf(p.stderr, "postrider: %s: %s\n", f.Field, oneLine(f.Detail))
		}
		return
	}
	if lines, ok := errors.AsType[faultLines](err); ok {
		for _, l := range lines {
			fmt.Fprintf(p.stderr, "postrider: %s\n", oneLine(l))
		}
		return
	}
	if faults, ok := errors.AsType[config.Faults](err); ok {
		for _, f := range faults {
			fmt.Fprintf(p.stderr, "postrider: %s\n", oneLine(f.Error()))
		}
		return
	}
	line := strings.TrimPrefix(oneLine(err.Error()), "postrider: ")
	for _, prefix := range []string{"store: ", "seal: ", "auth: "} { // who says it is not the reader's business
		line = strings.TrimPrefix(line, prefix)
	}
	fmt.Fprintf(p.stderr, "postrider: %s\n", line)
}

// oneLine makes text of others fit for one line of a terminal.
func oneLine(s string) string { return printable(strings.Join(strings.Fields(s), " ")) }

// printable keeps control characters of foreign text away from the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '\ufffd'
		}
		return r
	}, s)
}
