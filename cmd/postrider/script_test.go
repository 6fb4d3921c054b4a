package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/smtp/smtptest"
)

// TestScripts runs testdata/script. Beside testscript's own commands there are
//
//	relay NAME [SETTING]…       start a server, see startRelay
//	received NAME N [FILE]      it accepted N messages; the last one's content goes to FILE
//	recipients NAME ADDRESS…    of the last message, in order
//	sessions NAME N             that many connections were made to it
//	exits STATUS ARG…           run postrider; its exit status is this one
//	json FILE KEY…              FILE, or stdout, is one object with exactly these keys
//	jsonis FILE PATH VALUE      a value in it, such as recipients.0.status sent
//	await FILE REGEXP           wait until a file holds that; sets $MATCH to the first group
//	get URL FILE                fetch a page; ! get: it is refused
//	lines FILE N                it has that many lines
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Values[relaysKey{}] = make(map[string]*smtptest.Server)
			// Race reports of the program must fail the script that made them.
			e.Setenv("GORACE", os.Getenv("GORACE"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"relay": startRelay, "received": received, "recipients": recipientsAre, "sessions": sessions,
			"exits": exits, "json": jsonKeys, "jsonis": jsonIs, "await": await, "get": get, "lines": lines,
		},
	})
}

type relaysKey struct{}

func relayNamed(ts *testscript.TestScript, name string) *smtptest.Server {
	s, ok := ts.Value(relaysKey{}).(map[string]*smtptest.Server)[name]
	if !ok {
		ts.Fatalf("there is no relay %s", name)
	}
	return s
}

// startRelay takes settings user=NAME:PASSWORD, without=KEYWORD, maxsize=N and requireauth=yes; all
// others are rules as of inbox --chaos. It sets $NAME to the relay's URL without TLS, $NAME_TLS
// with STARTTLS and $NAME_SSL with implicit TLS, each with user and password if there are, and
// $NAME_BARE without them; $NAME_ADDR and $NAME_SSL_ADDR are the addresses alone, $NAME_PORT the port. Its certificate authority is in ca.pem.
func startRelay(ts *testscript.TestScript, _ bool, args []string) {
	var cfg smtptest.Config
	user := ""
	for _, setting := range args[1:] {
		name, value, _ := strings.Cut(setting, "=")
		switch name {
		case "user":
			user = value + "@"
			n, p, _ := strings.Cut(value, ":")
			cfg.Users = map[string]string{n: p}
		case "without":
			cfg.Without = append(cfg.Without, value)
		case "requireauth":
			cfg.RequireAuth = true
		case "maxsize":
			n, err := strconv.ParseInt(value, 10, 64)
			ts.Check(err)
			cfg.MaxSize = n
		default:
			rule, err := inbox.ParseChaos(setting)
			ts.Check(err)
			cfg.Rules = append(cfg.Rules, rule)
		}
	}
	s, err := smtptest.Start(cfg)
	ts.Check(err)
	ts.Defer(func() { ts.Check(s.Close()) })
	ts.Value(relaysKey{}).(map[string]*smtptest.Server)[args[0]] = s
	ts.Setenv(args[0], "smtp://"+user+s.Addr()+"?tls=none")
	ts.Setenv(args[0]+"_BARE", "smtp://"+s.Addr()+"?tls=none")
	ts.Setenv(args[0]+"_TLS", "smtp://"+user+s.Addr())
	ts.Setenv(args[0]+"_SSL", "smtps://"+user+s.TLSAddr())
	ts.Setenv(args[0]+"_ADDR", s.Addr())
	ts.Setenv(args[0]+"_SSL_ADDR", s.TLSAddr())
	_, port, err := net.SplitHostPort(s.Addr())
	ts.Check(err)
	ts.Setenv(args[0]+"_PORT", port)
	ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), s.CAPEM(), 0o600))
}

func received(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	got := relayNamed(ts, args[0]).Transactions()
	if len(got) != n {
		ts.Fatalf("%d messages were accepted", len(got))
	}
	if len(args) > 2 && n > 0 {
		ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(strings.ReplaceAll(got[n-1].Text(), "\r\n", "\n")), 0o600))
	}
}

func recipientsAre(ts *testscript.TestScript, _ bool, args []string) {
	all := relayNamed(ts, args[0]).Transactions()
	if got := all[len(all)-1].Recipients(); !slices.Equal(got, args[1:]) {
		ts.Fatalf("the recipients are %q", got)
	}
}

func sessions(ts *testscript.TestScript, _ bool, args []string) {
	if got := len(relayNamed(ts, args[0]).Sessions()); strconv.Itoa(got) != args[1] {
		ts.Fatalf("there were %d sessions", got)
	}
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("postrider", args[1:]...)
	status := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		status = e.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(status) != args[0] {
		ts.Fatalf("the exit status is %d", status)
	}
	stderr := ts.ReadFile("stderr")
	if strings.Contains(stderr, "goroutine ") || strings.Contains(stderr, "DATA RACE") {
		ts.Fatalf("it crashed")
	}
}

func readJSON(ts *testscript.TestScript, file string) any {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(file)), &v))
	return v
}

func jsonKeys(ts *testscript.TestScript, _ bool, args []string) {
	object, ok := readJSON(ts, args[0]).(map[string]any)
	if !ok {
		ts.Fatalf("it is no object")
	}
	want := slices.Sorted(slices.Values(args[1:]))
	var got []string
	for k := range object {
		got = append(got, k)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		ts.Fatalf("the keys are %q", got)
	}
}

func jsonIs(ts *testscript.TestScript, neg bool, args []string) {
	v := readJSON(ts, args[0])
	for key := range strings.SplitSeq(args[1], ".") {
		switch x := v.(type) {
		case map[string]any:
			member, ok := x[strings.ReplaceAll(key, "|", ".")]
			if !ok {
				ts.Fatalf("there is no %s in %v", key, x)
			}
			v = member
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(x) {
				ts.Fatalf("there is no %s in %v", key, x)
			}
			v = x[i]
		default:
			ts.Fatalf("there is no %s in %v", key, x)
		}
	}
	if got := fmt.Sprint(v); (got == args[2]) == neg {
		ts.Fatalf("%s is %q", args[1], got)
	}
}

func await(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile("(?m)" + args[1])
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		content, err := os.ReadFile(ts.MkAbs(args[0]))
		if m := pattern.FindSubmatch(content); err == nil && m != nil {
			if len(m) > 1 {
				ts.Setenv("MATCH", string(m[1]))
			}
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("%s still holds %q", args[0], content)
		case <-tick.C:
		}
	}
}

func get(ts *testscript.TestScript, neg bool, args []string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(args[0])
	ts.Check(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	ts.Check(err)
	if (answer.StatusCode == http.StatusOK) == neg {
		ts.Fatalf("%s", answer.Status)
	}
	if len(args) > 1 {
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), body, 0o600))
	}
}

func lines(ts *testscript.TestScript, _ bool, args []string) {
	if got := strings.Count(ts.ReadFile(args[0]), "\n"); strconv.Itoa(got) != args[1] {
		ts.Fatalf("there are %d lines", got)
	}
}
