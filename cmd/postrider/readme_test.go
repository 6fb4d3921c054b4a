package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestReadmeService runs the commands of the README's section on the service, as a shell does, on ports of its own. Beside
// that it only waits for the two servers, takes the API key from what setup printed, and ends what it started.
func TestReadmeService(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("real server: %v", err)
		}
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\n## As a service\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, script, _ := strings.Cut(section, "```sh\n")
	script, _, ok := strings.Cut(script, "```")
	if !ok {
		t.Fatal("README.md has no commands for the service")
	}
	for _, change := range [][2]string{
		{"--email ann@example.com", "--email ann@example.com > setup.txt; cat setup.txt"},
		{"postrider inbox &", "postrider inbox --listen 127.0.0.1:1025 --http 127.0.0.1:8026 >inbox.txt 2>&1 & pids=$!"},
		{"serve --data data", "serve --data data --listen 127.0.0.1:8025"},
		{"2> serve.log &", "> served.txt 2> serve.log & pids=\"$pids $!\"; trap 'kill $pids; wait' EXIT\n" +
			"until curl -fs http://127.0.0.1:8025/readyz >ready.txt && grep -q Waiting inbox.txt; do :; done"},
		{"API_KEY=pr_...", "API_KEY=$(sed -n 's/^API key *//p' setup.txt)"},
		{"curl ", "curl -sS "},
	} {
		if !strings.Contains(script, change[0]) {
			t.Fatalf("the README's commands no longer have %q", change[0])
		}
		script = strings.ReplaceAll(script, change[0], change[1])
	}
	script = strings.NewReplacer("8025", freePort(t), "8026", freePort(t), "1025", freePort(t)).Replace(script)
	shell := exec.CommandContext(t.Context(), "sh", "-eu")
	shell.Dir, shell.Stdin = t.TempDir(), strings.NewReader(script)
	var out bytes.Buffer
	shell.Stdout, shell.Stderr = &out, &out
	if err := shell.Run(); err != nil {
		t.Fatalf("%v:\n%s", err, out.String())
	}
	want := []string{
		`pr_operator_`, `HTTP/1.1 200 OK`, `"tenant":"acme"`, `HTTP/1.1 401 Unauthorized`, `"code":"missing_credentials"`,
		`"name":"main"`, `"address":"zoe@example.net","field":"to","state":"sent"`, `"result":\{"status":"success"`,
		`"data":\[\{"id":"[^"]+".*"state":"sent"`, `"kind":"queued".*"kind":"sent"`, `sent .*Your receipt`, `relay +smtp://127`,
	}
	if !regexp.MustCompile(`(?s)` + strings.Join(want, `.*`)).MatchString(out.String()) {
		t.Errorf("the README's commands print not %s but\n%s", fmt.Sprint(want), out.String())
	}
}

// freePort is a port of this machine that nobody uses at the moment.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
