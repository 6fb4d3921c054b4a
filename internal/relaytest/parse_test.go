package relaytest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/relaytest"
)

func crlf(lines ...string) []byte { return []byte(strings.Join(lines, "\r\n") + "\r\n") }

func TestParseWithPython(t *testing.T) {
	data := []byte{0, 1, 2, 0xff, '\r', '\n', '.'}
	raw := crlf(
		"From: =?utf-8?q?J=C3=BCrgen?= <j@example.com>",
		"To: Team: \"Doe, Jane\" <jane@example.com>, b@example.com;",
		"Cc: Zoë <zoe@bücher.example>",
		"Subject: =?utf-8?b?R3LDvMOfZQ==?= and",
		" more",
		"Date: Mon, 02 Jan 2006 15:04:05 -0700",
		"Message-ID: <1@example.com>",
		"MIME-Version: 1.0",
		`Content-Type: multipart/mixed; boundary="b1"`,
		"",
		"--b1",
		"Content-Type: text/plain; charset=iso-8859-1",
		"Content-Transfer-Encoding: quoted-printable",
		"",
		"caf=E9",
		"--b1",
		"Content-Type: application/octet-stream",
		"Content-Disposition: attachment; filename*=utf-8''na%C3%AFve.bin",
		"Content-ID: <c1@example.com>",
		"Content-Transfer-Encoding: base64",
		"",
		base64.StdEncoding.EncodeToString(data),
		"--b1--",
	)
	p := relaytest.ParseWithPython(t, raw)
	if len(p.Defects) != 0 {
		t.Errorf("defects: %q", p.Defects)
	}
	if want := []relaytest.ParsedMailbox{{Name: "Jürgen", Address: "j@example.com"}}; !slices.Equal(p.From, want) {
		t.Errorf("From = %v, want %v", p.From, want)
	}
	want := []relaytest.ParsedMailbox{
		{Name: "Doe, Jane", Address: "jane@example.com", Group: "Team"},
		{Address: "b@example.com", Group: "Team"},
	}
	if !slices.Equal(p.To, want) {
		t.Errorf("To = %v, want %v", p.To, want)
	}
	if want := []relaytest.ParsedMailbox{{Name: "Zoë", Address: "zoe@bücher.example"}}; !slices.Equal(p.Cc, want) {
		t.Errorf("Cc = %v, want %v", p.Cc, want)
	}
	if p.Subject != "Grüße and more" {
		t.Errorf("Subject = %q", p.Subject)
	}
	if p.Date != "2006-01-02T15:04:05-07:00" || p.MessageID != "<1@example.com>" {
		t.Errorf("Date = %q, MessageID = %q", p.Date, p.MessageID)
	}
	if got, ok := p.Field("mime-version"); got != "1.0" || !ok {
		t.Errorf("MIME-Version = %q, %v", got, ok)
	}
	if got := p.Shape(); got != "multipart/mixed(text/plain, application/octet-stream)" {
		t.Fatalf("shape = %s", got)
	}
	leaves := p.Leaves()
	if leaves[0].Text != "café" || leaves[0].Params["charset"] != "iso-8859-1" {
		t.Errorf("text part = %+v", leaves[0])
	}
	sum := sha256.Sum256(data)
	file := leaves[1]
	if file.SHA256 != hex.EncodeToString(sum[:]) || file.Size != len(data) {
		t.Errorf("attachment: sha256 %s, %d octets", file.SHA256, file.Size)
	}
	if file.Filename != "naïve.bin" || file.Disposition != "attachment" ||
		file.ContentID != "<c1@example.com>" || file.TransferEncoding != "base64" {
		t.Errorf("attachment = %+v", file)
	}
}

func TestParseWithPythonFindsDefects(t *testing.T) {
	tests := map[string][]byte{
		"no end of multipart": crlf("Content-Type: multipart/mixed; boundary=b", "", "--b", "", "text"),
		"bad base64":          crlf("Content-Transfer-Encoding: base64", "", "A"),
		"bad address":         crlf("From: a@@b", "", "text"),
		"bytes in a field":    []byte("Subject: \xff\r\n\r\ntext\r\n"),
		"bad encoded-word":    crlf("Subject: =?utf-8?b?A?=", "", "text"),
		"header without name": crlf("no colon here", "", "text"),
	}
	names := make([]string, 0, len(tests))
	raws := make([][]byte, 0, len(tests))
	for name, raw := range tests {
		names = append(names, name)
		raws = append(raws, raw)
	}
	for i, p := range relaytest.ParseAllWithPython(t, raws) {
		if len(p.Defects) == 0 {
			t.Errorf("%s: no defect found in %q", names[i], raws[i])
		}
	}
}

func TestParseWithPythonNestedMessage(t *testing.T) {
	raw := crlf(
		"MIME-Version: 1.0",
		`Content-Type: multipart/report; report-type=delivery-status; boundary="b1"`,
		"",
		"--b1",
		"Content-Type: message/rfc822",
		"",
		"Subject: inner",
		"",
		"text",
		"--b1--",
	)
	p := relaytest.ParseWithPython(t, raw)
	if got := p.Shape(); got != "multipart/report(message/rfc822(text/plain))" {
		t.Fatalf("shape = %s, defects %q", got, p.Defects)
	}
	if got, _ := p.Leaves()[0].Field("subject"); got != "inner" {
		t.Errorf("inner subject = %q", got)
	}
}
