package contract

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestContent: both parts together have the size asked for, but for the last
// word, have lines as mail wants them, and are the same each time. In the
// package itself because drivers have no use for the function.
func TestContent(t *testing.T) {
	for _, size := range []int{2048, 51200} {
		c, err := makeContent(size, 0)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(c.Text) + len(c.HTML); n < size-40 || n > size+40 {
			t.Errorf("size %d gives %d", size, n)
		}
		if !utf8.ValidString(c.Text) || !strings.Contains(c.Text, "é") {
			t.Error("the text has no UTF-8 outside ASCII")
		}
		for l := range strings.Lines(c.Text) {
			if len(l) > 100 || strings.HasSuffix(l, "\n") && !strings.HasSuffix(l, "\r\n") {
				t.Errorf("line %q", l)
			}
		}
		if again, _ := makeContent(size, 0); again != c {
			t.Error("differs the second time")
		}
	}
}

func TestAttachment(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	c, err := makeContent(2048, 5000)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(c.AttachPath); err != nil || st.Size() != 5000 {
		t.Errorf("%v, %v", st, err)
	}
}

func TestParse(t *testing.T) {
	for args, want := range map[string]string{
		"-addr nowhere":      "-addr",
		"-addr 127.0.0.1:x":  "-addr",
		"-starttls":          "-ca",
		"-tls -ca /dev/null": "no certificate",
		"-addr 127.0.0.1:1 -rcpt a@b.c,d@e.f -n 5": "",
	} {
		o, err := parse("peer", strings.Fields(args))
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", args, err, want)
			}
			continue
		}
		if err != nil || o.Port != 1 || len(o.RcptTo) != 2 || !strings.HasPrefix(o.prefix, "peer-") {
			t.Errorf("%s: %+v, %v", args, o, err)
		}
	}
}
