// Package examples_test runs each example program against a server.
package examples_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/postrider/postrider/smtp/smtptest"
)

// write makes a file in dir and gives its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrograms(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./...").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files := t.TempDir()
	eml := write(t, files, "message.eml", "From: ann@example.com\nTo: bob@example.net\nSubject: hello\n\nHi.\n")
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	keyFile := write(t, files, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))

	for _, test := range []struct {
		program string
		args    func(*smtptest.Server) []string
		stdin   string
		prints  []string // each is in the output
		sent    []string // each is in each message
		n       int      // messages
	}{
		{
			program: "receipt",
			args: func(*smtptest.Server) []string {
				return []string{"-to", "Zoë <zoe@example.net>, max@example.org", "-picture", eml, "-attach", keyFile}
			},
			prints: []string{"zoe@example.net sent 250", "max@example.org sent 250"},
			sent:   []string{"Content-ID: <logo>"}, n: 1,
		},
		{
			program: "newsletter",
			args: func(*smtptest.Server) []string {
				return []string{"-domain", "example.com", "-selector", "s1", "-key", keyFile}
			},
			stdin:  "zoe@example.net\nmax@example.org\nnobody\n",
			prints: []string{"zoe@example.net success", "max@example.org success", "nobody invalid"},
			sent:   []string{"DKIM-Signature: "}, n: 2,
		},
		{
			program: "forward",
			args:    func(*smtptest.Server) []string { return []string{"-to", "archive@example.com", eml} },
			prints:  []string{"message.eml success <"},
			sent:    []string{"To: bob@example.net\r\n"}, n: 1,
		},
		{
			program: "probe",
			args: func(s *smtptest.Server) []string {
				return []string{"-host", s.Host(), "-port", strconv.Itoa(s.Port()), "-tls", "none", "zoe@example.net"}
			},
			prints: []string{"C MAIL FROM:<>", "zoe@example.net: 250 2.1.5 recipient ok", "C QUIT"},
		},
	} {
		t.Run(test.program, func(t *testing.T) {
			server := smtptest.StartT(t, smtptest.Config{})
			cmd := exec.CommandContext(t.Context(), filepath.Join(bin, test.program), test.args(server)...)
			cmd.Env = append(os.Environ(), "POSTRIDER_RELAY=smtp://"+server.Addr()+"?tls=none")
			cmd.Stdin = strings.NewReader(test.stdin)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			for _, want := range test.prints {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is missing in the output:\n%s", want, out.String())
				}
			}
			got := server.Transactions()
			if len(got) != test.n {
				t.Errorf("%d messages arrived, want %d", len(got), test.n)
			}
			for _, message := range got {
				for _, want := range test.sent {
					if !strings.Contains(string(message.Content), want) {
						t.Errorf("%q is missing in the message:\n%s", want, message.Content)
					}
				}
			}
		})
	}
}
