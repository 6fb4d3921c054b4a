package intake_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/httpapi/intake"
	"github.com/postrider/postrider/mail"
)

// FuzzJSON compares the reader with encoding/json: both must agree on what is JSON and on what it says, except
// where this one is strict on purpose.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(everything))
	for _, s := range []string{
		`{}`, `[]`, `{"subject":"\ud83d\ude00\u00e9é"}`, `{"subject":"\ud83d"}`, `{"text_body":"a\nb","to":["x@y.example"],"cc":null}`,
		`{"attachments":[{"content":"QUJD\r\nRA=="}]}`, `{"metadata":{"a":[1e3,-0.5,true,false,null,"x"]}}`, `{"headers":{"a":"b","c":["d"]}}`,
		"{\"subject\":\"\xff\"}", `{"a":{"b":[{}]},"a":1}`, `{"x":-01}`, ` {"from":"a"} `, `{"relay":{"port":25}}`,
	} {
		f.Add([]byte(s))
	}
	decoder := intake.New(intake.Config{Dir: f.TempDir(), MemoryOctets: 64})
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 1<<14 {
			return
		}
		whole, errWhole := decoder.Decode(jsonHeader(), bytes.NewReader(body), intake.Options{ArrayContent: true})
		defer func() { _ = whole.Close() }() // given also after an error
		bitwise, errBitwise := decoder.Decode(jsonHeader(), iotest.OneByteReader(bytes.NewReader(body)), intake.Options{ArrayContent: true})
		defer func() { _ = bitwise.Close() }()
		if (errWhole == nil) != (errBitwise == nil) || lines(whole.Faults) != lines(bitwise.Faults) || lines(whole.Warnings) != lines(bitwise.Warnings) {
			t.Fatalf("octet by octet it reads otherwise: %v and %v, %v and %v", errWhole, errBitwise, whole.Faults, bitwise.Faults)
		}
		if errWhole != nil {
			e, ok := errors.AsType[*intake.Error](errWhole)
			if !ok || e.Kind != intake.Malformed {
				t.Fatalf("error is %v", errWhole)
			}
			// What it may refuse beyond the grammar: depth, long names and numbers, names that are not text.
			if json.Valid(body) && !strings.Contains(e.Detail, "levels deep") && !strings.Contains(e.Detail, "more than") && !strings.Contains(e.Detail, "the name of a field has") {
				t.Fatalf("JSON is refused: %v", errWhole)
			}
			return
		}
		if !json.Valid(body) {
			t.Fatal("what is not JSON is taken")
		}
		if len(whole.Faults) == 0 {
			compare(t, whole, body)
		}
	})
}

// compare checks what was read against encoding/json.
func compare(t *testing.T, d *intake.Decoded, body []byte) {
	t.Helper()
	var want map[string]json.RawMessage
	if err := json.Unmarshal(body, &want); err != nil {
		t.Fatalf("encoding/json: %v", err)
	}
	text := func(raw json.RawMessage) (s string) {
		if raw != nil && json.Unmarshal(raw, &s) != nil {
			t.Fatalf("value %s was read as a string", raw)
		}
		return s
	}
	m := &d.Request.Message
	if got := text(want["subject"]); got != m.Subject {
		t.Errorf("subject is %q, want %q", m.Subject, got)
	}
	if got := text(want["text_body"]); got != m.Text {
		t.Errorf("text is %q, want %q", m.Text, got)
	}
	var attachments []struct{ Content any }
	if raw := want["attachments"]; raw != nil {
		if err := json.Unmarshal(raw, &attachments); err != nil {
			return // names that differ in case only
		}
	}
	for i, a := range attachments {
		s, ok := a.Content.(string)
		if !ok || i >= len(m.Attachments) {
			continue
		}
		octets, err := base64.StdEncoding.DecodeString(strings.NewReplacer(" ", "", "\t", "").Replace(s))
		if err != nil {
			t.Fatalf("base64 %q is taken: %v", s, err)
		}
		if got := content(t, m.Attachments[i].Open); got != string(octets) {
			t.Errorf("attachment %d is %q, want %q", i, got, octets)
		}
	}
	if raw := want["metadata"]; raw != nil && string(raw) != "null" {
		var a, b any
		if json.Unmarshal(raw, &a) != nil || json.Unmarshal(d.Request.Metadata, &b) != nil {
			t.Fatalf("metadata %s was read as %s", raw, d.Request.Metadata)
		}
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		if !bytes.Equal(x, y) {
			t.Errorf("metadata is %s, want %s", y, x)
		}
	}
}

// FuzzForm feeds forms: whatever comes, it ends in an error of ours or a message.
func FuzzForm(f *testing.F) {
	f.Add("b", []byte("--b\r\nContent-Disposition: form-data; name=\"message\"\r\n\r\n{\"from\":\"a\"}\r\n--b--\r\n"))
	f.Add("b", []byte("--b\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\nx\r\n--b\r\nContent-Disposition: form-data; name=f; filename=g\r\nContent-Transfer-Encoding: base64\r\n\r\nQUI=\r\n--b--\r\n"))
	decoder := intake.New(intake.Config{Dir: f.TempDir(), MemoryOctets: 64})
	f.Fuzz(func(t *testing.T, boundary string, body []byte) {
		header := http.Header{"Content-Type": {`multipart/form-data; boundary="` + boundary + `"`}}
		d, err := decoder.Decode(header, bytes.NewReader(body), intake.Options{})
		if err != nil {
			if _, ok := errors.AsType[*intake.Error](err); !ok {
				t.Fatalf("error is %v", err)
			}
		}
		for _, s := range []string{d.Request.Message.Subject, d.Request.Message.Text, d.Request.Message.HTML} {
			if !utf8.ValidString(s) {
				t.Errorf("text %q is not UTF-8", s)
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestWhatIsEncodedIsRead sends random contents through base64 and strings, in pieces of random sizes.
func TestWhatIsEncodedIsRead(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		octets := rapid.SliceOfN(rapid.Byte(), 1, 70_000).Draw(t, "octets")
		text := rapid.StringN(0, 300, -1).Draw(t, "text")
		if n := rapid.IntRange(0, 2000).Draw(t, "repeat"); n > 0 && len(text) > 0 {
			text = strings.Repeat(text, n%(100_000/len(text)+1))
		}
		encodedText, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		b64 := base64.StdEncoding.EncodeToString(octets)
		if width := rapid.IntRange(1, 100).Draw(t, "width"); width > 3 {
			var lines []string
			for len(b64) > width {
				lines, b64 = append(lines, b64[:width]), b64[width:]
			}
			b64 = strings.Join(append(lines, b64), `\r\n`)
		}
		body := `{"text_body": ` + string(encodedText) + `, "attachments": [{"content": "` + b64 + `"}]}`
		piece := rapid.IntRange(1, 40_000).Draw(t, "piece")
		d, err := intake.New(intake.Config{Dir: dir, MemoryOctets: 10_000}).Decode(jsonHeader(), &pieceReader{strings.NewReader(body), piece}, intake.Options{})
		defer func() { _ = d.Close() }()
		if err != nil || len(d.Faults) > 0 {
			t.Fatalf("error %v, faults %v", err, d.Faults)
		}
		m := &d.Request.Message
		got := m.Text
		if m.TextFrom != nil {
			got = readAll(t, m.TextFrom)
		}
		if got != strings.ToValidUTF8(text, "\ufffd") {
			t.Fatalf("text of %d octets was read otherwise", len(text))
		}
		if readAll(t, m.Attachments[0].Open) != string(octets) {
			t.Fatalf("attachment of %d octets was read otherwise", len(octets))
		}
	})
}

// readAll reads what an opener gives.
func readAll(t *rapid.T, open mail.Opener) string {
	r, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// pieceReader gives at most n octets at once.
type pieceReader struct {
	r io.Reader
	n int
}

func (p *pieceReader) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), p.n)]) }
