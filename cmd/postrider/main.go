// Command postrider sends mail through an SMTP relay, checks a relay, runs a
// catch-all inbox for development, and runs and administers the service.
//
// It only reads the command line and the settings, wires parts together and
// prints answers; what a message is, how it travels and when it is tried again is
// the business of packages mail, smtp, smtppool, retry and postrider, and what the
// service does that of the packages under internal. service.go is where its parts
// meet. Exit statuses follow sysexits.h and stand in exit.go.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// program is the outside world as commands see it, so that tests can give them another.
type program struct {
	ctx            context.Context // ends with the first SIGINT, SIGTERM or SIGHUP
	stdin          io.Reader
	stdout, stderr io.Writer
}

func main() { os.Exit(realMain()) }

// realMain runs the command line in the real world and gives the exit status.
func realMain() int {
	ending := []os.Signal{os.Interrupt, syscall.SIGTERM}
	// nohup asks to go on without a terminal; to a service SIGHUP says that its certificate is new.
	if serves := len(os.Args) > 1 && os.Args[1] == "serve"; !serves && !signal.Ignored(syscall.SIGHUP) {
		ending = append(ending, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ending...)
	defer stop()
	// The first signal asks to end in order. After it signals do again what they
	// always do, so that a second one ends the program at once. Not so SIGHUP: of a
	// terminal that goes away both the kernel and the shell may tell.
	context.AfterFunc(ctx, func() {
		signal.Ignore(syscall.SIGHUP)
		stop()
	})
	// A reader of our output who goes away must not end us between sending a message
	// and noting that it was sent: writing fails instead, and that is handled.
	signal.Ignore(syscall.SIGPIPE)
	return run(&program{ctx: ctx, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}, os.Args[1:])
}
