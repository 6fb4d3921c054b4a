package intake_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/httpapi/intake"
	"github.com/postrider/postrider/internal/submission"
	"github.com/postrider/postrider/mail"
)

// allowance is what a request at the limits may cost.
const allowance = 64 << 20

// watcher passes a body on and looks at the process's memory on the way.
type watcher struct {
	io.Reader
	left int
	peak uint64
}

func (w *watcher) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if w.left -= n; w.left < 0 || err != nil {
		w.left = 1 << 20
		w.peak = max(w.peak, memory())
	}
	return n, err
}

// memory is what the runtime has from the system and has not given back.
func memory() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}

// pattern gives n octets that are not all the same, and hashes them.
type pattern struct {
	text string
	n    int64
	hash hash.Hash
}

func (p *pattern) Read(b []byte) (int, error) {
	if p.n == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.text)
	n = int(min(int64(n), p.n))
	p.n -= int64(n)
	p.hash.Write(b[:n])
	return n, nil
}

// line is the text that large contents are made of: with escapes, quotes and characters beyond ASCII.
var line = strings.Repeat("All work and no play, says Zoë, makes \"Jack\" a dull boy.\n", 100)

// encoded gives n octets (whole lines, where it is text) as they stand in a JSON string, base64 or text, and the
// hash that they will have once they are read.
func encoded(n int64, asBase64 bool) (io.Reader, hash.Hash) {
	r, w := io.Pipe()
	source := &pattern{text: line, n: n, hash: sha256.New()}
	go func() {
		if asBase64 {
			enc := base64.NewEncoder(base64.StdEncoding, w)
			_, err := io.Copy(enc, source)
			_ = enc.Close()
			_ = w.CloseWithError(err)
			return
		}
		escaped := strings.NewReplacer("\n", `\n`, `"`, `\"`, "ë", `\u00eb`).Replace(line)
		for range n / int64(len(line)) {
			source.hash.Write([]byte(line))
			if _, err := io.WriteString(w, escaped); err != nil {
				return
			}
		}
		_ = w.Close()
	}()
	return r, source.hash
}

// sum hashes what an opener gives.
func sum(t *testing.T, open mail.Opener) string {
	t.Helper()
	r, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func TestBodiesAtTheLimitsCostLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 300 MB")
	}
	const mega = 1 << 20
	limits := mail.DefaultLimits()
	for name, c := range map[string]struct {
		json func() (io.Reader, []hash.Hash)
		open func(q *submission.Request) []mail.Opener
	}{
		"attachments": {
			func() (io.Reader, []hash.Hash) {
				readers := []io.Reader{strings.NewReader(`{"attachments": [`)}
				var hashes []hash.Hash
				for i := range limits.AttachmentsOctets / limits.AttachmentOctets {
					r, h := encoded(limits.AttachmentOctets, true)
					comma := ","
					if i == 0 {
						comma = ""
					}
					readers = append(readers, strings.NewReader(comma+`{"content": "`), r, strings.NewReader(`"}`))
					hashes = append(hashes, h)
				}
				return io.MultiReader(append(readers, strings.NewReader(`]}`))...), hashes
			},
			func(q *submission.Request) []mail.Opener {
				var o []mail.Opener
				for _, a := range q.Message.Attachments {
					o = append(o, a.Open)
				}
				return o
			},
		},
		"text": {
			func() (io.Reader, []hash.Hash) {
				r, h := encoded(limits.TextOctets, false)
				return io.MultiReader(strings.NewReader(`{"text_body": "`), r, strings.NewReader(`"}`)), []hash.Hash{h}
			},
			func(q *submission.Request) []mail.Opener { return []mail.Opener{q.Message.TextFrom} },
		},
		"html": {
			func() (io.Reader, []hash.Hash) {
				r, h := encoded(limits.HTMLOctets, false)
				return io.MultiReader(strings.NewReader(`{"html_body": "`), r, strings.NewReader(`"}`)), []hash.Hash{h}
			},
			func(q *submission.Request) []mail.Opener { return []mail.Opener{q.Message.HTMLFrom} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			runtime.GC()
			before := memory()
			body, hashes := c.json()
			w := &watcher{Reader: body}
			d, err := decodeWith(t, intake.Config{}, intake.Options{}, jsonHeader(), w)
			if err != nil || len(d.Faults) > 0 {
				t.Fatalf("error %v, faults %v", err, d.Faults)
			}
			openers := c.open(&d.Request)
			if len(openers) != len(hashes) {
				t.Fatalf("%d contents, want %d", len(openers), len(hashes))
			}
			for i, open := range openers {
				if got, want := sum(t, open), fmt.Sprintf("%x", hashes[i].Sum(nil)); got != want {
					t.Errorf("content %d has hash %s, want %s", i, got, want)
				}
			}
			more := int64(max(w.peak, memory())) - int64(before)
			t.Logf("%d KiB more memory at the peak", more>>10)
			if more > allowance {
				t.Errorf("reading took %d MiB more memory, want less than %d", more/mega, allowance/mega)
			}
		})
	}
}
