package mail_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/postrider/postrider/mail"
)

// generated gives size octets from nothing, the same in each pass.
type generated struct {
	random *rand.ChaCha8
	left   int64
}

func (g *generated) Read(p []byte) (int, error) {
	if g.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), g.left))
	g.left -= int64(n)
	return g.random.Read(p[:n])
}

func (g *generated) Close() error { return nil }

func generate(size int64) mail.Opener {
	return func() (io.ReadCloser, error) { return &generated{rand.NewChaCha8([32]byte{1}), size}, nil }
}

// highWater writes to nowhere and remembers how large the heap was.
type highWater struct {
	since, most uint64
	octets      int64
}

func (h *highWater) Write(p []byte) (int, error) {
	if h.octets>>24 != (h.octets+int64(len(p)))>>24 { // every 16 MiB
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		h.most = max(h.most, stats.HeapAlloc)
	}
	h.octets += int64(len(p))
	return len(p), nil
}

// Neither an attachment nor a body nor a raw message is held in memory.
func TestConstantMemory(t *testing.T) {
	const size, texts = 200 << 20, 48 << 20
	none := &mail.Limits{TextOctets: -1, HTMLOctets: -1, AttachmentOctets: -1, AttachmentsOctets: -1}
	text := func(line string) mail.Opener {
		return func() (io.ReadCloser, error) {
			return io.NopCloser(io.LimitReader(&repeated{line: line}, texts/int64(len(line))*int64(len(line)))), nil
		}
	}
	octets := func(n int64) mail.Opener {
		return func() (io.ReadCloser, error) {
			return io.NopCloser(io.LimitReader(&repeated{line: strings.Repeat("0123456789abcdef\x00\xff", 500)}, n)), nil
		}
	}
	m := letter()
	m.Attachments = []mail.Attachment{{Filename: "known", Size: size, Open: octets(size)}, {Filename: "counted", Size: -1, Open: octets(texts)}}
	m.TextFrom = text("Ein langer Text mit einem Ü und mehr, und mehr\n")
	m.HTMLFrom = text("日本語のテキスト\r")
	for name, compose := range map[string]func() (*mail.Composed, error){
		"message": func() (*mail.Composed, error) { return m.Compose(&mail.ComposeOptions{Limits: none}) },
		"raw": func() (*mail.Composed, error) {
			return mail.ComposeRaw(func() (io.ReadCloser, error) {
				body, err := text("a line of a body\n")()
				return struct {
					io.Reader
					io.Closer
				}{io.MultiReader(strings.NewReader("From: a@example.com\nTo: b@example.com\n\n"), body), body}, err
			}, &mail.RawOptions{Limits: none})
		},
	} {
		t.Run(name, func(t *testing.T) {
			runtime.GC()
			var stats runtime.MemStats
			runtime.ReadMemStats(&stats)
			w := highWater{since: stats.HeapAlloc}
			c, err := compose()
			if err != nil {
				t.Fatal(err)
			}
			if n, err := c.WriteTo(&w); err != nil || n != c.Size() || w.octets != n {
				t.Fatalf("wrote %d of %d octets: %v", n, c.Size(), err)
			}
			// The collector lets garbage grow to 4 MiB before it looks.
			if grown := int64(w.most) - int64(w.since); grown > 6<<20 {
				t.Errorf("heap grew by %d octets for %d octets of content", grown, size)
			}
		})
	}
}

// repeated gives a line again and again.
type repeated struct {
	line string
	at   int
}

func (r *repeated) Read(p []byte) (n int, err error) {
	for n < len(p) {
		m := copy(p[n:], r.line[r.at:])
		n += m
		r.at = (r.at + m) % len(r.line)
	}
	return n, nil
}

// A source that gives other octets than before is an error that names it, and
// not one octet more than Size is written.
func TestSourceChanges(t *testing.T) {
	const size = 100_000
	content := strings.Repeat("x", size)
	quoted := strings.Repeat("é line of text\n", size/16)
	broken := errors.New("disk on fire")
	for _, tc := range []struct {
		name   string
		second mail.Opener
		is     error
		detail string
	}{
		{"shorter", opener(content[1:]), nil, "fewer"},
		{"empty", opener(""), nil, "fewer"},
		{"longer", opener(content + "y"), nil, "more"},
		{"much longer", opener(content + content), nil, "more"},
		{"not opened", func() (io.ReadCloser, error) { return nil, broken }, broken, "disk on fire"},
		{"read error", func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader(content[:50_000]), iotest.ErrReader(broken))), nil
		}, broken, "disk on fire"},
		{"close error", func() (io.ReadCloser, error) { return badCloser{strings.NewReader(content), broken}, nil }, broken, "disk on fire"},
		{"fault of an opener", func() (io.ReadCloser, error) {
			return nil, mail.Fault{Code: mail.CodeUnreadable, Detail: "gone"}
		}, nil, "gone"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := letter()
			second := false
			m.Attachments = []mail.Attachment{mail.BytesAttachment("first", []byte("1")), {Filename: "x", Size: size, Open: func() (io.ReadCloser, error) {
				if second {
					return tc.second()
				}
				return opener(content)()
			}}}
			c := mustCompose(t, m)
			want := renderChecked(t, c)
			second = true
			var b bytes.Buffer
			n, err := c.WriteTo(&b)
			var f mail.Fault
			if !errors.As(err, &f) || f.Field != "attachments[1].content" || f.Code != mail.CodeUnreadable || !strings.Contains(err.Error(), tc.detail) {
				t.Errorf("error is %v", err)
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%v is not %v", err, tc.is)
			}
			if n != int64(b.Len()) || n > c.Size() {
				t.Errorf("wrote %d of %d octets", n, c.Size())
			}
			if !bytes.HasPrefix(want, b.Bytes()) {
				t.Error("what was written is not the beginning of the message")
			}
			second = false
			if !bytes.Equal(renderChecked(t, c), want) {
				t.Error("message is not the same afterwards")
			}
		})
	}
	t.Run("text of the same length", func(t *testing.T) {
		m := letter()
		now := quoted
		m.TextFrom = func() (io.ReadCloser, error) { return opener(now)() }
		c := mustCompose(t, m)
		for _, now = range []string{strings.ReplaceAll(quoted, "é", "ab"), strings.ReplaceAll(quoted, "li", "é")} {
			if n, err := c.WriteTo(io.Discard); err == nil || n > c.Size() {
				t.Errorf("wrote %d of %d octets: %v", n, c.Size(), err)
			}
		}
	})
}

// A source that breaks off is not taken for one that ends.
func TestSourceBreaksOff(t *testing.T) {
	for _, broken := range []error{io.ErrUnexpectedEOF, fmt.Errorf("unpacking: %w", io.EOF), io.ErrNoProgress} {
		m := letter()
		open := func() (io.ReadCloser, error) {
			if errors.Is(broken, io.ErrNoProgress) {
				return io.NopCloser(silent{}), nil
			}
			return io.NopCloser(io.MultiReader(strings.NewReader("half a file"), iotest.ErrReader(broken))), nil
		}
		m.Attachments = []mail.Attachment{{Filename: "x", Size: -1, Open: open}}
		if _, err := m.Compose(nil); !errors.Is(err, broken) {
			t.Errorf("attachment: %v, want %v", err, broken)
		}
		m.Attachments, m.TextFrom = nil, open
		if _, err := m.Compose(nil); !errors.Is(err, broken) {
			t.Errorf("text: %v, want %v", err, broken)
		}
		if _, err := mail.ComposeRaw(open, nil); !errors.Is(err, broken) {
			t.Errorf("raw: %v, want %v", err, broken)
		}
	}
}

// silent gives nothing, not even an end.
type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

type badCloser struct {
	io.Reader
	err error
}

func (b badCloser) Close() error { return b.err }

// failing is a connection that breaks.
type failing struct{ left int }

var errBroken = errors.New("connection is gone")

func (f *failing) Write(p []byte) (int, error) {
	if len(p) > f.left {
		n := f.left
		f.left = 0
		return n, errBroken
	}
	f.left -= len(p)
	return len(p), nil
}

func TestWriteError(t *testing.T) {
	m := letter()
	m.Text = "x"
	small := mustCompose(t, m)
	m.Attachments = []mail.Attachment{{Filename: "x", Size: 300_000, Open: generate(300_000)}}
	for _, c := range []*mail.Composed{small, mustCompose(t, m)} {
		for _, after := range []int{0, 100, 500, 1000, 100_000} {
			if int64(after) >= c.Size() {
				continue
			}
			if n, err := c.WriteTo(&failing{after}); !errors.Is(err, errBroken) || n != int64(after) {
				t.Errorf("after %d octets: wrote %d, %v", after, n, err)
			}
		}
	}
}

// countedWrites counts calls.
type countedWrites int

func (c *countedWrites) Write(p []byte) (int, error) {
	*c++
	return len(p), nil
}

// A small message is one Write, so that it can be one packet, also when it is
// signed and when its content comes from openers.
func TestSmallIsOneWrite(t *testing.T) {
	m := letter()
	m.TextFrom = opener("Grüße\n")
	m.Attachments = []mail.Attachment{{Filename: "x", Size: -1, Open: generate(30_000)}, {Filename: "y", Size: 20_000, Open: generate(20_000)}}
	raw, err := mail.ComposeRaw(opener("From: a@example.com\nTo: b@example.com\n\n"+strings.Repeat("x\n", 20_000)), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*mail.Composed{mustCompose(t, m), raw} {
		for _, c := range []*mail.Composed{c, c.Prepend([]byte("X-Top: yes\r\n"))} {
			var writes countedWrites
			if _, err := c.WriteTo(&writes); err != nil || writes != 1 {
				t.Errorf("%d writes, %v", writes, err)
			}
		}
	}
}

// One message goes to many relays at once.
func TestWriteToConcurrently(t *testing.T) {
	m := letter()
	m.TextFrom = opener(strings.Repeat("Größe und Länge\n", 10_000))
	m.Attachments = []mail.Attachment{{Filename: "x", Size: 200_000, Open: generate(200_000)}}
	c := mustCompose(t, m)
	want := renderChecked(t, c)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var b bytes.Buffer
			if _, err := c.WriteTo(&b); err != nil || !bytes.Equal(b.Bytes(), want) {
				t.Errorf("other octets: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestPrepend(t *testing.T) {
	m := letter()
	m.Text = "x"
	small := mustCompose(t, m)
	m.Attachments = []mail.Attachment{{Filename: "x", Size: 200_000, Open: generate(200_000)}}
	for _, c := range []*mail.Composed{small, mustCompose(t, m)} {
		before := renderChecked(t, c)
		field := []byte("X-Top: yes\r\n")
		d := c.Prepend(field)
		field[0] = 'Y'
		if got := renderChecked(t, d); string(got) != "X-Top: yes\r\n"+string(before) {
			t.Errorf("got %.100q", got)
		}
		if !bytes.Equal(renderChecked(t, c), before) || d.MessageID() != c.MessageID() {
			t.Error("Prepend changed its receiver")
		}
		if e, err := d.Downgrade(); err != nil || e != d {
			t.Errorf("Downgrade of a clean message: %v", err)
		}
	}
}

// The envelope that a caller gets is theirs.
func TestEnvelopeIsCopied(t *testing.T) {
	m := letter()
	m.Text, m.DSN = "x", &mail.DSN{Notify: []string{"NEVER"}}
	c := mustCompose(t, m)
	e := c.Envelope()
	e.RcptTo[0], e.DSN.Notify[0] = "evil@example.com", "SUCCESS"
	if e := c.Envelope(); !slices.Equal(e.RcptTo, []string{"bob@example.net"}) || e.DSN.Notify[0] != "NEVER" {
		t.Errorf("envelope is %+v", e)
	}
}

func TestDowngrade(t *testing.T) {
	m := letter()
	m.Text, m.HTML = "Grüße\n", "<p>Grüße</p>"
	eml := mail.BytesAttachment("inner.eml", []byte("Subject: x\n\nGr\xc3\xbc\xc3\x9fe\n"))
	m.Attachments = []mail.Attachment{eml}
	m.To = mail.Addrs("José <josé@example.com>", "bob@example.com", "é@example.com")
	m.ReplyTo = mail.Addrs("é@example.org")
	c, err := m.Compose(&mail.ComposeOptions{EightBit: true})
	if err != nil {
		t.Fatal(err)
	}
	before := renderChecked(t, c)
	// The message may be used for something else meanwhile.
	m.To[0], m.Attachments[0], m.Text = mail.Addr("other@example.com"), mail.BytesAttachment("no", nil), "other"
	d, err := c.Downgrade()
	if err != nil {
		t.Fatal(err)
	}
	b := renderChecked(t, d)
	e := d.Envelope()
	if e.EightBit || e.SMTPUTF8 || !slices.Equal(e.RcptTo, c.Envelope().RcptTo) || d.MessageID() != c.MessageID() {
		t.Errorf("envelope is %+v, Message-ID %s", e, d.MessageID())
	}
	for _, want := range []string{
		"Reply-To: =?utf-8?b?w6lAZXhhbXBsZS5vcmc=?= :;\r\n",
		"To: =?utf-8?b?Sm9zw6kgam9zw6lAZXhhbXBsZS5jb20=?= :;, bob@example.com,\r\n =?utf-8?b?w6lAZXhhbXBsZS5jb20=?= :;\r\n",
		"Content-Type: application/octet-stream; name=\"inner.eml\"\r\n",
	} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("%q is not in\n%s", want, b)
		}
	}
	if got := parse(t, b); got.Structure != "mixed(alternative(text/plain,text/html),application/octet-stream)" {
		t.Errorf("structure is %s", got.Structure)
	}
	if !bytes.Equal(renderChecked(t, c), before) {
		t.Error("Downgrade changed its receiver")
	}
	if again, err := d.Downgrade(); err != nil || again != d {
		t.Errorf("second Downgrade: %v", err)
	}
}

func TestDowngradeRefused(t *testing.T) {
	utf8From := letter()
	utf8From.From, utf8From.Text = mail.Addr("zoë@example.com"), "x"
	utf8Sender := letter()
	utf8Sender.Sender, utf8Sender.Text = mail.Addr("zoë@example.com"), "x"
	eight := letter()
	eight.Text = "é"
	for name, tc := range map[string]struct {
		compose func() (*mail.Composed, error)
		want    string
	}{
		"from":   {func() (*mail.Composed, error) { return utf8From.Compose(nil) }, "from invalid_address|mail_from invalid_address"},
		"sender": {func() (*mail.Composed, error) { return utf8Sender.Compose(nil) }, "mail_from invalid_address|sender invalid_address"},
		"raw": {func() (*mail.Composed, error) {
			return mail.ComposeRaw(opener("From: a@example.com\nTo: b@example.com\n\né"), nil)
		}, "invalid_value"},
		"signed": {func() (*mail.Composed, error) {
			c, err := eight.Compose(&mail.ComposeOptions{EightBit: true})
			return c.Prepend([]byte("X: y\r\n")), err
		}, "invalid_value"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := tc.compose()
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Downgrade()
			if got := strings.Join(faultCodes(t, err), "|"); got != tc.want {
				t.Errorf("got %s (%v), want %s", got, err, tc.want)
			}
		})
	}
	// Where only a recipient of the envelope needs SMTPUTF8, the content stays.
	raw, err := mail.ComposeRaw(opener("From: a@example.com\n\nx"), &mail.RawOptions{Rcpt: mail.Addrs("é@example.com")})
	if err != nil {
		t.Fatal(err)
	}
	d, err := raw.Downgrade()
	if err != nil || d.Envelope().SMTPUTF8 || !raw.Envelope().SMTPUTF8 || !bytes.Equal(renderChecked(t, d), renderChecked(t, raw)) {
		t.Errorf("Downgrade: %v", err)
	}
}
