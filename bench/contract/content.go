package contract

import (
	"fmt"
	"io"
	"math/rand"
	"os"
	"strings"
)

// Content is what every message of a run says, the same for every peer.
type Content struct {
	Subject    string // with some characters outside ASCII
	Text       string // lines of about 70 octets, ended by CRLF
	HTML       string // the same text as HTML
	AttachPath string // a file, so that a library that can stream it may; empty means none
}

var words = strings.Fields("the quick brown fox jumps over a lazy dog while Zoë and Jürgen order 3 crêpes at the café " +
	"near Łódź invoice total receipt account please confirm delivery address tomorrow thanks regards")

// makeContent gives text and HTML of together about size bytes, and a file of
// attach random bytes if attach is not 0, which the caller removes. The seed is
// fixed: every driver of every run sends the same words.
func makeContent(size, attach int) (Content, error) {
	r := rand.New(rand.NewSource(42))
	var text, html strings.Builder
	html.WriteString("<html><body><p>")
	for col := 0; text.Len()+html.Len() < size-20; {
		w := words[r.Intn(len(words))]
		text.WriteString(w)
		html.WriteString(w)
		if col += len(w) + 1; col > 70 {
			text.WriteString("\r\n")
			html.WriteString("<br>\r\n")
			col = 0
		} else {
			text.WriteByte(' ')
			html.WriteByte(' ')
		}
	}
	html.WriteString("</p></body></html>")
	c := Content{Subject: "Your receipt – Größe, café", Text: text.String(), HTML: html.String()}
	if attach == 0 {
		return c, nil
	}
	f, err := os.CreateTemp("", "postrider-bench-*.bin")
	if err != nil {
		return c, fmt.Errorf("make the attachment: %w", err)
	}
	c.AttachPath = f.Name()
	_, err = io.CopyN(f, r, int64(attach))
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return c, fmt.Errorf("write the attachment: %w", err)
	}
	return c, nil
}
