package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
)

// MarkFile is the usual name of the file that tells a SQLite database from a restored copy of it.
const MarkFile = "restore-mark"

// markPair is what the file says: the database has one of these marks. The file is written first, then the database.
type markPair struct{ was, next uuid.UUID }

// readMark reads the file. Without one the pair is empty.
func readMark(path string) (p markPair, err error) {
	if path == "" {
		return p, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("store: %w", err)
	}
	words := strings.Fields(string(text))
	if len(words) == 2 {
		p.was, err = uuid.Parse(words[0])
		if err == nil {
			p.next, err = uuid.Parse(words[1])
		}
	}
	if err != nil || len(words) != 2 || p.next == uuid.Nil {
		return markPair{next: uuid.Max}, nil // damaged: it fits no database
	}
	return p, nil
}

// write replaces the file. fresh: only the next mark is good from now on.
func (markPair) write(path string, was, next uuid.UUID, fresh bool) error {
	if path == "" {
		return nil
	}
	if fresh || was == uuid.Nil {
		was = next
	}
	return writeDurable(path, []byte(was.String()+"\n"+next.String()+"\n"))
}

// writeDurable writes a file that is there as a whole or not at all, also after a power cut, for its owner only.
func writeDurable(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("store: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes new names in a directory outlast a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}
