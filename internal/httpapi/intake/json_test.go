package intake_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/postrider/postrider/internal/httpapi/intake"
	"github.com/postrider/postrider/mail"
)

// everything is a body with every field.
const everything = `{
	"from": "Zoë <zoe@example.com>", "sender": "s@example.com", "mail_from": "bounces@example.com",
	"to": ["a@example.net", "B <b@example.net>"], "cc": "c@example.net", "bcc": null, "reply_to": ["r@example.com"],
	"subject": "Grüße \ud83d\ude00", "text_body": "line\nline \u00e9\\ \/", "html_body": "<p>x</p>",
	"attachments": [
		{"filename": "a.txt", "content": "aGVs\nbG8=", "content_type": "text/plain"},
		{"content": "AAEC", "content_id": "logo", "inline": true}
	],
	"headers": {"X-One": "1", "X-Two": ["2", "3"]},
	"message_id": "id@example.com", "in_reply_to": "<x@example.com>", "references": ["<y@example.com>"],
	"list_unsubscribe": ["https://example.com/u?l=1"], "list_unsubscribe_post": true,
	"auto_submitted": "auto-generated", "priority": "high",
	"calendar": {"method": "REQUEST", "data": "BEGIN:VCALENDAR", "filename": "i.ics"},
	"dsn": {"notify": ["failure"], "return": "hdrs", "envelope_id": "e1"},
	"require_tls": true,
	"relay": {"host": "mail.example.com", "port": 2525, "tls": "ssl", "username": "u", "password": "geheim", "helo": "h.example.com"},
	"send_at": "2030-01-31T10:00:00+01:00", "class": "bulk", "on_unknown": "hold", "tags": ["x", "y"],
	"metadata": {"b": [1, 2.50, {"c": null}], "a": "\u00e9"}
}`

func TestEveryFieldIsRead(t *testing.T) {
	// Read octet by octet as well: no place of the body is special.
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"whole":  func(r io.Reader) io.Reader { return r },
		"octets": iotest.OneByteReader,
		"halves": iotest.HalfReader,
		"eof":    iotest.DataErrReader,
	} {
		t.Run(name, func(t *testing.T) {
			d, err := decodeWith(t, intake.Config{}, intake.Options{}, jsonHeader(), wrap(strings.NewReader(everything)))
			if err != nil || len(d.Faults) > 0 || len(d.Warnings) > 0 {
				t.Fatalf("error %v, faults %v, warnings %v", err, d.Faults, d.Warnings)
			}
			q, m := &d.Request, &d.Request.Message
			got := fmt.Sprint(m.From, m.Sender, m.MailFrom, m.To, m.Cc, m.Bcc, m.ReplyTo)
			if want := fmt.Sprint(mail.Addr("Zoë <zoe@example.com>"), mail.Addr("s@example.com"), ref(mail.Addr("bounces@example.com")),
				mail.Addrs("a@example.net", "B <b@example.net>"), mail.Addrs("c@example.net"), []mail.Address(nil), mail.Addrs("r@example.com")); got != want {
				t.Errorf("addresses are\n%s, want\n%s", got, want)
			}
			if m.Subject != "Grüße 😀" || m.Text != "line\nline é\\ /" || m.HTML != "<p>x</p>" {
				t.Errorf("subject %q, text %q, HTML %q", m.Subject, m.Text, m.HTML)
			}
			if len(m.Attachments) != 2 {
				t.Fatalf("%d attachments", len(m.Attachments))
			}
			a, b := m.Attachments[0], m.Attachments[1]
			if a.Filename != "a.txt" || a.MediaType != "text/plain" || a.Inline || a.Size != 5 || content(t, a.Open) != "hello" || content(t, a.Open) != "hello" {
				t.Errorf("first attachment is %+v", a)
			}
			if b.ContentID != "logo" || !b.Inline || content(t, b.Open) != "\x00\x01\x02" {
				t.Errorf("second attachment is %+v", b)
			}
			if got := fmt.Sprint(m.Header); got != "[{X-One 1} {X-Two 2} {X-Two 3}]" {
				t.Errorf("headers are %s", got)
			}
			if m.MessageID != "id@example.com" || m.InReplyTo != "<x@example.com>" || len(m.References) != 1 || len(m.ListUnsubscribe) != 1 ||
				!m.ListUnsubscribePost || m.AutoSubmitted != mail.AutoSubmittedGenerated || m.Priority != mail.PriorityHigh || !m.RequireTLS {
				t.Errorf("message is %+v", m)
			}
			if m.Calendar == nil || m.Calendar.Method != "REQUEST" || string(m.Calendar.Data) != "BEGIN:VCALENDAR" || m.Calendar.Filename != "i.ics" {
				t.Errorf("calendar is %+v", m.Calendar)
			}
			if m.DSN == nil || fmt.Sprint(*m.DSN) != "{[FAILURE] HDRS e1}" {
				t.Errorf("dsn is %+v", m.DSN)
			}
			if r := q.Relay; r == nil || r.Host != "mail.example.com" || r.Port != 2525 || r.TLS != "ssl" || r.Username != "u" || string(r.Password) != "geheim" || r.HELO != "h.example.com" {
				t.Errorf("relay is %+v", q.Relay)
			}
			if s := fmt.Sprintf("%v %+v %#v", q.Relay, q.Relay, *q.Relay); strings.Contains(s, "geheim") {
				t.Errorf("printing shows the password: %s", s)
			}
			if !q.SendAt.Equal(time.Date(2030, 1, 31, 9, 0, 0, 0, time.UTC)) || q.Class != "bulk" || q.OnUnknown != "hold" || fmt.Sprint(q.Tags) != "[x y]" {
				t.Errorf("request is %+v", q)
			}
			if got := string(q.Metadata); got != `{"a":"é","b":[1,2.50,{"c":null}]}` {
				t.Errorf("metadata is %s", got)
			}
		})
	}
}

// ref gives a pointer to a copy.
func ref[T any](v T) *T { return &v }

func TestFaultsOfShapeAreReportedTogether(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{
			"wrong types", `{"from": 1, "to": {"a": 1}, "cc": ["a@b.example", 2], "subject": ["x"], "text_body": true, "attachments": {}, "headers": 3, "require_tls": "yes", "relay": "x", "tags": [null], "metadata": []}`,
			"/from invalid_type\n/to invalid_type\n/cc/1 invalid_type\n/subject invalid_type\n/text_body invalid_type\n/attachments invalid_type\n/headers invalid_type\n/require_tls invalid_type\n/relay invalid_type\n/tags/0 invalid_type\n/metadata invalid_type",
		},
		{"not an object", `["x"]`, " invalid_type"},
		{
			"twice", `{"from": "a@b.example", "from": "c@d.example", "x": 1, "x": 2, "headers": {"A": "1", "A": "2"}, "metadata": {"k": 1, "k": 2}, "relay": {"host": "a", "host": "b"}}`,
			"/from duplicate_field\n/x duplicate_field\n/headers/A duplicate_field\n/metadata/k duplicate_field\n/relay/host duplicate_field",
		},
		{
			"attachments", `{"attachments": [{}, {"content": ""}, {"content": "QQ"}, {"content": "QQ==QQ=="}, {"content": "Q-=="}, {"content": "data:text/plain;base64,QQ=="}, {"content": "QQ===" }, {"content": [1]}, {"content": "QUJD", "content": "QUJD"}, 7]}`,
			"/attachments/0/content required\n/attachments/1/content required\n/attachments/2/content invalid_base64\n/attachments/3/content invalid_base64\n/attachments/4/content invalid_base64\n/attachments/5/content invalid_base64\n/attachments/6/content invalid_base64\n/attachments/7/content invalid_type\n/attachments/8/content duplicate_field\n/attachments/9 invalid_type",
		},
		{
			"characters", `{"subject": "\ud800", "text_body": "\udc00\ud800x", "html_body": "` + "\xff" + `", "tags": ["\ud800\ud800"], "headers": {"X": "` + "\xc3" + `"}}`,
			"/subject invalid_utf8\n/text_body invalid_utf8\n/html_body invalid_utf8\n/tags/0 invalid_utf8\n/headers/X invalid_utf8",
		},
		{
			"values", `{"relay_id": "x", "send_at": "tomorrow", "class": "fast", "on_unknown": "ask", "relay": {"port": 65536}}`,
			"/relay_id invalid_value\n/send_at invalid_value\n/class invalid_value\n/on_unknown invalid_value\n/relay/port invalid_value",
		},
		{
			"metadata", `{"metadata": {"a/b~c": "\u0000", "n": 1e400, "m": 1e-400, "z": 0e9}}`,
			"/metadata/a~1b~0c control_character\n/metadata/n invalid_value\n/metadata/m invalid_value",
		},
		{"metadata too large", `{"metadata": {"a": "` + strings.Repeat("x", intake.MaxMetadataOctets) + `", "b": 1}, "from": 1}`, "/metadata too_large\n/from invalid_type"},
		{"tag too long", `{"tags": "` + strings.Repeat("x", intake.MaxTagOctets+1) + `"}`, "/tags too_long"},
		{"too many tags", `{"tags": [` + strings.TrimSuffix(strings.Repeat(`"x",`, intake.MaxTags+2), ",") + `]}`, "/tags too_many"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := decode(t, c.body)
			if err != nil {
				t.Fatal(err)
			}
			if got := lines(d.Faults); got != c.want {
				t.Errorf("faults are\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestFaultsAreBounded(t *testing.T) {
	d, err := decode(t, `{"attachments": [`+strings.TrimSuffix(strings.Repeat(`7,`, 900), ",")+`]}`)
	if err != nil || len(d.Faults) != 50 {
		t.Errorf("error %v, %d faults, want 50", err, len(d.Faults))
	}
}

func TestUnknownFieldsAreWarnings(t *testing.T) {
	d, err := decode(t, `{"text": "x", "zzz": {"from": [1, "\n", {}]}, "attachments": [{"name": "a", "content": "QQ=="}], "relay": {"hots": 1}}`)
	if err != nil || len(d.Faults) > 0 {
		t.Fatalf("error %v, faults %v", err, d.Faults)
	}
	if got, want := lines(d.Warnings), "/text unknown_field\n/zzz unknown_field\n/attachments/0/name unknown_field\n/relay/hots unknown_field"; got != want {
		t.Errorf("warnings are\n%s\nwant\n%s", got, want)
	}
	if !strings.Contains(d.Warnings[0].Detail, "text_body") {
		t.Errorf("warning %q does not name text_body", d.Warnings[0].Detail)
	}
}

func TestMalformed(t *testing.T) {
	for _, body := range []string{
		"", " ", "{", `{"from"`, `{"from":`, `{"from": "a`, `{"from": "a"`, `{"from": "a",`, `{"from": "a",}`, `{"a": [1,]}`, `{from: 1}`, `{'a': 1}`, `{} x`, `{}{}`,
		`{"a": tru}`, `{"a": nul`, `{"a": 01}`, `{"a": .5}`, `{"a": 1.}`, `{"a": 1e}`, `{"a": +1}`, `{"a": -}`, `{"a": NaN}`, `{"a": "\x"}`, `{"a": "\u12g4"}`,
		"{\"a\": \"\n\"}", "{\"a\": \"\x00\"}", `{"a" 1}`, `{"a": 1 "b": 2}`, `{"a": [1 2]}`, "\ufeff{}", `{"\ud800": 1}`, "{\"\xff\": 1}",
		`{"a": ` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`,
		`{"` + strings.Repeat("x", 2000) + `": 1}`, `{"a": ` + strings.Repeat("1", 300) + `}`,
	} {
		_, err := decode(t, body)
		if e, ok := errors.AsType[*intake.Error](err); !ok || e.Kind != intake.Malformed || e.Detail == "" {
			t.Errorf("body %.40q: error %v, want Malformed", body, err)
		}
	}
}

func TestMalformedNamesThePlace(t *testing.T) {
	_, err := decode(t, `{"attachments": [{"content": "QQ=="}, {"content": "\q"}]}`)
	e, ok := errors.AsType[*intake.Error](err)
	if !ok || e.Pointer != "/attachments/1/content" {
		t.Errorf("error is %v, want one at /attachments/1/content", err)
	}
}

func TestContentAsArrayOfOctets(t *testing.T) {
	body := `{"attachments": [{"content": [104, 105,0,255]}, {"content": {"type": "Buffer", "data": [1,2]}}, {"content": {"data": [], "type": "Buffer"}},
		{"content": [256]}, {"content": [-1, "x", 1.5]}, {"content": {"type": "Blob"}}, {"content": "aGk="}]}`
	d, err := decodeWith(t, intake.Config{}, intake.Options{ArrayContent: true}, jsonHeader(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := lines(d.Faults), "/attachments/3/content invalid_value\n/attachments/4/content invalid_value\n/attachments/5/content/type invalid_value"; got != want {
		t.Errorf("faults are\n%s\nwant\n%s", got, want)
	}
	for i, want := range map[int]string{0: "hi\x00\xff", 1: "\x01\x02", 2: "", 6: "hi"} {
		if got := content(t, d.Request.Message.Attachments[i].Open); got != want {
			t.Errorf("attachment %d is %q, want %q", i, got, want)
		}
	}
}
