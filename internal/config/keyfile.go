package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Modes of the data directory and of the keys in it: their owner's alone.
const (
	directoryMode = 0o700
	keyMode       = 0o600
)

// MakeDirectory makes a data directory, and those above it, unless it is there.
func MakeDirectory(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s is no directory", dir)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(dir, directoryMode); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(filepath.Clean(dir)))
}

// ReadKey reads a key file; the error wraps fs.ErrNotExist if there is none. A file that others may read is refused,
// because its key may be known to them.
func ReadKey(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s can be read by other users (mode %#o): its key may be known to them; if not, chmod 600 %s", path, info.Mode().Perm(), path)
	}
	b, err := readBounded(path)
	if err != nil {
		return "", err
	}
	key := strings.TrimSuffix(string(b), "\n")
	if key == "" {
		return "", fmt.Errorf("%s is empty: restore it from a backup; a new one cannot read what the old one made", path)
	}
	return key, nil
}

// EnsureKey reads a key file, or makes it with what generate returns. It never overwrites one, whatever else starts at
// the same time, and when it returns the file is on disk: a key that was lost in a power cut would have made
// something that nobody can read.
func EnsureKey(path string, generate func() (string, error)) (key string, err error) {
	key, err = ReadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	made, err := generate()
	if err != nil {
		return "", err
	}
	if err := write(path, made, os.Link); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return ReadKey(path) // ours, or that of the process that was quicker
}

// ReplaceKey writes a key file in place of the one that is there, whole or not at all.
func ReplaceKey(path, key string) error { return write(path, key, os.Rename) }

// write makes a temporary file beside path and puts it there by link, which does not overwrite, or rename, which does.
func write(path, text string, put func(from, to string) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text + "\n")
	if err == nil {
		err = f.Chmod(keyMode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := put(f.Name(), path); err != nil {
		return err
	}
	return syncDirectory(dir)
}

// syncDirectory makes new names in a directory outlast a power cut.
func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
