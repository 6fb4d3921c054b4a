package mail

import "strings"

// maxQuoted is the longest display name written as a quoted-string. A longer
// one becomes encoded-words, which can be folded without changing the name.
const maxQuoted = 70

// phrase appends a display name: atoms, a quoted-string, or encoded-words
// (RFC 5322 §3.2.5, RFC 2047 §5 (3)).
func (h *headerWriter) phrase(name string) {
	switch {
	case len(name) <= longWord && isPrintable(name) && isPhrase(name):
		h.plain(name)
	case len(name) <= maxQuoted && isPrintable(name) && !strings.Contains(name, "=?"):
		h.quoted(name)
	default:
		h.words(name, " ", 0)
	}
}

// quoted appends a space and s as a quoted-string. s is printable ASCII.
func (h *headerWriter) quoted(s string) {
	h.room(len(s) + 2 + strings.Count(s, `"`) + strings.Count(s, `\`))
	h.first = false
	h.buf = append(h.buf, ' ')
	h.buf = appendQuoted(h.buf, s)
}

// mailbox appends one mailbox of an address list; comma says that another one
// follows. box is the address as it goes over the wire.
func (h *headerWriter) mailbox(name, box string, comma bool) {
	if name == "" {
		if comma {
			h.token("", box, ",")
		} else {
			h.token("", box, "")
		}
		return
	}
	h.phrase(name)
	if comma {
		h.token("<", box, ">,")
	} else {
		h.token("<", box, ">")
	}
}

// removedMailbox appends what stands for a mailbox that an ASCII-only header
// cannot hold: an empty group that shows name and address as encoded-words
// (RFC 6857 §3.1.8).
func (h *headerWriter) removedMailbox(name, box string, comma bool) {
	if name != "" {
		box = name + " " + box
	}
	h.words(box, " ", len(" :;,"))
	if comma {
		h.token("", ":;", ",")
	} else {
		h.token("", ":;", "")
	}
}
