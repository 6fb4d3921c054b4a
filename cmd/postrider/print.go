package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/postrider/postrider"
)

// printResult tells people what became of a message: one line for the whole,
// one for each recipient.
func printResult(out io.Writer, r *postrider.Result) error {
	if r.Status == postrider.StatusInvalid {
		for _, f := range r.Faults {
			if _, err := fmt.Fprintf(out, "invalid  %s: %s\n", f.Field, oneLine(f.Detail)); err != nil {
				return err
			}
		}
		return nil
	}
	sent := 0
	for i := range r.Recipients {
		if r.Recipients[i].State == postrider.StateSent {
			sent++
		}
	}
	var took time.Duration
	if n := len(r.Attempts); n > 0 {
		last := &r.Attempts[n-1]
		took = last.StartedAt.Add(last.Duration).Sub(r.Attempts[0].StartedAt)
	}
	attempts := "1 attempt"
	if n := len(r.Attempts); n != 1 {
		attempts = fmt.Sprintf("%d attempts", n)
	}
	if _, err := fmt.Fprintf(out, "%s  %s  %d of %d sent in %s, %s\n", r.Status, r.MessageID, sent, len(r.Recipients), sinceMS(took), attempts); err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	for i := range r.Recipients {
		rcpt := &r.Recipients[i]
		answer := oneLine(rcpt.Reply.String())
		if rcpt.Reply.Code == 0 && rcpt.Err != nil {
			answer = oneLine(rcpt.Err.Error())
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", rcpt.Address, rcpt.State, answer)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if said := adviceFor(r); said != "" {
		if _, err := fmt.Fprintln(out, said); err != nil {
			return err
		}
	}
	switch {
	case r.Status == postrider.StatusUnknown:
		_, err := fmt.Fprintln(out, "The content left and no reply came: the relay may hold the message. Sending it again may make a second copy.")
		return err
	case r.IsRetryable:
		_, err := fmt.Fprintln(out, "Sending again later may work for the recipients that are deferred.")
		return err
	}
	return nil
}

// sinceMS prints a duration the way people read it.
func sinceMS(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return d.Round(100 * time.Millisecond).String()
}
