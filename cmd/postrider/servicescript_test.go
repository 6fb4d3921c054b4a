package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/postrider/postrider/internal/pgtest"
	"github.com/postrider/postrider/smtp/smtptest"
)

// TestServiceScripts runs testdata/service on SQLite and on PostgreSQL, the latter with a login of its own for each role.
// Settings come from the environment. Beside the commands of TestScripts there are
//
//	http STATUS METHOD PATH [WORD]…      ask the service at $URL for PATH; the answer goes to the file answer, its
//	                                     header to the file header. A WORD is Name:value, or @FILE for the body (JSON)
//	eventually STATUS METHOD PATH …      the same again and again until the status is STATUS
//	becomes stdout REGEXP ARG…           run postrider again and again until its output matches
//	setjson FILE PATH VARIABLE           a value of a JSON file into the environment
//	absent FILE VARIABLE…                the values of these are not in the file
func TestServiceScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/service/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		runServiceScripts(t, files, nil)
	})
	t.Run("postgresql", func(t *testing.T) {
		t.Parallel()
		server := pgtest.Shared(t)
		for _, file := range files {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
				runServiceScripts(t, []string{file}, databaseURLs(t, server))
			})
		}
	})
}

// databaseURLs makes an empty database with a login for requests and one for delivery; migrations run as the superuser.
func databaseURLs(t *testing.T, server *pgtest.Server) map[string]string {
	t.Helper()
	database := server.Database(t)
	api, delivery := database+"_api", database+"_delivery"
	return map[string]string{
		"POSTRIDER_MIGRATION_DATABASE_URL": server.AdminURL(database),
		"POSTRIDER_DATABASE_URL":           server.URL(database, api, server.Login(t, api, "")),
		"POSTRIDER_DELIVERY_DATABASE_URL":  server.URL(database, delivery, server.Login(t, delivery, "")),
	}
}

func runServiceScripts(t *testing.T, files []string, settings map[string]string) {
	testscript.Run(t, testscript.Params{
		Files:               files,
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Values[relaysKey{}] = make(map[string]*smtptest.Server)
			e.Setenv("GORACE", os.Getenv("GORACE"))
			e.Setenv("POSTRIDER_DATA", filepath.Join(e.WorkDir, "data"))
			e.Setenv("POSTRIDER_LISTEN", "127.0.0.1:0")
			e.Setenv("POSTRIDER_HOSTNAME", "node1")
			for k, v := range settings {
				e.Setenv(k, v)
			}
			return nil
		},
		Condition: func(word string) (bool, error) {
			if word == "postgresql" {
				return settings != nil, nil
			}
			return false, fmt.Errorf("unknown condition %s", word)
		},
		Cmds: serviceCommands(),
	})
}

func serviceCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"exits": exits, "json": jsonKeys, "jsonis": jsonIs, "await": await, "lines": lines,
		"relay": startRelay, "received": received, "http": httpIs, "eventually": httpBecomes, "becomes": becomes, "setjson": setJSON, "absent": absent,
	}
}

func httpIs(ts *testscript.TestScript, _ bool, args []string) {
	status, err := request(ts, args[1:])
	ts.Check(err)
	if strconv.Itoa(status) != args[0] {
		ts.Fatalf("%s %s: status %d: %s", args[1], args[2], status, ts.ReadFile("answer"))
	}
}

// httpBecomes waits for what takes effect a moment later, such as a revocation.
func httpBecomes(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := request(ts, args[1:])
		if err == nil && strconv.Itoa(status) == args[0] {
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("%s %s: status %d, %v", args[1], args[2], status, err)
		case <-tick.C:
		}
	}
}

// becomes waits for what a running service notices a moment later.
func becomes(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile("(?m)" + args[1])
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ts.Exec("postrider", args[2:]...)
		if err == nil && pattern.MatchString(ts.ReadFile(args[0])) {
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("postrider %s: %v", strings.Join(args[2:], " "), err)
		case <-tick.C:
		}
	}
}

// request sends one request on a connection of its own.
func request(ts *testscript.TestScript, args []string) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var body io.Reader
	for _, word := range args[2:] {
		if file, ok := strings.CutPrefix(word, "@"); ok {
			body = strings.NewReader(os.Expand(ts.ReadFile(file), ts.Getenv))
		}
	}
	target := args[1]
	if strings.HasPrefix(target, "/") {
		target = ts.Getenv("URL") + target
	}
	r, err := http.NewRequestWithContext(ctx, args[0], target, body)
	if err != nil {
		return 0, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, word := range args[2:] {
		if name, value, ok := strings.Cut(word, ":"); ok && !strings.HasPrefix(word, "@") {
			r.Header.Set(name, value)
		}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	var header bytes.Buffer
	err = errors.Join(err, answer.Header.Write(&header), os.WriteFile(ts.MkAbs("answer"), content, 0o600))
	return answer.StatusCode, errors.Join(err, os.WriteFile(ts.MkAbs("header"), header.Bytes(), 0o600))
}

func setJSON(ts *testscript.TestScript, _ bool, args []string) {
	v := readJSON(ts, args[0])
	for key := range strings.SplitSeq(args[1], ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[key]
		case []any:
			i, err := strconv.Atoi(key)
			ts.Check(err)
			v = x[i]
		}
	}
	text, ok := v.(string)
	if !ok || text == "" {
		b, err := json.Marshal(v)
		ts.Check(err)
		ts.Fatalf("%s is %s", args[1], b)
	}
	ts.Setenv(args[2], text)
}

func absent(ts *testscript.TestScript, _ bool, args []string) {
	content := ts.ReadFile(args[0])
	for _, name := range args[1:] {
		value := ts.Getenv(name)
		if value == "" {
			ts.Fatalf("$%s is empty", name)
		}
		if strings.Contains(content, value) {
			ts.Fatalf("$%s is in %s", name, args[0])
		}
	}
}
