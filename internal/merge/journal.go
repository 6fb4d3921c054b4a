package merge

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtp"
)

// The results file is a CSV with one line for each answer; a row that was tried
// again has several. Beside it, while a run lasts, stands a file of the same name
// and ".sending": its first line is the size that the results file had when the run
// began, each further line a row that may be under way and its hash. A row there
// without an answer in this run was under way when the run was broken off.
func resultColumns() []string {
	return []string{"row", "row_hash", "to", "status", "message_id", "smtp_code", "enhanced_code", "smtp_error", "sent_at"}
}

const (
	sendingSuffix = ".sending"
	// cellOctets bounds a cell of the results, so that a line is always shorter than
	// tornOctets, even with every octet a quote that is doubled.
	cellOctets = 3 << 10
	tornOctets = 64 << 10
)

// StorageError says that the results could not be read or written: a fault of
// this machine, not of what the user gave.
type StorageError struct{ Err error }

// Error says what failed.
func (e *StorageError) Error() string { return "the results cannot be kept: " + e.Err.Error() }

// Unwrap gives the operating system's error.
func (e *StorageError) Unwrap() error { return e.Err }

// journal writes results and notes rows under way, both in groups.
type journal struct {
	path             string
	results, sending *os.File
	notes            chan note
	done             chan struct{}
	failed           chan struct{} // closed at the first error
	err              error         // set before failed is closed
	lost             []string      // answers that could not be written; read when done is closed
}

// note is a row about to be sent (durable is closed when that is on disk), or an answer.
type note struct {
	line    []byte
	durable chan struct{}
	answer  string // "row 7 success"
}

// openJournal begins a run over so many rows: afresh, or taking up an earlier one, whose
// past is completed: rows that were under way get the answer unknown.
func openJournal(path string, rows int, resume, resendUnknown bool) (*journal, *past, error) {
	flags := os.O_RDWR | os.O_CREATE | os.O_APPEND
	if !resume {
		flags |= os.O_EXCL
		if _, err := os.Lstat(path + sendingSuffix); err == nil {
			return nil, nil, fmt.Errorf("%s is left of an earlier run: give --resume to go on with that, or remove it to send every row anew", path+sendingSuffix)
		}
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, nil, fmt.Errorf("%s exists already: give --resume to go on with it, or another --results file", path)
	}
	if err != nil {
		return nil, nil, &StorageError{err}
	}
	j := &journal{path: path, results: f, notes: make(chan note, 64), done: make(chan struct{}), failed: make(chan struct{})}
	p, err := j.begin(rows, resendUnknown)
	if err != nil {
		_ = f.Close()
		if j.sending != nil {
			_ = j.sending.Close()
		}
		return nil, nil, err
	}
	go j.write()
	return j, p, nil
}

// begin may be broken off after any line and then be run again: until the rename the
// notes of the earlier run stand, and an answer written twice is one answer.
func (j *journal) begin(rows int, resendUnknown bool) (*past, error) {
	if err := lock(j.results); errors.Is(err, errLocked) {
		return nil, fmt.Errorf("%s is in use by another run", j.path)
	} else if err != nil {
		return nil, &StorageError{fmt.Errorf("%s cannot be locked: %w", j.path, err)}
	}
	if err := ours(j.results); err != nil {
		return nil, fmt.Errorf("%s: %w", j.path, err)
	}
	if err := cutTornLine(j.results); err != nil {
		return nil, &StorageError{err}
	}
	inFlight, since, err := readSending(j.path+sendingSuffix, rows)
	if err != nil {
		return nil, err
	}
	p, err := j.complete(rows, inFlight, since, resendUnknown)
	if err != nil {
		return nil, err
	}
	if err := j.newSending(); err != nil {
		return nil, &StorageError{err}
	}
	return p, nil
}

// complete reads the earlier answers and adds unknown for the rows that were under way.
func (j *journal) complete(rows int, inFlight []uint64, since int64, resendUnknown bool) (*past, error) {
	size, err := j.results.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, &StorageError{err}
	}
	if size == 0 {
		if _, err := j.results.Write(csvLine(resultColumns())); err != nil {
			return nil, &StorageError{err}
		}
		if inFlight == nil {
			return &past{}, nil
		}
	}
	p, err := readPast(j.results, rows, inFlight, since, resendUnknown)
	if err != nil {
		if _, ok := errors.AsType[*StorageError](err); ok {
			return nil, err
		}
		return nil, fmt.Errorf("%s: %w", j.path, err)
	}
	for row, hash := range inFlight {
		if hash == 0 {
			continue
		}
		line := csvLine([]string{
			strconv.Itoa(row), hashText(hash), "", string(postrider.StatusUnknown), "", "", "",
			"the run ended while this row was under way", "",
		})
		if _, err := j.results.Write(line); err != nil {
			return nil, &StorageError{err}
		}
		if !resendUnknown && p.known[row] == 0 {
			p.known[row] = hash | unknownBit
		}
	}
	return p, nil
}

// newSending begins new notes. They are written beside and renamed, so that at no
// moment the old ones are gone and the new ones not there.
func (j *journal) newSending() (err error) {
	size, err := j.results.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	name := j.path + sendingSuffix
	// One that a run left is removed, not opened: it may be a link that somebody else
	// made in a folder of many, to have another file overwritten.
	if err := os.Remove(name + ".new"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	j.sending, err = os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(j.sending, "%d\n", size); err != nil {
		return err
	}
	if err := errors.Join(j.results.Sync(), j.sending.Sync()); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(j.path))
}

var errLocked = errors.New("another run holds the lock")

var errNotOurs = errors.New("it is not a results file of this program")

// ours refuses a file that does not begin as results do, before anything is cut off it.
func ours(f *os.File) error {
	head := csvLine(resultColumns())
	b := make([]byte, len(head))
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return &StorageError{err}
	}
	if !bytes.HasPrefix(head, b[:n]) { // a shorter one was torn
		return errNotOurs
	}
	return nil
}

// cutTornLine removes a last line without its end: the machine died while writing it.
func cutTornLine(f *os.File) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return err
	}
	tail := make([]byte, min(size, tornOctets))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil {
		return err
	}
	if tail[len(tail)-1] == '\n' {
		return nil
	}
	return f.Truncate(size - int64(len(tail)) + int64(bytes.LastIndexByte(tail, '\n')+1))
}

// write is the journal's goroutine: it takes what gathered while the last group was written.
func (j *journal) write() {
	defer close(j.done)
	var results, sending []byte
	var waiting []chan struct{}
	for n := range j.notes {
		results, sending, waiting = results[:0], sending[:0], waiting[:0]
		var answers []string
		for more := true; more; {
			if n.durable != nil {
				sending = append(sending, n.line...)
				waiting = append(waiting, n.durable)
			} else {
				results = append(results, n.line...)
				answers = append(answers, n.answer)
			}
			select {
			case next, ok := <-j.notes:
				n, more = next, ok
			default:
				more = false
			}
		}
		if j.err != nil {
			j.lost = append(j.lost, answers...)
			continue
		}
		if err := j.writeGroup(results, sending); err != nil {
			j.lost = answers
			j.err = &StorageError{err}
			close(j.failed)
			continue
		}
		for _, c := range waiting {
			close(c)
		}
	}
}

// writeGroup does not wait for answers to reach the disk: a row whose answer is lost
// with the machine still stands in the notes, and becomes unknown.
func (j *journal) writeGroup(results, sending []byte) error {
	if len(results) > 0 {
		if _, err := j.results.Write(results); err != nil {
			return err
		}
	}
	if len(sending) > 0 {
		if _, err := j.sending.Write(sending); err != nil {
			return err
		}
		return j.sending.Sync()
	}
	return nil
}

// underWay returns when it is on disk that the row may be sent.
func (j *journal) underWay(row int, hash uint64) error {
	n := note{line: fmt.Appendf(nil, "%d %s\n", row, hashText(hash)), durable: make(chan struct{})}
	j.notes <- n
	select {
	case <-n.durable:
		return nil
	case <-j.failed:
		return j.err
	}
}

// answer writes a row's result.
func (j *journal) answer(row int, hash uint64, to string, r *postrider.Result) {
	code, enhanced, sentAt := "", "", ""
	if r.SMTPCode != 0 {
		code = strconv.Itoa(r.SMTPCode)
	}
	if r.EnhancedCode != (smtp.EnhancedCode{}) {
		enhanced = r.EnhancedCode.String()
	}
	if !r.SentAt.IsZero() {
		sentAt = r.SentAt.UTC().Format(time.RFC3339)
	}
	j.notes <- note{answer: fmt.Sprintf("row %d %s", row, r.Status), line: csvLine([]string{
		strconv.Itoa(row), hashText(hash), to, string(r.Status), r.MessageID, code, enhanced, r.SMTPError, sentAt,
	})}
}

// close writes what is left; after a run in which every row got its answer the notes go.
func (j *journal) close() error {
	close(j.notes)
	<-j.done
	err := j.err
	if err == nil {
		if syncErr := j.results.Sync(); syncErr != nil {
			err = &StorageError{syncErr}
		}
	}
	closeErr := errors.Join(j.sending.Close(), j.results.Close())
	if err == nil && closeErr == nil {
		closeErr = os.Remove(j.path + sendingSuffix)
	}
	if err == nil && closeErr != nil {
		err = &StorageError{closeErr}
	}
	if err != nil && len(j.lost) > 0 {
		// They are unknown to a later run, and known here for the last time.
		err = fmt.Errorf("%w; answers that are not in the file: %s", err, strings.Join(j.lost, ", "))
	}
	return err
}

func hashText(h uint64) string { return strconv.FormatUint(h, 16) }

// csvLine gives one line; no cell may spread over several, so that a torn line can be told.
func csvLine(cells []string) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	clean := make([]string, len(cells))
	for i, c := range cells {
		if len(c) > cellOctets {
			c = c[:cellOctets] + "…"
		}
		clean[i] = strings.Join(strings.Fields(strings.ToValidUTF8(c, "\ufffd")), " ")
	}
	_ = w.Write(clean) // a bytes.Buffer does not fail
	w.Flush()
	return b.Bytes()
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
