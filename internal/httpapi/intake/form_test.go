package intake_test

import (
	"bytes"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/httpapi/intake"
	"github.com/postrider/postrider/mail"
)

// part is one part of a form under test.
type part struct{ disposition, contentType, other, body string }

// form writes a form.
func form(t *testing.T, parts ...part) (http.Header, *bytes.Buffer) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		h := textproto.MIMEHeader{"Content-Disposition": {"form-data; " + p.disposition}}
		if p.contentType != "" {
			h.Set("Content-Type", p.contentType)
		}
		if name, value, ok := strings.Cut(p.other, ": "); ok {
			h.Set(name, value)
		}
		pw, err := w.CreatePart(h)
		if err == nil {
			_, err = pw.Write([]byte(p.body))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return http.Header{"Content-Type": {w.FormDataContentType()}}, &b
}

func TestFormWithMessagePart(t *testing.T) {
	header, body := form(t,
		part{`name="message"`, "application/json", "", `{"from": "a@example.com", "to": ["b@example.net"], "subject": "s", "attachments": [{"content": "QQ=="}]}`},
		part{`name="text_body"`, "", "", "long text\r\n"},
		part{`name="file"; filename="ä.pdf"`, "application/octet-stream", "", "%PDF"},
		part{`name="file"; filename="../logo.png"`, "image/png", "Content-ID: <logo>", "png"},
		part{`name="x"; filename="b64.bin"`, "", "Content-Transfer-Encoding: base64", "aGk=\r\n"},
		part{`name="x"; filename="qp.txt"`, "", "Content-Transfer-Encoding: quoted-printable", "=41=\r\nB"},
		part{`name="x"; filename="empty.txt"`, "", "", ""},
	)
	d, err := decodeWith(t, intake.Config{}, intake.Options{}, header, body)
	if err != nil || len(d.Faults)+len(d.Warnings) > 0 {
		t.Fatalf("error %v, faults %v, warnings %v", err, d.Faults, d.Warnings)
	}
	m := &d.Request.Message
	if m.From != mail.Addr("a@example.com") || m.Subject != "s" || m.Text != "long text\r\n" {
		t.Errorf("message is %+v", m)
	}
	var got []string
	for _, a := range m.Attachments {
		got = append(got, fmt.Sprintf("%s|%s|%s|%s|%d", a.Filename, a.MediaType, a.ContentID, content(t, a.Open), a.Size))
	}
	want := "|||A|1 ä.pdf|||%PDF|4 logo.png|image/png|logo|png|3 b64.bin|||hi|2 qp.txt|||AB|2 empty.txt||||0"
	if g := strings.Join(got, " "); g != want {
		t.Errorf("attachments are\n%s\nwant\n%s", g, want)
	}
}

func TestFormOfPlainFields(t *testing.T) {
	header, body := form(t,
		part{`name="from"`, "", "", "a@example.com"},
		part{`name="to"`, "", "", "b@example.net"}, part{`name="to"`, "", "", "c@example.net"}, part{`name="cc"`, "", "", ""},
		part{`name="html_body"; filename="body.html"`, "text/html", "", "<p>ü</p>"},
		part{`name="tags"`, "", "", "x"}, part{`name="headers"`, "", "", `{"X-A": "b"}`}, part{`name="metadata"`, "", "", `{"k": 1}`},
		part{`name="require_tls"`, "", "", "true"}, part{`name="relay_id"`, "", "", "0190a0e5-0000-7000-8000-000000000001"},
	)
	d, err := decodeWith(t, intake.Config{}, intake.Options{}, header, body)
	if err != nil || len(d.Faults)+len(d.Warnings) > 0 {
		t.Fatalf("error %v, faults %v, warnings %v", err, d.Faults, d.Warnings)
	}
	q, m := &d.Request, &d.Request.Message
	if len(m.To) != 2 || len(m.Cc) != 0 || m.HTML != "<p>ü</p>" || fmt.Sprint(q.Tags) != "[x]" || fmt.Sprint(m.Header) != "[{X-A b}]" ||
		string(q.Metadata) != `{"k":1}` || !m.RequireTLS || q.RelayID.String() != "0190a0e5-0000-7000-8000-000000000001" {
		t.Errorf("request is %+v", q)
	}
}

func TestFormFaults(t *testing.T) {
	header, body := form(t,
		part{`name="message"`, "", "", `{"from": 1, "subject": "a"}`},
		part{`name="subject"`, "", "", "b"},
		part{`name="zzz"`, "", "", "b"},
		part{`name="text_body"`, "", "", "\xff"},
		part{`name="require_tls"`, "", "", "1"},
		part{`name="headers"`, "", "", "1"}, part{`name="headers"`, "", "", "{}"},
		part{`name="x"; filename="a"`, "", "Content-Transfer-Encoding: x-uue", "a"},
		part{`name="x"; filename="b"`, "", "Content-Transfer-Encoding: base64", "a"},
	)
	d, err := decodeWith(t, intake.Config{}, intake.Options{}, header, body)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := lines(d.Faults), "/from invalid_type\n/subject duplicate_field\n/text_body invalid_utf8\n/require_tls invalid_type\n/headers invalid_type\n/headers duplicate_field\n/attachments/0/content invalid_value\n/attachments/1/content invalid_base64"; got != want {
		t.Errorf("faults are\n%s\nwant\n%s", got, want)
	}
	if got, want := lines(d.Warnings), "/zzz unknown_field"; got != want {
		t.Errorf("warnings are %s, want %s", got, want)
	}
}

func TestMalformedForms(t *testing.T) {
	header, body := form(t, part{`name="from"`, "", "", "a@example.com"}, part{`name="f"; filename="x"`, "", "", strings.Repeat("x", 100_000)})
	whole := body.String()
	for name, text := range map[string]string{
		"empty": "", "no boundary inside": "hello", "cut in a file": whole[:50_000], "cut at the end": whole[:len(whole)-10], "cut in a header": whole[:80],
	} {
		_, err := decodeWith(t, intake.Config{MemoryOctets: 1000}, intake.Options{}, header, strings.NewReader(text))
		if e, ok := errors.AsType[*intake.Error](err); !ok || e.Kind != intake.Malformed {
			t.Errorf("%s: error %v, want Malformed", name, err)
		}
	}
	_, err := decodeWith(t, intake.Config{}, intake.Options{}, http.Header{"Content-Type": {"multipart/form-data"}}, strings.NewReader(whole))
	if e, ok := errors.AsType[*intake.Error](err); !ok || e.Kind != intake.Malformed {
		t.Errorf("without boundary: error %v, want Malformed", err)
	}
	bad, b := form(t, part{`name="message"`, "", "", `{"from": }`})
	if _, err := decodeWith(t, intake.Config{}, intake.Options{}, bad, b); err == nil {
		t.Error("a message part that is not JSON is taken")
	}
}

func TestRawMessage(t *testing.T) {
	const message = "From: a@example.com\r\nTo: b@example.net\r\nSubject: s\r\n\r\nHello\r\n"
	header := http.Header{"Content-Type": {"message/rfc822"}}
	for name, value := range map[string]string{
		"X-Postrider-Mail-From": "<>", "X-Postrider-Tags": "x, y", "X-Postrider-Class": "bulk", "X-Postrider-On-Unknown": "hold",
		"X-Postrider-Send-At": "2030-01-01T00:00:00Z", "X-Postrider-Metadata": `{"a": 1}`, "X-Postrider-Dsn": `{"notify": ["never"]}`, "X-Postrider-Require-Tls": "true",
	} {
		header.Set(name, value)
	}
	header.Add("X-Postrider-Rcpt-To", "c@example.net, d@example.net")
	header.Add("X-Postrider-Rcpt-To", "e@example.net")
	d, err := decodeWith(t, intake.Config{MemoryOctets: 10}, intake.Options{}, header, strings.NewReader(message))
	if err != nil || len(d.Faults)+len(d.Warnings) > 0 {
		t.Fatalf("error %v, faults %v, warnings %v", err, d.Faults, d.Warnings)
	}
	q := &d.Request
	if q.Raw == nil || q.Raw.Size != int64(len(message)) || content(t, q.Raw.Open) != message || len(q.Raw.Rcpt) != 3 || len(q.Message.To) != 0 {
		t.Fatalf("raw message is %+v", q.Raw)
	}
	if f := q.Message.MailFrom; f == nil || !f.IsZero() {
		t.Errorf("mail_from is %v, want the null reverse-path", f)
	}
	if fmt.Sprint(q.Tags) != "[x y]" || q.Class != "bulk" || q.OnUnknown != "hold" || q.SendAt.IsZero() || string(q.Metadata) != `{"a":1}` || q.Message.DSN == nil || !q.Message.RequireTLS {
		t.Errorf("request is %+v", q)
	}
}

func TestRawMessageFaults(t *testing.T) {
	header := http.Header{
		"Content-Type": {"message/rfc822"}, "X-Postrider-Metadata": {`{`}, "X-Postrider-Colour": {"red"},
		"X-Postrider-Class": {"a", "b"}, "X-Postrider-Require-Tls": {"1"}, "X-Postrider-Tags": {"\xff"},
	}
	d, err := decodeWith(t, intake.Config{}, intake.Options{}, header, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	faults := strings.Split(lines(d.Faults), "\n")
	for _, want := range []string{"X-Postrider-Metadata invalid_value", "X-Postrider-Class duplicate_field", "X-Postrider-Require-Tls invalid_type", "X-Postrider-Tags invalid_utf8"} {
		if !strings.Contains(strings.Join(faults, "\n"), want) {
			t.Errorf("faults %v lack %s", faults, want)
		}
	}
	if len(faults) != 4 || lines(d.Warnings) != "X-Postrider-Colour unknown_field" {
		t.Errorf("faults %v, warnings %v", faults, d.Warnings)
	}
	if _, err := decodeWith(t, intake.Config{}, intake.Options{}, http.Header{"Content-Type": {"message/rfc822"}}, strings.NewReader("")); err == nil {
		t.Error("an empty message is taken")
	}
}
