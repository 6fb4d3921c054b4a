package mail_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/mail"
)

var update = flag.Bool("update", false, "write the golden files anew")

// pixel stands for an image.
var pixel = []byte("\x89PNG\r\n\x1a\nnot really")

const invitation = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nSUMMARY:Größe\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"

// longName is a file name that needs pieces, with characters of all widths.
const longName = "Übersicht der Geschäftszahlen 日本語の資料 第三四半期 👩‍👩‍👧 (endgültig, wirklich).pdf"

// composeCase is one message of the matrix with the structure it must have.
type composeCase struct {
	name      string
	structure string
	message   func() *mail.Message
	eightBit  bool
}

// letter is a message without content.
func letter() *mail.Message {
	return &mail.Message{
		From: mail.Addr("Zoë Example <zoe@example.com>"), To: mail.Addrs("Bob <bob@example.net>"), Subject: "Hello",
	}
}

func composeCases() []composeCase {
	with := func(change func(m *mail.Message)) func() *mail.Message {
		return func() *mail.Message {
			m := letter()
			change(m)
			return m
		}
	}
	image := mail.BytesAttachment("logo.png", pixel)
	image.ContentID = "logo@example.com"
	pdf := mail.BytesAttachment("report.pdf", bytes.Repeat([]byte("%PDF \x00\xff"), 40))
	eml := mail.BytesAttachment("forwarded.eml", []byte("Subject: inner\n\nFrom the inside\n"))
	dirty := mail.BytesAttachment("latin", []byte("Subject: inner\n\n\xe9t\xe9\n"))
	dirty.MediaType = "message/rfc822"
	return []composeCase{
		{name: "text", structure: "text/plain", message: with(func(m *mail.Message) { m.Text = "Hello Bob,\nall is well.\n" })},
		{name: "text-no-newline", structure: "text/plain", message: with(func(m *mail.Message) { m.Text = "Hello" })},
		{name: "text-quoted", structure: "text/plain", message: with(func(m *mail.Message) {
			m.Text = "Grüße\r\nFrom here\rtrailing \n.\n..\n" + strings.Repeat("long line é ", 30) + "\ntab\t\n= end"
		})},
		{name: "text-base64", structure: "text/plain", message: with(func(m *mail.Message) { m.Text = strings.Repeat("日本語のテキスト\n", 20) })},
		{name: "text-8bit", structure: "text/plain", eightBit: true, message: with(func(m *mail.Message) { m.Text = "Grüße\nvon Zoë\n" })},
		{name: "text-8bit-needless", structure: "text/plain", eightBit: true, message: with(func(m *mail.Message) { m.Text = "plain\n" })},
		{name: "html", structure: "text/html", message: with(func(m *mail.Message) { m.HTML = "<p>Hëllo</p>\n" })},
		{name: "both", structure: "alternative(text/plain,text/html)", message: with(func(m *mail.Message) { m.Text, m.HTML = "Hëllo\n", "<p>Hëllo</p>" })},
		{name: "inline", structure: "related(text/html,image/png)", message: with(func(m *mail.Message) {
			m.HTML = `<img src="cid:logo@example.com">`
			m.Attachments = []mail.Attachment{image}
		})},
		{name: "both-inline-attachment", structure: "mixed(related(alternative(text/plain,text/html),image/png),application/pdf)", message: with(func(m *mail.Message) {
			m.Text, m.HTML = "see the logo", `<img src="cid:logo@example.com">`
			m.Attachments = []mail.Attachment{pdf, image}
		})},
		{name: "inline-without-html", structure: "mixed(text/plain,image/png)", message: with(func(m *mail.Message) {
			m.Text = "a picture"
			m.Attachments = []mail.Attachment{image}
		})},
		{name: "text-attachment", structure: "mixed(text/plain,application/pdf)", message: with(func(m *mail.Message) {
			m.Text = "see the file\n"
			m.Attachments = []mail.Attachment{pdf}
		})},
		{name: "attachment-only", structure: "mixed(text/csv)", message: with(func(m *mail.Message) {
			m.Attachments = []mail.Attachment{mail.BytesAttachment("a.csv", []byte("a;b\n1;2\n"))}
		})},
		{name: "attachment-empty", structure: "mixed(application/octet-stream)", message: with(func(m *mail.Message) {
			m.Attachments = []mail.Attachment{mail.BytesAttachment("empty", nil)}
		})},
		{name: "filenames", structure: "mixed(text/plain,text/plain,application/pdf,application/pdf,text/plain)", message: with(func(m *mail.Message) {
			m.Text = "names"
			m.Attachments = []mail.Attachment{
				mail.BytesAttachment(`quo"te;.txt`, []byte("1")), mail.BytesAttachment("Zoë.pdf", []byte("2")),
				mail.BytesAttachment(longName, []byte("3")),
				mail.BytesAttachment(strings.Repeat("a-very-long-ascii-name-", 8)+".txt", []byte("4")),
			}
		})},
		{name: "calendar", structure: "alternative(text/plain,text/html,text/calendar)", message: with(func(m *mail.Message) {
			m.Text, m.HTML = "come", "<p>come</p>"
			m.Calendar = &mail.Calendar{Method: "REQUEST", Data: []byte(invitation)}
		})},
		{name: "calendar-attached", structure: "mixed(alternative(text/plain,text/calendar),application/ics)", message: with(func(m *mail.Message) {
			m.Text = "come"
			m.Calendar = &mail.Calendar{Method: "REQUEST", Data: []byte(invitation), Filename: "invite.ics"}
		})},
		{name: "calendar-only", structure: "text/calendar", message: with(func(m *mail.Message) {
			m.Calendar = &mail.Calendar{Method: "REQUEST", Data: []byte(invitation)}
		})},
		{name: "message", structure: "mixed(text/plain,message/rfc822)", message: with(func(m *mail.Message) {
			m.Text = "forwarded"
			m.Attachments = []mail.Attachment{eml}
		})},
		{name: "message-dirty", structure: "mixed(text/plain,application/octet-stream)", message: with(func(m *mail.Message) {
			m.Text = "forwarded"
			m.Attachments = []mail.Attachment{dirty}
		})},
		{name: "message-8bit", structure: "mixed(text/plain,message/rfc822)", eightBit: true, message: with(func(m *mail.Message) {
			m.Text = "forwarded"
			m.Attachments = []mail.Attachment{dirty}
		})},
		{name: "media-type-parameters", structure: "mixed(text/plain,text/csv)", message: with(func(m *mail.Message) {
			m.Text = "x"
			a := mail.BytesAttachment("a.csv", []byte("\xe9"))
			a.MediaType = `text/csv; charset=iso-8859-1; header=present; name="other.csv"`
			a.Inline = true
			m.Attachments = []mail.Attachment{a}
		})},
		{name: "header", structure: "text/plain", message: with(func(m *mail.Message) {
			m.Text = "all fields\n"
			m.Sender = mail.Addr(`"Mailer, The" <mailer@example.com>`)
			m.ReplyTo = mail.Addrs("answers@example.com", "Ann =?x <ann@example.org>")
			m.Cc = append(mail.Addrs("josé@bücher.example", `"John \"Q.\" Public" <john@example.org>`), mail.Address{Name: strings.Repeat("very long name ", 7) + "end", LocalPart: "long", Domain: "example.org"})
			m.To = append(m.To, mail.Address{Name: "山田太郎とその仲間たちの長い長い名前の連絡先", LocalPart: "yamada", Domain: "例え.jp"})
			m.Cc[0] = mail.Addr("jose@bücher.example")
			m.Bcc = mail.Addrs("secret@example.com")
			m.Subject = "Ein recht langer Betreff mit Umlauten äöü, der über mehrere Zeilen gehen muss, 件名も長いです 👩‍👩‍👧‍👦 e\u0301 and then plain words to the end of it"
			m.MessageID, m.InReplyTo = "own.id@example.com", "<first@example.com>"
			for range 5 {
				m.References = append(m.References, "<"+strings.Repeat("r", 50)+"@example.com>")
			}
			m.ListUnsubscribe = []string{"https://example.com/leave?" + strings.Repeat("x", 80), "mailto:leave@example.com"}
			m.ListUnsubscribePost = true
			m.AutoSubmitted = mail.AutoSubmittedGenerated
			m.Priority = mail.PriorityHigh
			m.Header = []mail.Field{
				{Name: "X-Plain", Value: "value"},
				{Name: "X-Empty", Value: ""},
				{Name: "X-Spaces", Value: " two  spaces and a tab\there "},
				{Name: "X-Word", Value: "looks like =?utf-8?q?this?= but is not"},
				{Name: "X-Long", Value: strings.Repeat("x", 1200)},
				{Name: "X-Url", Value: "https://example.com/" + strings.Repeat("path/", 20)},
				{Name: "Comments", Value: strings.Repeat("word ", 60) + "end"},
			}
		})},
		{name: "bcc-only", structure: "text/plain", message: with(func(m *mail.Message) {
			m.Text = "x"
			m.To, m.Bcc = nil, mail.Addrs("secret@example.com")
		})},
		{name: "smtputf8", structure: "text/plain", message: with(func(m *mail.Message) {
			m.Text = "x"
			m.To = mail.Addrs("José <josé@example.com>", "bob@example.com")
		})},
	}
}

func (tc *composeCase) compose(t testing.TB) *mail.Composed {
	t.Helper()
	o := fixedOptions()
	o.EightBit = tc.eightBit
	c, err := tc.message().Compose(o)
	if err != nil {
		t.Fatalf("Compose: %v", err)
	}
	return c
}

func TestComposeGolden(t *testing.T) {
	for _, tc := range composeCases() {
		t.Run(tc.name, func(t *testing.T) {
			got := renderChecked(t, tc.compose(t))
			path := filepath.Join("testdata", "compose", tc.name+".eml")
			if *update {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			head, _, _ := bytes.Cut(got, []byte("\r\n\r\n"))
			if bytes.Contains(head, []byte("secret@")) || slices.Contains(fieldNames(got), "bcc") {
				t.Error("Bcc is in the header")
			}
		})
	}
}

// leavesOf gives the leaves that a message must have, in its order.
func leavesOf(t testing.TB, m *mail.Message) []leaf {
	t.Helper()
	var bodies, related, mixed []leaf
	body := func(kind, text string) {
		if text != "" {
			bodies = append(bodies, leaf{Type: kind, Hash: hash([]byte(crlf(text)))})
		}
	}
	body("text/plain", m.Text)
	body("text/html", m.HTML)
	if m.Calendar != nil {
		body("text/calendar", string(m.Calendar.Data))
	}
	for _, a := range m.Attachments {
		l := leaf{Filename: a.Filename, ContentID: a.ContentID, Disposition: "attachment", Hash: hash(read(t, a))}
		if a.ContentID != "" && m.HTML != "" {
			l.Disposition = "inline"
			related = append(related, l)
			continue
		}
		if a.Inline {
			l.Disposition = "inline"
		}
		mixed = append(mixed, l)
	}
	if m.Calendar != nil && m.Calendar.Filename != "" {
		mixed = append(mixed, leaf{Type: "application/ics", Filename: m.Calendar.Filename, Disposition: "attachment", Hash: hash(m.Calendar.Data)})
	}
	return slices.Concat(bodies, related, mixed)
}

// sameLeaves compares parts with what they must be. Types of attachments are
// left to the structure; lone parts and messages may differ in their last CRLF
// and line ends.
func sameLeaves(t *testing.T, got, want []leaf) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d parts, want %d: %+v", len(got), len(want), got)
	}
	for i, g := range got {
		w := want[i]
		if g.Filename != w.Filename && g.Filename != w.Filename+".eml" || g.ContentID != w.ContentID || g.Disposition != w.Disposition {
			t.Errorf("part %d is %+v, want %+v", i, g, w)
		}
		if g.Hash != w.Hash && g.Type != "message/rfc822" && len(want) > 1 {
			t.Errorf("part %d (%s) has other octets", i, g.Type)
		}
	}
}

func TestComposeParsedBack(t *testing.T) {
	for _, tc := range composeCases() {
		t.Run(tc.name, func(t *testing.T) {
			m := tc.message()
			got := parse(t, renderChecked(t, tc.compose(t)))
			if got.Structure != tc.structure {
				t.Errorf("structure is %s, want %s", got.Structure, tc.structure)
			}
			if got.Subject != m.Subject {
				t.Errorf("subject is %q, want %q", got.Subject, m.Subject)
			}
			sameLeaves(t, got.Leaves, leavesOf(t, m))
		})
	}
}

func TestEnvelope(t *testing.T) {
	m := letter()
	m.Text = "x"
	m.To = mail.Addrs("a@example.com", "B <b@Bücher.example>")
	m.Cc = mail.Addrs("a@EXAMPLE.com", "A@example.com")
	m.Bcc = mail.Addrs("c@example.com", "b@bücher.example")
	m.RequireTLS = true
	m.DSN = &mail.DSN{Notify: []string{"FAILURE"}}
	envelope := func() mail.Envelope {
		t.Helper()
		c, err := m.Compose(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Envelope()
	}
	e := envelope()
	if want := []string{"a@example.com", "b@xn--bcher-kva.example", "A@example.com", "c@example.com"}; !slices.Equal(e.RcptTo, want) {
		t.Errorf("RcptTo is %q, want %q", e.RcptTo, want)
	}
	if e.MailFrom != "zoe@example.com" || e.SMTPUTF8 || e.EightBit || !e.RequireTLS || e.DSN == m.DSN || e.DSN.Notify[0] != "FAILURE" {
		t.Errorf("envelope is %+v", e)
	}
	m.Sender = mail.Addr("mailer@example.com")
	if e := envelope(); e.MailFrom != "mailer@example.com" {
		t.Errorf("MailFrom with Sender is %q", e.MailFrom)
	}
	m.MailFrom = &mail.Address{}
	if e := envelope(); e.MailFrom != "" {
		t.Errorf("null MailFrom is %q", e.MailFrom)
	}
	bounces := mail.Addr("bounces+1@example.com")
	m.MailFrom = &bounces
	if e := envelope(); e.MailFrom != "bounces+1@example.com" {
		t.Errorf("own MailFrom is %q", e.MailFrom)
	}
	m.To = nil
	for i := range 60 {
		m.To = append(m.To, mail.Address{LocalPart: string(rune('a' + i%20)), Domain: "Example.org"})
	}
	m.Cc, m.Bcc = nil, mail.Addrs("a@example.ORG", "é@example.org")
	if e := envelope(); len(e.RcptTo) != 21 || !e.SMTPUTF8 || e.EightBit {
		t.Errorf("envelope is %+v", e)
	}
}

func TestComposeFaults(t *testing.T) {
	long := strings.Repeat("x", 1001)
	for name, tc := range map[string]struct {
		change func(m *mail.Message, o *mail.ComposeOptions)
		want   string
	}{
		"invalid":   {func(m *mail.Message, _ *mail.ComposeOptions) { m.From = mail.Addr("x"); m.Subject = "a\nb" }, "from invalid_address|subject control_character"},
		"id domain": {func(_ *mail.Message, o *mail.ComposeOptions) { o.MessageIDDomain = "a>\r\nBcc: x" }, "message_id_domain invalid_message_id"},
		"not utf-8": {func(m *mail.Message, _ *mail.ComposeOptions) { m.TextFrom = opener("a\xff") }, "text invalid_utf8"},
		"cut utf-8": {func(m *mail.Message, _ *mail.ComposeOptions) { m.TextFrom = opener("a\xc3") }, "text invalid_utf8"},
		"large text": {func(m *mail.Message, o *mail.ComposeOptions) {
			m.TextFrom = opener(long)
			o.Limits = &mail.Limits{TextOctets: 1000}
		}, "text too_large"},
		"large attachment": {func(m *mail.Message, o *mail.ComposeOptions) {
			m.Attachments = []mail.Attachment{{Filename: "x", Size: -1, Open: opener(long)}}
			o.Limits = &mail.Limits{AttachmentOctets: 1000}
		}, "attachments[0].content too_large"},
		"large attachments": {func(m *mail.Message, o *mail.ComposeOptions) {
			a := mail.Attachment{Filename: "x", Size: -1, Open: opener(long)}
			m.Attachments = []mail.Attachment{a, a}
			o.Limits = &mail.Limits{AttachmentsOctets: 1500}
		}, "attachments too_large"},
		"short attachment": {func(m *mail.Message, _ *mail.ComposeOptions) {
			m.Attachments = []mail.Attachment{{Filename: "x", Size: 2000, Open: opener(long)}}
		}, "attachments[0].content unreadable"},
		"long attachment": {func(m *mail.Message, _ *mail.ComposeOptions) {
			m.Attachments = []mail.Attachment{{Filename: "x", Size: 10, Open: opener(long)}}
		}, "attachments[0].content unreadable"},
		"long message": {func(m *mail.Message, _ *mail.ComposeOptions) {
			m.Attachments = []mail.Attachment{{Filename: "x.eml", Size: 10, Open: opener(long)}}
		}, "attachments[0].content unreadable"},
	} {
		t.Run(name, func(t *testing.T) {
			m, o := letter(), &mail.ComposeOptions{}
			tc.change(m, o)
			if m.TextFrom == nil {
				m.Text = "x"
			}
			_, err := m.Compose(o)
			if got := strings.Join(faultCodes(t, err), "|"); got != tc.want {
				t.Errorf("got %s (%v), want %s", got, err, tc.want)
			}
		})
	}
}

func TestPriority(t *testing.T) {
	for priority, want := range map[mail.Priority]string{
		mail.PriorityHigh:   "Importance: high\r\nX-Priority: 1\r\nPriority: urgent\r\n",
		mail.PriorityNormal: "Importance: normal\r\nX-Priority: 3\r\nPriority: normal\r\n",
		mail.PriorityLow:    "Importance: low\r\nX-Priority: 5\r\nPriority: non-urgent\r\n",
	} {
		m := letter()
		m.Text, m.Priority = "x", priority
		if b := renderChecked(t, mustCompose(t, m)); !bytes.Contains(b, []byte(want)) {
			t.Errorf("%s: %q is not in\n%s", priority, want, b)
		}
	}
}

// A lone body too large for memory, with and without a line end, is the same
// as a small one in every encoding.
func TestLoneLargeBody(t *testing.T) {
	for name, line := range map[string]string{
		"7bit": "Only plain words.\n", "quoted-printable": "Some wörds and some more of them.\n", "base64": "日本語のテキスト\n",
	} {
		for _, end := range []string{"", "é日 last", "\n"} {
			m := letter()
			m.Text = strings.Repeat(line, 5000) + end
			b := renderChecked(t, mustCompose(t, m))
			if end != "é日 last" && !bytes.Contains(b, []byte("Content-Transfer-Encoding: "+name+"\r\n")) {
				t.Errorf("%s: %.300s", name, b)
			}
			want := crlf(m.Text)
			got := parse(t, b).Leaves[0].Hash
			if got != hash([]byte(want)) && got != hash([]byte(want+"\r\n")) {
				t.Errorf("%s with end %q: other text", name, end)
			}
			m.Text, m.HTML = "", m.Text
			if got := parse(t, renderChecked(t, mustCompose(t, m))); got.Structure != "text/html" {
				t.Errorf("structure is %s", got.Structure)
			}
		}
	}
}

// Fields that hold octets over 127 are 8bit on every level around them, RFC
// 2045 §6.4.
func TestEightBitLevels(t *testing.T) {
	m := letter()
	m.Text, m.HTML = "é", "<p>é</p>"
	m.Attachments = []mail.Attachment{mail.BytesAttachment("x", []byte("x"))}
	c, err := m.Compose(&mail.ComposeOptions{EightBit: true})
	if err != nil {
		t.Fatal(err)
	}
	b := renderChecked(t, c)
	if n := bytes.Count(b, []byte("Content-Transfer-Encoding: 8bit\r\n")); n != 4 {
		t.Errorf("8bit stands %d times in\n%s", n, b)
	}
}
