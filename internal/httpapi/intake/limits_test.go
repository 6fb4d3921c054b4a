package intake_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/httpapi/intake"
	"github.com/postrider/postrider/mail"
)

func TestLimitsOfContent(t *testing.T) {
	cfg := intake.Config{MemoryOctets: 16, Limits: mail.Limits{TextOctets: 100, HTMLOctets: 100, AttachmentOctets: 9, AttachmentsOctets: 15, Attachments: 4, Recipients: 2, HeaderFields: 2}}
	body := fmt.Sprintf(`{"to": ["a@b.example", "c@b.example", "d@b.example"], "text_body": %q, "html_body": %q,
		"attachments": [{"content": "YWJjZGVmZ2hp"}, {"content": "YWJjZGVmZ2hpag=="}, {"content": "QQ=="}, {"content": "QQ=="}, {"content": "QQ=="}],
		"references": ["a", "b", "c"], "headers": [{"name": "A"}, {"name": "B"}, {"name": "C"}]}`, strings.Repeat("x", 100), strings.Repeat("ü", 51))
	d, err := decodeWith(t, cfg, intake.Options{}, jsonHeader(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := lines(d.Faults), "/to too_many\n/html_body too_large\n/attachments/1/content too_large\n/attachments/2/content too_large\n/attachments/3/content too_large\n/attachments too_many\n/references too_many\n/headers too_many"; got != want {
		t.Errorf("faults are\n%s\nwant\n%s", got, want)
	}
	if got := d.Request.Message.Text; len(got) != 100 {
		t.Errorf("text has %d octets, want 100", len(got))
	}
}

func TestBodyTooLarge(t *testing.T) {
	body := `{"text_body": "` + strings.Repeat("x", 1000) + `"}`
	_, err := decodeWith(t, intake.Config{MaxOctets: 1000}, intake.Options{}, jsonHeader(), strings.NewReader(body))
	if e, ok := errors.AsType[*intake.Error](err); !ok || e.Kind != intake.TooLarge {
		t.Errorf("own limit: error %v, want TooLarge", err)
	}
	if _, err := decodeWith(t, intake.Config{MaxOctets: int64(len(body))}, intake.Options{}, jsonHeader(), strings.NewReader(body)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	limited := http.MaxBytesReader(httptest.NewRecorder(), io.NopCloser(strings.NewReader(body)), 500)
	_, err = decodeWith(t, intake.Config{}, intake.Options{}, jsonHeader(), limited)
	if e, ok := errors.AsType[*intake.Error](err); !ok || e.Kind != intake.TooLarge {
		t.Errorf("limit of the server: error %v, want TooLarge", err)
	}
}

// brokenReader fails after its text.
type brokenReader struct {
	io.Reader
	err error
}

func (r brokenReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		err = r.err
	}
	return n, err
}

func TestBrokenUploadLeavesNothingBehind(t *testing.T) {
	broken := errors.New("connection reset")
	formHeader, formBody := form(t, part{`name="f"; filename="x"`, "", "", strings.Repeat("x", 100_000)})
	for name, c := range map[string]struct {
		header http.Header
		body   string
	}{
		"json": {jsonHeader(), `{"attachments": [{"content": "` + strings.Repeat("QUJD", 100_000)},
		"text": {jsonHeader(), `{"text_body": "` + strings.Repeat("QUJD", 100_000)},
		"form": {formHeader, formBody.String()[:90_000]},
		"raw":  {http.Header{"Content-Type": {"message/rfc822"}}, strings.Repeat("x", 100_000)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d, err := intake.New(intake.Config{Dir: dir, MemoryOctets: 1000}).Decode(c.header, brokenReader{strings.NewReader(c.body), broken}, intake.Options{})
			e, ok := errors.AsType[*intake.Error](err)
			if !ok || e.Kind != intake.Interrupted || !errors.Is(err, broken) {
				t.Errorf("error is %v, want Interrupted by the reader's", err)
			}
			if d == nil {
				t.Fatal("nothing to close")
			}
			wantEmpty(t, dir) // where the system allows it, a spool has no name even while it is used
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if err := d.Close(); err != nil {
				t.Errorf("second Close: %v", err)
			}
		})
	}
}

func TestNoRoomForTheSpool(t *testing.T) {
	cfg := intake.Config{Dir: t.TempDir() + "/missing", MemoryOctets: 10}
	d, err := intake.New(cfg).Decode(jsonHeader(), strings.NewReader(`{"attachments": [{"content": "`+strings.Repeat("QUJD", 1000)+`"}]}`), intake.Options{})
	if e, ok := errors.AsType[*intake.Error](err); !ok || e.Kind != intake.NoSpace || strings.Contains(e.Error(), "missing") {
		t.Errorf("error is %v, want NoSpace that names no directory", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// What all requests hold at once is bounded, and free again when they end.
func TestRoomOfAllRequests(t *testing.T) {
	const kilo = 1 << 10
	decoder := intake.New(intake.Config{Dir: t.TempDir(), MemoryOctets: 64 * kilo, SpoolMemory: 64 * kilo, SpoolDisk: 128 * kilo})
	upload := func(octets int) (*intake.Decoded, error) {
		return decoder.Decode(jsonHeader(), strings.NewReader(`{"attachments": [{"filename": "a", "content": "`+strings.Repeat("QUJD", octets/3)+`"}]}`), intake.Options{})
	}
	var held []*intake.Decoded
	for _, octets := range []int{48 * kilo, 48 * kilo, 72 * kilo} { // in memory; no room there, so on the disk; on the disk
		m, err := upload(octets)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, m)
	}
	m, err := upload(48 * kilo)
	if e, ok := errors.AsType[*intake.Error](err); !ok || e.Kind != intake.NoSpace {
		t.Errorf("error is %v, want NoSpace", err)
	}
	held = append(held, m)
	for _, m := range held {
		if err := errors.Join(m.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	}
	for range 10 { // nothing is lost of it
		m, err := upload(112 * kilo)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestUnsupportedBodies(t *testing.T) {
	for _, header := range []http.Header{
		{},
		{"Content-Type": {"text/plain"}},
		{"Content-Type": {";"}},
		{"Content-Type": {"application/json; charset=latin1"}},
		{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}},
	} {
		_, err := decodeWith(t, intake.Config{}, intake.Options{}, header, strings.NewReader("{}"))
		if e, ok := errors.AsType[*intake.Error](err); !ok || e.Kind != intake.Unsupported {
			t.Errorf("header %v: error %v, want Unsupported", header, err)
		}
	}
	if _, err := decodeWith(t, intake.Config{}, intake.Options{}, http.Header{"Content-Type": {"Application/JSON; charset=UTF-8"}}, strings.NewReader("{}")); err != nil {
		t.Error(err)
	}
}

func TestBatch(t *testing.T) {
	decoder := intake.New(intake.Config{Dir: t.TempDir(), MemoryOctets: 4})
	var got []string
	err := decoder.Batch(jsonHeader(), strings.NewReader(`[{"subject": "a", "attachments": [{"content": "QUJDREVG"}]}, {"subject": 1, "zz": 2}, 7]`), intake.Options{}, func(i int, m *intake.Decoded) error {
		defer m.Close()
		got = append(got, fmt.Sprint(i, " ", m.Request.Message.Subject, " ", lines(m.Faults), " ", lines(m.Warnings), " ", m.Pointer("to[1]")))
		if len(m.Request.Message.Attachments) > 0 {
			got = append(got, content(t, m.Request.Message.Attachments[0].Open))
		}
		return nil
	})
	if want := "0 a   /0/to/1|ABCDEF|1  /1/subject invalid_type /1/zz unknown_field /1/to/1|2  /2 invalid_type  /2/to/1"; err != nil || strings.Join(got, "|") != want {
		t.Errorf("error %v, messages are\n%s\nwant\n%s", err, strings.Join(got, "|"), want)
	}
	stop := errors.New("stop")
	for body, want := range map[string]intake.Kind{
		"": intake.Malformed, "{}": intake.Malformed, "[]": intake.Malformed, "[{}": intake.Malformed, "[{}] 1": intake.Malformed, `[{"a": }]`: intake.Malformed,
		"[" + strings.Repeat("{},", intake.MaxBatch) + "{}]": intake.TooLarge,
	} {
		err := decoder.Batch(jsonHeader(), strings.NewReader(body), intake.Options{}, func(_ int, m *intake.Decoded) error { return m.Close() })
		if e, ok := errors.AsType[*intake.Error](err); !ok || e.Kind != want {
			t.Errorf("body %.20q: error %v, want kind %d", body, err, want)
		}
	}
	err = decoder.Batch(jsonHeader(), strings.NewReader("[{},{}]"), intake.Options{}, func(_ int, m *intake.Decoded) error { return errors.Join(m.Close(), stop) })
	if !errors.Is(err, stop) {
		t.Errorf("error %v, want that of the caller", err)
	}
}

func TestPointers(t *testing.T) {
	d, err := decode(t, `{"headers": {"X/A": ["1", "2"], "X-B": "3"}}`)
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{
		"from": "/from", "to[2]": "/to/2", "text": "/text_body", "html": "/html_body", "attachments[1].media_type": "/attachments/1/content_type",
		"attachments[1].content": "/attachments/1/content", "headers[1].name": "/headers/X~1A", "headers[2].value": "/headers/X-B", "headers": "/headers",
		"headers[9].name": "/headers/9/name", "dsn.return": "/dsn/return", "": "",
	} {
		if got := d.Pointer(field); got != want {
			t.Errorf("Pointer(%q) = %q, want %q", field, got, want)
		}
	}
	if d, err = decode(t, `{"headers": [{"name": "A", "value": "b"}]}`); err != nil || d.Pointer("headers[0].value") != "/headers/0/value" {
		t.Errorf("pointer %q, error %v", d.Pointer("headers[0].value"), err)
	}
}
