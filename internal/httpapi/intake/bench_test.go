package intake_test

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/httpapi/intake"
)

// BenchmarkSmall reads the usual message: 2 KB of text to one recipient.
func BenchmarkSmall(b *testing.B) {
	body := `{"from": "Shop <shop@example.com>", "to": ["zoe@example.net"], "subject": "Your receipt", "text_body": "` + strings.Repeat(`Thank you very much.\n`, 90) + `"}`
	decoder, header := intake.New(intake.Config{}), jsonHeader()
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		d, err := decoder.Decode(header, strings.NewReader(body), intake.Options{})
		if err != nil || len(d.Faults) > 0 {
			b.Fatal(err, d.Faults)
		}
		_ = d.Close()
	}
}

// BenchmarkAttachment reads an attachment of 10 MiB.
func BenchmarkAttachment(b *testing.B) {
	body := `{"attachments": [{"content": "` + strings.Repeat("QUJD", 10<<20/3) + `"}]}`
	decoder, header := intake.New(intake.Config{Dir: b.TempDir()}), jsonHeader()
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		d, err := decoder.Decode(header, strings.NewReader(body), intake.Options{})
		if err != nil || len(d.Faults) > 0 {
			b.Fatal(err, d.Faults)
		}
		_ = d.Close()
	}
}
