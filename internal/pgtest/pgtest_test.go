package pgtest_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/pgtest"
)

func query(t *testing.T, url, sql string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	var text string
	err = conn.QueryRow(ctx, sql).Scan(&text)
	return text, err
}

func TestStopKillRestart(t *testing.T) {
	s := pgtest.Start(t, pgtest.Config{Settings: []string{"work_mem = 5MB"}})
	db := s.Database(t)
	for setting, want := range map[string]string{"fsync": "on", "work_mem": "5MB"} {
		if got, err := query(t, s.AdminURL(db), "show "+setting); err != nil || got != want {
			t.Errorf("%s is %q, %v, want %q", setting, got, err, want)
		}
	}
	s.Exec(t, db, "create table kept (v text)", "insert into kept values ('yes')")
	for name, end := range map[string]func(testing.TB){"stop": s.Stop, "kill": s.Kill} {
		end(t)
		if _, err := query(t, s.AdminURL(db), "select v from kept"); err == nil {
			t.Errorf("after %s the server answers", name)
		}
		s.Restart(t)
		if got, err := query(t, s.AdminURL(db), "select v from kept"); err != nil || got != "yes" {
			t.Errorf("after %s and restart: %q, %v", name, got, err)
		}
	}
}

func TestClone(t *testing.T) {
	s := pgtest.Shared(t)
	runs := 0
	prepare := func(url string) error {
		runs++
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(t.Context()) }()
		_, err = conn.Exec(t.Context(), "create table thing (v text)")
		return err
	}
	a, b := s.Clone(t, "thing", prepare), s.Clone(t, "thing", prepare)
	s.Exec(t, a, "insert into thing values ('a')")
	if got, err := query(t, s.AdminURL(b), "select count(*)::text from thing"); err != nil || got != "0" || runs != 1 {
		t.Errorf("the other copy has %q rows, %v, after %d runs", got, err, runs)
	}
	password := s.Login(t, "plain", "")
	if got, err := query(t, s.URL(a, "plain", password), "select current_user::text"); err != nil || got != "plain" {
		t.Errorf("as plain: %q, %v", got, err)
	}
	if _, err := query(t, s.URL(a, "plain", "wrong"), "select ''"); err == nil {
		t.Error("a wrong password was taken")
	}
}

// TestChild is run by TestEndsWithTheBinary in a process of its own.
func TestChild(t *testing.T) {
	file := os.Getenv("PGTEST_CHILD")
	if file == "" {
		t.Skip("for TestEndsWithTheBinary")
	}
	s := pgtest.Shared(t)
	if err := os.WriteFile(file+".new", []byte(s.SocketDir), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	<-t.Context().Done() // never, before the process is killed
}

func TestEndsWithTheBinary(t *testing.T) {
	pgtest.Shared(t) // or skip
	file := filepath.Join(t.TempDir(), "dir")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run", "^TestChild$")
	cmd.Env = append(os.Environ(), "PGTEST_CHILD="+file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var dir string
	eventually(t, "the child's server runs", func() bool {
		text, err := os.ReadFile(file)
		dir = string(text)
		return err == nil
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	eventually(t, "the directory is gone, which the shell removes after the server has ended", func() bool {
		_, err := os.Stat(dir)
		return os.IsNotExist(err)
	})
	if out, _ := exec.Command("pgrep", "-f", dir).Output(); strings.TrimSpace(string(out)) != "" {
		t.Errorf("still running: %s", out)
	}
}

// eventually waits until done says so.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(time.Minute)
	for !done() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		}
	}
}
