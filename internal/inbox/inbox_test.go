package inbox_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	netsmtp "net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/smtp/smtptest"
)

// box is an inbox with its server and pages.
type box struct {
	t     *testing.T
	store *inbox.Store
	smtp  *smtptest.Server
	pages *httptest.Server
	came  []inbox.Message
}

func newBox(t *testing.T, keep int) *box {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	b := &box{t: t}
	var err error
	b.store, err = inbox.NewStore(keep, func(m inbox.Message) { b.came = append(b.came, m) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.store.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	b.smtp = smtptest.StartT(t, smtptest.Config{Without: []string{"STARTTLS"}, MaxContent: -1, KeepRecords: -1, Content: b.store.Receive})
	handler, err := b.store.Handler()
	if err != nil {
		t.Fatal(err)
	}
	b.pages = httptest.NewServer(handler)
	t.Cleanup(b.pages.Close)
	return b
}

func (b *box) send(message string, to ...string) {
	b.t.Helper()
	if len(to) == 0 {
		to = []string{"ann@example.net"}
	}
	message = strings.ReplaceAll(message, "\n", "\r\n")
	if err := netsmtp.SendMail(b.smtp.Addr(), nil, "shop@example.com", to, []byte(message)); err != nil {
		b.t.Fatal(err)
	}
}

// reply is an HTTP response less its body.
type reply struct {
	StatusCode int
	Status     string
	Header     http.Header
}

func (b *box) get(path string) (reply, string) {
	b.t.Helper()
	return b.do(http.MethodGet, path, "", nil)
}

func (b *box) do(method, path, host string, header http.Header) (reply, string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.pages.URL+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if r.Host = host; host == "" {
		r.Host = r.URL.Host
	}
	if header != nil {
		r.Header = header
	}
	answer, err := b.pages.Client().Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return reply{answer.StatusCode, answer.Status, answer.Header}, string(body)
}

// png is long enough to have several lines of base64.
func png() []byte {
	return append([]byte("\x89PNG\r\n\x1a\n"), []byte(strings.Repeat("picture\x00\xff", 50))...)
}

func letter() string {
	wrapped := base64.StdEncoding.EncodeToString(png())
	return "From: =?utf-8?q?Zo=C3=AB?= <zoe@example.com>\nTo: Ann <ann@example.net>\nSubject: =?utf-8?q?Gr=C3=B6=C3=9Fe?= <b>42</b>\n" +
		"Message-ID: <1@example.com>\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=m\n\n" +
		"--m\nContent-Type: multipart/related; boundary=r\n\n" +
		"--r\nContent-Type: multipart/alternative; boundary=a\n\n" +
		"--a\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe\n" +
		"--a\nContent-Type: text/html; charset=utf-8\n\n<p>Grüße<script>alert(1)</script><img src=\"cid:logo\"><img src=cid:logo2@x><img src=cid:logo%40y></p>\n--a--\n" +
		"--r\nContent-Type: image/png\nContent-ID: <logo>\nContent-Disposition: inline; filename=logo.png\nContent-Transfer-Encoding: base64\n\n" + wrapped + "\n" +
		"--r\nContent-Type: image/png\nContent-ID: <logo2@x>\nContent-Disposition: inline\nContent-Transfer-Encoding: base64\n\n" + wrapped + "\n" +
		"--r\nContent-Type: image/svg+xml\nContent-ID: <logo@y>\nContent-Disposition: inline\n\n<svg onload=\"alert(1)\"/>\n--r--\n" +
		"--m\nContent-Type: application/pdf\nContent-Disposition: attachment; filename*=utf-8''Gr%C3%B6%C3%9Fe.pdf\nContent-Transfer-Encoding: base64\n\n" + wrapped + "\n" +
		"--m\nContent-Type: text/html\nContent-Disposition: attachment; filename=evil.html\n\n<script>alert(1)</script>\n--m--\n"
}

func TestInbox(t *testing.T) {
	b := newBox(t, 10)
	if _, page := b.get("/"); !strings.Contains(page, "Nothing has arrived yet") {
		t.Errorf("the empty list says %s", page)
	}
	b.send(letter(), "ann@example.net", "hidden@example.net")
	if len(b.came) != 1 {
		t.Fatalf("told of %d messages", len(b.came))
	}
	m := b.came[0]
	if m.ID != 1 || m.Subject != "Größe <b>42</b>" || m.From != "Zoë <zoe@example.com>" || m.MailFrom != "shop@example.com" ||
		len(m.RcptTo) != 2 || m.MessageID != "<1@example.com>" || m.TLS || m.ReceivedAt.IsZero() {
		t.Errorf("told of %+v", m)
	}
	if answer, page := b.get("/"); !strings.Contains(page, `<a href="/messages/1">Größe &lt;b&gt;42&lt;/b&gt;</a>`) || !strings.Contains(page, "hidden@example.net") ||
		answer.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("the list says %s", page)
	}
	_, page := b.get("/messages/1")
	for _, want := range []string{"Grüße", `<iframe sandbox="allow-popups allow-popups-to-escape-sandbox" src="/messages/1/html"`, "/messages/1/parts/6", "evil.html", "Größe.pdf", "Message-Id", "not encrypted"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page of the message lacks %q: %s", want, page)
		}
	}
	if strings.Contains(page, "<script") {
		t.Errorf("the page holds foreign HTML: %s", page)
	}
	if answer, raw := b.get("/messages/1/raw"); raw != strings.ReplaceAll(letter(), "\n", "\r\n") || answer.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("the raw source is %q", raw)
	}
	if sum := sha256.Sum256([]byte(strings.ReplaceAll(letter(), "\n", "\r\n"))); hex.EncodeToString(sum[:]) != m.SHA256 {
		t.Errorf("the hash is %s", m.SHA256)
	}
}

func TestHTMLIsInASandbox(t *testing.T) {
	b := newBox(t, 10)
	b.send(letter())
	answer, body := b.get("/messages/1/html")
	policy := answer.Header.Get("Content-Security-Policy")
	for _, want := range []string{"sandbox allow-popups allow-popups-to-escape-sandbox;", "base-uri 'none'", "default-src 'none'", "img-src 'self' data:"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %q: %s", want, policy)
		}
	}
	for _, never := range []string{"allow-scripts", "allow-same-origin", "script-src", "https:", "*"} {
		if strings.Contains(policy, never) {
			t.Errorf("the policy holds %q: %s", never, policy)
		}
	}
	for _, want := range []string{`src="/messages/1/parts/3"`, "src=/messages/1/parts/4>", "src=/messages/1/parts/5>"} {
		if !strings.Contains(body, want) {
			t.Errorf("the HTML lacks %s: %s", want, body)
		}
	}
	for _, path := range []string{"/", "/messages/1", "/messages/1/raw", "/messages/1/parts/1", "/api/messages"} {
		answer, _ := b.get(path)
		h := answer.Header
		if !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cross-Origin-Resource-Policy") != "same-origin" {
			t.Errorf("%s has the header %v", path, h)
		}
	}
}

func TestParts(t *testing.T) {
	b := newBox(t, 10)
	b.send(letter())
	sum := func(s string) [32]byte { return sha256.Sum256([]byte(s)) }
	want := sum(string(png()))
	for _, c := range []struct {
		part                   int
		mediaType, disposition string
		sum                    [32]byte
	}{
		{1, "application/octet-stream", `attachment; filename=part-1`, sum("Grüße")},
		{3, "image/png", `inline; filename=logo.png`, want},
		{4, "image/png", `inline; filename=part-4`, want},
		{5, "application/octet-stream", `attachment; filename=part-5`, sum(`<svg onload="alert(1)"/>`)},
		{6, "application/octet-stream", `attachment; filename*=utf-8''Gr%C3%B6%C3%9Fe.pdf`, want},
		{7, "application/octet-stream", `attachment; filename=evil.html`, sum("<script>alert(1)</script>")},
	} {
		answer, body := b.get(fmt.Sprintf("/messages/1/parts/%d", c.part))
		if sum(body) != c.sum || answer.Header.Get("Content-Type") != c.mediaType || answer.Header.Get("Content-Disposition") != c.disposition {
			t.Errorf("part %d: %q as %v", c.part, body, answer.Header)
		}
	}
	for _, path := range []string{"/messages/1/parts/8", "/messages/1/parts/0", "/messages/1/parts/x", "/messages/2", "/messages/x/raw", "/messages/2/html", "/api/messages/2", "/nothing"} {
		if answer, _ := b.get(path); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, answer.Status)
		}
	}
}

func TestAPI(t *testing.T) {
	b := newBox(t, 2)
	if _, body := b.get("/api/messages"); !strings.Contains(body, `"messages": []`) {
		t.Errorf("the empty list is %s", body)
	}
	for i := range 3 {
		b.send(fmt.Sprintf("Subject: %d\n\ntext\n", i+1))
	}
	var list struct{ Messages []inbox.Message }
	_, body := b.get("/api/messages")
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Messages) != 2 || list.Messages[0].ID != 3 || list.Messages[1].Subject != "2" {
		t.Errorf("got %s, %v", body, err)
	}
	var view inbox.View
	_, body = b.get("/api/messages/3")
	if err := json.Unmarshal([]byte(body), &view); err != nil || view.Text != "text\r\n" || len(view.Parts) != 1 || view.Parts[0].Size != 6 {
		t.Errorf("got %s, %v", body, err)
	}
	if answer, _ := b.get("/api/messages/1"); answer.StatusCode != http.StatusNotFound {
		t.Errorf("the oldest is kept: %s", answer.Status)
	}
	if answer, _ := b.do(http.MethodDelete, "/api/messages", "", nil); answer.StatusCode != http.StatusNoContent {
		t.Errorf("DELETE: %s", answer.Status)
	}
	if left := b.store.List(); len(left) != 0 {
		t.Errorf("left after DELETE: %v", left)
	}
	b.send("Subject: after\n\n")
	if left := b.store.List(); len(left) != 1 || left[0].ID != 4 {
		t.Errorf("after DELETE there is %v", left)
	}
}

// TestForeignPages plays pages of other sites that use the developer's browser.
func TestForeignPages(t *testing.T) {
	b := newBox(t, 10)
	b.send("Subject: x\n\n")
	for host, want := range map[string]int{
		"": 200, "localhost:8026": 200, "LOCALHOST": 200, "127.0.0.1": 200, "[::1]:8026": 200, "192.0.2.1:80": 200,
		"evil.example": 403, "evil.example:8026": 403, "127.0.0.1.evil.example": 403, "localhost.evil.example": 403,
	} {
		if answer, body := b.do(http.MethodGet, "/api/messages", host, nil); answer.StatusCode != want || want == 403 && strings.Contains(body, "message_id") {
			t.Errorf("host %q: %s", host, answer.Status)
		}
	}
	for _, header := range []http.Header{{"Sec-Fetch-Site": {"cross-site"}}, {"Origin": {"https://evil.example"}}} {
		if answer, _ := b.do(http.MethodDelete, "/api/messages", "", header); answer.StatusCode != http.StatusForbidden {
			t.Errorf("DELETE with %v: %s", header, answer.Status)
		}
	}
	if len(b.store.List()) != 1 {
		t.Error("a foreign page has deleted messages")
	}
}

// TestMalformed takes what is no good message: an inbox shows it all the same.
func TestMalformed(t *testing.T) {
	deep := ""
	for i := range 40 {
		deep += fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	for name, message := range map[string]string{
		"empty":              "",
		"no header":          "hello\nworld\n",
		"header only":        "Subject: x\n",
		"no boundary":        "Content-Type: multipart/mixed\n\nx\n",
		"no end":             "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n",
		"bad base64":         "Content-Transfer-Encoding: base64\n\n!!!!\n",
		"unknown encoding":   "Content-Transfer-Encoding: rot13\n\nuryyb\n",
		"unknown charset":    "Content-Type: text/plain; charset=klingon\n\nx\n",
		"bad media type":     "Content-Type: ;;;\n\nx\n",
		"bad word":           "Subject: =?utf-8?b?!!?=\n\nx\n",
		"deep":               deep + "\nx\n",
		"many":               "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 500) + "--b--\n",
		"long subject":       "Subject: " + strings.Repeat("ä", 100000) + "\n\nx\n",
		"control characters": "Subject: a\x1b[31mb\x07\nFrom: \x00\n\n\x1b[2J\n",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, 10)
			b.send(message)
			for _, path := range []string{"/", "/messages/1", "/messages/1/html", "/messages/1/raw", "/api/messages/1"} {
				if answer, body := b.get(path); answer.StatusCode != http.StatusOK {
					t.Errorf("%s: %s: %s", path, answer.Status, body)
				}
			}
			if len(b.came[0].Subject) > 3000 {
				t.Errorf("the list keeps a subject of %d octets", len(b.came[0].Subject))
			}
		})
	}
}

// TestBrokenPartIsNotWhole downloads a part that ends in the middle.
func TestBrokenPartIsNotWhole(t *testing.T) {
	b := newBox(t, 10)
	b.send("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: base64\n\n" +
		strings.Repeat("QUJD\n", 20000) + "????\n--b--\n")
	answer, err := b.pages.Client().Get(b.pages.URL + "/messages/1/parts/1")
	if err == nil {
		_, err = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
	if err == nil {
		t.Error("half a part came as a whole one")
	}
}
