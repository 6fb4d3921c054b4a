package operation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/store"
)

// patience bounds every wait for something that must happen.
const patience = 90 * time.Second

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		for _, p := range []*built{&this, &next} {
			if err := os.RemoveAll(p.dir); p.dir != "" && err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		os.Exit(code)
	}))
}

// built is a program that is built once for all tests, without the race detector, as it is released.
type built struct {
	once sync.Once
	dir  string
	err  error
}

var this, next built

// thisProgram is that of this source.
func thisProgram(t *testing.T) string {
	return this.path(t, func(string) ([]string, error) { return nil, nil })
}

// nextProgram is one of the version after it: with further migrations, and code that needs them.
func nextProgram(t *testing.T) string {
	return next.path(t, func(dir string) ([]string, error) {
		list, err := overlay(dir)
		return []string{"-overlay", list}, err
	})
}

func (p *built) path(t *testing.T, flags func(dir string) ([]string, error)) string {
	t.Helper()
	if testing.Short() {
		t.Skip("real server: takes long, left out by -short")
	}
	p.once.Do(func() {
		if p.dir, p.err = os.MkdirTemp("", "postrider-operation-"); p.err != nil {
			return
		}
		more, err := flags(p.dir)
		if err != nil {
			p.err = err
			return
		}
		// Not the test's context: the program is for all tests.
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
		defer cancel()
		args := append([]string{"build", "-buildvcs=false"}, more...) // as `go build ./...`, whose results are there already
		c := exec.CommandContext(ctx, "go", append(args, "-o", filepath.Join(p.dir, "postrider"), "../../cmd/postrider")...)
		if out, err := c.CombinedOutput(); err != nil {
			p.err = errors.Join(err, errors.New(string(out)))
		}
	})
	if p.err != nil {
		t.Fatal(p.err)
	}
	return filepath.Join(p.dir, "postrider")
}

// The next version calls a column by another name. It expands the tables by the new one, which a trigger keeps equal to the old one, and an index
// on a table that grows meanwhile, and contracts them by the old one.
const (
	expandColumn = `-- postrider: expand compatible-from=%d
-- +goose Up
alter table service_pause add column because text not null default '';
alter table messages add column note text;
-- +goose StatementBegin
create function service_pause_both() returns trigger language plpgsql as $$
begin
  if new.because is distinct from old.because then new.reason := new.because; else new.because := new.reason; end if;
  return new;
end $$;
-- +goose StatementEnd
create trigger service_pause_both before update on service_pause for each row execute function service_pause_both();
`
	expandIndex = `-- postrider: expand compatible-from=%d
-- +goose NO TRANSACTION
-- +goose Up
drop index concurrently if exists messages_note;
create index concurrently messages_note on messages (note) where note is not null;
`
	contractColumn = `-- postrider: contract compatible-from=%d
-- +goose Up
drop trigger service_pause_both on service_pause;
drop function service_pause_both;
alter table service_pause drop column reason;
`
)

// overlay writes into dir what makes the go command build the next version, and gives the argument of -overlay.
func overlay(dir string) (string, error) {
	stores, err := filepath.Abs("../store")
	if err != nil {
		return "", err
	}
	was := store.SchemaVersion()
	replace := map[string]string{}
	put := func(path, text string) error {
		to := filepath.Join(dir, fmt.Sprint("file", len(replace)))
		replace[filepath.Join(stores, path)] = to
		return os.WriteFile(to, []byte(text), 0o600)
	}
	for i, text := range []string{expandColumn, expandIndex, contractColumn} {
		from := was
		if i == 2 {
			from = was + 2
		}
		text = fmt.Sprintf(text, from)
		name := fmt.Sprintf("%04d_next.sql", was+1+int64(i))
		first, _, _ := strings.Cut(text, "\n")
		err = errors.Join(err, put("migrations/postgres/"+name, text), put("migrations/sqlite/"+name, first+"\n-- +goose Up\nselect 1;\n"))
	}
	code, readErr := os.ReadFile(filepath.Join(stores, "relay_operator.go"))
	text := string(code)
	for was, is := range map[string]string{"set paused = $1, reason = $2": "set paused = $1, because = $2", "select paused, reason, at": "select paused, because, at"} {
		if !strings.Contains(text, was) {
			return "", fmt.Errorf("relay_operator.go has no %q to replace", was)
		}
		text = strings.Replace(text, was, is, 1)
	}
	err = errors.Join(err, readErr, put("relay_operator.go", text))
	list, marshalErr := json.Marshal(map[string]any{"Replace": replace})
	path := filepath.Join(dir, "overlay.json")
	return path, errors.Join(err, marshalErr, os.WriteFile(path, list, 0o600))
}

// within asks done again and again until it says yes, and fails the test after patience.
func within(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
