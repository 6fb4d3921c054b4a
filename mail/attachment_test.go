package mail_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/postrider/postrider/mail"
	"pgregory.net/rapid"
)

// content reads an attachment once, in full.
func content(t testing.TB, a mail.Attachment) []byte {
	t.Helper()
	r, err := a.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBytesAttachment(t *testing.T) {
	a := mail.BytesAttachment("a.txt", []byte("hello"))
	if a.Filename != "a.txt" || a.Size != 5 {
		t.Errorf("%+v", a)
	}
	for range 2 {
		if b := content(t, a); string(b) != "hello" {
			t.Errorf("%q", b)
		}
	}
	if fs := mail.ValidateAttachments([]mail.Attachment{a, mail.BytesAttachment("empty", nil)}, nil); fs != nil {
		t.Error(fs)
	}
}

func TestFileAttachment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "Report.PDF")
	if err := os.WriteFile(path, []byte("one two"), 0o644); err != nil {
		t.Fatal(err)
	}
	a, err := mail.FileAttachment(path)
	if err != nil {
		t.Fatal(err)
	}
	if a.Filename != "Report.PDF" || a.MediaType != "application/pdf" || a.Size != 7 {
		t.Errorf("%+v", a)
	}
	for range 2 {
		if b := content(t, a); string(b) != "one two" {
			t.Errorf("%q", b)
		}
	}
	r, err := a.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := iotest.TestReader(r, []byte("one two")); err != nil {
		t.Error(err)
	}
}

func TestFileAttachmentChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.txt")
	attach := func() mail.Attachment {
		if err := os.WriteFile(path, []byte("0123456789"), 0o644); err != nil {
			t.Fatal(err)
		}
		a, err := mail.FileAttachment(path)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	wantChanged := func(err error) {
		t.Helper()
		var f mail.Fault
		if !errors.As(err, &f) || f.Code != mail.CodeUnreadable || !strings.Contains(f.Detail, "has changed") {
			t.Errorf("%v; want a fault that says it has changed", err)
		}
	}

	a := attach()
	if err := os.WriteFile(path, []byte("01234567890"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := a.Open()
	wantChanged(err)

	a = attach()
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	_, err = a.Open()
	wantChanged(err)

	a = attach()
	r, err := a.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := os.Truncate(path, 4); err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(r)
	wantChanged(err)

	a = attach()
	grown, err := a.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer grown.Close()
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 100), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(grown)
	wantChanged(err)

	a = attach()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err = a.Open(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed file: %v", err)
	}
}

func TestFileAttachmentFaults(t *testing.T) {
	dir := t.TempDir()
	_, err := mail.FileAttachment(filepath.Join(dir, "missing"))
	var f mail.Fault
	if !errors.As(err, &f) || f.Code != mail.CodeUnreadable || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(f.Detail, "no such file") {
		t.Errorf("missing: %v", err)
	}
	if _, err = mail.FileAttachment(dir); !errors.As(err, &f) || !strings.Contains(f.Detail, "not a regular file") {
		t.Errorf("folder: %v", err)
	}
}

func TestMediaTypeByExtension(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{
		"a.txt": "text/plain", "a.docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
		"a.tar.gz": "application/gzip", "a.ICS": "text/calendar", "a": "application/octet-stream", "a.unheard-of": "application/octet-stream",
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if a, err := mail.FileAttachment(path); err != nil || a.MediaType != want {
			t.Errorf("%s: %q, %v; want %q", name, a.MediaType, err, want)
		}
	}
}

func TestBase64Attachment(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"aGVsbG8=", "hello"},
		{"aGVsbA==", "hell"},
		{"aGVsbG8h", "hello!"},
		{"aGVs\r\nbG8h\r\n", "hello!"},
		{" a\tG V s b G 8 = \r\n", "hello"},
		{"aGVsbA=\r\n=", "hell"},
		{"+/+/", "\xfb\xff\xbf"},
	} {
		a := mail.Base64Attachment("x", tc.in)
		if fs := mail.ValidateAttachments([]mail.Attachment{a}, nil); fs != nil {
			t.Errorf("%q: %v", tc.in, fs)
			continue
		}
		for range 2 {
			if b := content(t, a); string(b) != tc.want || a.Size != int64(len(tc.want)) {
				t.Errorf("%q: %q of size %d; want %q", tc.in, b, a.Size, tc.want)
			}
		}
	}
}

func TestBase64AttachmentFaults(t *testing.T) {
	for _, tc := range []struct {
		in   string
		code mail.FaultCode
		want string
	}{
		{"", mail.CodeRequired, "no content"},
		{" \r\n", mail.CodeRequired, "no content"},
		{"aGVsbG8", mail.CodeInvalidBase64, "7 characters, not a multiple of 4"},
		{"aGVsb", mail.CodeInvalidBase64, "5 characters"},
		{"aGVsbG8-", mail.CodeInvalidBase64, "URL-safe alphabet"},
		{"aGVsbG8_", mail.CodeInvalidBase64, "URL-safe alphabet"},
		{"aGVs*G8=", mail.CodeInvalidBase64, "'*' at octet 4"},
		{"aGVsbG8=aGVs", mail.CodeInvalidBase64, "goes on after its padding"},
		{"aGVsb===", mail.CodeInvalidBase64, "at most 2"},
		{"====", mail.CodeInvalidBase64, "at most 2"},
		{"aGVsbG8\x00", mail.CodeInvalidBase64, "not of its alphabet"},
		{"data:text/plain;base64,aGVsbG8=", mail.CodeInvalidBase64, "leave out everything up to the comma"},
	} {
		a := mail.Base64Attachment("x", tc.in)
		fs := mail.ValidateAttachments([]mail.Attachment{{}, a}[1:], nil)
		if len(fs) != 1 || fs[0].Field != "attachments[0].content" || fs[0].Code != tc.code || !strings.Contains(fs[0].Detail, tc.want) {
			t.Errorf("%q: %v; want %s with %q", tc.in, fs, tc.code, tc.want)
		}
		if _, err := a.Open(); err == nil {
			t.Errorf("%q: opens without an error", tc.in)
		}
	}
}

// wrap breaks base64 text into lines of any length.
func wrap(s string, width int, end string) string {
	var b strings.Builder
	for len(s) > width {
		b.WriteString(s[:width] + end)
		s = s[width:]
	}
	return b.String() + s + end
}

func TestBase64AttachmentDecodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(1, 100), rapid.IntRange(6000, 20_000)).Draw(t, "octets")
		want := make([]byte, n)
		seed := rapid.Uint32().Draw(t, "seed")
		for i := range want {
			seed = seed*1664525 + 1013904223
			want[i] = byte(seed >> 24)
		}
		text := base64.StdEncoding.EncodeToString(want)
		if width := rapid.SampledFrom([]int{0, 1, 60, 64, 76, 8191}).Draw(t, "width"); width > 0 {
			text = wrap(text, width, rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "end"))
		}
		a := mail.Base64Attachment("x", text)
		if a.Size != int64(n) {
			t.Fatalf("size %d; want %d", a.Size, n)
		}
		r, err := a.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if rapid.Bool().Draw(t, "read") {
			// io.Copy uses WriteTo; hide it and read in odd pieces.
			var got bytes.Buffer
			if _, err := io.CopyBuffer(struct{ io.Writer }{&got}, struct{ io.Reader }{r}, make([]byte, 7)); err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Fatalf("%v, equal %v", err, bytes.Equal(got.Bytes(), want))
			}
			return
		}
		var got bytes.Buffer
		if m, err := io.Copy(&got, r); err != nil || m != int64(n) || !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("%d, %v, equal %v", m, err, bytes.Equal(got.Bytes(), want))
		}
	})
}

func TestBase64AttachmentConstantMemory(t *testing.T) {
	text := wrap(strings.Repeat("QUJD", 1<<20), 76, "\r\n")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := mail.Base64Attachment("x", text).Open()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, r); err != nil || n != 3<<20 {
		t.Fatal(n, err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
		t.Errorf("%d octets allocated to decode 3 MiB", n)
	}
}

func FuzzBase64Attachment(f *testing.F) {
	for _, s := range []string{"aGVsbG8=", "aGVs\r\nbG8h", "aGVsbA==", "aGVsbA=\n=", "", "====", "aGVsbG8-", "data:,x", strings.Repeat("QUJD", 30), "QR=="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a := mail.Base64Attachment("x", s)
		faults := mail.ValidateAttachments([]mail.Attachment{a}, nil)
		// The standard library is the judge, once white space that it does
		// not skip is taken out.
		want, err := base64.StdEncoding.DecodeString(strings.NewReplacer(" ", "", "\t", "").Replace(s))
		if (faults == nil) != (err == nil && len(want) > 0) {
			t.Fatalf("%q: %v; the standard library says %v", s, faults, err)
		}
		if faults != nil {
			return
		}
		if got := content(t, a); !bytes.Equal(got, want) || a.Size != int64(len(want)) {
			t.Fatalf("%q: %q of size %d; want %q", s, got, a.Size, want)
		}
	})
}

func BenchmarkBase64Attachment(b *testing.B) {
	line := strings.Repeat("QUJD", 1<<20)
	for name, text := range map[string]string{"one line": line, "lines": wrap(line, 76, "\r\n")} {
		b.Run(name+"/check", func(b *testing.B) {
			b.SetBytes(3 << 20)
			for b.Loop() {
				_ = mail.Base64Attachment("x", text)
			}
		})
		b.Run(name+"/decode", func(b *testing.B) {
			a := mail.Base64Attachment("x", text)
			b.SetBytes(3 << 20)
			for b.Loop() {
				r, err := a.Open()
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
