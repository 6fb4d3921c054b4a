package mail_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/mail"
)

func rawOptions() *mail.RawOptions {
	o := fixedOptions()
	return &mail.RawOptions{Now: o.Now, Random: o.Random}
}

const added = "Date: Fri, 02 Jan 2026 15:04:05 +0100\r\nMessage-ID: <20260102140405.00jmmvwmq7f06a2deabvsr86@example.com>\r\n"

func TestComposeRaw(t *testing.T) {
	const dated = "Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <a@b.example>\r\n"
	for _, tc := range []struct {
		name, raw, want string
		envelope        mail.Envelope
	}{
		{
			name: "complete", raw: "From: a@example.com\r\nTo: b@example.com\r\n" + dated + "\r\nhello\r\n",
			want:     "From: a@example.com\r\nTo: b@example.com\r\n" + dated + "\r\nhello\r\n",
			envelope: mail.Envelope{MailFrom: "a@example.com", RcptTo: []string{"b@example.com"}},
		},
		{
			name: "line ends", raw: "From: a@example.com\nTo: b@example.com\r" + dated + "\n\rhello\rthere\n\nend",
			want:     "From: a@example.com\r\nTo: b@example.com\r\n" + dated + "\r\n\r\nhello\r\nthere\r\n\r\nend\r\n",
			envelope: mail.Envelope{MailFrom: "a@example.com", RcptTo: []string{"b@example.com"}},
		},
		{
			name: "added and removed", raw: "Return-Path: <x@example.com>\nFrom: A <a@example.com>\nBcc: secret@example.com,\n\tother@example.com\nTo: b@example.com\nresent-bcc: z@example.com\n y\n\nhello\n",
			want:     "From: A <a@example.com>\r\nTo: b@example.com\r\n" + added + "\r\nhello\r\n",
			envelope: mail.Envelope{MailFrom: "a@example.com", RcptTo: []string{"b@example.com", "secret@example.com", "other@example.com"}},
		},
		{
			name: "no body", raw: "From: a@example.com\nSender: Mailer <m@example.com>\nCc: Team: b@example.com, \"B, C\" <c@example.com>;, d@Example.com (nobody)\nTo: undisclosed-recipients:;",
			want:     "From: a@example.com\r\nSender: Mailer <m@example.com>\r\nCc: Team: b@example.com, \"B, C\" <c@example.com>;, d@Example.com (nobody)\r\nTo: undisclosed-recipients:;\r\n" + added + "\r\n",
			envelope: mail.Envelope{MailFrom: "m@example.com", RcptTo: []string{"b@example.com", "c@example.com", "d@Example.com"}},
		},
		{
			name: "cr at the end", raw: "From: a@example.com\rTo: b@example.com\r\r",
			want:     "From: a@example.com\r\nTo: b@example.com\r\n" + added + "\r\n",
			envelope: mail.Envelope{MailFrom: "a@example.com", RcptTo: []string{"b@example.com"}},
		},
		{
			name: "8-bit body", raw: "From: a@example.com\nTo: b@example.com\n\ngr\xfc\xdfe",
			want:     "From: a@example.com\r\nTo: b@example.com\r\n" + added + "\r\ngr\xfc\xdfe\r\n",
			envelope: mail.Envelope{MailFrom: "a@example.com", RcptTo: []string{"b@example.com"}, EightBit: true},
		},
		{
			name: "utf-8 header", raw: "From: Zoë <a@example.com>\nTo: josé@bücher.example\n\nx\n",
			want:     "From: Zoë <a@example.com>\r\nTo: josé@bücher.example\r\n" + added + "\r\nx\r\n",
			envelope: mail.Envelope{MailFrom: "a@example.com", RcptTo: []string{"josé@xn--bcher-kva.example"}, EightBit: true, SMTPUTF8: true},
		},
		{
			name: "charset of a name", raw: "From: =?iso-2022-jp?b?GyRCRnxLXBsoQg==?= <a@example.com>\nTo: b@example.com\n\nx\n",
			want:     "From: =?iso-2022-jp?b?GyRCRnxLXBsoQg==?= <a@example.com>\r\nTo: b@example.com\r\n" + added + "\r\nx\r\n",
			envelope: mail.Envelope{MailFrom: "a@example.com", RcptTo: []string{"b@example.com"}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := mail.ComposeRaw(opener(tc.raw), rawOptions())
			if err != nil {
				t.Fatal(err)
			}
			if got := string(renderChecked(t, c)); got != tc.want {
				t.Errorf("got\n%q\nwant\n%q", got, tc.want)
			}
			e := c.Envelope()
			if e.MailFrom != tc.envelope.MailFrom || !slices.Equal(e.RcptTo, tc.envelope.RcptTo) || e.EightBit != tc.envelope.EightBit || e.SMTPUTF8 != tc.envelope.SMTPUTF8 {
				t.Errorf("envelope is %+v, want %+v", e, tc.envelope)
			}
			if !strings.Contains(tc.want, "\r\nMessage-ID: "+c.MessageID()+"\r\n") {
				t.Errorf("MessageID is %q", c.MessageID())
			}
		})
	}
}

func TestComposeRawOptions(t *testing.T) {
	bounce := mail.Addr("bounce@example.com")
	o := rawOptions()
	o.MailFrom, o.Rcpt = &bounce, mail.Addrs("x@example.net", "X <x@EXAMPLE.net>")
	o.DSN, o.RequireTLS, o.MessageIDDomain = &mail.DSN{Return: "HDRS"}, true, "id.example"
	c, err := mail.ComposeRaw(opener("From: a@example.com\n\nx"), o)
	if err != nil {
		t.Fatal(err)
	}
	e := c.Envelope()
	if e.MailFrom != "bounce@example.com" || !slices.Equal(e.RcptTo, []string{"x@example.net"}) || e.DSN.Return != "HDRS" || !e.RequireTLS {
		t.Errorf("envelope is %+v", e)
	}
	if !strings.HasSuffix(c.MessageID(), "@id.example>") {
		t.Errorf("MessageID is %s", c.MessageID())
	}
	o.MailFrom = &mail.Address{}
	if c, err = mail.ComposeRaw(opener("From: a@example.com\n\nx"), o); err != nil || c.Envelope().MailFrom != "" {
		t.Errorf("null reverse-path: %v", err)
	}
}

func TestComposeRawFaults(t *testing.T) {
	const good = "From: a@example.com\nTo: b@example.com\n"
	for _, tc := range []struct{ name, raw, want, detail string }{
		{"empty", "", "from required|to required", ""},
		{"no from", "To: b@example.com\n\nx", "from required", ""},
		{"two from", good + "FROM: c@example.com\n\nx", "raw duplicate_header", "line 3"},
		{"two to", good + "To: c@example.com\n\nx", "raw duplicate_header", "line 3"},
		{"bad from", "From: a@localhost\nTo: b@example.com\n\nx", "from[0] invalid_address", ""},
		{"unreadable from", "From: <<a@example.com\nTo: b@example.com\n\nx", "from invalid_address", ""},
		{"bad to", "From: a@example.com\nTo: b@@example.com\n\nx", "to invalid_address", ""},
		{"no recipient", "From: a@example.com\n\nx", "to required", ""},
		{"no colon", good + "what is this\n\nx", "raw invalid_header_name", "line 3"},
		{"space before colon", good + "Bcc : c@example.com\n\nx", "raw invalid_header_name", "line 3"},
		{"continues nothing", " x\n" + good + "\nx", "raw invalid_header_name", "line 1"},
		{"mailbox file", "From a@example.com Mon Jan 1\n" + good + "\nx", "raw invalid_header_name", "remove"},
		{"latin-1 header", good + "Subject: \xe9\n\nx", "raw invalid_utf8", "line 3"},
		{"nul in header", good + "Subject: \x00\n\nx", "raw control_character", "line 3"},
		{"nul in body", good + "\nx\ny\x00\n", "raw control_character", "line 5"},
		{"long line", good + "\nx\n\n" + strings.Repeat("x", 999), "raw too_long", "line 6"},
		{"long header line", good + "Subject: " + strings.Repeat("x", 990) + "\n\nx", "raw too_long", "line 3"},
		{"long header", good + strings.Repeat("X: y\n", 250_000) + "\n", "raw too_long", "1048576"},
		{"bad date", good + "Date: tomorrow\n\nx", "date invalid_value", ""},
		{"bad id", good + "Message-ID: what\n\nx", "message_id invalid_message_id", ""},
		{"two senders", good + "Sender: a@example.com, b@example.com\n\nx", "sender too_many", ""},
		{"two authors", "From: a@example.com, c@example.com\nTo: b@example.com\n\nx", "sender required", "3.6.2"},
		{"all at once", "Date: x\nSubject\n\n\x00", "date invalid_value|from required|raw control_character|raw invalid_header_name|to required", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := mail.ComposeRaw(opener(tc.raw), nil)
			if got := strings.Join(faultCodes(t, err), "|"); got != tc.want || !strings.Contains(err.Error(), tc.detail) {
				t.Errorf("got %s (%v), want %s with %q", got, err, tc.want, tc.detail)
			}
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("error of several lines: %q", err)
			}
		})
	}
	if _, err := mail.ComposeRaw(nil, nil); err == nil {
		t.Error("nil Opener is taken")
	}
	broken := errors.New("disk on fire")
	if _, err := mail.ComposeRaw(func() (io.ReadCloser, error) { return nil, broken }, nil); !errors.Is(err, broken) {
		t.Errorf("Open's error gives %v", err)
	}
	small := &mail.Limits{TextOctets: 1, HTMLOctets: 1, AttachmentsOctets: 1}
	if _, err := mail.ComposeRaw(opener(good+"\n"+strings.Repeat("x\n", 1<<20)), &mail.RawOptions{Limits: small}); err == nil {
		t.Error("a message over the limits is taken")
	}
	for _, o := range []*mail.RawOptions{
		{Rcpt: []mail.Address{}},
		{Rcpt: mail.Addrs("x")},
		{MessageIDDomain: "a b"},
		{DSN: &mail.DSN{Return: "ALL"}},
		{Limits: &mail.Limits{Recipients: 1}, Rcpt: mail.Addrs("a@example.com", "b@example.com")},
	} {
		if _, err := mail.ComposeRaw(opener(good+"\nx"), o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

// Large input is streamed, gives the same octets as small input would, and
// comes out the same when given again.
func TestComposeRawLarge(t *testing.T) {
	line := strings.Repeat("0123456789", 7)
	for _, end := range []string{"\n", "\r", "\r\n"} {
		body := strings.Repeat(line+end, 5000)
		for _, last := range []string{"", "no end", "\r"} {
			raw := "From: a@example.com\nTo: b@example.com\n\n" + body + last
			c, err := mail.ComposeRaw(opener(raw), rawOptions())
			if err != nil {
				t.Fatal(err)
			}
			got := renderChecked(t, c)
			want := "From: a@example.com\r\nTo: b@example.com\r\n" + added + "\r\n" + crlf(body+last)
			if !strings.HasSuffix(want, "\r\n") {
				want += "\r\n"
			}
			if string(got) != want {
				t.Errorf("line end %q, last %q: other octets (%d, want %d)", end, last, len(got), len(want))
			}
			checkIdempotent(t, got)
		}
	}
}

func checkIdempotent(t renderer, b []byte) {
	t.Helper()
	o := &mail.RawOptions{Rcpt: mail.Addrs("bob@example.com"), Now: time.Now}
	again, err := mail.ComposeRaw(opener(string(b)), o)
	if err != nil {
		t.Fatalf("output is not accepted: %v\n%.2000q", err, b)
	}
	if !bytes.Equal(renderChecked(t, again), b) {
		t.Errorf("output changes when given again")
	}
}

func TestComposedIsValidRaw(t *testing.T) {
	for _, tc := range composeCases() {
		t.Run(tc.name, func(t *testing.T) {
			if tc.name == "smtputf8" {
				return // its Envelope differs: raw input knows no Bcc
			}
			checkIdempotent(t, renderChecked(t, tc.compose(t)))
		})
	}
}

func TestComposeRawProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := "From: a@example.com" + rapid.SampledFrom([]string{"\n", "\r", "\r\n"}).Draw(t, "end") + anyText().Draw(t, "raw")
		c, err := mail.ComposeRaw(opener(raw), &mail.RawOptions{Rcpt: mail.Addrs("b@example.com")})
		if err != nil {
			return
		}
		b := renderChecked(t, c)
		if slices.Contains(fieldNames(b), "bcc") {
			t.Errorf("Bcc is sent: %q", b)
		}
		checkIdempotent(t, b)
	})
}
