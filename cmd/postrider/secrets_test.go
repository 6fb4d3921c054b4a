package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/smtp/smtptest"
)

// The parts of a relay URL's password, as it is meant and as a URL spells it.
const (
	password        = `pa:ss/wo rd@%"secret`
	encodedPassword = "pa%3Ass%2Fwo%20rd%40%25%22secret"
)

// inProcess runs a command line with nothing of the outside world.
func inProcess(ctx context.Context, t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	p := &program{ctx: ctx, stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs}
	status = run(p, args)
	return status, out.String(), errs.String()
}

// forms are all spellings in which the password would be given away.
func forms() []string {
	plain := []string{"ann\x00" + password, "\x00ann\x00" + password, password, "ann:" + password}
	all := []string{password, encodedPassword, "secret", "pa:ss", "pa%3Ass", fmt.Sprintf("%q", password)}
	for _, p := range plain {
		all = append(all, base64.StdEncoding.EncodeToString([]byte(p)))
	}
	return all
}

// TestSecretsNeverShow runs every kind of failure with a password in the relay URL.
func TestSecretsNeverShow(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	people := filepath.Join(t.TempDir(), "people.csv")
	if err := os.WriteFile(people, []byte("email\nann@example.net\nbob@example.net\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, setting := range []string{
		"", "greeting=554 5.7.1 no", "greeting=garbage", "greeting=drop", "ehlo=502 5.5.1 no", "ehlo=drop", "starttls=454 4.7.0 no", "starttls=drop",
		"auth=535 5.7.8 wrong", "auth=454 4.7.0 later", "auth=drop", "auth=garbage", "auth=421 4.3.2 bye", "auth=504 5.5.4 what",
		"mail=550 5.7.1 no", "mail=530 5.7.0 authenticate", "rcpt=550 5.1.1 no", "rcpt=451 4.7.1 later", "content=554 5.7.1 spam", "content=lost", "content=drop",
		"mechanism PLAIN", "mechanism LOGIN", "mechanism CRAM-MD5", "mechanism SCRAM-SHA-1", "wrong PLAIN", "wrong LOGIN", "wrong CRAM-MD5", "wrong SCRAM-SHA-256",
		"echo PLAIN", "echo LOGIN",
	} {
		t.Run(setting, func(t *testing.T) {
			cfg := smtptest.Config{Users: map[string]string{"ann": password}, RequireAuth: true}
			kind, value, ok := strings.Cut(setting, " ")
			switch {
			case ok && kind == "mechanism":
				cfg.Mechanisms = []string{value}
			case ok && kind == "wrong":
				cfg.Mechanisms, cfg.Users = []string{value}, map[string]string{"ann": "other"}
			case ok && kind == "echo":
				// A relay that repeats in its refusal what it was given.
				cfg.Mechanisms = []string{value}
				moment, said := "AUTH", "\x00ann\x00"+password
				if value == "LOGIN" {
					moment, said = smtptest.CommandAuthResponse, password
				}
				cfg.Rules = []smtptest.Rule{{
					Command: moment, Match: base64.StdEncoding.EncodeToString([]byte(said)),
					Action: smtptest.Reply("535-5.7.8 no: "+base64.StdEncoding.EncodeToString([]byte(said)), "535 5.7.8 or "+password),
				}}
			case setting != "":
				rule, err := inbox.ParseChaos(setting)
				if err != nil {
					t.Fatal(err)
				}
				cfg.Rules = []smtptest.Rule{rule}
			}
			srv := smtptest.StartT(t, cfg)
			ca := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(ca, srv.CAPEM(), 0o600); err != nil {
				t.Fatal(err)
			}
			message := []string{"--ca-file", ca, "--verbose", "--no-retry", "--from", "a@example.com", "--to", "ann@example.net", "--text", "x", "--timeout", "20s"}
			for _, relay := range []string{"smtp://ann:" + encodedPassword + "@" + srv.Addr(), "smtps://ann:" + encodedPassword + "@" + srv.TLSAddr()} {
				for i, args := range [][]string{
					append([]string{"send", "--relay", relay}, message...),
					append([]string{"send", "--relay", relay, "--json"}, message...),
					{"check", "--relay", relay, "--ca-file", ca, "--verbose", "--timeout", "20s"},
					{"check", "--relay", relay, "--ca-file", ca, "--verbose", "--timeout", "20s", "--json"},
					{"send", "--relay", relay, "--ca-file", ca, "--verbose", "--no-retry", "--from", "a@example.com", "--to", "{{email}}", "--text", "x", "--merge", people, "--results", filepath.Join(t.TempDir(), "r.csv"), "--json"},
				} {
					_, stdout, stderr := inProcess(t.Context(), t, "", args...)
					if stdout == "" || stderr == "" {
						t.Errorf("case %d printed nothing: %q, %q", i, stdout, stderr)
					}
					if kind == "echo" && !strings.Contains(stdout, "no: ********") {
						t.Errorf("case %d: the relay did not repeat what it heard: %s", i, stdout)
					}
					holdsNoSecret(t, args, stdout, stderr)
				}
			}
		})
	}
}

// TestWrongCommandLinesShowNoSecret puts the password where it makes the command line wrong.
func TestWrongCommandLinesShowNoSecret(t *testing.T) {
	for _, relay := range []string{
		"smtp://ann:" + encodedPassword + "@relay.example.com",
		"smtp://ann:" + password + "@relay.example.com", // not encoded as it must be
		"smtp://ann:" + password + "@relay.example.com:99999",
		"smtp://ann:" + password,
		"http://ann:" + encodedPassword + "@relay.example.com",
		"smtp://ann:" + encodedPassword + "@relay.example.com/path?tls=none#x",
		"smtp://ann:" + encodedPassword + "@relay.example.com?password=" + encodedPassword,
		"smtp://ann:" + encodedPassword + "@",
		"smtp://:" + encodedPassword + "@relay.example.com:x",
		"ann:" + encodedPassword + "@relay.example.com",
		"smtps://ann:" + encodedPassword + "@relay.example.com?tls=none",
		"smtp://ann:" + encodedPassword + "@relay.example.com?auth=NONSENSE",
	} {
		for _, args := range [][]string{
			{relay},
			{"send", relay},
			{"send", "--relay", relay, "extra"},
			{"send", "--rely=" + relay},
			{"send", "--relay", relay, "--nonsense"},
			{"send", "--relay", relay},
			{"check", relay},
			{"check", "--timeout", relay, "--relay", relay},
			{"send", "--concurrency", relay},
			{"check", "--relay", relay, "--timeout", "1ns"},
			{"send", "--relay", relay, "--password-file", "nowhere"},
			{"send", "--relay", relay, "--from", "a@example.com", "--to", "b@example.com", "--text", "x", "--local-name", "not a name", "--timeout", "1ns"},
			{"--relay", relay, "send"},
			{"inbox", relay},
			{"version", relay},
		} {
			status, stdout, stderr := inProcess(t.Context(), t, "", args...)
			if status == exitOK || status == exitSoftware {
				t.Errorf("%q: exit status %d", args, status)
			}
			if strings.Count(stderr, "\n") > 1 {
				t.Errorf("%q: more than a line: %q", args, stderr)
			}
			holdsNoSecret(t, args, stdout, stderr)
		}
	}
}

func holdsNoSecret(t *testing.T, args []string, outputs ...string) {
	t.Helper()
	for _, out := range outputs {
		for _, form := range forms() {
			if strings.Contains(out, form) {
				t.Fatalf("%q printed %q:\n%s", args, form, out)
			}
		}
		if strings.Contains(out, "goroutine ") {
			t.Fatalf("%q crashed: %s", args, out)
		}
	}
}

// TestOddCommandLines makes some hundred command lines of odd words; none may crash, hang
// or send, and what is wrong with each is said in lines that begin with the program's name.
func TestOddCommandLines(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Chdir(t.TempDir())
	if err := os.WriteFile("file.csv", []byte("a,b\n1,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	flags := []string{
		"--relay", "--from", "--to", "--cc", "--bcc", "--reply-to", "--mail-from", "--subject", "--text", "--text-file", "--html", "--html-file",
		"--charset", "--attach", "--inline", "--calendar", "--raw", "--header", "--sender", "--message-id", "--in-reply-to", "--references",
		"--list-unsubscribe", "--auto-submitted", "--priority", "--notify", "--return", "--envelope-id", "--dkim-domain", "--dkim-selector", "--dkim-key",
		"--password-file", "--local-name", "--ca-file", "--client-cert", "--client-key", "--timeout", "--merge", "--results", "--concurrency",
	}
	values := []string{"", " ", "-", "--", "\x00", "\r\n", "é", "\xff", "a@b.example", "a@", "@", "<", "{{", "{{a}}", "file.csv", "file.csv;cid=x", ";", "%", ".", "/dev/null", "1", "-1", strings.Repeat("x", 5000)}
	count := 0
	for _, flag := range flags {
		for _, value := range values {
			// The relay is where nobody listens: what is right after all fails to be sent.
			base := []string{"send", "--no-retry", "--timeout=1s", "--relay=smtp://127.0.0.1:1?tls=none", "--from=a@example.com", "--to=b@example.com"}
			args := append(base, flag+"="+value)
			if flag == "--merge" || flag == "--results" || flag == "--concurrency" {
				_ = os.Remove("file.csv.results.csv")
				args = append(args, "--merge=file.csv", "--text={{a}}")
			}
			status, stdout, stderr := inProcess(ctx, t, "", args...)
			count++
			said := stderr + stdout
			if status == exitOK || status == exitUnknown || strings.TrimSpace(said) == "" {
				t.Errorf("%q: exit status %d, %q", args, status, said)
			}
			for line := range strings.Lines(stderr) {
				if !strings.HasPrefix(line, "postrider: ") || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x00\r\n\x1b") {
					t.Errorf("%q: stderr %q", args, stderr)
				}
			}
			if strings.Contains(said, "goroutine ") || strings.Contains(said, "panic") {
				t.Errorf("%q: crashed: %s", args, said)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "postrider-*")); len(left) > 0 {
		t.Errorf("%d command lines left %v", count, left)
	}
}
