package inbox

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // texts in any charset
)

// Bounds of what is shown; the raw source has no bound.
const (
	maxParts    = 200
	maxDepth    = 20
	shownOctets = 1 << 20
	// listOctets bounds what the list keeps in memory of a header field.
	listOctets = 2 << 10
)

// Part is a leaf of a message's tree of parts.
type Part struct {
	Index     int    `json:"index"`
	MediaType string `json:"media_type"`
	Filename  string `json:"filename,omitempty"`
	ContentID string `json:"content_id,omitempty"`
	Size      int64  `json:"size"` // octets, decoded
	Inline    bool   `json:"inline"`
}

// View is a message taken apart for showing.
type View struct {
	Message
	Header [][2]string `json:"header"`
	Text   string      `json:"text,omitempty"`
	HTML   string      `json:"html,omitempty"`
	Cut    bool        `json:"cut,omitempty"` // Text or HTML is longer than what is shown
	Parts  []Part      `json:"parts"`
	Fault  string      `json:"fault,omitempty"` // why the message could be taken apart in part only
}

// readHeader fills in what the list shows. What cannot be read stays empty: an
// inbox takes every message.
func readHeader(path string, m *Message) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	e, err := message.Read(f)
	if e == nil || err != nil && !message.IsUnknownCharset(err) {
		return
	}
	text := func(name string) string {
		v, err := e.Header.Text(name)
		if err != nil {
			v = e.Header.Get(name)
		}
		if len(v) > listOctets {
			v = strings.ToValidUTF8(v[:listOctets], "") + "…"
		}
		return v
	}
	m.Subject, m.From, m.To, m.MessageID = text("Subject"), text("From"), text("To"), text("Message-Id")
}

// View takes a message apart.
func (s *Store) View(id int) (*View, error) {
	m, err := s.Get(id)
	if err != nil {
		return nil, err
	}
	v := &View{Message: m, Parts: []Part{}}
	err = s.walk(id, func(e *message.Entity, p Part) error {
		var into *string
		attached := p.Filename != "" || !p.Inline && isAttachment(e)
		switch {
		case p.MediaType == "text/plain" && v.Text == "" && !attached:
			into = &v.Text
		case p.MediaType == "text/html" && v.HTML == "" && !attached:
			into = &v.HTML
		}
		if into != nil {
			b, err := io.ReadAll(io.LimitReader(e.Body, shownOctets))
			*into, p.Size = string(b), int64(len(b))
			if err != nil {
				return err
			}
		}
		rest, err := io.Copy(io.Discard, e.Body)
		if into != nil && rest > 0 {
			v.Cut = true
		}
		p.Size += rest
		v.Parts = append(v.Parts, p)
		return err
	}, func(h message.Header) {
		for fields := h.Fields(); fields.Next(); {
			value, err := fields.Text()
			if err != nil {
				value = fields.Value()
			}
			v.Header = append(v.Header, [2]string{fields.Key(), value})
		}
	})
	if err != nil {
		v.Fault = err.Error()
	}
	return v, nil
}

func isAttachment(e *message.Entity) bool {
	d, _, _ := e.Header.ContentDisposition()
	return strings.EqualFold(d, "attachment")
}

var errFound = errors.New("found")

// WritePart writes the decoded octets of one part; begin is told what it is before the first.
func (s *Store) WritePart(id, index int, begin func(Part), w io.Writer) error {
	err := s.walk(id, func(e *message.Entity, p Part) error {
		if p.Index != index {
			return nil
		}
		begin(p)
		if _, err := io.Copy(w, e.Body); err != nil {
			return err
		}
		return errFound
	}, nil)
	switch {
	case errors.Is(err, errFound):
		return nil
	case err == nil:
		return ErrNoMessage
	default:
		return err
	}
}

// walk visits the leaves of a message in order.
func (s *Store) walk(id int, leaf func(*message.Entity, Part) error, header func(message.Header)) error {
	f, err := s.Open(id)
	if err != nil {
		return err
	}
	defer f.Close()
	e, err := message.Read(f)
	if err != nil && !message.IsUnknownCharset(err) && !message.IsUnknownEncoding(err) {
		return err
	}
	if header != nil {
		header(e.Header)
	}
	count := 0
	return visit(e, 0, &count, leaf)
}

func visit(e *message.Entity, depth int, count *int, leaf func(*message.Entity, Part) error) error {
	if depth > maxDepth {
		return errors.New("parts are nested too deep to be shown")
	}
	if parts := e.MultipartReader(); parts != nil {
		for {
			child, err := parts.NextPart()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil && !message.IsUnknownCharset(err) && !message.IsUnknownEncoding(err) {
				return err
			}
			if err := visit(child, depth+1, count, leaf); err != nil {
				return err
			}
		}
	}
	if *count++; *count > maxParts {
		return errors.New("there are too many parts to be shown")
	}
	mediaType, params, err := e.Header.ContentType()
	if err != nil {
		mediaType = "application/octet-stream"
	}
	disposition, dispositionParams, _ := e.Header.ContentDisposition()
	p := Part{
		Index:     *count,
		MediaType: strings.ToLower(mediaType),
		Filename:  dispositionParams["filename"],
		ContentID: strings.Trim(e.Header.Get("Content-Id"), "<> "),
		Inline:    !strings.EqualFold(disposition, "attachment"),
	}
	if p.Filename == "" {
		p.Filename = params["name"]
	}
	return leaf(e, p)
}
