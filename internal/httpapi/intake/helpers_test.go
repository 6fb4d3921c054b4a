package intake_test

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/httpapi/intake"
	"github.com/postrider/postrider/mail"
)

// jsonHeader is the header of a request with a JSON body.
func jsonHeader() http.Header { return http.Header{"Content-Type": {"application/json"}} }

// decode reads a JSON body with default settings.
func decode(t *testing.T, body string) (*intake.Decoded, error) {
	t.Helper()
	return decodeWith(t, intake.Config{}, intake.Options{}, jsonHeader(), strings.NewReader(body))
}

// decodeWith reads a body; contents are freed, and must have been, when the test ends.
func decodeWith(t *testing.T, cfg intake.Config, o intake.Options, header http.Header, body io.Reader) (*intake.Decoded, error) {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	d, err := intake.New(cfg).Decode(header, body, o)
	if d == nil {
		t.Fatalf("Decode gave nothing, error %v", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		wantEmpty(t, cfg.Dir)
	})
	return d, err
}

// wantEmpty checks that no file is left in dir.
func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("file %s is left behind", e.Name())
	}
}

// content reads what an opener gives.
func content(t *testing.T, open mail.Opener) string {
	t.Helper()
	if open == nil {
		t.Fatal("there is no content")
	}
	r, err := open()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// lines gives faults as "pointer code".
func lines(faults []intake.Fault) string {
	var b strings.Builder
	for _, f := range faults {
		b.WriteString(f.Header + f.Pointer + " " + string(f.Code) + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
