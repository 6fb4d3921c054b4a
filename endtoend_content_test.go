package postrider_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/relaytest"
	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/mail/dkim"
)

// sample is a message with the structure it must have when it arrives.
type sample struct {
	name, shape string
	message     func() *mail.Message
}

const (
	textOnly    = "text/plain"
	alternative = "multipart/alternative(text/plain, text/html)"
	japanese    = "ご注文ありがとうございます。お客様のご注文の詳細は以下のとおりです。発送までしばらくお待ちください。またのご利用を心よりお待ちしております。"
	emoji       = "🎉🎊👩‍👩‍👧‍👦 Großartig 🏳️‍🌈 Angebote für 👍🏽 Sie 🎁🎁🎁 und noch viel mehr 🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀"
)

func invitation() *mail.Calendar {
	return &mail.Calendar{Method: "REQUEST", Filename: "invite.ics", Data: []byte("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//y//EN\r\nMETHOD:REQUEST\r\n" +
		"BEGIN:VEVENT\r\nUID:1@example.com\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260102T100000Z\r\nSUMMARY:Größe\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")}
}

func samples() []sample {
	picture := func(cid string) mail.Attachment {
		a := mail.BytesAttachment(cid+".png", append([]byte("\x89PNG\r\n\x1a\n"), cid...))
		a.ContentID, a.Inline = cid, true
		return a
	}
	forwarded := mail.BytesAttachment("original.eml", []byte("From: a@example.com\r\nTo: b@example.com\r\nSubject: inner\r\n"+
		"Date: Fri, 02 Jan 2026 10:00:00 +0000\r\nMessage-ID: <inner@example.com>\r\n\r\nThe inner text.\r\n"))
	forwarded.MediaType = "message/rfc822"
	octets := make([]byte, 70_000)
	for i := range octets {
		octets[i] = byte(i * i >> 3)
	}
	names := []string{
		"plain.bin", "with space.pdf", "Größe.txt", "請求書.pdf", "🎉 party 🎊.png", `quo"te.bin`, "semi;colon,comma=x.bin",
		"100%.bin", "don't.txt", strings.Repeat("long name ", 20) + "end.bin", strings.Repeat("長い名前", 18) + ".bin", "=?utf-8?q?fake?=.txt", "no extension", ".hidden",
	}
	return []sample{
		{"text", textOnly, func() *mail.Message { return letter() }},
		{"html", "text/html", func() *mail.Message {
			m := letter()
			m.Text, m.HTML = "", "<p>Größe &amp; Preis</p>\n"
			return m
		}},
		{"both", alternative, func() *mail.Message {
			m := letter()
			m.HTML = "<p>Thank you.</p>\n"
			return m
		}},
		{"text of every kind", textOnly, func() *mail.Message {
			m := letter()
			m.Text = "From the start\n.\n..\n\n  spaces before and after  \n\ttab\t\n=3D = =\n" + strings.Repeat("long ", 500) + "\n" + japanese + "\n" + emoji + "\n--\n-- \nend without a line end"
			return m
		}},
		{"no text at all", "multipart/mixed(application/octet-stream)", func() *mail.Message {
			m := letter()
			m.Text, m.Attachments = "", []mail.Attachment{mail.BytesAttachment("only.bin", octets)}
			return m
		}},
		{"inline pictures", "multipart/related(multipart/alternative(text/plain, text/html), image/png, image/png)", func() *mail.Message {
			m := letter()
			m.HTML = `<p><img src="cid:one"><img src="cid:two"></p>` + "\n"
			m.Attachments = []mail.Attachment{picture("one"), picture("two")}
			return m
		}},
		{"everything", "multipart/mixed(multipart/related(multipart/alternative(text/plain, text/html), image/png), application/octet-stream, message/rfc822(text/plain))", func() *mail.Message {
			m := letter()
			m.HTML = `<p><img src="cid:one"></p>` + "\n"
			m.Attachments = []mail.Attachment{picture("one"), mail.BytesAttachment("data.bin", octets), forwarded}
			return m
		}},
		{"attachments of odd names", "", func() *mail.Message {
			m := letter()
			for i, name := range names {
				m.Attachments = append(m.Attachments, mail.BytesAttachment(name, octets[i:1000*i+i]))
			}
			return m
		}},
		{"base64 given", "multipart/mixed(text/plain, image/gif)", func() *mail.Message {
			m := letter()
			m.Attachments = []mail.Attachment{mail.Base64Attachment("dot.gif", "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")}
			return m
		}},
		{"invitation", "multipart/mixed(multipart/alternative(text/plain, text/html, text/calendar), application/ics)", func() *mail.Message {
			m := letter()
			m.HTML, m.Calendar = "<p>Come.</p>\n", invitation()
			return m
		}},
		{"japanese subject", textOnly, func() *mail.Message {
			m := letter()
			m.Subject = japanese
			return m
		}},
		{"emoji subject", textOnly, func() *mail.Message {
			m := letter()
			m.Subject = emoji
			return m
		}},
		{"long plain subject", textOnly, func() *mail.Message {
			m := letter()
			m.Subject = strings.Repeat("word ", 150) + strings.Repeat("x", 200)
			return m
		}},
		{"empty subject", textOnly, func() *mail.Message {
			m := letter()
			m.Subject = ""
			return m
		}},
		{"header", textOnly, func() *mail.Message {
			m := letter()
			m.From = mail.Addr(`"Ärger, \"der\" Große" <shop@example.com>`)
			m.Sender = mail.Addr("robot@example.com")
			m.ReplyTo = mail.Addrs("山田太郎 <reply@example.com>", "other@example.com")
			m.Cc = mail.Addrs("Zoë <cc1@example.net>", `"odd local"@example.net`)
			m.Header = []mail.Field{{Name: "X-Campaign", Value: "Frühling 2026 – " + japanese}, {Name: "Feedback-ID", Value: "a:b:c"}}
			m.InReplyTo = "<previous@example.com>"
			for i := range 60 {
				m.References = append(m.References, fmt.Sprintf("<%d.of.a.long.conversation@lists.example.com>", i))
			}
			m.ListUnsubscribe, m.ListUnsubscribePost = []string{"https://example.com/u/" + strings.Repeat("t0ken", 30), "mailto:leave@example.com?subject=leave"}, true
			m.AutoSubmitted, m.Priority = mail.AutoSubmittedGenerated, mail.PriorityHigh
			m.Date = time.Date(2026, 2, 3, 4, 5, 6, 0, time.FixedZone("", 5*3600+1800))
			m.MessageID = "own.id@example.com"
			return m
		}},
	}
}

// TestRealContent sends every sample through both servers and has Python read
// what arrived: structure, texts, file names and contents, header fields.
func TestRealContent(t *testing.T) {
	onReal(t, settings{}, func(t *testing.T, srv realServer) {
		client := submit(t, srv, postrider.Config{})
		all := samples()
		stored := make([][]byte, len(all))
		for i, s := range all {
			m := s.message()
			mailbox := fmt.Sprintf("to%d@example.net", i)
			m.To = mail.Addrs("Zoë Example <" + mailbox + ">")
			composed := compose(t, m, nil)
			if _, err := client.SendComposed(t.Context(), composed); err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			stored[i] = arrived(t, srv, mailbox)
			sameOctets(t, stored[i], composed)
		}
		for i, parsed := range relaytest.ParseAllWithPython(t, stored) {
			t.Run(all[i].name, func(t *testing.T) {
				m := all[i].message()
				m.To = mail.Addrs(fmt.Sprintf("Zoë Example <to%d@example.net>", i))
				compare(t, parsed, m, all[i].shape)
			})
		}
	})
}

// compare holds what Python read against the message that was sent.
func compare(t *testing.T, p *relaytest.Parsed, m *mail.Message, shape string) {
	t.Helper()
	if shape != "" && p.Shape() != shape {
		t.Errorf("shape %s, want %s", p.Shape(), shape)
	}
	for _, defect := range p.Defects {
		// The name parameter of Content-Type repeats a file name as encoded words
		// in quotes. RFC 2047 §5 knows no such thing, but it is the only form that
		// readers without RFC 2231 understand; the others read filename*.
		if defect != "Content-Type: InvalidHeaderDefect: encoded word inside quoted string" &&
			defect != "Content-Type: InvalidHeaderDefect: missing trailing whitespace after encoded-word" {
			t.Errorf("defect: %s", defect)
		}
	}
	if p.Subject != m.Subject {
		t.Errorf("subject %q, want %q", p.Subject, m.Subject)
	}
	sameMailboxes(t, "From", p.From, []mail.Address{m.From})
	sameMailboxes(t, "To", p.To, m.To)
	sameMailboxes(t, "Cc", p.Cc, m.Cc)
	sameMailboxes(t, "Reply-To", p.ReplyTo, m.ReplyTo)
	if !m.Sender.IsZero() {
		sameMailboxes(t, "Sender", p.Sender, []mail.Address{m.Sender})
	}
	if m.MessageID != "" && p.MessageID != "<"+m.MessageID+">" {
		t.Errorf("Message-ID %s", p.MessageID)
	}
	if date, err := time.Parse(time.RFC3339, p.Date); err != nil || !m.Date.IsZero() && !date.Equal(m.Date) {
		t.Errorf("date %q: %v", p.Date, err)
	}
	fields := map[string]string{}
	for _, f := range m.Header {
		fields[f.Name] = f.Value
	}
	if len(m.References) > 0 {
		fields["References"], fields["In-Reply-To"] = strings.Join(m.References, " "), m.InReplyTo
	}
	if m.ListUnsubscribe != nil {
		fields["List-Unsubscribe"], fields["List-Unsubscribe-Post"] = "<"+strings.Join(m.ListUnsubscribe, ">, <")+">", "List-Unsubscribe=One-Click"
	}
	if m.AutoSubmitted != "" {
		fields["Auto-Submitted"] = string(m.AutoSubmitted)
	}
	if m.Priority != "" {
		fields["Importance"] = string(m.Priority)
	}
	for name, want := range fields {
		if got, ok := p.Field(name); !ok || strings.Join(strings.Fields(got), " ") != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	sameParts(t, p, m)
}

func sameMailboxes(t *testing.T, field string, got []relaytest.ParsedMailbox, want []mail.Address) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s has %d mailboxes, want %d: %+v", field, len(got), len(want), got)
		return
	}
	for i, w := range want {
		// Python 3.11 leaves the space between two encoded words of a name,
		// against RFC 2047 §6.2, so spaces do not count.
		name := func(s string) string { return strings.ReplaceAll(s, " ", "") }
		if name(got[i].Name) != name(w.Name) || got[i].Address != w.Mailbox() {
			t.Errorf("%s[%d] is %+v, want %v", field, i, got[i], w)
		}
	}
}

// sameParts compares bodies as text and attachments by hash, each once.
func sameParts(t *testing.T, p *relaytest.Parsed, m *mail.Message) {
	t.Helper()
	leaves := p.Leaves()
	next := func(what, mediaType string) *relaytest.ParsedPart {
		if len(leaves) == 0 {
			t.Fatalf("no part left for %s", what)
		}
		part := leaves[0]
		leaves = leaves[1:]
		if part.ContentType != mediaType {
			t.Errorf("%s has media type %s, want %s", what, part.ContentType, mediaType)
		}
		return part
	}
	// A last line that had no end gets one (RFC 5322 §2.1).
	ended := func(s string) string { return strings.TrimSuffix(lf(s), "\n") }
	if m.Text != "" {
		if part := next("text", "text/plain"); ended(part.Text) != ended(m.Text) {
			t.Errorf("text %q, want %q", part.Text, m.Text)
		}
	}
	if m.HTML != "" {
		if part := next("HTML", "text/html"); ended(part.Text) != ended(m.HTML) {
			t.Errorf("HTML %q, want %q", part.Text, m.HTML)
		}
	}
	if m.Calendar != nil {
		part := next("calendar", "text/calendar")
		if lf(part.Text) != lf(string(m.Calendar.Data)) || part.Params["method"] != m.Calendar.Method {
			t.Errorf("calendar %q, %v", part.Text, part.Params)
		}
	}
	for i := range m.Attachments {
		a := &m.Attachments[i]
		if a.MediaType == "message/rfc822" {
			if part := next(a.Filename, "text/plain"); lf(part.Text) != "The inner text.\n" {
				t.Errorf("the inner message says %q", part.Text)
			}
			continue
		}
		if len(leaves) == 0 {
			t.Fatalf("no part left for %s", a.Filename)
		}
		part := leaves[0]
		leaves = leaves[1:]
		if part.Filename != a.Filename {
			t.Errorf("file name %q, want %q", part.Filename, a.Filename)
		}
		if part.SHA256 != hash(t, a.Open) {
			t.Errorf("%s: %d octets of another hash arrived", a.Filename, part.Size)
		}
		if a.ContentID != "" && (part.ContentID != "<"+a.ContentID+">" || part.Disposition != "inline") {
			t.Errorf("%s: content id %q, disposition %q", a.Filename, part.ContentID, part.Disposition)
		}
		if a.ContentID == "" && part.Disposition != "attachment" {
			t.Errorf("%s: disposition %q", a.Filename, part.Disposition)
		}
	}
	if m.Calendar != nil && m.Calendar.Filename != "" {
		part := next("attached calendar", "application/ics")
		if sum := sha256.Sum256(m.Calendar.Data); part.Filename != m.Calendar.Filename || part.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("attached calendar %q: %q", part.Filename, part.Text)
		}
	}
	if len(leaves) > 0 {
		t.Errorf("%d parts too many", len(leaves))
	}
}

func hash(t *testing.T, open mail.Opener) string {
	t.Helper()
	r, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, r); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// TestRealRaw sends a message that exists already: line ends are mended, Bcc is
// served and not shown, all else stays.
func TestRealRaw(t *testing.T) {
	raw := "From: Shop <shop@example.com>\nTo: ann@example.net\nBcc: eve@example.net\nSubject: raw\n" +
		"X-Spacing:   kept   as it is\nMIME-Version: 1.0\nContent-Type: text/plain\n\n.\rone\r\ntwo\n.\n"
	onReal(t, settings{}, func(t *testing.T, srv realServer) {
		composed, err := mail.ComposeRaw(opener([]byte(raw)), nil)
		if err != nil {
			t.Fatal(err)
		}
		result, err := submit(t, srv, postrider.Config{}).SendComposed(t.Context(), composed)
		if err != nil || len(result.Recipients) != 2 {
			t.Fatalf("%+v: %v", result, err)
		}
		for _, mailbox := range []string{"ann@example.net", "eve@example.net"} {
			stored := arrived(t, srv, mailbox)
			sameOctets(t, stored, composed)
			content := relaytest.WithoutTrace(stored)
			if bytes.Contains(content, []byte("eve@")) {
				t.Errorf("Bcc is shown:\n%s", content)
			}
			p := relaytest.ParseWithPython(t, stored)
			if lf(p.Root.Text) != ".\none\ntwo\n.\n" || p.Subject != "raw" || p.MessageID != result.MessageID || len(p.Defects) > 0 {
				t.Errorf("%q, defects %q", p.Root.Text, p.Defects)
			}
			if !bytes.Contains(content, []byte("X-Spacing:   kept   as it is\r\n")) {
				t.Errorf("a field was changed:\n%s", content)
			}
		}
	})
}

// TestRealBcc has Bcc recipients get the message, which does not name them.
func TestRealBcc(t *testing.T) {
	onReal(t, settings{}, func(t *testing.T, srv realServer) {
		m := letter("ann@example.net")
		m.Bcc = mail.Addrs("Eve Secret <eve@example.net>")
		if _, err := submit(t, srv, postrider.Config{}).Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		for _, mailbox := range []string{"ann@example.net", "eve@example.net"} {
			content := relaytest.WithoutTrace(arrived(t, srv, mailbox))
			if bytes.Contains(bytes.ToLower(content), []byte("eve")) || bytes.Contains(bytes.ToLower(content), []byte("bcc")) {
				t.Errorf("%s can read of the Bcc recipient:\n%s", mailbox, content)
			}
		}
	})
}

// TestRealDKIM signs twice and verifies what arrived.
func TestRealDKIM(t *testing.T) {
	heavy(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	records := map[string]string{}
	var signers []*dkim.Signer
	for _, cfg := range []dkim.Config{
		{Domain: "example.com", Selector: "r", Key: rsaKey},
		{Domain: "example.com", Selector: "e", Key: edKey},
	} {
		s, err := dkim.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		name, text := s.DNSRecord()
		records[name] = text
		signers = append(signers, s)
	}
	sign := func(c *mail.Composed) (*mail.Composed, error) {
		for _, s := range signers {
			var err error
			if c, err = s.Sign(c); err != nil {
				return nil, err
			}
		}
		return c, nil
	}
	onReal(t, settings{}, func(t *testing.T, srv realServer) {
		for _, eightBit := range []bool{false, true} {
			client := submit(t, srv, postrider.Config{Sign: sign, Compose: mail.ComposeOptions{EightBit: eightBit}})
			for i, s := range samples() {
				mailbox := fmt.Sprintf("to%d.%t@example.net", i, eightBit)
				m := s.message()
				m.To = mail.Addrs(mailbox)
				if _, err := client.Send(t.Context(), m); err != nil {
					t.Fatalf("%s: %v", s.name, err)
				}
				verifications, err := msgauth.VerifyWithOptions(bytes.NewReader(relaytest.WithoutTrace(arrived(t, srv, mailbox))), &msgauth.VerifyOptions{
					LookupTXT: func(name string) ([]string, error) { return []string{records[name]}, nil },
				})
				if err != nil || len(verifications) != 2 {
					t.Fatalf("%s: %d signatures: %v", s.name, len(verifications), err)
				}
				for _, v := range verifications {
					signed := func(name string) bool {
						return slices.ContainsFunc(v.HeaderKeys, func(k string) bool { return strings.EqualFold(k, name) })
					}
					if v.Err != nil || v.Domain != "example.com" || !signed("From") || len(m.ListUnsubscribe) > 0 && !signed("List-Unsubscribe-Post") {
						t.Errorf("%s, 8-bit %t: %+v", s.name, eightBit, v)
					}
				}
			}
		}
	})
}
