package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider/internal/config"
)

// TestEnsureKey starts many at once: all get the same key, which is on disk with mode 0600.
func TestEnsureKey(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "data")
	if err := config.MakeDirectory(dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := config.MakeDirectory(dir); err != nil {
		t.Errorf("again: %v", err)
	}
	path := filepath.Join(dir, "jwt-secret")
	keys := make([]string, 20)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			keys[i], err = config.EnsureKey(path, func() (string, error) { return fmt.Sprintf("key of %d", i), nil })
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, k := range keys {
		if k == "" || k != keys[0] {
			t.Errorf("keys %q and %q", k, keys[0])
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := config.ReplaceKey(path, "new"); err != nil {
		t.Fatal(err)
	}
	if k, err := config.ReadKey(path); k != "new" || err != nil {
		t.Errorf("%q, %v", k, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*new-*")); left != nil {
		t.Errorf("left behind: %q", left)
	}
}

func TestKeyFileRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	never := func() (string, error) { return "", errors.New("a key was made") }
	if _, err := config.ReadKey(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := config.EnsureKey(path, never); err == nil || err.Error() != "a key was made" {
		t.Errorf("%v", err)
	}
	for _, c := range []struct {
		content string
		mode    fs.FileMode
		want    string
	}{
		{"", 0o600, "is empty: restore it from a backup"},
		{"key\n", 0o640, "chmod 600"},
		{strings.Repeat("x", 2<<20), 0o600, "larger than 1 MiB"},
	} {
		if err := errors.Join(os.WriteFile(path, []byte(c.content), 0o600), os.Chmod(path, c.mode)); err != nil {
			t.Fatal(err)
		}
		if _, err := config.EnsureKey(path, never); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v", err)
		}
	}
	if err := config.MakeDirectory(path); err == nil || !strings.Contains(err.Error(), "is no directory") {
		t.Errorf("%v", err)
	}
}
