package httpapi_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	netmail "net/mail"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/httpapi/intake"
	"github.com/postrider/postrider/mail"
)

// memoryNow is what the process has of the machine's memory: what SQLite takes is not the runtime's. Where the system
// does not tell, it is what the runtime has.
func memoryNow() int64 {
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		_, rest, _ := strings.Cut(string(status), "VmRSS:")
		kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		if n, err := strconv.ParseInt(kib, 10, 64); err == nil {
			return n << 10
		}
	}
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
}

// watch looks at the memory until told to end, and gives the most that it saw.
func watch() (end func() int64) {
	done, most := make(chan struct{}), make(chan int64)
	go func() {
		var peak int64
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			peak = max(peak, memoryNow())
			select {
			case <-done:
				most <- peak
				return
			case <-tick.C:
			}
		}
	}()
	return func() int64 { close(done); return <-most }
}

// repeated gives a text again and again, n octets in all.
type repeated struct {
	text string
	n    int64
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.n == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), r.n)], r.text[r.at:])
	r.n -= int64(n)
	r.at = (r.at + n) % len(r.text)
	return n, nil
}

// TestRequestsAtTheLimits: 100 MB of attachments pass through the whole service, from the socket into the database and
// out again, in little memory and unchanged.
func TestRequestsAtTheLimits(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 300 MB")
	}
	in := install(t)
	in.relay(in.a)
	ts := in.listen()
	limits := mail.DefaultLimits()
	const piece = "0123456789abcdef-_ \n\x00\xff" // 22 octets
	body := []io.Reader{strings.NewReader(`{"from": "shop@acme.example", "to": "zoe@example.net", "attachments": [`)}
	n := int(limits.AttachmentsOctets / limits.AttachmentOctets)
	size := limits.AttachmentOctets / 66 * 66 // whole pieces, whole groups of base64
	for i := range n {
		comma := ","
		if i == 0 {
			comma = ""
		}
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(piece, 3)))
		body = append(body, strings.NewReader(comma+`{"filename": "a.bin", "content": "`), &repeated{text: text, n: size / 66 * int64(len(text))}, strings.NewReader(`"}`))
	}
	body = append(body, strings.NewReader(`]}`))
	runtime.GC()
	before := memoryNow()
	end := watch()
	r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, ts.URL+"/v1/messages", io.MultiReader(body...)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+in.token(in.a.user))
	resp, err := ts.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer := must(io.ReadAll(resp.Body))
	_ = resp.Body.Close()
	more := end() - before
	if resp.StatusCode != 202 {
		t.Fatalf("status %d: %s", resp.StatusCode, answer)
	}
	t.Logf("%d KiB more memory at the peak", more>>10)
	if more > 64<<20 {
		t.Errorf("the request took %d MiB more memory, want less than 64", more>>20)
	}
	var sent api.AcceptedMessage
	if err := json.Unmarshal(answer, &sent); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
	content, stored, err := in.store.Tenant(in.a.id).Content(t.Context(), uuid.MustParse(sent.ID))
	if err != nil || stored != sent.Size {
		t.Fatalf("%d octets, accepted were %d, error %v", stored, sent.Size, err)
	}
	defer content.Close()
	want := sha256.New()
	_ = must(io.Copy(want, &repeated{text: piece, n: size}))
	if hashes := attachmentHashes(t, content); len(hashes) != n || !allEqual(hashes, want.Sum(nil)) {
		t.Errorf("%d attachments came back, or other octets", len(hashes))
	}
}

// attachmentHashes reads a message without holding it.
func attachmentHashes(t *testing.T, r io.Reader) [][]byte {
	t.Helper()
	var hashes [][]byte
	m := must(netmail.ReadMessage(bufio.NewReader(r)))
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return hashes
		}
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		_ = must(io.Copy(h, base64.NewDecoder(base64.StdEncoding, part)))
		hashes = append(hashes, h.Sum(nil))
	}
}

func allEqual(list [][]byte, want []byte) bool {
	for _, one := range list {
		if !bytes.Equal(one, want) {
			return false
		}
	}
	return true
}

// TestBrokenUpload: a client that goes away in the middle leaves nothing behind.
func TestBrokenUpload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := install(t, func(c *httpapi.Config) { c.Intake = intake.New(intake.Config{Dir: dir, MemoryOctets: 1000}) })
	in.relay(in.a)
	ts := in.listen()
	for name, start := range map[string]string{
		"attachment": `{"from": "shop@acme.example", "to": "zoe@example.net", "attachments": [{"content": "` + strings.Repeat("QUJD", 200_000),
		"text":       `{"from": "shop@acme.example", "to": "zoe@example.net", "text_body": "` + strings.Repeat("QUJD", 200_000),
	} {
		gone := errors.New("gone")
		r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, ts.URL+"/v1/messages", io.MultiReader(strings.NewReader(start), failing{gone})))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+in.token(in.a.user))
		if resp, err := ts.Client().Do(r); err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s: status %d", name, resp.StatusCode)
		}
	}
	ts.Close() // the requests have ended
	if files := must(os.ReadDir(dir)); len(files) != 0 {
		t.Errorf("%d files are left", len(files))
	}
	if list := read[api.Messages](t, in.call("GET", "/v1/messages", in.token(in.a.user), nil), 200); len(list.Data) != 0 {
		t.Errorf("%d messages were accepted", len(list.Data))
	}
}

// failing is a body that breaks off.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
