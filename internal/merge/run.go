package merge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/smtp"
)

// Config says what to send and where to write the answers.
type Config struct {
	// Rows is the CSV file's path; it is read twice, or three times to resume.
	Rows string
	// Results is the path of the results file. It must not exist unless Resume is set.
	Results string
	// Resume goes on with an earlier run: rows that were sent, wholly or in part, or
	// whose outcome is not known, are skipped.
	Resume bool
	// ResendUnknown sends rows of an earlier run again whose outcome is not known;
	// they may arrive twice.
	ResendUnknown bool
	// Concurrency is the number of rows under way at a time; 0: 10.
	Concurrency int
	// Letter makes a row's message.
	Letter func(columns []string) (*Letter, error)
	// Send sends one message; as postrider.Client.Send.
	Send func(ctx context.Context, m *mail.Message) (*postrider.Result, error)
	// Each is told every answer, one at a time; its error stops the run. Nil: nobody.
	Each func(Answer) error
}

// Answer is what became of one row.
type Answer struct {
	Row    int
	To     string
	Result *postrider.Result
}

// Summary counts rows.
type Summary struct {
	// Rows is how many the file has; Skipped were dealt with by an earlier run,
	// SkippedUnknown of them with an outcome that is not known.
	Rows, Skipped, SkippedUnknown int
	// Count has the rows of this run by status.
	Count map[postrider.Status]int
	// AuthRefused says that the relay refused the credentials, and the run stopped.
	AuthRefused bool
}

// ErrInterrupted is in the error of Go when its stop ended.
var ErrInterrupted = errors.New("interrupted")

// Run is a merge that has been checked and is ready to go.
type Run struct {
	cfg     Config
	columns []string
	letter  *Letter
	journal *journal
	past    *past

	mu          sync.Mutex
	summary     Summary
	stopped     error
	unreachable int // rows in a row that found no relay
}

// Prepare reads the whole file: everything wrong with it, and with the columns
// that the message names, is found before anything is sent. A *StorageError
// is a fault of this machine; every other error one of what was given. The
// caller must call Go.
func Prepare(cfg Config) (*Run, error) {
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 10
	}
	r := &Run{cfg: cfg, summary: Summary{Count: make(map[postrider.Status]int)}}
	rows, err := OpenRows(cfg.Rows)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	r.columns = rows.Columns
	if r.letter, err = cfg.Letter(rows.Columns); err != nil {
		return nil, err
	}
	if err := r.each(rows, func(number int, _ []string) error {
		r.summary.Rows = number
		return nil
	}); err != nil {
		return nil, err
	}
	if r.journal, r.past, err = openJournal(cfg.Results, r.summary.Rows, cfg.Resume, cfg.ResendUnknown); err != nil {
		return nil, err
	}
	if r.past.known == nil {
		return r, nil
	}
	if err := r.compare(); err != nil {
		return nil, errors.Join(err, r.journal.close())
	}
	return r, nil
}

func (r *Run) each(rows *Rows, do func(number int, row []string) error) error {
	for {
		number, row, err := rows.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = do(number, row)
		}
		if err != nil {
			return err
		}
	}
}

// compare holds the rows against the past.
func (r *Run) compare() error {
	rows, err := r.reopen()
	if err != nil {
		return err
	}
	defer rows.Close()
	return r.each(rows, func(number int, row []string) error {
		hash, unknown := r.past.get(number)
		switch {
		case hash == 0:
			return nil
		case hash != rowHash(row):
			return fmt.Errorf("row %d of %s has been dealt with in the earlier run and has changed since; what was sent can no longer be told: use another results file", number, r.cfg.Rows)
		case unknown:
			r.summary.SkippedUnknown++
		}
		r.summary.Skipped++
		return nil
	})
}

// reopen opens the rows again. The letter was made for their columns.
func (r *Run) reopen() (*Rows, error) {
	rows, err := OpenRows(r.cfg.Rows)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(rows.Columns, r.columns) {
		return nil, errors.Join(fmt.Errorf("%s has changed while it was read", r.cfg.Rows), rows.Close())
	}
	return rows, nil
}

// Summary tells how things stand; before Go, how many rows there are to do.
func (r *Run) Summary() Summary {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.summary
	s.Count = maps.Clone(s.Count)
	return s
}

// Go sends the rows, once. When stop ends, no further row is begun and those under
// way are finished; when ctx ends they are interrupted too. It stops by itself
// where going on is useless: the relay refuses the credentials or is not there,
// or answers cannot be written. The error says why rows were left; nil: every
// row got its answer.
func (r *Run) Go(ctx, stop context.Context) (Summary, error) {
	type item struct {
		number int
		row    []string
	}
	work := make(chan item)
	var workers sync.WaitGroup
	for range r.cfg.Concurrency {
		workers.Go(func() {
			for it := range work {
				r.send(ctx, it.number, it.row)
			}
		})
	}
	rows, err := r.reopen()
	if err == nil {
		err = r.each(rows, func(number int, row []string) error {
			// Asked first: select takes any case that is ready.
			if stop.Err() != nil || ctx.Err() != nil {
				return ErrInterrupted
			}
			if hash, _ := r.past.get(number); hash != 0 {
				return nil
			}
			select {
			case work <- item{number, row}:
			case <-stop.Done():
				return ErrInterrupted
			case <-r.journal.failed:
				return r.journal.err
			}
			return r.reason()
		})
		_ = rows.Close() // it was only read
	}
	r.stop(err)
	close(work)
	workers.Wait()
	if err := r.journal.close(); err != nil {
		r.stopped = err // graver than why it may have stopped before
	}
	return r.Summary(), r.reason()
}

func (r *Run) send(ctx context.Context, number int, row []string) {
	if r.reason() != nil {
		return
	}
	m := r.letter.Message(row)
	hash := rowHash(row)
	if err := r.journal.underWay(number, hash); err != nil {
		r.stop(err)
		return
	}
	result, _ := r.cfg.Send(ctx, m) // the result holds what the error says
	to := recipients(m)
	r.journal.answer(number, hash, to, result)
	r.note(Answer{Row: number, To: to, Result: result})
}

func (r *Run) note(a Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.summary.Count[a.Result.Status]++
	for i := range a.Result.Recipients {
		if smtp.IsAuth(a.Result.Recipients[i].Err) {
			r.summary.AuthRefused = true
			r.stopLocked(fmt.Errorf("stopped at row %d, authentication refused: %s", a.Row, a.Result.SMTPError))
		}
	}
	switch {
	case len(a.Result.Recipients) == 0: // invalid: says nothing about the relay
	case !unreachable(a.Result):
		r.unreachable = 0
	default:
		if r.unreachable++; r.unreachable >= max(3, r.cfg.Concurrency) {
			r.stopLocked(fmt.Errorf("stopped at row %d, %d rows in turn did not reach the relay: %s", a.Row, r.unreachable, a.Result.SMTPError))
		}
	}
	if r.cfg.Each != nil {
		r.stopLocked(r.cfg.Each(a))
	}
}

// unreachable reports that no recipient came as far as MAIL.
func unreachable(r *postrider.Result) bool {
	for i := range r.Recipients {
		rcpt := &r.Recipients[i]
		switch rcpt.Phase {
		case smtp.PhaseDial, smtp.PhaseTLS, smtp.PhaseGreeting:
			if rcpt.Err != nil {
				continue
			}
		}
		return false
	}
	return true
}

func (r *Run) stop(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopLocked(err)
}

// stopLocked keeps the first reason; nil is none.
func (r *Run) stopLocked(err error) {
	if r.stopped == nil {
		r.stopped = err
	}
}

func (r *Run) reason() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopped
}

func recipients(m *mail.Message) string {
	var all []string
	for _, list := range [][]mail.Address{m.To, m.Cc, m.Bcc} {
		for _, a := range list {
			if a.Err() != nil {
				all = append(all, a.String())
				continue
			}
			all = append(all, a.Mailbox())
		}
	}
	return strings.Join(all, ", ")
}
