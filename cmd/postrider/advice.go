package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtp"
)

// advice says how to mend what keeps us from a relay, in the words of the flags, which
// the library below does not know; "" where the error says it all.
func advice(err error) string {
	if err == nil {
		return ""
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "The certificate's authority is not known to this machine: --ca-file FILE trusts one of your own."
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "The certificate is for another name: put a name that it is for into the relay URL."
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return "The certificate is outside its time: renew it at the relay, or set this machine's clock right."
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "The relay does not begin with TLS on this port: write smtp:// instead of smtps:// for STARTTLS."
	}
	// With implicit TLS the server waits for us to begin, and we for its greeting.
	const silent = "If it says nothing at all: a port for implicit TLS, such as 465, needs smtps://."
	var phase smtp.Phase
	if e, ok := errors.AsType[*smtp.Error](err); ok {
		phase = e.Phase
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded) && (phase == smtp.PhaseGreeting || phase == smtp.PhaseDial):
		return "The relay did not answer in the time that --timeout gives. " + silent
	case errors.Is(err, context.DeadlineExceeded):
		return "The relay did not answer in the time that --timeout gives."
	case errors.Is(err, os.ErrDeadlineExceeded) && phase == smtp.PhaseGreeting:
		return silent
	}
	return ""
}

// adviceFor gives the advice for the first recipient that has any.
func adviceFor(r *postrider.Result) string {
	for i := range r.Recipients {
		if said := advice(r.Recipients[i].Err); said != "" {
			return said
		}
	}
	return ""
}
