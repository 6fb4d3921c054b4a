package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/postrider/postrider/mail"
)

// messageFlags describe what most messages need.
type messageFlags struct {
	From     string   `group:"message" placeholder:"ADDRESS" help:"Author: 'Shop <shop@example.com>'."`
	To       []string `group:"message" sep:"none" placeholder:"ADDRESS" help:"Recipient; may be repeated, and may hold a list."`
	Cc       []string `group:"message" sep:"none" placeholder:"ADDRESS" help:"Recipient of a copy."`
	Bcc      []string `group:"message" sep:"none" placeholder:"ADDRESS" help:"Recipient whom the others do not see."`
	ReplyTo  []string `group:"message" sep:"none" placeholder:"ADDRESS" help:"Where answers go."`
	MailFrom *string  `group:"message" placeholder:"ADDRESS" help:"Reverse-path, where failure reports go; '<>' for none. Default: --sender, else --from."`
	Subject  string   `group:"message" placeholder:"TEXT" help:"Subject."`
	Text     string   `group:"message" placeholder:"TEXT" xor:"text" help:"Plain text."`
	TextFile string   `group:"message" placeholder:"FILE" xor:"text" help:"Plain text from FILE, '-' for standard input."`
	HTML     string   `group:"message" name:"html" placeholder:"HTML" xor:"html" help:"HTML."`
	HTMLFile string   `group:"message" name:"html-file" placeholder:"FILE" xor:"html" help:"HTML from FILE, '-' for standard input."`
	Charset  string   `group:"message" placeholder:"NAME" help:"Charset of --text-file and --html-file; default: UTF-8."`
	Attach   []string `group:"message" sep:"none" placeholder:"FILE" help:"Attach FILE[;type=T][;name=N]; may be repeated."`
	Inline   []string `group:"message" sep:"none" placeholder:"FILE" help:"Embed FILE;cid=C[;type=T][;name=N], which the HTML shows as cid:C; may be repeated."`
	Calendar string   `group:"message" placeholder:"FILE" help:"Invitation from FILE[;method=M] (iCalendar); the method defaults to the file's own."`
	Raw      string   `group:"message" placeholder:"FILE" help:"Send the RFC 5322 message in FILE, '-' for standard input, instead of composing one. Recipients: --to, --cc and --bcc, else its own."`
}

// detailFlags are the rest of what can be said of a message.
type detailFlags struct {
	Header              []string `group:"field" sep:"none" placeholder:"'N: V'" help:"Any other header field; may be repeated."`
	Sender              string   `group:"field" placeholder:"ADDRESS" help:"Who sent it on the author's behalf."`
	MessageID           string   `group:"field" name:"message-id" placeholder:"ID" help:"Message-ID; default: a new one."`
	InReplyTo           string   `group:"field" placeholder:"ID" help:"Message-ID that this one answers."`
	References          []string `group:"field" sep:"none" placeholder:"ID" help:"Message-ID of the thread; may be repeated."`
	ListUnsubscribe     []string `group:"field" sep:"none" placeholder:"URI" help:"https or mailto URI for unsubscribing (RFC 2369); may be repeated."`
	ListUnsubscribePost bool     `group:"field" help:"One-click unsubscription (RFC 8058); needs an https URI."`
	AutoSubmitted       string   `group:"field" placeholder:"WORD" help:"no, auto-generated or auto-replied (RFC 3834)."`
	Priority            string   `group:"field" placeholder:"WORD" help:"high, normal or low."`

	Notify     []string `group:"dsn" placeholder:"WORD" help:"Ask for reports (RFC 3461): success, failure, delay; or never."`
	Return     string   `group:"dsn" placeholder:"WORD" help:"What a report returns: full or hdrs."`
	EnvelopeID string   `group:"dsn" placeholder:"ID" help:"Envelope id that reports repeat."`
	RequireTLS bool     `group:"dsn" help:"Ask every relay on the way for TLS (RFC 8689)."`
	EightBit   bool     `group:"dsn" help:"Compose 8-bit content where the relay takes it, instead of 7-bit clean content."`

	DKIMDomain   string `group:"dkim" name:"dkim-domain" placeholder:"DOMAIN" help:"Sign for this domain."`
	DKIMSelector string `group:"dkim" name:"dkim-selector" placeholder:"NAME" help:"Selector of the key in DNS."`
	DKIMKey      string `group:"dkim" name:"dkim-key" placeholder:"FILE" help:"Private key (PEM), RSA or Ed25519."`
}

// compose gives the message that the flags describe.
func (f *sendCommand) compose(src *messageSource) (*mail.Composed, error) {
	if f.Raw != "" {
		return f.composeRaw(src)
	}
	m, err := f.message(src)
	if err != nil {
		return nil, err
	}
	return m.Compose(f.options())
}

func (f *sendCommand) options() *mail.ComposeOptions {
	return &mail.ComposeOptions{EightBit: f.EightBit}
}

// message gives the message that the flags describe. Its error holds the files
// that cannot be read together with whatever else is wrong with the message;
// the faults of a message whose files are there are found by composing it.
func (f *sendCommand) message(src *messageSource) (*mail.Message, error) {
	if f.From == "" {
		return nil, usagef("--from is missing: write --from shop@example.com, or --raw FILE for a message that exists")
	}
	m := &mail.Message{
		From:                mail.Addr(f.From),
		To:                  addresses(f.To),
		Cc:                  addresses(f.Cc),
		Bcc:                 addresses(f.Bcc),
		ReplyTo:             addresses(f.ReplyTo),
		MailFrom:            f.reversePath(),
		Subject:             f.Subject,
		Text:                f.Text,
		HTML:                f.HTML,
		MessageID:           f.MessageID,
		InReplyTo:           f.InReplyTo,
		References:          f.References,
		ListUnsubscribe:     f.ListUnsubscribe,
		ListUnsubscribePost: f.ListUnsubscribePost,
		AutoSubmitted:       mail.AutoSubmitted(strings.ToLower(f.AutoSubmitted)),
		Priority:            mail.Priority(strings.ToLower(f.Priority)),
		DSN:                 f.dsn(),
		RequireTLS:          f.RequireTLS,
	}
	if f.Sender != "" {
		m.Sender = mail.Addr(f.Sender)
	}
	for _, h := range f.Header {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, usagef("--header %q: write 'Name: value'", h)
		}
		m.Header = append(m.Header, mail.Field{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	files, err := f.addFiles(m, src)
	if err != nil {
		return nil, err
	}
	if len(files) > 0 {
		return nil, alsoFaulty(files, m.Validate(nil))
	}
	return m, nil
}

// addFiles adds what flags name to the message. faults are the files that cannot be read.
func (f *sendCommand) addFiles(m *mail.Message, src *messageSource) (faults mail.Faults, err error) {
	// bad keeps a fault of the message; anything else ends it here.
	bad := func(field string, cause error) error {
		fault, err := fileFault(field, cause)
		if err == nil {
			faults = append(faults, fault)
		}
		return err
	}
	if f.TextFile != "" {
		if m.TextFrom, err = src.open("--text-file", f.TextFile, f.Charset); err != nil {
			if err := bad("text", err); err != nil {
				return nil, err
			}
		}
	}
	if f.HTMLFile != "" {
		if m.HTMLFrom, err = src.open("--html-file", f.HTMLFile, f.Charset); err != nil {
			if err := bad("html", err); err != nil {
				return nil, err
			}
		}
	}
	for i, spec := range slices.Concat(f.Attach, f.Inline) {
		inline := i >= len(f.Attach)
		keys := []string{"type", "name"}
		if inline {
			keys = append(keys, "cid")
		}
		a, err := attachment(spec, keys)
		if err != nil {
			if err := bad(fmt.Sprintf("attachments[%d].content", i), err); err != nil {
				return nil, err
			}
			// Something in its place, so that the others keep their numbers.
			a.Filename, a.Open = "unreadable", mail.BytesAttachment("", nil).Open
		}
		if a.Inline = inline; inline && a.ContentID == "" {
			return nil, usagef("--inline %s: add ;cid=NAME, the name that the HTML uses as cid:NAME", spec)
		}
		m.Attachments = append(m.Attachments, a)
	}
	if f.Calendar != "" {
		if m.Calendar, err = calendar(f.Calendar); err != nil {
			if err := bad("calendar", err); err != nil {
				return nil, err
			}
		}
	}
	return faults, nil
}

// alsoFaulty joins the faults of files with those of the rest of the message, less
// what the missing files bring about.
func alsoFaulty(files, rest mail.Faults) mail.Faults {
	rest = slices.DeleteFunc(rest, func(r mail.Fault) bool {
		return slices.ContainsFunc(files, func(f mail.Fault) bool {
			place, _, _ := strings.Cut(f.Field, ".")
			return r.Field == f.Field || strings.HasPrefix(r.Field, place)
		})
	})
	return append(files, rest...)
}

func (f *sendCommand) composeRaw(src *messageSource) (*mail.Composed, error) {
	for _, flag := range []struct {
		name  string
		given bool
	}{
		{"--from", f.From != ""},
		{"--reply-to", f.ReplyTo != nil},
		{"--subject", f.Subject != ""},
		{"--text", f.Text != ""},
		{"--text-file", f.TextFile != ""},
		{"--html", f.HTML != ""},
		{"--html-file", f.HTMLFile != ""},
		{"--charset", f.Charset != ""},
		{"--attach", f.Attach != nil},
		{"--inline", f.Inline != nil},
		{"--calendar", f.Calendar != ""},
		{"--header", f.Header != nil},
		{"--sender", f.Sender != ""},
		{"--message-id", f.MessageID != ""},
		{"--in-reply-to", f.InReplyTo != ""},
		{"--references", f.References != nil},
		{"--list-unsubscribe", f.ListUnsubscribe != nil},
		{"--list-unsubscribe-post", f.ListUnsubscribePost},
		{"--auto-submitted", f.AutoSubmitted != ""},
		{"--priority", f.Priority != ""},
		{"--eight-bit", f.EightBit},
	} {
		if flag.given {
			return nil, usagef("%s cannot go with --raw: the raw message has its own header and content", flag.name)
		}
	}
	open, err := src.open("--raw", f.Raw, "")
	if err != nil {
		fault, err := fileFault("raw", err)
		if err != nil {
			return nil, err
		}
		return nil, mail.Faults{fault}
	}
	o := &mail.RawOptions{MailFrom: f.reversePath(), DSN: f.dsn(), RequireTLS: f.RequireTLS}
	for _, list := range [][]string{f.To, f.Cc, f.Bcc} {
		o.Rcpt = append(o.Rcpt, addresses(list)...)
	}
	return mail.ComposeRaw(open, o)
}

func (f *sendCommand) reversePath() *mail.Address {
	switch {
	case f.MailFrom == nil:
		return nil
	case *f.MailFrom == "" || *f.MailFrom == "<>":
		return &mail.Address{}
	default:
		a := mail.Addr(*f.MailFrom)
		return &a
	}
}

func (f *sendCommand) dsn() *mail.DSN {
	if len(f.Notify) == 0 && f.Return == "" && f.EnvelopeID == "" {
		return nil
	}
	d := &mail.DSN{Return: strings.ToUpper(f.Return), EnvelopeID: f.EnvelopeID}
	for _, word := range f.Notify {
		d.Notify = append(d.Notify, strings.ToUpper(strings.TrimSpace(word)))
	}
	return d
}

// addresses reads each value as a list; what cannot be read stays one address
// whose fault composing reports with its field.
func addresses(values []string) []mail.Address {
	var all []mail.Address
	for _, v := range values {
		list, err := mail.ParseAddressList(v)
		if err != nil || len(list) == 0 {
			list = []mail.Address{mail.Addr(v)}
		}
		all = append(all, list...)
	}
	return all
}

// attachment reads FILE[;key=value]…
func attachment(spec string, keys []string) (mail.Attachment, error) {
	path, params := parameters(spec, keys)
	a, err := mail.FileAttachment(path)
	a.ContentID = params["cid"]
	if name, ok := params["name"]; ok {
		a.Filename, a.MediaType = name, "" // the type follows the name
	}
	if v, ok := params["type"]; ok {
		a.MediaType = v
	}
	return a, err
}

// parameters takes known parameters off the end; a semicolon that none of
// them follows belongs to the file's name.
func parameters(spec string, keys []string) (path string, params map[string]string) {
	params = make(map[string]string)
	for {
		at := strings.LastIndexByte(spec, ';')
		if at < 0 {
			return spec, params
		}
		name, value, ok := strings.Cut(spec[at+1:], "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if !ok || !slices.Contains(keys, name) {
			return spec, params
		}
		params[name] = strings.TrimSpace(value)
		spec = spec[:at]
	}
}

func calendar(spec string) (*mail.Calendar, error) {
	path, params := parameters(spec, []string{"method"})
	data, err := readSmallFile(path)
	if err != nil {
		return nil, err
	}
	c := &mail.Calendar{Method: strings.ToUpper(params["method"]), Data: data, Filename: "invite.ics"}
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(strings.ToUpper(strings.TrimSpace(line)), "METHOD:"); ok && c.Method == "" {
			c.Method = v
		}
	}
	if c.Method == "" {
		return nil, errors.New("the file names no METHOD; add ;method=REQUEST")
	}
	return c, nil
}
