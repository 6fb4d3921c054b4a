package dkim

import (
	"errors"
	"fmt"
	"strings"
)

// oversigned are the fields that are signed once more than they appear, even
// if they do not appear at all: what readers show or act on, and a second one
// of which would change the message's meaning (RFC 6376 §8.15).
func oversigned() []string {
	return []string{
		"From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "References",
		"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition",
	}
}

// covered are the fields that are signed as often as they appear. Mailing
// lists add fields of these names to messages of others; that must not break
// the author's signature, so none is signed that is not there.
func covered() []string {
	return []string{
		"List-Unsubscribe", "List-Unsubscribe-Post", "List-Id", "List-Help", "List-Subscribe", "List-Post",
		"List-Owner", "List-Archive", "Auto-Submitted", "Feedback-ID", "Content-ID", "Content-Description",
		"Resent-Date", "Resent-From", "Resent-To", "Resent-Cc",
	}
}

// headerKeys gives the names to sign for a message with the given fields,
// which are in lower case.
func headerKeys(names []string) []string {
	count := make(map[string]int, len(names))
	for _, name := range names {
		count[name]++
	}
	var keys []string
	for _, key := range oversigned() {
		for range count[strings.ToLower(key)] + 1 {
			keys = append(keys, key)
		}
	}
	for _, key := range covered() {
		for range count[strings.ToLower(key)] {
			keys = append(keys, key)
		}
	}
	return keys
}

// maxHeaderKeys keeps tag h= on one line of less than 998 octets (RFC 5322
// §2.1.1): the library below does not fold inside it.
const maxHeaderKeys = 900

// checkHeaderKeys checks names that a caller gave.
func checkHeaderKeys(keys []string) error {
	var errs []error
	octets, from := 0, false
	for _, key := range keys {
		octets += len(key) + 1
		from = from || strings.EqualFold(key, "From")
		for i := range len(key) {
			if c := key[i]; c <= ' ' || c >= 0x7f || c == ':' || c == ';' {
				errs = append(errs, fmt.Errorf("dkim: header keys: %q is not a field name that can be signed", key))
				break
			}
		}
		if key == "" {
			errs = append(errs, errors.New("dkim: header keys: one is empty"))
		}
	}
	if !from {
		errs = append(errs, errors.New("dkim: header keys: From is missing; it must be signed (RFC 6376 section 5.4)"))
	}
	if octets > maxHeaderKeys {
		errs = append(errs, fmt.Errorf("dkim: header keys: %d octets together; at most %d fit a line", octets, maxHeaderKeys))
	}
	return errors.Join(errs...)
}

// checkName checks a domain name or a selector of at least so many labels
// (RFC 6376 §3.1; sub-domain of RFC 5321 §4.1.2, with the underscore that
// some selectors have).
func checkName(s string, labels int) error {
	switch {
	case s == "":
		return errors.New("is missing")
	case len(s) > 253:
		return fmt.Errorf("has %d octets; at most 253 are possible", len(s))
	}
	parts := strings.Split(s, ".")
	if len(parts) < labels {
		return fmt.Errorf("%q has one label; give a whole domain such as example.com", s)
	}
	for _, part := range parts {
		if part == "" || len(part) > 63 {
			return fmt.Errorf("%q has a label of %d octets; each has 1 to 63", s, len(part))
		}
		for i := range len(part) {
			c := part[i]
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
				continue
			}
			return fmt.Errorf("%q has %q in it; write international names as A-labels (xn--…)", s, c)
		}
	}
	return nil
}
