package merge

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/postrider/postrider"
)

// past is what earlier runs have left: the rows that must not be sent again.
type past struct {
	// known has, by row number, the hash of each such row; unknownBit says that
	// its outcome is not known. 0: the row may be sent. Nil in a first run.
	known []uint64
}

// unknownBit is free in every hash; see rowHash.
const unknownBit = 1

func (p *past) get(row int) (hash uint64, unknown bool) {
	if row >= len(p.known) {
		return 0, false
	}
	return p.known[row] &^ unknownBit, p.known[row]&unknownBit != 0
}

// readPast reads the results of earlier runs of a file with so many rows.
// inFlight are the rows that the last of them noted as under way when the results had
// the size since; those that got an answer after that are removed from it.
// What was sent after its outcome was unknown is known to be sent.
func readPast(f io.ReadSeeker, rows int, inFlight []uint64, since int64, resendUnknown bool) (*past, error) {
	p := &past{known: make([]uint64, rows+1)}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, &StorageError{err}
	}
	r := csv.NewReader(f)
	r.ReuseRecord = true
	r.FieldsPerRecord = len(resultColumns())
	for first := true; ; first = false {
		at := r.InputOffset()
		line, err := r.Read()
		if errors.Is(err, io.EOF) {
			return p, nil
		}
		if _, ok := errors.AsType[*csv.ParseError](err); ok {
			return nil, errNotOurs
		}
		if err != nil {
			return nil, &StorageError{err}
		}
		if first {
			continue
		}
		row, hash, err := readRow(line[0], line[1])
		if err != nil {
			return nil, err
		}
		if at >= since && row < len(inFlight) {
			inFlight[row] = 0
		}
		switch postrider.Status(line[3]) {
		case postrider.StatusSuccess, postrider.StatusPartial:
		case postrider.StatusUnknown:
			if resendUnknown {
				continue
			}
			hash |= unknownBit
		default:
			continue
		}
		if row > rows {
			return nil, otherFile(row, rows)
		}
		if p.known[row] == 0 || hash&unknownBit == 0 {
			p.known[row] = hash
		}
	}
}

func otherFile(row, rows int) error {
	return fmt.Errorf("the earlier run dealt with row %d, and there are only %d now: is it another file? Use another results file", row, rows)
}

func readRow(number, hash string) (row int, h uint64, err error) {
	row, err1 := strconv.Atoi(number)
	h, err2 := strconv.ParseUint(hash, 16, 64)
	if err1 != nil || err2 != nil || row < 1 || h&^unknownBit == 0 {
		return 0, 0, fmt.Errorf("%w: row %q cannot be read", errNotOurs, number)
	}
	return row, h &^ unknownBit, nil
}

// readSending reads the notes of a run that was broken off: by row number the hash of
// each row that was under way, and the size of the results when that run began.
// Without such notes nothing was under way.
func readSending(path string, rows int) (inFlight []uint64, since int64, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, &StorageError{err}
	}
	defer f.Close()
	r := bufio.NewReader(f)
	inFlight = make([]uint64, rows+1)
	for first := true; ; first = false {
		line, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) {
			// A torn line was not on disk whole, so its row was not sent. The first
			// line is never torn: the file gets its name when it is on disk.
			return inFlight, since, nil
		}
		if err != nil {
			return nil, 0, &StorageError{err}
		}
		line = strings.TrimSuffix(line, "\n")
		if first {
			if since, err = strconv.ParseInt(line, 10, 64); err != nil {
				return nil, 0, fmt.Errorf("%s: its first line is not a number", path)
			}
			continue
		}
		number, hash, _ := strings.Cut(line, " ")
		row, h, err := readRow(number, hash)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", path, err)
		}
		if row > rows {
			return nil, 0, fmt.Errorf("%s: %w", path, otherFile(row, rows))
		}
		inFlight[row] = h
	}
}
