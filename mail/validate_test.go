package mail_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/mail"
)

// valid is a message that uses every field and has no fault.
func valid() *mail.Message {
	return &mail.Message{
		From:     mail.Addr("Zoë <zoe@example.com>"),
		Sender:   mail.Addr("sender@example.com"),
		ReplyTo:  mail.Addrs("answers@example.com"),
		To:       mail.Addrs("a@example.com", `"B, b" <b@example.com>`),
		Cc:       mail.Addrs("c@bücher.example"),
		Bcc:      mail.Addrs("d@example.com"),
		MailFrom: &mail.Address{},
		Subject:  "Grüße\tan alle",
		Text:     "Hello",
		HTML:     `<p>Hello <img src="cid:logo"></p>`,
		Calendar: &mail.Calendar{Method: "REQUEST", Data: []byte("BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"), Filename: "invite.ics"},
		Attachments: []mail.Attachment{
			{Filename: "größe.pdf", MediaType: `application/pdf; x="a b"`, Open: nothing, Size: -1},
			{Filename: "logo.png", MediaType: "image/png", ContentID: "logo", Inline: true, Open: nothing},
			mail.Base64Attachment("c.txt", "aGVsbG8="),
		},
		Header: []mail.Field{
			{Name: "X-Campaign", Value: "März\t1"},
			{Name: "X-Campaign", Value: "again"},
			{Name: "Comments", Value: ""},
			{Name: "comments", Value: "twice"},
			{Name: "List-Id", Value: "<list.example.com>"},
		},
		Date:                time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC),
		MessageID:           "<1@example.com>",
		InReplyTo:           "0@example.com",
		References:          []string{"<0@example.com>", "a+/=$b.c@[127.0.0.1]"},
		ListUnsubscribe:     []string{"https://example.com/leave?id=1,2", "mailto:leave@example.com?subject=x"},
		ListUnsubscribePost: true,
		AutoSubmitted:       mail.AutoSubmittedGenerated,
		Priority:            mail.PriorityHigh,
		DSN:                 &mail.DSN{Notify: []string{"SUCCESS", "FAILURE", "DELAY"}, Return: "HDRS", EnvelopeID: "x y+z=1"},
		RequireTLS:          true,
	}
}

// nothing is an Opener of no octets.
func nothing() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("")), nil }

func TestValidateValid(t *testing.T) {
	if fs := valid().Validate(nil); fs != nil {
		t.Error(fs)
	}
	least := &mail.Message{From: mail.Addr("a@example.com"), Bcc: mail.Addrs("b@example.com"), HTMLFrom: nothing}
	if fs := least.Validate(nil); fs != nil {
		t.Error(fs)
	}
}

// TestValidate changes one thing of a valid message a row.
func TestValidate(t *testing.T) {
	header := func(name, value string) func(*mail.Message) {
		return func(m *mail.Message) { m.Header = append(m.Header, mail.Field{Name: name, Value: value}) }
	}
	for _, tc := range []struct {
		name   string
		change func(m *mail.Message)
		field  string // "": no fault
		code   mail.FaultCode
		detail string
	}{
		{"no author", func(m *mail.Message) { m.From = mail.Address{} }, "from", mail.CodeRequired, "no author"},
		{"author at fault", func(m *mail.Message) { m.From = mail.Addr("user@example") }, "from", mail.CodeInvalidAddress, "two labels"},
		{"sender at fault", func(m *mail.Message) { m.Sender = mail.Addr("x") }, "sender", mail.CodeInvalidAddress, ""},
		{"reply-to at fault", func(m *mail.Message) { m.ReplyTo = mail.Addrs("a@example.com", "x") }, "reply_to[1]", mail.CodeInvalidAddress, ""},
		{"reply-to too many", func(m *mail.Message) { m.ReplyTo = make([]mail.Address, 101) }, "reply_to", mail.CodeTooMany, ""},
		{"to at fault", func(m *mail.Message) { m.To = mail.Addrs("a@example.com", "b@example.com", "@example.com") }, "to[2]", mail.CodeInvalidAddress, ""},
		{"to empty", func(m *mail.Message) { m.To[1] = mail.Address{} }, "to[1]", mail.CodeRequired, ""},
		{"cc at fault", func(m *mail.Message) { m.Cc = mail.Addrs("user@@example.com") }, "cc[0]", mail.CodeInvalidAddress, ""},
		{"bcc at fault", func(m *mail.Message) { m.Bcc = mail.Addrs("..@example.com") }, "bcc[0]", mail.CodeInvalidAddress, ""},
		{"bcc injection", func(m *mail.Message) { m.Bcc[0].Name = "x\r\nX: y" }, "bcc[0]", mail.CodeControlCharacter, ""},
		{"no recipient", func(m *mail.Message) { m.To, m.Cc, m.Bcc = nil, nil, nil }, "to", mail.CodeRequired, "at least one"},
		{"100 recipients", func(m *mail.Message) { m.Bcc = repeat(mail.Addr("d@example.com"), 97) }, "", "", ""},
		{"101 recipients", func(m *mail.Message) { m.Bcc = repeat(mail.Addr("x"), 98) }, "to", mail.CodeTooMany, "101 recipients together; at most 100"},
		{"mail-from at fault", func(m *mail.Message) { a := mail.Addr("x"); m.MailFrom = &a }, "mail_from", mail.CodeInvalidAddress, ""},
		{"mail-from", func(m *mail.Message) { a := mail.Addr("bounces@example.com"); m.MailFrom = &a }, "", "", ""},

		{"no subject", func(m *mail.Message) { m.Subject = "" }, "", "", ""},
		{"subject 998", func(m *mail.Message) { m.Subject = strings.Repeat("é", 499) }, "", "", ""},
		{"subject 999", func(m *mail.Message) { m.Subject = strings.Repeat("a", 999) }, "subject", mail.CodeTooLong, "999 octets; at most 998"},
		{"subject CR LF", func(m *mail.Message) { m.Subject = "a\r\nBcc: x@example.com" }, "subject", mail.CodeControlCharacter, "line break at octet 1"},
		{"subject NUL", func(m *mail.Message) { m.Subject = "a\x00" }, "subject", mail.CodeControlCharacter, "U+0000"},
		{"subject DEL", func(m *mail.Message) { m.Subject = "a\x7f" }, "subject", mail.CodeControlCharacter, "U+007F"},
		{"subject Latin 1", func(m *mail.Message) { m.Subject = "Gr\xfc\xdfe" }, "subject", mail.CodeInvalidUTF8, ""},

		{"no content", func(m *mail.Message) { m.Text, m.HTML, m.Calendar, m.Attachments = "", "", nil, nil }, "text", mail.CodeRequired, "message is empty"},
		{"attachment only", func(m *mail.Message) { m.Text, m.HTML, m.Calendar = "", "", nil }, "", "", ""},
		{"text Latin 1", func(m *mail.Message) { m.Text = "\xfc" }, "text", mail.CodeInvalidUTF8, ""},
		{"html Latin 1", func(m *mail.Message) { m.HTML = "\xfc" }, "html", mail.CodeInvalidUTF8, ""},
		{"text twice", func(m *mail.Message) { m.TextFrom = nothing }, "text", mail.CodeConflict, ""},
		{"html twice", func(m *mail.Message) { m.HTMLFrom = nothing }, "html", mail.CodeConflict, ""},

		{"calendar method missing", func(m *mail.Message) { m.Calendar.Method = "" }, "calendar.method", mail.CodeRequired, ""},
		{"calendar method", func(m *mail.Message) { m.Calendar.Method = "a b" }, "calendar.method", mail.CodeInvalidValue, ""},
		{"calendar method other", func(m *mail.Message) { m.Calendar.Method = "REPLY" }, "calendar.method", mail.CodeConflict, "METHOD:REQUEST"},
		{"calendar without METHOD", func(m *mail.Message) {
			m.Calendar.Data = []byte("begin:vcalendar\nBEGIN:VEVENT\nMETHOD:X\nEND:VEVENT\n")
		}, "", "", ""},
		{"calendar of one line", func(m *mail.Message) { m.Calendar.Data = []byte("BEGIN:VCALENDAR\n") }, "", "", ""},
		{"calendar cut off", func(m *mail.Message) { m.Calendar.Data = []byte("BEGIN:VCALENDAR") }, "calendar.data", mail.CodeInvalidValue, ""},
		{"calendar beyond", func(m *mail.Message) { m.Calendar.Data = make([]byte, 25<<20+1) }, "calendar.data", mail.CodeTooLarge, ""},
		{"calendar without data", func(m *mail.Message) { m.Calendar.Data = nil }, "calendar.data", mail.CodeRequired, ""},
		{"calendar data", func(m *mail.Message) { m.Calendar.Data = []byte("BEGIN:VCALENDARS\n") }, "calendar.data", mail.CodeInvalidValue, ""},
		{"calendar Latin 1", func(m *mail.Message) { m.Calendar.Data = []byte("BEGIN:VCALENDAR\nX:\xfc") }, "calendar.data", mail.CodeInvalidUTF8, ""},
		{"calendar filename", func(m *mail.Message) { m.Calendar.Filename = "a/b" }, "calendar.filename", mail.CodeInvalidFilename, ""},

		{"attachment without content", func(m *mail.Message) { m.Attachments[0].Open = nil }, "attachments[0].content", mail.CodeRequired, ""},
		{"attachment path", func(m *mail.Message) { m.Attachments[1].Filename = "../x" }, "attachments[1].filename", mail.CodeInvalidFilename, "path"},
		{"attachment backslash", func(m *mail.Message) { m.Attachments[1].Filename = `c:\x` }, "attachments[1].filename", mail.CodeInvalidFilename, "path"},
		{"attachment dots", func(m *mail.Message) { m.Attachments[1].Filename = ".." }, "attachments[1].filename", mail.CodeInvalidFilename, ""},
		{"attachment name CR", func(m *mail.Message) { m.Attachments[1].Filename = "a\r\nb" }, "attachments[1].filename", mail.CodeControlCharacter, ""},
		{"attachment name 255", func(m *mail.Message) { m.Attachments[1].Filename = strings.Repeat("a", 255) }, "", "", ""},
		{"attachment name 256", func(m *mail.Message) { m.Attachments[1].Filename = strings.Repeat("a", 256) }, "attachments[1].filename", mail.CodeTooLong, ""},
		{"attachment name Latin 1", func(m *mail.Message) { m.Attachments[1].Filename = "\xfc" }, "attachments[1].filename", mail.CodeInvalidUTF8, ""},
		{"media type", func(m *mail.Message) { m.Attachments[0].MediaType = "pdf" }, "attachments[0].media_type", mail.CodeInvalidMediaType, "type/subtype"},
		{"media type empty subtype", func(m *mail.Message) { m.Attachments[0].MediaType = "image/" }, "attachments[0].media_type", mail.CodeInvalidMediaType, ""},
		{"media type wild", func(m *mail.Message) { m.Attachments[0].MediaType = "image/a b" }, "attachments[0].media_type", mail.CodeInvalidMediaType, ""},
		{"media type multipart", func(m *mail.Message) { m.Attachments[0].MediaType = "Multipart/mixed; boundary=x" }, "attachments[0].media_type", mail.CodeInvalidMediaType, "cannot be that of an attachment"},
		{"media type parameter", func(m *mail.Message) { m.Attachments[0].MediaType = "text/plain; charset" }, "attachments[0].media_type", mail.CodeInvalidMediaType, "parameters"},
		{"media type CR LF", func(m *mail.Message) { m.Attachments[0].MediaType = "text/plain\r\nX: y" }, "attachments[0].media_type", mail.CodeControlCharacter, ""},
		{"media type long", func(m *mail.Message) { m.Attachments[0].MediaType = "text/" + strings.Repeat("a", 251) }, "attachments[0].media_type", mail.CodeTooLong, ""},
		{"content id brackets", func(m *mail.Message) { m.Attachments[1].ContentID = "<logo>" }, "attachments[1].content_id", mail.CodeInvalidContentID, "angle brackets"},
		{"content id scheme", func(m *mail.Message) { m.Attachments[1].ContentID = "cid:logo" }, "attachments[1].content_id", mail.CodeInvalidContentID, "cid:"},
		{"content id space", func(m *mail.Message) { m.Attachments[1].ContentID = "lo go" }, "attachments[1].content_id", mail.CodeInvalidContentID, ""},
		{"content id CR", func(m *mail.Message) { m.Attachments[1].ContentID = "a\rb" }, "attachments[1].content_id", mail.CodeInvalidContentID, ""},
		{"content id long", func(m *mail.Message) { m.Attachments[1].ContentID = strings.Repeat("a", 251) }, "attachments[1].content_id", mail.CodeTooLong, ""},
		{"content id twice", func(m *mail.Message) { m.Attachments[2].ContentID = "logo" }, "attachments[2].content_id", mail.CodeDuplicateContentID, "attachments[1]"},
		{"attachment 25 MiB", func(m *mail.Message) { m.Attachments[0].Size = 25 << 20 }, "", "", ""},
		{"attachment beyond", func(m *mail.Message) { m.Attachments[0].Size = 25<<20 + 1 }, "attachments[0].content", mail.CodeTooLarge, "26214401 octets; at most 26214400"},
		{"attachments too many", func(m *mail.Message) { m.Attachments = make([]mail.Attachment, 1001) }, "attachments", mail.CodeTooMany, ""},
		{"attachments beyond", func(m *mail.Message) { m.Attachments = sized(25<<20, 25<<20, 25<<20, 25<<20, 1) }, "attachments", mail.CodeTooLarge, "104857601 octets together"},
		{"attachments 100 MiB", func(m *mail.Message) { m.Attachments = sized(25<<20, 25<<20, 25<<20, 25<<20) }, "", "", ""},

		{"header without name", header("", "x"), "headers[5].name", mail.CodeRequired, ""},
		{"header name space", header("X Y", "x"), "headers[5].name", mail.CodeInvalidHeaderName, `' '`},
		{"header name colon", header("X:", "x"), "headers[5].name", mail.CodeInvalidHeaderName, `':'`},
		{"header name injection", header("X: y\r\nBcc", "x"), "headers[5].name", mail.CodeInvalidHeaderName, ""},
		{"header name UTF-8", header("X-É", "x"), "headers[5].name", mail.CodeInvalidHeaderName, ""},
		{"header name 77", header("X"+strings.Repeat("-", 76), "x"), "", "", ""},
		{"header name 78", header("X"+strings.Repeat("-", 77), "x"), "headers[5].name", mail.CodeTooLong, ""},
		{"header value injection", header("X-Y", "x\r\nBcc: y@example.com"), "headers[5].value", mail.CodeControlCharacter, ""},
		{"header value LF", header("X-Y", "x\ny"), "headers[5].value", mail.CodeControlCharacter, ""},
		{"header value NUL", header("X-Y", "x\x00"), "headers[5].value", mail.CodeControlCharacter, ""},
		{"header value Latin 1", header("X-Y", "\xfc"), "headers[5].value", mail.CodeInvalidUTF8, ""},
		{"header value long", header("X-Y", strings.Repeat("a", 32<<10+1)), "headers[5].value", mail.CodeTooLong, ""},
		{"header twice", header("list-id", "x"), "headers[5].name", mail.CodeDuplicateHeader, "headers[4]"},
		{"header beside priority", header("X-Priority", "1"), "headers[5].name", mail.CodeReservedHeader, "Priority"},
		{"header of priority", func(m *mail.Message) { m.Priority = ""; header("X-Priority", "1")(m) }, "", "", ""},
		{"header of priority twice", func(m *mail.Message) {
			m.Priority = ""
			header("X-Priority", "1")(m)
			header("X-Priority", "2")(m)
		}, "headers[6].name", mail.CodeDuplicateHeader, ""},
		{"headers too many", func(m *mail.Message) { m.Header = make([]mail.Field, 101) }, "headers", mail.CodeTooMany, ""},

		{"date 1899", func(m *mail.Message) { m.Date = time.Date(1899, 1, 1, 0, 0, 0, 0, time.UTC) }, "date", mail.CodeInvalidValue, "1900"},
		{"date 10000", func(m *mail.Message) { m.Date = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, "date", mail.CodeInvalidValue, ""},
		{"message id", func(m *mail.Message) { m.MessageID = "x" }, "message_id", mail.CodeInvalidMessageID, "<left@right>"},
		{"message id bracket", func(m *mail.Message) { m.MessageID = "<x@y" }, "message_id", mail.CodeInvalidMessageID, "one angle bracket"},
		{"message id space", func(m *mail.Message) { m.MessageID = "<x @y>" }, "message_id", mail.CodeInvalidMessageID, ""},
		{"message id injection", func(m *mail.Message) { m.MessageID = "<x@y>\r\nX: <y@z>" }, "message_id", mail.CodeInvalidMessageID, ""},
		{"message id long", func(m *mail.Message) { m.MessageID = strings.Repeat("x", 899) + "@y" }, "message_id", mail.CodeTooLong, ""},
		{"in-reply-to", func(m *mail.Message) { m.InReplyTo = "@y" }, "in_reply_to", mail.CodeInvalidMessageID, ""},
		{"reference", func(m *mail.Message) { m.References[1] = "<x@>" }, "references[1]", mail.CodeInvalidMessageID, ""},
		{"references too many", func(m *mail.Message) { m.References = make([]string, 101) }, "references", mail.CodeTooMany, ""},
		{"unsubscribe ftp", func(m *mail.Message) { m.ListUnsubscribe[1] = "ftp://example.com" }, "list_unsubscribe[1]", mail.CodeInvalidURI, "https or mailto"},
		{"unsubscribe without host", func(m *mail.Message) { m.ListUnsubscribe[0] = "https:///x" }, "list_unsubscribe[0]", mail.CodeInvalidURI, ""},
		{"unsubscribe injection", func(m *mail.Message) { m.ListUnsubscribe[0] = "https://x.example/\r\nX: y" }, "list_unsubscribe[0]", mail.CodeInvalidURI, "percent-encoded"},
		{"unsubscribe brackets", func(m *mail.Message) { m.ListUnsubscribe[0] = "<https://x.example/>" }, "list_unsubscribe[0]", mail.CodeInvalidURI, "angle brackets are left out"},
		{"unsubscribe long", func(m *mail.Message) { m.ListUnsubscribe[0] = "https://x.example/" + strings.Repeat("a", 900) }, "list_unsubscribe[0]", mail.CodeTooLong, ""},
		{"unsubscribe unreadable", func(m *mail.Message) { m.ListUnsubscribe[0] = "https://x.example/%zz" }, "list_unsubscribe[0]", mail.CodeInvalidURI, "cannot be read"},
		{"unsubscribe too many", func(m *mail.Message) { m.ListUnsubscribe = make([]string, 101) }, "list_unsubscribe", mail.CodeTooMany, ""},
		{"one-click by mail only", func(m *mail.Message) { m.ListUnsubscribe = m.ListUnsubscribe[1:] }, "list_unsubscribe_post", mail.CodeConflict, "RFC 8058"},
		{"one-click by two", func(m *mail.Message) { m.ListUnsubscribe[1] = "https://example.org/leave" }, "list_unsubscribe_post", mail.CodeConflict, "leave one"},
		{"auto-submitted", func(m *mail.Message) { m.AutoSubmitted = "yes\r\n" }, "auto_submitted", mail.CodeInvalidValue, ""},
		{"priority", func(m *mail.Message) { m.Priority = "urgent" }, "priority", mail.CodeInvalidValue, ""},
		{"notify", func(m *mail.Message) { m.DSN.Notify = []string{"failure"} }, "dsn.notify", mail.CodeInvalidValue, ""},
		{"notify twice", func(m *mail.Message) { m.DSN.Notify = []string{"DELAY", "DELAY"} }, "dsn.notify", mail.CodeInvalidValue, "twice"},
		{"notify never", func(m *mail.Message) { m.DSN.Notify = []string{"NEVER"} }, "", "", ""},
		{"notify never and more", func(m *mail.Message) { m.DSN.Notify = []string{"NEVER", "DELAY"} }, "dsn.notify", mail.CodeConflict, "alone"},
		{"return", func(m *mail.Message) { m.DSN.Return = "ALL" }, "dsn.return", mail.CodeInvalidValue, ""},
		{"envelope id 100", func(m *mail.Message) { m.DSN.EnvelopeID = strings.Repeat("x", 97) + "+" }, "", "", ""},
		{"envelope id 101", func(m *mail.Message) { m.DSN.EnvelopeID = strings.Repeat("x", 98) + "+" }, "dsn.envelope_id", mail.CodeTooLong, "101 characters"},
		{"envelope id CR", func(m *mail.Message) { m.DSN.EnvelopeID = "x\ry" }, "dsn.envelope_id", mail.CodeInvalidValue, ""},
		{"envelope id UTF-8", func(m *mail.Message) { m.DSN.EnvelopeID = "é" }, "dsn.envelope_id", mail.CodeInvalidValue, ""},
	} {
		m := valid()
		tc.change(m)
		fs := m.Validate(nil)
		if tc.field == "" {
			if fs != nil {
				t.Errorf("%s: %v", tc.name, fs)
			}
			continue
		}
		if len(fs) != 1 || fs[0].Field != tc.field || fs[0].Code != tc.code || !strings.Contains(fs[0].Detail, tc.detail) {
			t.Errorf("%s: %+v; want %s %s with %q", tc.name, fs, tc.field, tc.code, tc.detail)
		}
		if text := fs.Error(); strings.ContainsAny(text, "\r\n\x00") || len(text) > 500 {
			t.Errorf("%s: error is not one short line: %q", tc.name, text)
		}
	}
}

// repeat gives n times the same address.
func repeat(a mail.Address, n int) []mail.Address {
	as := make([]mail.Address, n)
	for i := range as {
		as[i] = a
	}
	return as
}

// sized gives attachments of the sizes named, which are never opened.
func sized(sizes ...int64) []mail.Attachment {
	as := make([]mail.Attachment, len(sizes))
	for i, n := range sizes {
		as[i] = mail.Attachment{Size: n, Open: func() (io.ReadCloser, error) { return nil, errors.New("opened") }}
	}
	return as
}

func TestReservedHeaders(t *testing.T) {
	for _, name := range []string{
		"From", "Sender", "To", "Cc", "Bcc", "Reply-To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "MIME-Version",
		"Content-Type", "content-transfer-encoding", "Content-Disposition", "CONTENT-ID", "List-Unsubscribe", "List-Unsubscribe-Post",
		"Auto-Submitted", "Priority", "X-Priority", "Importance", "Return-Path", "Received", "DKIM-Signature", "Resent-From", "Resent-Bcc",
		"ARC-Seal", "Authentication-Results", "bCC",
	} {
		m := valid()
		m.Header = []mail.Field{{Name: name, Value: "x"}}
		fs := m.Validate(nil)
		if len(fs) != 1 || fs[0].Field != "headers[0].name" || fs[0].Code != mail.CodeReservedHeader || !strings.Contains(fs[0].Detail, name) {
			t.Errorf("%s: %v", name, fs)
		}
	}
}

func TestValidateReportsAllFaults(t *testing.T) {
	m := &mail.Message{
		From:        mail.Addr("user@example"),
		To:          mail.Addrs("a@example.com", "@example.com"),
		Subject:     "a\nb",
		Attachments: []mail.Attachment{mail.Base64Attachment("a/b", "***")},
		Header:      []mail.Field{{Name: "Bcc", Value: "x\r\ny"}},
	}
	fs := m.Validate(nil)
	want := []string{"from", "to[1]", "subject", "attachments[0].content", "attachments[0].filename", "headers[0].name", "headers[0].value"}
	if len(fs) != len(want) {
		t.Fatalf("%v; want faults in %v", fs, want)
	}
	for i := range want {
		if fs[i].Field != want[i] {
			t.Errorf("fault %d is in %s; want %s", i, fs[i].Field, want[i])
		}
	}
	if !strings.HasPrefix(fs.Error(), `from: address "user@example" needs a domain with at least two labels (user@example.com); to[1]: address "@example.com" has`) {
		t.Error(fs)
	}
}

func TestValidateAlone(t *testing.T) {
	for name, tc := range map[string]struct {
		fs    mail.Faults
		field string
		code  mail.FaultCode
	}{
		"address":       {mail.ValidateAddress("from", mail.Addr("user@example"), nil), "from", mail.CodeInvalidAddress},
		"no address":    {mail.ValidateAddress("from", mail.Address{}, nil), "from", mail.CodeRequired},
		"no recipients": {mail.ValidateRecipients(nil, nil, nil, nil), "to", mail.CodeRequired},
		"recipients":    {mail.ValidateRecipients(nil, mail.Addrs("x"), nil, nil), "cc[0]", mail.CodeInvalidAddress},
		"too many":      {mail.ValidateRecipients(mail.Addrs("a@example.com", "b@example.com"), nil, nil, &mail.Limits{Recipients: 1}), "to", mail.CodeTooMany},
		"subject":       {mail.ValidateSubject("ab", &mail.Limits{SubjectOctets: 1}), "subject", mail.CodeTooLong},
		"no body":       {mail.ValidateBody("", "", nil), "text", mail.CodeRequired},
		"text":          {mail.ValidateBody("ab", "", &mail.Limits{TextOctets: 1}), "text", mail.CodeTooLarge},
		"html":          {mail.ValidateBody("a", "ab", &mail.Limits{HTMLOctets: 1}), "html", mail.CodeTooLarge},
		"attachments":   {mail.ValidateAttachments([]mail.Attachment{{}}, nil), "attachments[0].content", mail.CodeRequired},
		"base64 size":   {mail.ValidateAttachments([]mail.Attachment{mail.Base64Attachment("x", "aGVsbG8h")}, &mail.Limits{AttachmentOctets: 5}), "attachments[0].content", mail.CodeTooLarge},
	} {
		if len(tc.fs) != 1 || tc.fs[0].Field != tc.field || tc.fs[0].Code != tc.code {
			t.Errorf("%s: %+v; want %s %s", name, tc.fs, tc.field, tc.code)
		}
	}
	for name, fs := range map[string]mail.Faults{
		"address":     mail.ValidateAddress("from", mail.Addr("user@example.com"), nil),
		"recipients":  mail.ValidateRecipients(nil, nil, mail.Addrs("a@example.com"), nil),
		"subject":     mail.ValidateSubject("", nil),
		"text":        mail.ValidateBody("x", "", nil),
		"html":        mail.ValidateBody("", "x", nil),
		"attachments": mail.ValidateAttachments(nil, nil),
		"base64 size": mail.ValidateAttachments([]mail.Attachment{mail.Base64Attachment("x", "aGVsbG8=")}, &mail.Limits{AttachmentOctets: 5}),
	} {
		if fs != nil || fs.Err() != nil {
			t.Errorf("%s: %v", name, fs)
		}
	}
}

func TestLimits(t *testing.T) {
	d := mail.DefaultLimits()
	if d.AddressOctets != 254 || d.LocalPartOctets != 64 || d.SubjectOctets != 998 || d.TextOctets != 100<<20 || d.HTMLOctets != 100<<20 ||
		d.AttachmentOctets != 25<<20 || d.AttachmentsOctets != 100<<20 || d.Recipients != 100 {
		t.Errorf("%+v", d)
	}
	m := valid()
	m.Subject = strings.Repeat("a", 2000)
	m.To = repeat(mail.Addr("a@example.com"), 1000)
	m.Attachments = sized(1<<40, 1<<62, 1<<62, 1<<62)
	unlimited := &mail.Limits{
		AddressOctets: -1, LocalPartOctets: -1, NameOctets: -1, SubjectOctets: -1, TextOctets: -1, HTMLOctets: -1,
		AttachmentOctets: -1, AttachmentsOctets: -1, Attachments: -1, Recipients: -1, HeaderFields: -1, FieldOctets: -1,
	}
	if fs := m.Validate(unlimited); fs != nil {
		t.Error(fs)
	}
	if fs := m.Validate(&mail.Limits{}); len(fs) != 7 {
		t.Errorf("zero Limits are not the defaults: %v", fs)
	}
}

func TestFaults(t *testing.T) {
	fs := mail.Faults{
		{Field: "to[0]", Code: mail.CodeRequired, Detail: "address is empty"},
		{Field: "attachments[0].content", Code: mail.CodeUnreadable, Detail: "gone", Err: fs.ErrNotExist},
	}
	err := fs.Err()
	if err.Error() != "to[0]: address is empty; attachments[0].content: gone" {
		t.Error(err)
	}
	var f mail.Fault
	if !errors.As(err, &f) || f.Field != "to[0]" || !errors.Is(err, fs[1].Err) {
		t.Errorf("faults cannot be taken apart: %+v", f)
	}
	text, jsonErr := json.Marshal(fs)
	if jsonErr != nil || string(text) != `[{"field":"to[0]","code":"required","detail":"address is empty"},{"field":"attachments[0].content","code":"unreadable","detail":"gone"}]` {
		t.Errorf("%s, %v", text, jsonErr)
	}
}

func TestValidateAllocates(t *testing.T) {
	m := valid()
	m.Cc, m.Header, m.Attachments = nil, m.Header[:1], m.Attachments[:1]
	m.Attachments[0].MediaType, m.ListUnsubscribe, m.ListUnsubscribePost = "application/pdf", nil, false
	if n := testing.AllocsPerRun(100, func() { _ = m.Validate(nil) }); n > 2 {
		t.Errorf("%v allocations for a message without fault", n)
	}
}

func BenchmarkValidate(b *testing.B) {
	small := &mail.Message{
		From: mail.Addr("Zoë <zoe@example.com>"), To: mail.Addrs("a@example.com"), Subject: "Hello",
		Text: strings.Repeat("text ", 200), HTML: strings.Repeat("<p>x</p>", 125),
	}
	for name, m := range map[string]*mail.Message{"small": small, "full": valid()} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if fs := m.Validate(nil); fs != nil {
					b.Fatal(fs)
				}
			}
		})
	}
}
